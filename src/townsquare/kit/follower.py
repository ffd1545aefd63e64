"""Follows this service's own outbox, so that the process's cache knows what has changed, whoever changed it.

A notification after a commit makes the next look come at once; without any, looks come on their own. What a look means, and
for how long the cache may trust itself after it, is said in `cache/contact.py`.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import asyncpg

from townsquare.cache.cache import Cache, Change
from townsquare.cache.contact import Beginning, Contact, Look, SourceReplaced
from townsquare.cache.snapshots import Snapshot
from townsquare.kit.database import Connection, Database
from townsquare.kit.logs import get_logger
from townsquare.kit.outbox import Outbox

LOOK_SECONDS: Final = 0.4
"""The longest pause between looks: less than half of the trust that one gives, so that one may be lost."""
LOOK_DEADLINE: Final = 2.0
BEGIN_DEADLINE: Final = 30.0
"""The first look reads the history."""
GATHER_SECONDS: Final = 0.001
"""A burst of commits is one look."""
SHARE_OF_TIME: Final = 5
"""Looks take at most one part in so many of the time, however fast commits come."""
LONGEST_GATHERING: Final = 0.1
HISTORY: Final = "40 minutes"
"""Older than the longest lifetime: what a second level may still hold can be checked against it."""
MOST_HISTORY: Final = 50_000
"""Rows of history that are read at most; older entries of a second level are then refused."""

# In memory, so that every look can afford it: one changes when the server is started, and so also after a failover or a
# restore; the other when it has recovered from a crash (statistics do not survive one). After each of these, transaction
# numbers that a snapshot took for ended may be given out again: an aborted transaction's, whose last trace was not yet on
# disk, or all that came after the copy was taken.
INCARNATION: Final = """
SELECT extract(epoch FROM pg_postmaster_start_time()) || '/' || coalesce(extract(epoch FROM stats_reset)::text, '')
FROM pg_stat_archiver
"""

# The rows that have come to be visible since snapshot $1:$2:$3: of transactions that began later, and of those that were
# running then. Served by outbox_xid_id_idx twice; reads what it returns, however long a transaction stays open.
LOOK: Final = f"""
SELECT pg_current_snapshot()::text AS snapshot, ({INCARNATION}) AS incarnation, told.xid, told.tags
FROM (SELECT) AS moment
LEFT JOIN (
    SELECT xid::text AS xid, tags
    FROM outbox
    WHERE xid >= $1::text::xid8 AND tags <> '{{}}'
    UNION ALL
    SELECT xid::text AS xid, tags
    FROM outbox
    WHERE xid = ANY ($2::text[]::xid8[]) AND tags <> '{{}}'
) AS told ON true
"""

# The system identifier is given at initdb; the timeline grows with each restore and failover.
#
# Where to begin: behind the last row that is older than the history, served by outbox_created_at_idx, and so many rows back,
# served by outbox_xid_id_idx backwards. Not at the first row of the history: where nothing was written for long, all that
# others share is older than that, and still right. A transaction that still runs may be older than both, and what it will
# commit must not be taken for known.
BEGIN: Final = f"""
SELECT
    (SELECT system_identifier FROM pg_control_system()) AS system,
    (SELECT timeline_id FROM pg_control_checkpoint()) AS timeline,
    ({INCARNATION}) AS incarnation,
    least(
        pg_snapshot_xmin(pg_current_snapshot()),
        greatest(
            (SELECT xid FROM outbox WHERE created_at < now() - interval '{HISTORY}' ORDER BY created_at DESC LIMIT 1),
            (SELECT xid FROM outbox ORDER BY xid DESC OFFSET {MOST_HISTORY} LIMIT 1),
            '0'
        )
    )::text AS known_from
"""


class OutboxSource:
    """A service's outbox as a cache follows it, on a connection of its own; `cut` is called when that has been closed.

    Of its own: when all others are busy, or wait for locks, the cache must not lose touch, or every read would become one
    more query and the database would never recover.
    """

    def __init__(self, database: Database, cut: Callable[[], None]) -> None:
        self._database = database
        self._cut = cut
        self._connection: Connection | None = None
        self._history = True

    async def begin(self) -> Beginning:
        """Find out which database it is, and how far back its changes are still told."""
        self._history = True
        row = (await self._fetch(BEGIN_DEADLINE, BEGIN))[0]
        identity = f"{row['system']}.{row['timeline']}.{row['incarnation']}"
        return Beginning(identity, row["incarnation"], int(row["known_from"]))

    async def look(self, before: Snapshot) -> Look:
        """Return what has come to be visible since `before`."""
        deadline = BEGIN_DEADLINE if self._history else LOOK_DEADLINE
        rows = await self._fetch(deadline, LOOK, str(before.xmax), [str(xid) for xid in before.active])
        self._history = False
        changes = [Change(int(row["xid"]), row["tags"]) for row in rows if row["xid"] is not None]
        return Look(rows[0]["incarnation"], Snapshot.parse(rows[0]["snapshot"]), changes)

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.terminate()

    async def _fetch(self, deadline: float, sql: str, *arguments: object) -> list[asyncpg.Record]:
        async with asyncio.timeout(deadline):
            if self._connection is None or self._connection.is_closed():
                self._connection = await self._connect()
            try:
                return await self._connection.fetch(sql, *arguments)
            except BaseException:
                self._connection.terminate()
                raise

    async def _connect(self) -> Connection:
        database = self._database
        connection = await asyncpg.connect(
            database.dsn,
            timeout=LOOK_DEADLINE,
            statement_cache_size=0 if database.pooler else 100,
            max_cached_statement_lifetime=0,
            server_settings={} if database.pooler else {"application_name": f"{database.name}-follower"},
        )
        connection.add_termination_listener(lambda _: self._cut())
        return connection


class Follower:
    """Tells `cache` what changed in `database`, for as long as the process lives.

    `identified` is told which database it is whenever that is found out anew: after a restore, transaction ids may be
    used a second time, and what was shared under the old name must not be found.
    """

    def __init__(
        self, cache: Cache, database: Database, outbox: Outbox, identified: Callable[[str], None] = lambda _: None
    ) -> None:
        self._source = OutboxSource(database, cache.distrust)
        self._contact = Contact(cache, self._source, identified)
        self._outbox = outbox
        self._in_touch = True
        self._log = get_logger("follower")

    async def run(self) -> None:
        """Look until cancelled: at each commit, and by itself."""
        with self._outbox.waking() as woken:
            try:
                while True:
                    woken.clear()
                    began = time.monotonic()
                    await self.look()
                    took = time.monotonic() - began
                    with suppress(TimeoutError):
                        async with asyncio.timeout(LOOK_SECONDS):
                            await woken.wait()
                    await asyncio.sleep(min(max(GATHER_SECONDS, took * (SHARE_OF_TIME - 1)), LONGEST_GATHERING))
            finally:
                self._source.close()

    async def look(self) -> None:
        """Look once; a failure is noted and changes nothing."""
        try:
            await self._contact.look()
        except (asyncpg.PostgresError, asyncpg.InterfaceError, SourceReplaced, OSError, TimeoutError) as error:
            if self._in_touch:
                self._log.warning("the cache has lost touch", error_type=type(error).__name__)
            self._in_touch = False
        except Exception as error:  # whatever it was: without looks nothing is answered from the cache ever again
            if self._in_touch:  # it comes twice a second
                self._log.error("a look at the outbox failed", exc_info=error)
            self._in_touch = False
        else:
            if not self._in_touch:
                self._log.info("the cache is in touch again")
            self._in_touch = True
