"""Readers of another service's outbox: each event takes effect exactly once.

A reader keeps its checkpoint in its own database and moves it in the same transaction as what it derived. Of several
processes of one service one holds the lease and reads; the lease is only thrift: the checkpoint's row lock makes it right.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import asyncpg
import msgspec

from townsquare.kit.clock import now
from townsquare.kit.database import Connection, Database, DatabaseUnavailable
from townsquare.kit.logs import get_logger
from townsquare.kit.outbox import Event, EventBatch, Outbox, Position
from townsquare.kit.problems import Problem
from townsquare.kit.upstream import Upstream

BATCH = 500
POLL_SECONDS = 5
MAX_BACKOFF = 5.0
IDLE_SECONDS = 0.05
"""After an answer without events: one that is about to stop answers at once, and must not be asked in a circle."""
TOKEN_WAIT_SECONDS = 1.0

Apply = Callable[[Connection, Event], Awaitable[None]]
ApplyBatch = Callable[[Connection, Sequence[Event]], Awaitable[None]]

REGISTER = "INSERT INTO event_checkpoints (source) VALUES ($1) ON CONFLICT DO NOTHING"

LEASE = """
UPDATE event_checkpoints SET leased_by = $2, leased_until = now() + interval '10 seconds'
WHERE source = $1 AND (leased_by = $2 OR leased_until IS NULL OR leased_until < now())
RETURNING xid::text AS xid, id
"""

UNLEASE = "UPDATE event_checkpoints SET leased_by = NULL, leased_until = NULL WHERE source = $1 AND leased_by = $2"

LOCK = "SELECT xid::text AS xid, id FROM event_checkpoints WHERE source = $1 FOR UPDATE"

ADVANCE = "UPDATE event_checkpoints SET xid = $2::text::xid8, id = $3, updated_at = now() WHERE source = $1"

SEEN = "SELECT xid::text FROM event_checkpoints WHERE source = $1"


@dataclass(frozen=True, slots=True)
class Reader:
    """What one service derives from another's events: a function for each topic it cares for.

    A topic in `batches` gets all its events of a batch at once, after the other topics: for what takes locks that
    requests take too, which must be taken in one order.
    """

    source: str
    topics: Mapping[str, Apply]
    batches: Mapping[str, ApplyBatch] = field(default_factory=dict[str, ApplyBatch])


class ReaderRunner:
    """Follows one outbox for as long as the process lives."""

    def __init__(self, reader: Reader, database: Database, outbox: Outbox, upstream: Upstream, owner: str) -> None:
        self._reader = reader
        self._database = database
        self._outbox = outbox
        self._upstream = upstream
        self._owner = owner
        self._log = get_logger("reader")
        self._leads = False
        self._behind_since: float | None = None

    @property
    def source(self) -> str:
        """The service whose outbox is read."""
        return self._reader.source

    @property
    def lag_seconds(self) -> float | None:
        """For how long there has been something that has not taken effect here; None where another process reads."""
        if not self._leads:
            return None
        return 0.0 if self._behind_since is None else max(0.0, now().timestamp() - self._behind_since)

    async def run(self) -> None:
        """Read and apply until cancelled; what fails is tried again, with back-off, and nothing is skipped."""
        backoff = 0.1
        while True:
            try:
                if not await self.step():
                    await asyncio.sleep(IDLE_SECONDS)
                backoff = 0.1
            except (DatabaseUnavailable, Problem, TimeoutError, OSError) as error:
                self._log.warning("reader waits", source=self.source, error_type=type(error).__name__)
                backoff = await self._pause(backoff)
            except Exception as error:
                self._log.error("event was not applied", source=self.source, exc_info=error)
                backoff = await self._pause(backoff)

    async def step(self, wait: float = POLL_SECONDS) -> int:
        """Take one batch, waiting up to `wait` seconds for it; returns how many events were applied."""
        position = await self._leased()
        if position is None:
            await asyncio.sleep(1)
            return 0
        batch = await self._fetch(position, wait)
        if batch.items:
            self._behind_since = datetime.fromisoformat(batch.items[0].created_at).timestamp()
            await self._apply(position, batch)
        if len(batch.items) < BATCH:
            self._behind_since = None
        return len(batch.items)

    async def release(self) -> None:
        """Let another process read on at once."""
        try:
            await self._database.execute(UNLEASE, self._reader.source, self._owner)
        except DatabaseUnavailable:
            return  # the lease ends by itself

    async def _leased(self) -> Position | None:
        row = await self._database.fetchrow(LEASE, self._reader.source, self._owner)
        if row is None:
            await self._database.execute(REGISTER, self._reader.source)
            row = await self._database.fetchrow(LEASE, self._reader.source, self._owner)
        self._leads = row is not None
        return None if row is None else _position(row)

    async def _fetch(self, after: Position, wait: float) -> EventBatch:
        target = f"/events?after={after}&limit={BATCH}&wait={wait}"
        reply = await self._upstream.call("GET", target, timeout=wait + 10)
        if reply.status != 200:
            raise Problem("upstream_unavailable")
        return msgspec.json.decode(reply.body, type=EventBatch)

    async def _apply(self, expected: Position, batch: EventBatch) -> None:
        async with self._database.transaction(deadline=60) as connection:
            row = await connection.fetchrow(LOCK, self._reader.source)
            if row is None or _position(row) != expected:
                return  # another process was here first
            for event in batch.items:
                if (apply := self._reader.topics.get(event.topic)) is not None:
                    await apply(connection, event)
            for topic, apply_batch in self._reader.batches.items():
                if told := [event for event in batch.items if event.topic == topic]:
                    await apply_batch(connection, told)
            after = _after(batch)
            await connection.execute(ADVANCE, self._reader.source, str(after.xid), after.id)
        self._outbox.committed()  # what was applied may have been told on

    async def _pause(self, backoff: float) -> float:
        if self._behind_since is None:
            self._behind_since = now().timestamp()
        await asyncio.sleep(backoff)
        return min(backoff * 2, MAX_BACKOFF)


def _after(batch: EventBatch) -> Position:
    last = Position.parse(batch.items[-1].position)
    if len(batch.items) == BATCH:
        return last
    # All of the last transaction's events are in. The horizon was taken a moment earlier and may be that transaction itself;
    # who waits for it would wait until somebody wrote again.
    return max(Position(last.xid + 1, 0), Position(batch.horizon, 0))


def _position(row: asyncpg.Record) -> Position:
    return Position(int(row["xid"]), int(row["id"]))


async def wait_until_seen(database: Database, source: str, xid: int) -> None:
    """Wait, for a second at most, until everything up to transaction `xid` of `source` has taken effect here."""
    pause = 0.005
    async with asyncio.timeout(TOKEN_WAIT_SECONDS):
        while True:
            seen = await database.fetchval(SEEN, source)
            if seen is not None and int(str(seen)) > xid:
                return
            await asyncio.sleep(pause)
            pause = min(pause * 2, 0.05)
