"""Whether rows and bytes agree: looked at by `townsquare media verify`, and mended where counting again is enough.

The storage is listed before the rows are read, and whatever looks wrong is looked at once more, so that what people
upload and delete meanwhile is not mistaken for a fault.
"""

import hashlib
from collections.abc import Sequence
from typing import Final
from uuid import UUID

import asyncpg
from msgspec import Struct

from townsquare.kit.database import Database, rows_affected
from townsquare.services.media.storage import Named, ObjectMissing, Storage

PAGE: Final = 1000
SECONDS: Final = 600.0
SHOWN: Final = 1000
"""So many of each kind of fault are named."""

# One pass over files, as all here: a command that somebody waits for, and no request.
_USED: Final = """
SELECT used.name, count(*)::integer AS refs
FROM files AS f
CROSS JOIN LATERAL (
    SELECT f.original AS name
    UNION
    SELECT variant.value ->> 'object'
    FROM jsonb_each(f.variants) AS size, jsonb_each(size.value) AS variant
) AS used
GROUP BY used.name
"""

MISCOUNTED: Final = f"""
SELECT coalesce(o.name, u.name) AS name, o.refs AS counted, coalesce(u.refs, 0) AS used
FROM objects AS o
FULL JOIN ({_USED}) AS u ON u.name = o.name
WHERE o.refs IS DISTINCT FROM coalesce(u.refs, 0)
ORDER BY 1
"""

USED_WRONG: Final = """
SELECT coalesce(t.owner_id, u.owner_id) AS owner_id
FROM usage AS u
FULL JOIN (SELECT owner_id, count(*) AS files, sum(bytes) AS bytes FROM files GROUP BY owner_id) AS t
    ON t.owner_id = u.owner_id
WHERE (coalesce(u.files, 0), coalesce(u.bytes, 0)) <> (coalesce(t.files, 0), coalesce(t.bytes, 0))
ORDER BY 1
"""

# Walks the primary key.
NEXT_OBJECTS: Final = "SELECT name, bytes, refs FROM objects WHERE name > $1 ORDER BY name LIMIT $2"
KNOWN: Final = "SELECT name FROM objects WHERE name = ANY($1)"
STILL_USED: Final = "SELECT bytes FROM objects WHERE name = $1 AND refs > 0"

HURT: Final = """
SELECT f.id, f.original = ANY($1) AS original
FROM files AS f
WHERE f.original = ANY($1) OR EXISTS (
    SELECT
    FROM jsonb_each(f.variants) AS size, jsonb_each(size.value) AS variant
    WHERE variant.value ->> 'object' = ANY($1)
)
ORDER BY f.id
LIMIT $2
"""

# Whoever makes or deletes a file waits for the recount, and then counts on.
ALONE: Final = "LOCK TABLE files IN SHARE MODE"

RECOUNT: Final = f"""
UPDATE objects AS o
SET refs = m.used, put_at = now()
FROM ({MISCOUNTED}) AS m
WHERE o.name = m.name
"""

REUSE: Final = """
INSERT INTO usage AS u (owner_id, files, bytes)
SELECT owner.id, count(f.id), coalesce(sum(f.bytes), 0)
FROM unnest($1::uuid[]) AS owner (id)
LEFT JOIN files AS f ON f.owner_id = owner.id
GROUP BY owner.id
ON CONFLICT (owner_id) DO UPDATE SET files = excluded.files, bytes = excluded.bytes
"""

ADOPT: Final = """
INSERT INTO objects (name, bytes)
SELECT name, bytes FROM unnest($1::text[], $2::bigint[]) AS found (name, bytes)
ON CONFLICT DO NOTHING
"""


class Hurt(Struct, frozen=True):
    """A file some of whose bytes are missing or wrong: the original, or only what was made of it."""

    id: UUID
    original: bool


class Miscounted(Struct, frozen=True):
    """An object that is used by another number of files than is counted; `counted` is null where it has no row."""

    name: str
    counted: int | None
    used: int


