"""Uploads: a file comes in, is recognised by its content, made light, kept and told; then there is the answer.

While it comes in and is worked on nothing is in the database and no connection is held. What was stored before the
transaction is nobody's until it is committed, and is swept if that never comes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import asyncpg
import msgspec
from litestar import Response, post
from litestar.openapi.spec import OpenAPIMediaType, Operation, RequestBody, Schema
from litestar.openapi.spec.enums import OpenAPIFormat, OpenAPIType

from townsquare.images.sniff import Recognised
from townsquare.kit.asgi import AnyRequest
from townsquare.kit.cached_routes import changes
from townsquare.kit.calls import call_of
from townsquare.kit.clock import now
from townsquare.kit.context import Context
from townsquare.kit.database import Connection, Database
from townsquare.kit.dependencies import Ctx, Db, SignedIn, Transaction
from townsquare.kit.idempotency import Answer, IdempotentCall
from townsquare.kit.identity import Viewer
from townsquare.kit.ids import new_id
from townsquare.kit.jobs import enqueue
from townsquare.kit.streamed_routes import streamed
from townsquare.kit.writes import Write
from townsquare.services.media.addresses import signed_addresses
from townsquare.services.media.file_view import (
    FILE_COLUMNS,
    FILE_TAGS,
    File,
    Variants,
    Visibility,
    file_of,
    file_tags,
    objects_of,
    told,
)
from townsquare.services.media.objects import Statements, announce, hold, swept
from townsquare.services.media.people import ensure_owner
from townsquare.services.media.processing import (
    PICTURE_COLUMNS,
    PROCESS,
    Made,
    ProcessFile,
    make,
    recognised_in,
    store,
    tell_file,
    variants_from,
)
from townsquare.services.media.quota import require_room, use_room
from townsquare.services.media.receiving import MEGABYTE, Received, receive, require_size, workplace
from townsquare.services.media.resources import Resources, resources_of
from townsquare.services.media.storage import Named
from townsquare.settings import Settings

# By files_original_idx. `duplicate` has everything that was made of the same bytes before.
FIND_SAME: Final = f"""
SELECT {FILE_COLUMNS}, f.wide_gamut
FROM files AS f
WHERE f.original = $1 AND f.status = 'ready' AND f.problem IS NULL
LIMIT 1
"""

ADD_FILE: Final = f"""
INSERT INTO files AS f (
    id, owner_id, kind, media_type, name, alt, visibility, status, original, bytes, width, height, frames, alpha,
    wide_gamut, thumbhash, preview, dominant_colors, focus_x, focus_y, fingerprint, variants, purpose, created_at
)
VALUES (
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22::jsonb, $23, $24
)
RETURNING {FILE_COLUMNS}
"""


class Prepared(msgspec.Struct, frozen=True):
    """A file of which everything is in the storage and nothing in the database yet."""

    found: Recognised
    original: Named
    columns: Mapping[str, object]
    variants: Variants
    later: bool = False


class NewFile(msgspec.Struct, frozen=True):
    """What a file becomes when it is added; `purpose` says what it came for."""

    id: UUID
    owner: UUID
    name: str
    alt: str | None
    visibility: Visibility
    purpose: str = "upload"


@dataclass
class UploadOperation(Operation):
    """Describes the form, which the handler reads itself."""

    def __post_init__(self) -> None:
        """Add the body."""
        form = Schema(
            type=OpenAPIType.OBJECT,
            additional_properties=False,
            required=["file"],
            properties={
                "file": Schema(
                    type=OpenAPIType.STRING,
                    format=OpenAPIFormat.BINARY,
                    description="The file, of any kind that is accepted.",
                ),
                "alt": Schema(
                    type=OpenAPIType.STRING, max_length=1500, description="What it shows, for who does not see it."
                ),
                "visibility": Schema(enum=["public", "unlisted", "private"], default="public"),
            },
        )
        self.request_body = RequestBody(content={"multipart/form-data": OpenAPIMediaType(schema=form)}, required=True)


@post(
    "/upload",
    status_code=201,
    opt=streamed() | changes(*FILE_TAGS),
    request_max_body_size=None,
    operation_class=UploadOperation,
)
async def upload(request: AnyRequest, context: Ctx, db: Db, write: Transaction, person: SignedIn) -> Response[File]:
    """Upload a file: the part `file` of a form, with `alt` and `visibility` beside it."""
    context.limits.uploads.require(call_of(request.scope), person.id.int)
    resources = resources_of(context)
    most = context.settings.upload_mb * MEGABYTE
    with resources.stages.counted():
        await require_room(db, context.settings, person.id, require_size(request, most))
        async with workplace(resources.drafts) as folder:
            with resources.stages.timed("receive"):
                received = await receive(request, folder, most)
            idempotent = _idempotent(request, person, received)
            if idempotent is not None and (kept := await _answered_before(context, idempotent)) is not None:
                return kept
            prepared = await prepare(resources, db, received.path, folder)
        # Only now: no row is locked while a disk takes its time to remove the draft.
        return await _add(request, context, write, person, received, prepared, idempotent)


async def _add(
    request: AnyRequest,
    context: Context,
    write: Write,
    person: Viewer,
    received: Received,
    prepared: Prepared,
    idempotent: IdempotentCall | None,
) -> Response[Any]:
    if idempotent is not None and (kept := await idempotent.recall(write)) is not None:
        return answer_again(kept)  # the other one of two at once was first
    await ensure_owner(write, person)
    new = NewFile(new_id(), person.id, received.name, received.about.alt, received.about.visibility)
    row = await add_file(context, write, new, prepared)
    resources_of(context).stages.uploads[row["status"]] += 1
    created = file_of(row, signed_addresses(context, request))
    answer = answer_created(created)
    if idempotent is not None:
        headers = [(b"content-type", b"application/json"), (b"location", answer.headers["Location"].encode())]
        await idempotent.keep(write, Answer(201, headers, msgspec.json.encode(created)))
    return answer


async def prepare(resources: Resources, db: Database, original: Path, folder: Path) -> Prepared:
    """Recognise a file, make what can be made of it at once, and store all; raises the problem for what is refused."""
    found = await recognised_in(original)
    named = await resources.storage.name_of(original)
    same = await db.fetchrow(FIND_SAME, named.name)
    made = Made({}) if same is not None else await make(resources, original, found, folder)
    await announce(db, [named])
    with resources.stages.timed("store"):  # also of what should be there already: if it is, nothing is sent
        await resources.storage.put(named.name, original)
    if same is not None:
        columns = {name: same[name] for name in PICTURE_COLUMNS} | {"status": "ready"}
        return Prepared(found, named, columns, msgspec.json.decode(same["variants"], type=Variants))
    stored = await store(resources, db, made.paths)
    return Prepared(found, named, made.columns, variants_from(made, stored), made.later)


async def add_file(context: Context, write: Write, new: NewFile, prepared: Prepared) -> asyncpg.Record:
    """Add the row, count what it uses, and tell it; raises `quota_exceeded`."""
    row = await add_row(write, context.settings, new, prepared)
    if prepared.later:
        await write.enqueue(PROCESS, ProcessFile(new.id))
    write.emit("file", new.id, told(row), file_tags(row))
    return row


async def add_file_in_job(
    connection: Connection, settings: Settings, new: NewFile, prepared: Prepared, *, limited: bool = True
) -> asyncpg.Record:
    """Do the same in a job, and not `limited` by the quota if so wished; raises `quota_exceeded`."""
    row = await add_row(connection, settings, new, prepared, limited=limited)
    if prepared.later:
        await enqueue(connection, PROCESS, ProcessFile(new.id))
    await tell_file(connection, row)
    return row


async def add_row(
    transaction: Statements, settings: Settings, new: NewFile, prepared: Prepared, *, limited: bool = True
) -> asyncpg.Record:
    """Add the row, and count what it uses; its caller tells it."""
    row = await _insert(transaction, new, prepared)
    await use_room(transaction, settings, new.owner, prepared.original.bytes, limited=limited)
    await hold(transaction, objects_of(row))
    return row


async def _insert(transaction: Statements, new: NewFile, prepared: Prepared) -> asyncpg.Record:
    arguments = (
        new.id,
        new.owner,
        prepared.found.kind,
        prepared.found.media_type,
        new.name,
        new.alt,
        new.visibility,
        prepared.columns["status"],
        prepared.original.name,
        prepared.original.bytes,
        *(prepared.columns[name] for name in PICTURE_COLUMNS),
        msgspec.json.encode(prepared.variants).decode(),
        new.purpose,
        now(),
    )
    try:
        row = await transaction.fetchrow(ADD_FILE, *arguments)
    except asyncpg.ForeignKeyViolationError:
        raise swept() from None  # of the original; its owner has a row before anything is stored for them
    assert row is not None  # noqa: S101  (RETURNING of one row)
    return row


def answer_created(created: File) -> Response[File]:
    """Answer a file that has just been added."""
    return Response(created, status_code=201, headers={"Location": f"/files/{created.id}"})


def _idempotent(request: AnyRequest, person: Viewer, received: Received) -> IdempotentCall | None:
    key = request.headers.get("idempotency-key")
    return None if key is None else IdempotentCall(str(person.id), key, "POST", "/upload", received.digest)


async def _answered_before(context: Context, idempotent: IdempotentCall) -> Response[Any] | None:
    """Look in a transaction of its own, which is over before anything slow begins."""
    write = Write(context.database, context.outbox, context.name)
    try:
        kept = await idempotent.recall(write)
    finally:
        await write.rollback()
    return None if kept is None else answer_again(kept)


def answer_again(kept: Answer) -> Response[Any]:
    """Answer as before."""
    headers = {name.decode(): value.decode("latin-1") for name, value in kept.headers if name != b"content-type"}
    return Response(
        kept.body,
        status_code=kept.status,
        media_type="application/json",
        headers=headers | {"Idempotency-Replayed": "true"},
    )


ROUTES: Final = (upload,)
