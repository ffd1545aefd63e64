"""A profile's pictures that stand in the media service: set when they come in an archive, emptied when they are deleted.

Whatever else a profile shows is an address like any other, on this site or elsewhere, and is never looked at.

The files of a batch are taken over together, for the reason that `post_counts.py` gives.
"""

from collections.abc import Iterable, Sequence
from typing import Final, Literal, TypeAlias
from uuid import UUID

import asyncpg
import msgspec
from msgspec import Struct

from townsquare.kit.database import Connection
from townsquare.kit.outbox import Event, NewEvent, insert_events
from townsquare.kit.readers import Reader
from townsquare.services.users.people import person_tags

Column: TypeAlias = Literal["avatar", "banner"]

SIZES: Final[dict[Column, str]] = {"avatar": "small", "banner": "large"}
"""In which size an archive's picture is shown."""


class FileTold(Struct, frozen=True):
    """What matters here of a file: what it came for, whether there are pictures to show, and that it is gone."""

    id: UUID
    owner: UUID
    purpose: str = "upload"
    pictures: bool = False
    deleted: bool = False


# By primary key, locked in the order of the sort below the lock.
LOCK_PROFILES: Final = """
SELECT id, handle, display_name, avatar, banner, hidden_at IS NULL AS shown
FROM people
WHERE id = ANY($1::uuid[])
ORDER BY id
FOR NO KEY UPDATE
"""

# By primary key.
OFFER: Final = """
INSERT INTO offered_pictures (file_id)
SELECT unnest($1::uuid[])
ON CONFLICT DO NOTHING
RETURNING file_id
"""

FORGET_OFFERED: Final = "DELETE FROM offered_pictures WHERE file_id = ANY($1::uuid[])"

# By primary key.
SET_PICTURES: Final = "UPDATE people SET avatar = $2, banner = $3, updated_at = now() WHERE id = $1"


async def files_told(connection: Connection, events: Sequence[Event]) -> None:
    """Set and empty the pictures of the profiles whose owners' files are told."""
    told = [msgspec.json.decode(event.payload, type=FileTold) for event in events]
    matters = [file for file in told if file.deleted or (file.purpose in SIZES and file.pictures)]
    if not matters:
        return
    owners = sorted({file.owner for file in matters})
    profiles = {row["id"]: row for row in await connection.fetch(LOCK_PROFILES, owners)}
    offered = [file.id for file in matters if not file.deleted]
    new = {row["file_id"] for row in await connection.fetch(OFFER, offered)} if offered else set[UUID]()
    for owner, row in profiles.items():
        own = [file for file in matters if file.owner == owner and (file.deleted or file.id in new)]
        await _take_over(connection, row, own)
    if gone := [file.id for file in matters if file.deleted]:
        await connection.execute(FORGET_OFFERED, gone)


async def _take_over(connection: Connection, row: asyncpg.Record, files: Iterable[FileTold]) -> None:
    avatar, banner = row["avatar"], row["banner"]
    for file in files:  # in the order in which it happened
        avatar, banner = _picture("avatar", avatar, file), _picture("banner", banner, file)
    if (avatar, banner) == (row["avatar"], row["banner"]):
        return
    await connection.execute(SET_PICTURES, row["id"], avatar, banner)
    if row["shown"]:  # who is hidden is told when they are back
        await insert_events(connection, [_changed(row, avatar)])


def _picture(column: Column, current: str | None, file: FileTold) -> str | None:
    """Return what stands there after a file was told."""
    if file.deleted:
        return None if current is not None and f"/files/{file.id}/" in current.lower() else current
    if current is None and file.purpose == column:
        return f"/api/media/files/{file.id}/{SIZES[column]}.webp"
    return current


def _changed(row: asyncpg.Record, avatar: str | None) -> NewEvent:
    if avatar == row["avatar"]:
        return NewEvent("profile", str(row["id"]), (f"profile:{row['id']}",), {"id": row["id"]})
    payload = {name: row[name] for name in ("id", "handle", "display_name")} | {"avatar": avatar}
    return NewEvent("person", str(row["id"]), tuple(person_tags(row["id"])), payload)


READER: Final = Reader("media", {}, {"file": files_told})