class Verified(Struct, frozen=True):
    """What was looked at, and what is wrong."""

    objects: int
    bytes: int
    missing: list[str]
    """Used, and not in the storage."""
    damaged: list[str]
    """There, with another size, or (looked at deeply) with other bytes than their name says."""
    files: list[Hurt]
    miscounted: list[Miscounted]
    usage: list[UUID]
    """People whose files are counted wrongly."""
    unknown: list[Named]
    """In the storage, and of no row."""

    @property
    def well(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.missing or self.damaged or self.miscounted or self.usage or self.unknown)


class Repaired(Struct, frozen=True):
    """What was mended."""

    counts: int
    usage: int
    adopted: int
    """Bytes of no row that are known as unused now, and will be swept."""


async def verify(db: Database, storage: Storage, *, deep: bool = False) -> Verified:
    """Compare the rows with the storage and with each other; `deep` reads every byte. Raises StorageUnavailable."""
    there = {bytes.fromhex(found.name): found.bytes async for found in storage.names()}
    objects = size = 0
    missing: list[str] = []
    damaged: list[str] = []
    last = ""
    while rows := await db.fetch(NEXT_OBJECTS, last, PAGE):
        last = rows[-1]["name"]
        for row in rows:
            objects, size = objects + 1, size + row["bytes"]
            stored = there.pop(bytes.fromhex(row["name"]), None)
            if row["refs"] and (deep or stored != row["bytes"]):
                await _look(db, storage, row["name"], missing, damaged, deep=deep)
    faulty = [*missing, *damaged]
    return Verified(
        objects,
        size,
        missing,
        damaged,
        [Hurt(**row) for row in await db.fetch(HURT, faulty, SHOWN)] if faulty else [],
        [Miscounted(**row) for row in await _slowly(db, MISCOUNTED)],
        [row["owner_id"] for row in await _slowly(db, USED_WRONG)],
        await _unknown(db, storage, [Named(name.hex(), length) for name, length in there.items()]),
    )


async def repair(db: Database, found: Verified) -> Repaired:
    """Count again, and make known what no row knows, so that it can be swept. No bytes are touched."""
    async with db.transaction(deadline=SECONDS) as connection:
        await connection.execute(ALONE)
        names, sizes = [one.name for one in found.unknown], [one.bytes for one in found.unknown]
        adopted = rows_affected(await connection.execute(ADOPT, names, sizes))
        counts = rows_affected(await connection.execute(RECOUNT))
        usage = [row["owner_id"] for row in await connection.fetch(USED_WRONG)]
        await connection.execute(REUSE, usage)
    return Repaired(counts, len(usage), adopted)


async def _look(db: Database, storage: Storage, name: str, missing: list[str], damaged: list[str], *, deep: bool) -> None:
    """Look at one object again, and put it where it belongs."""
    stored = await storage.size(name)
    known = await db.fetchval(STILL_USED, name)
    if known is None:
        return  # its last file was deleted meanwhile
    if stored is None:
        missing.append(name)
    elif stored != known or (deep and await _digest(storage, name) != name):
        damaged.append(name)


async def _digest(storage: Storage, name: str) -> str:
    digest = hashlib.blake2b(digest_size=32)
    try:
        async for chunk in storage.stream(name):
            digest.update(chunk)
    except ObjectMissing:
        return ""
    return digest.hexdigest()


async def _unknown(db: Database, storage: Storage, left: Sequence[Named]) -> list[Named]:
    """Return what is really of no row, of what seemed to be."""
    unknown: list[Named] = []
    for start in range(0, len(left), PAGE):
        page = left[start : start + PAGE]
        known = {row["name"] for row in await db.fetch(KNOWN, [one.name for one in page])}
        unknown += [one for one in page if one.name not in known and await storage.size(one.name) is not None]
    return unknown


async def _slowly(db: Database, sql: str) -> list[asyncpg.Record]:
    async with db.connection(deadline=SECONDS) as connection:
        return await connection.fetch(sql)
