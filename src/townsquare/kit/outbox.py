"""The outbox: what a transaction changed, written in that same transaction, read by everyone who must know.

A row carries PostgreSQL's own transaction id. Readers go by transaction horizon, then id: a row is handed out only when
every transaction with a lower id has ended, so that none is skipped when transactions commit out of order.
Within one key the row's id grows in the order of the changes (the row lock on the changed thing is held until
the commit), so a reader keeps it as the version of what it derived and ignores older ones.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import asyncpg
import msgspec
from msgspec import Struct

from townsquare.kit.database import Connection, Database, DatabaseUnavailable
from townsquare.kit.logs import get_logger

CHANNEL = "outbox"
GATHER_SECONDS = 0.005
POLL_SECONDS = 0.5

# One round trip for all of a transaction's events. `jsonb_array_elements` keeps the array's order.
INSERT_EVENTS = """
INSERT INTO outbox (topic, key, tags, payload)
SELECT e->>'topic', e->>'key', ARRAY(SELECT jsonb_array_elements_text(e->'tags')), e->'payload'
FROM jsonb_array_elements($1::jsonb) AS e
RETURNING xid::text
"""

# Served by outbox_xid_id_idx; reads at most $3 rows. `o.xid` is the number: `xid` alone would sort by its text, in which
# 1000 comes before 999, and a batch that ends between the two would skip one of them for ever.
READ_EVENTS = """
SELECT o.id, o.xid::text AS xid, o.topic, o.key, o.payload, o.created_at
FROM outbox AS o
WHERE (o.xid, o.id) > ($1::text::xid8, $2) AND o.xid < pg_snapshot_xmin(pg_current_snapshot())
ORDER BY o.xid, o.id
LIMIT $3
"""

HORIZON = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text"

# Older states of a key are not needed once a newer one stands: a read model can still be rebuilt from zero.
# Served by outbox_created_at_idx for the old rows and outbox_topic_key_id_idx for the look at newer ones.
COMPACT = """
DELETE FROM outbox AS old
WHERE old.created_at < now() - interval '7 days'
  AND EXISTS (SELECT FROM outbox AS newer WHERE (newer.topic, newer.key) = (old.topic, old.key) AND newer.id > old.id)
"""


class NewEvent(Struct, frozen=True):
    """One change, as the service that made it tells it. `payload` is the whole new state of `key`."""

    topic: str
    key: str
    tags: tuple[str, ...]
    payload: dict[str, Any]


class Position(Struct, frozen=True, order=True):
    """A place in an outbox: after transaction `xid`, row `id`."""

    xid: int
    id: int

    def __str__(self) -> str:
        return f"{self.xid}-{self.id}"

    @classmethod
    def parse(cls, text: str) -> "Position":
        """Read `xid-id`; raises ValueError."""
        xid, dash, row = text.partition("-")
        if not (dash and xid.isdecimal() and row.isdecimal() and len(text) <= 40):
            raise ValueError("a position is two numbers with a dash between")
        return cls(int(xid), int(row))


class Event(Struct, frozen=True):
    """One row of another service's outbox; `id` is the version of `key`."""

    id: int
    position: str
    topic: str
    key: str
    payload: msgspec.Raw
    created_at: str


class EventBatch(Struct, frozen=True):
    """Events in order. When there are fewer than were asked for, all transactions below `horizon` are in."""

    items: list[Event]
    horizon: int


async def insert_events(connection: Connection, events: Sequence[NewEvent]) -> int:
    """Write events in the caller's transaction; returns the transaction's id."""
    xid = await connection.fetchval(INSERT_EVENTS, msgspec.json.encode(events).decode())
    return int(xid)


async def read_events(database: Database, after: Position, limit: int) -> EventBatch:
    """Read the events behind `after`, at most `limit`; the horizon is taken first, so it never promises too much."""
    horizon = await database.fetchval(HORIZON)
    rows = await database.fetch(READ_EVENTS, str(after.xid), after.id, limit)
    return EventBatch([_event(row) for row in rows], int(str(horizon)))


