"""Follows this service's own outbox, so that the process's cache knows what has changed, whoever changed it.

A look is one statement: the snapshot, and the rows that it sees and the one before did not. Transactions may commit in any
order, late or early; each row is told once. A notification after a commit makes the next look come at once; without
any, looks come on their own, and the cache trusts itself for a second from the moment a look was sent. A look that fails
changes nothing, and the trust runs out by itself.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

import asyncpg

from townsquare.cache.cache import Cache, Change
from townsquare.cache.snapshots import NOTHING_SEEN, Snapshot
from townsquare.kit.database import Database, DatabaseUnavailable
from townsquare.kit.logs import get_logger
from townsquare.kit.outbox import Outbox

LOOK_SECONDS: Final = 0.4
TRUST_SECONDS: Final = 1.0
GATHER_SECONDS: Final = 0.001
HISTORY: Final = "40 minutes"
"""Older than the longest lifetime: what a second level may still hold can be checked against it."""
MOST_HISTORY: Final = 50_000
"""Rows of history that are read at most; older entries of a second level are then refused."""

# Served by outbox_xid_id_idx: the rows since the oldest transaction that was running at the look before.
LOOK: Final = """
SELECT pg_current_snapshot()::text AS snapshot, seen.xid, seen.tags
FROM (SELECT $1::text::pg_snapshot AS before) AS look
LEFT JOIN LATERAL (
    SELECT xid::text AS xid, tags
    FROM outbox
    WHERE xid >= pg_snapshot_xmin(look.before)
      AND NOT pg_visible_in_snapshot(xid, look.before)
      AND tags <> '{}'
) AS seen ON true
"""

# Where to begin: served by outbox_created_at_idx for the age, by outbox_xid_id_idx backwards for the number. A
# transaction that still runs may be older than both, and what it will commit must not be taken for known.
BEGIN: Final = f"""
SELECT least(
    pg_snapshot_xmin(pg_current_snapshot()),
    greatest(
        (SELECT min(xid) FROM outbox WHERE created_at > now() - interval '{HISTORY}'),
        (SELECT xid FROM outbox ORDER BY xid DESC OFFSET {MOST_HISTORY} LIMIT 1)
    )
)::text
"""

# The system identifier is given at initdb; the timeline grows with each restore and failover.
IDENTITY: Final = """
SELECT (SELECT system_identifier FROM pg_control_system()) || '.' || (SELECT timeline_id FROM pg_control_checkpoint())
"""


class Follower:
    """Tells `cache` what changed in `database`, for as long as the process lives.

    `identified` is told which database it is (its identifier and timeline) whenever that is found out anew: after a
    restore, transaction ids may be used a second time, and what was kept under the old name must not be found.
    """

    def __init__(
        self, cache: Cache, database: Database, outbox: Outbox, identified: Callable[[str], None] = lambda _: None
    ) -> None:
        self.looks = 0
        self._cache = cache
        self._database = database
        self._outbox = outbox
        self._identified = identified
        self._identity = ""
        self._in_touch = False
        self._before = NOTHING_SEEN
        self._log = get_logger("follower")

    async def run(self) -> None:
        """Look until cancelled: at each wake-up, and by itself."""
        while True:
            await self.look()
            await self._outbox.wait(LOOK_SECONDS)
            await asyncio.sleep(GATHER_SECONDS)  # a burst of commits is one look

    async def look(self) -> None:
        """Look once; a failure is noted and changes nothing."""
        try:
            if not self._in_touch:
                await self._begin()
            await self._look()
            self._in_touch = True
        except (DatabaseUnavailable, asyncpg.PostgresError, TimeoutError) as error:
            if self._in_touch:
                self._log.warning("the cache has lost touch", error_type=type(error).__name__)
            self._in_touch = False

    async def _begin(self) -> None:
        """Find out where we are; what was known before stays known unless the database is another one."""
        identity = str(await self._database.fetchval(IDENTITY))
        if identity == self._identity:
            return
        known_from = int(str(await self._database.fetchval(BEGIN)))
        self._before = Snapshot(known_from, known_from)
        self._cache.begin(self._before, known_from)
        self._identity = identity
        self._identified(identity)

    async def _look(self) -> None:
        sent = time.monotonic()
        rows = await self._database.fetch(LOOK, str(self._before))
        self.looks += 1
        snapshot = Snapshot.parse(rows[0]["snapshot"])
        if snapshot.xmax < self._before.xmax:
            self._identity = ""  # transactions are numbered anew: an older copy of the database stands there now
            raise DatabaseUnavailable("The database has gone back in time.")
        changes = [Change(int(row["xid"]), row["tags"]) for row in rows if row["xid"] is not None]
        self._before = snapshot
        self._cache.looked(snapshot, changes, sent + TRUST_SECONDS)
