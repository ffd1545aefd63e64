"""A file by itself: what is known of it, what its owner may change, and its end.

A file that is deleted is gone at once. Its bytes go when no other file has the same, an hour later at the earliest.
"""

from typing import Final
from uuid import UUID

import asyncpg
import msgspec
from litestar import Response, delete, get, patch
from litestar.params import FromPath, JSONBody
from msgspec import UNSET, Struct, UnsetType

from townsquare.kit.asgi import AnyRequest
from townsquare.kit.cached_routes import cached, changes
from townsquare.kit.calls import internal_only
from townsquare.kit.changes import given
from townsquare.kit.conditional import require_match
from townsquare.kit.dependencies import Ctx, Db, DependsOn, MaybeViewer, SignedIn, Transaction
from townsquare.kit.identity import Viewer
from townsquare.kit.outbox import NewEvent
from townsquare.kit.problems import Problem, not_found
from townsquare.kit.writes import Write
from townsquare.services.media.addresses import signed_addresses
from townsquare.services.media.file_view import (
    FILE_COLUMNS,
    FILE_TAGS,
    File,
    Visibility,
    file_of,
    file_tags,
    objects_of,
    told,
)
from townsquare.services.media.objects import Statements, release
from townsquare.services.media.people import asking
from townsquare.services.media.receiving import AltText
from townsquare.services.media.visibility import READABLE
from townsquare.strategies import MEDIA_DETAILS

# By primary key, with one look at the owner and at who is blocked.
READ_FILE: Final = f"""
SELECT {FILE_COLUMNS}
FROM files AS f
JOIN people AS o ON o.id = f.owner_id
WHERE f.id = $2 AND {READABLE}
"""

LOCK_FILE: Final = f"{READ_FILE} FOR UPDATE OF f"

# By primary key.
FIND_FILE: Final = f"SELECT {FILE_COLUMNS} FROM files AS f WHERE f.id = $1"

CHANGE_FILE: Final = f"UPDATE files AS f SET alt = $2, visibility = $3 WHERE f.id = $1 RETURNING {FILE_COLUMNS}"

DELETE_FILE: Final = "DELETE FROM files WHERE id = $1"

LESS_USED: Final = "UPDATE usage SET files = files - 1, bytes = bytes - $2 WHERE owner_id = $1"


class FileChange(Struct, frozen=True, forbid_unknown_fields=True):
    """What changes; a field that is left out stays. `alt` null takes it away."""

    alt: AltText | UnsetType | None = UNSET
    visibility: Visibility | UnsetType = UNSET


@get("/files/{file_id:uuid}", opt=cached(MEDIA_DETAILS, "plain", tags=("file:{file}", "owner:{person}")))
async def read_file(
    request: AnyRequest, context: Ctx, db: Db, viewer: MaybeViewer, depends: DependsOn, file_id: FromPath[UUID]
) -> File:
    """Read what is known of a file."""
    row = await db.fetchrow(READ_FILE, asking(viewer), file_id)
    if row is None:
        raise not_found()
    depends.on(f"file:{file_id}", f"owner:{row['owner_id']}")
    return file_of(row, signed_addresses(context, request))


@get("/files/{file_id:uuid}/told", guards=[internal_only], include_in_schema=False)
async def tell_file(db: Db, file_id: FromPath[UUID]) -> Response[bytes]:
    """Tell another service of a file whose event has not reached it yet."""
    row = await db.fetchrow(FIND_FILE, file_id)
    if row is None:
        raise not_found()
    return Response(msgspec.json.encode(told(row)), media_type="application/json")


@patch("/files/{file_id:uuid}", opt=changes(*FILE_TAGS))
async def change_file(
    request: AnyRequest,
    context: Ctx,
    write: Transaction,
    person: SignedIn,
    file_id: FromPath[UUID],
    data: JSONBody[FileChange],
) -> File:
    """Change what your file shows to those who do not see it, and who may see it."""
    current = await _own_file(request, context, write, person, file_id)
    after = await write.fetchrow(
        CHANGE_FILE, file_id, given(data.alt, current["alt"]), given(data.visibility, current["visibility"])
    )
    assert after is not None  # noqa: S101  (its row is locked)
    tags = sorted({*file_tags(current), *file_tags(after)})
    write.emit("file", file_id, told(after), tags)
    return file_of(after, signed_addresses(context, request))


@delete("/files/{file_id:uuid}", status_code=204, opt=changes(*FILE_TAGS))
async def delete_file(
    request: AnyRequest, context: Ctx, write: Transaction, person: SignedIn, file_id: FromPath[UUID]
) -> None:
    """Delete your file, wherever it is shown."""
    await delete_row(write, await _own_file(request, context, write, person, file_id))


async def delete_row(write: Write, row: asyncpg.Record) -> None:
    """Delete a file whose row is locked, and tell it."""
    event = await remove_row(write, row)
    write.emit(event.topic, event.key, event.payload, event.tags)


async def remove_row(transaction: Statements, row: asyncpg.Record) -> NewEvent:
    """Remove the row and what it counts for; returns what its caller tells."""
    await transaction.execute(DELETE_FILE, row["id"])
    await transaction.execute(LESS_USED, row["owner_id"], row["bytes"])
    await release(transaction, objects_of(row))
    gone = {"id": row["id"], "owner": row["owner_id"], "deleted": True}
    return NewEvent("file", str(row["id"]), tuple(file_tags(row)), gone)


async def _own_file(request: AnyRequest, context: Ctx, write: Write, person: Viewer, file_id: UUID) -> asyncpg.Record:
    """Lock a file for its owner. Raises `not_found`, `forbidden` for another's, and `precondition_failed`."""
    row = await write.fetchrow(LOCK_FILE, person.id, file_id)
    if row is None:
        raise not_found()
    if row["owner_id"] != person.id:
        raise Problem("forbidden", "Only its owner can change a file.")
    require_match(request, file_of(row, signed_addresses(context, request)))
    return row


ROUTES: Final = (read_file, tell_file, change_file, delete_file)
