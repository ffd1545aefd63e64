"""Which bytes are in use: the counts beside the storage, by which it is known what may be thrown away.

Whoever stores something first announces it, then puts it, then holds it in the transaction that makes its file. What was
announced within the last hour is not swept, so it is there when it is held. What a file lets go of is kept for another
hour: somebody may be reading it, or be about to make a file of the same bytes.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final, Protocol

import asyncpg

from townsquare.kit.database import Database, rows_affected
from townsquare.kit.problems import Problem, unavailable
from townsquare.services.media.storage import Named


class Statements(Protocol):
    """What statements are run on: the transaction of a write, or that of a job."""

    async def fetchrow(self, query: str, /, *arguments: object) -> asyncpg.Record | None:
        """Return the first row, or None."""
        ...

    async def fetchval(self, query: str, /, *arguments: object) -> Any:
        """Return the first column of the first row, or None."""
        ...

    async def execute(self, query: str, /, *arguments: object) -> str:
        """Run a statement; returns PostgreSQL's status."""
        ...


# Names are locked in their order, here and below, so that no two transactions wait for each other; after the rows of `files`
# and of `usage`, in this order, for the same reason. Not more strongly than a change of the counts needs: whoever has just
# added a file holds its original by the foreign key.
ANNOUNCE: Final = """
INSERT INTO objects (name, bytes)
SELECT name, bytes
FROM unnest($1::text[], $2::bigint[]) AS announced (name, bytes)
ORDER BY name
ON CONFLICT (name) DO UPDATE SET put_at = now()
"""

# By primary key: a dozen rows for a picture. The inner query takes the locks in order, before anything is changed.
HOLD: Final = """
UPDATE objects AS o
SET refs = o.refs + 1
FROM (SELECT name FROM objects WHERE name = ANY($1) ORDER BY name FOR NO KEY UPDATE) AS locked
WHERE o.name = locked.name
"""

RELEASE: Final = """
UPDATE objects AS o
SET refs = o.refs - 1, put_at = CASE WHEN o.refs = 1 THEN now() ELSE o.put_at END
FROM (SELECT name FROM objects WHERE name = ANY($1) ORDER BY name FOR NO KEY UPDATE) AS locked
WHERE o.name = locked.name
"""

# By primary key.
LOCK_OBJECTS: Final = "SELECT FROM objects WHERE name = ANY($1) ORDER BY name FOR NO KEY UPDATE"


async def announce(db: Database, named: Sequence[Named]) -> None:
    """Say that these are about to be put: from now on they are not swept for an hour. Committed when it returns."""
    sizes = {one.name: one.bytes for one in named}  # two sizes of a small picture may be the same bytes
    if sizes:
        await db.execute(ANNOUNCE, list(sizes), list(sizes.values()))


async def hold(transaction: Statements, names: Iterable[str]) -> None:
    """Count one more file that uses each of these, in the transaction that makes it.

    Raises `unavailable` where one is not there any more: its upload has taken longer than unused bytes are kept.
    """
    wanted = sorted(set(names))
    if rows_affected(await transaction.execute(HOLD, wanted)) != len(wanted):
        raise swept()


def swept() -> Problem:
    """Make the 503 for a file whose bytes are not there any more."""
    return unavailable("What was stored for this file has been swept meanwhile; send it again.")


async def exchange(transaction: Statements, before: Iterable[str], after: Iterable[str]) -> None:
    """Count that a file uses `after` and no longer `before`; raises `unavailable` as `hold` does."""
    old, new = set(before), set(after)
    await transaction.execute(LOCK_OBJECTS, sorted(old ^ new))
    await hold(transaction, new - old)
    await release(transaction, old - new)


async def release(transaction: Statements, names: Iterable[str]) -> None:
    """Count one file less that uses each of these, in the transaction that deletes it."""
    await transaction.execute(RELEASE, sorted(set(names)))
