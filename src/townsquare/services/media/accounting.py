"""What the files take: told to whoever runs the community, by `townsquare media usage`."""

from typing import Final
from uuid import UUID

from msgspec import Struct

from townsquare.kit.database import Database

SECONDS: Final = 300.0

# All here read whole tables: a command that somebody waits for, and no request.
BY_PERSON: Final = """
SELECT u.owner_id AS id, p.handle, u.files, u.bytes
FROM usage AS u
LEFT JOIN people AS p ON p.id = u.owner_id
WHERE u.files > 0
ORDER BY u.bytes DESC, u.owner_id
LIMIT $1
"""

BY_KIND: Final = """
SELECT kind, count(*) AS files, sum(bytes)::bigint AS bytes, count(*) FILTER (WHERE status = 'processing') AS waiting
FROM files
GROUP BY kind
ORDER BY kind
"""

STORED: Final = """
SELECT
    count(*) AS objects,
    coalesce(sum(bytes), 0)::bigint AS bytes,
    count(*) FILTER (WHERE refs = 0) AS unused,
    coalesce(sum(bytes) FILTER (WHERE refs = 0), 0)::bigint AS unused_bytes
FROM objects
"""


class PersonUsage(Struct, frozen=True):
    """What one person's originals take; `handle` is null where nobody has told it."""

    id: UUID
    handle: str | None
    files: int
    bytes: int


class KindUsage(Struct, frozen=True):
    """What the originals of one kind take, and how many are still to be worked on."""

    kind: str
    files: int
    bytes: int
    waiting: int


class StoredUsage(Struct, frozen=True):
    """What is in the storage, originals and what was made of them, each bytes once; `unused` is of no file."""

    objects: int
    bytes: int
    unused: int
    unused_bytes: int


class Usage(Struct, frozen=True):
    """What all files take."""

    people: list[PersonUsage]
    kinds: list[KindUsage]
    stored: StoredUsage


async def usage(db: Database, most: int) -> Usage:
    """Count; of people the `most` who use the most."""
    async with db.connection(deadline=SECONDS) as connection:
        stored = await connection.fetchrow(STORED)
        assert stored is not None  # noqa: S101  (an aggregate has one row)
        return Usage(
            [PersonUsage(**row) for row in await connection.fetch(BY_PERSON, most)],
            [KindUsage(**row) for row in await connection.fetch(BY_KIND)],
            StoredUsage(**stored),
        )