def _event(row: asyncpg.Record) -> Event:
    return Event(
        id=row["id"],
        position=f"{row['xid']}-{row['id']}",
        topic=row["topic"],
        key=row["key"],
        payload=msgspec.Raw(row["payload"].encode()),
        created_at=row["created_at"].isoformat(),
    )


class Outbox:
    """Wakes those who wait for events: here at once, in other processes by a notification after the commit.

    The notification is gathered over a few milliseconds and never sent inside a transaction, where it would take a lock
    that serialises every commit of the cluster. It is only for speed: whoever waits looks at the table twice a second.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._wakers: set[asyncio.Event] = set()
        self._notifier: asyncio.Task[None] | None = None
        self._untold = False
        self._listener: asyncio.Task[None] | None = None
        self._log = get_logger("outbox")
        self.draining = False
        """True when the process is about to stop: whoever waits is to be answered now."""
        self.wake_jobs: Callable[[], None] = lambda: None
        """Called after a commit that enqueued jobs; set by who runs them in this process."""
        self.tell_cache: Callable[[int, Sequence[str]], None] = lambda _, __: None
        """Called with the transaction and the tags of each commit, before its writer is answered."""

    async def open(self) -> None:
        """Begin to listen for other processes' commits (a transaction pooler cannot; the polling remains)."""
        if not self._database.pooler:
            self._listener = asyncio.create_task(self._listen(), name="outbox-listener")

    async def close(self) -> None:
        """Stop listening."""
        for task in (self._listener, self._notifier):
            if task is not None:
                task.cancel()

    def committed(self, xid: int = 0, tags: Sequence[str] = ()) -> None:
        """Say that a transaction with events has been committed, and which tags it changed, where that is known here."""
        if tags:
            self.tell_cache(xid, tags)
        self._wake()
        self._untold = True
        if self._notifier is None or self._notifier.done():
            self._notifier = asyncio.create_task(self._notify(), name="outbox-notifier")

    def drain(self) -> None:
        """End all waits, and those to come: a long poll must not hold up a stop."""
        self.draining = True
        self._wake()

    @contextmanager
    def waking(self) -> Iterator[asyncio.Event]:
        """Lend an event that is set at each commit; nothing is missed while whoever has it does something else."""
        waker = asyncio.Event()
        self._wakers.add(waker)
        try:
            yield waker
        finally:
            self._wakers.discard(waker)

    async def wait(self, seconds: float) -> None:
        """Return at the next commit, or after `seconds`."""
        with self.waking() as waker, suppress(TimeoutError):
            await asyncio.wait_for(waker.wait(), seconds)

    def _wake(self) -> None:
        for waker in self._wakers:
            waker.set()

    def _heard(self, *_: object) -> None:
        self._wake()

    async def _notify(self) -> None:
        while self._untold:  # a commit while one is being sent may come too late for it
            await asyncio.sleep(GATHER_SECONDS)
            self._untold = False
            try:
                await self._database.execute("SELECT pg_notify($1, '')", CHANNEL)
            except DatabaseUnavailable:
                return  # the others find the rows by looking, at the latest half a second after the database is back

    async def _listen(self) -> None:
        while True:
            try:
                await self._listen_once()
            except Exception as error:  # whatever it was: without listening on, others' commits are seen half a second late
                self._log.debug("listening for commits was interrupted", error_type=type(error).__name__)
            await asyncio.sleep(POLL_SECONDS)

    async def _listen_once(self) -> None:
        connection = await asyncpg.connect(self._database.dsn, timeout=self._database.deadline)
        ended = asyncio.Event()
        try:
            connection.add_termination_listener(lambda _: ended.set())
            await connection.add_listener(CHANNEL, self._heard)
            self._wake()
            await ended.wait()
        finally:
            connection.terminate()
