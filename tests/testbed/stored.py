"""Bytes in a store and rows that use them, as the media service makes both."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from uuid import UUID, uuid4

import msgspec

from townsquare.kit.database import Database
from townsquare.kit.ids import new_id
from townsquare.services.media.objects import announce, hold
from townsquare.services.media.storage import Named, Storage

ADD_PERSON = "INSERT INTO people (id, handle) VALUES ($1, $2) ON CONFLICT DO NOTHING"
ADD_FILE = """
INSERT INTO files (id, owner_id, kind, media_type, name, visibility, status, original, bytes, variants, created_at)
VALUES ($1, $2, 'image', 'image/jpeg', 'a.jpg', 'public', 'ready', $3, $4, $5::jsonb, now())
"""
USE = """
INSERT INTO usage AS u VALUES ($1, 1, $2)
ON CONFLICT (owner_id) DO UPDATE SET files = u.files + 1, bytes = u.bytes + excluded.bytes
"""
AGE = "UPDATE objects SET put_at = put_at - interval '2 hours'"


async def stored(db: Database, storage: Storage, folder: Path, data: bytes) -> Named:
    """Announce and put bytes that no file uses yet."""
    path = folder / uuid4().hex
    path.write_bytes(data)
    named = await storage.name_of(path)
    await announce(db, [named])
    await storage.put(named.name, path)
    return named


async def added(db: Database, original: Named, made: Sequence[Named] = (), owner: UUID | None = None) -> UUID:
    """Add a picture that uses bytes: its original, and what was made of it."""
    owner, file_id = owner or uuid4(), new_id()
    formats = {
        name: {"object": one.name, "width": 1, "height": 1, "bytes": one.bytes}
        for name, one in zip(("webp", "jpeg", "avif"), made, strict=False)
    }
    variants = msgspec.json.encode({"small": formats} if formats else {}).decode()
    async with db.transaction() as connection:
        await connection.execute(ADD_PERSON, owner, f"p{owner.hex[:8]}")
        await connection.execute(ADD_FILE, file_id, owner, original.name, original.bytes, variants)
        await connection.execute(USE, owner, original.bytes)
        await hold(connection, {original.name, *(one.name for one in made)})
    return file_id


async def refs(db: Database) -> dict[str, int]:
    """Return the counts of all objects."""
    return {row["name"]: row["refs"] for row in await db.fetch("SELECT name, refs FROM objects")}


async def there(storage: Storage) -> set[str]:
    """Return the names of all that is in a store."""
    return {one.name async for one in storage.names()}


async def whole(chunks: AsyncIterator[bytes]) -> bytes:
    """Read a stream to its end."""
    return b"".join([chunk async for chunk in chunks])
