"""Uploads in pieces: what was received stays received when a connection is cut, and the last byte makes the file.

The protocol is tus 1.0.0 (`tus.py`), so its clients work as they are. The bytes wait in a draft (`drafts.py`). The row's
`received` is what the disk is known to have, so it may be less than came, and never more. An upload lasts for a day after
its last progress; of what somebody has begun, all counts as if it were there already. The file is made while the sender of
the last byte waits; where that is cut off, a job does it.
"""

from typing import Final
from uuid import UUID

import asyncpg
import msgspec
from litestar import Response, delete, get, patch, post, route
from litestar.params import FromPath

from townsquare.kit.asgi import AnyRequest
from townsquare.kit.cached_routes import changes
from townsquare.kit.calls import call_of
from townsquare.kit.clock import now
from townsquare.kit.context import Context
from townsquare.kit.database import Database
from townsquare.kit.dependencies import Ctx, Db, SignedIn, Transaction
from townsquare.kit.idempotency import Answer, IdempotentCall
from townsquare.kit.identity import Viewer
from townsquare.kit.ids import new_id
from townsquare.kit.problems import Problem, invalid, not_found
from townsquare.kit.streamed_routes import streamed
from townsquare.kit.writes import Write
from townsquare.services.media import tus
from townsquare.services.media.drafts import draft_path, open_draft
from townsquare.services.media.file_view import FILE_TAGS
from townsquare.services.media.people import ensure_owner
from townsquare.services.media.pieces import (
    LASTS,
    UPLOAD_COLUMNS,
    ResumableUpload,
    finish,
    goes_on_at,
    receive_piece,
    upload_of,
)
from townsquare.services.media.quota import require_room_for_pieces
from townsquare.services.media.receiving import MEGABYTE, about_from, plain_name, too_large
from townsquare.services.media.resources import resources_of
from townsquare.services.media.tus_document import BeginOperation, OverrideOperation, PieceOperation, TusOperation
from townsquare.services.media.upload import answer_again

# All by primary key.
READ_UPLOAD: Final = f"""
SELECT {UPLOAD_COLUMNS}
FROM resumable_uploads
WHERE id = $1 AND owner_id = $2 AND expires_at > now()
"""

ADD_UPLOAD: Final = f"""
INSERT INTO resumable_uploads (id, owner_id, length, name, alt, visibility, metadata, created_at, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
RETURNING {UPLOAD_COLUMNS}
"""

DELETE_UPLOAD: Final = "DELETE FROM resumable_uploads WHERE id = $1 AND owner_id = $2 AND expires_at > now() RETURNING id"


@route("/uploads", http_method="OPTIONS", include_in_schema=False)
async def show_protocol(context: Ctx) -> Response[None]:
    """Say which protocol is spoken here, with which of its extensions."""
    return _answer_protocol(context)


@route("/uploads/{upload_id:uuid}", http_method="OPTIONS", include_in_schema=False)
async def show_protocol_again(context: Ctx, upload_id: FromPath[UUID]) -> Response[None]:
    """Say the same of any upload, whether there is one or not."""
    return _answer_protocol(context)


@get("/uploads/{upload_id:uuid}")
async def read_upload(request: AnyRequest, db: Db, person: SignedIn, upload_id: FromPath[UUID]) -> Response[ResumableUpload]:
    """Read how far an upload in pieces is (tus asks with HEAD), and which file it became."""
    if call_of(request.scope).head:
        tus.speak(request)
    row = await _find(db, person, upload_id)
    headers = {
        "Upload-Offset": str(row["received"]),
        "Upload-Length": str(row["length"]),
        "Cache-Control": "no-store",
        **tus.expiry(row["expires_at"]),
    }
    if row["metadata"]:
        headers["Upload-Metadata"] = row["metadata"]
    return Response(upload_of(row), headers=headers)


@post(
    "/uploads",
    status_code=201,
    opt=streamed() | changes(*FILE_TAGS),
    request_max_body_size=None,
    operation_class=BeginOperation,
)
async def create_upload(
    request: AnyRequest, context: Ctx, db: Db, write: Transaction, person: SignedIn
) -> Response[ResumableUpload]:
    """Begin an upload in pieces (tus 1.0.0).

    `Upload-Length` says how many bytes will come, `Upload-Metadata` may hold `filename`, `alt` and `visibility`. A first
    piece may come along (`Content-Type: application/offset+octet-stream`).
    """
    tus.speak(request)
    context.limits.uploads.require(call_of(request.scope), person.id.int)
    length = _require_length(context, tus.number_in(request, "Upload-Length"))
    with_piece = tus.is_piece(request)
    if not with_piece and request.headers.get("content-length", "0") != "0":
        tus.require_piece(request)
    idempotent = _idempotent(request, person, length)
    if idempotent is not None and (kept := await idempotent.recall(write)) is not None:
        return answer_again(kept)
    row = await _begin(context, write, person, length, request.headers.get("upload-metadata", ""))
    answer = _answer_begun(row)
    if idempotent is not None:
        kept_headers = [(b"location", answer.headers["Location"].encode())]
        await idempotent.keep(write, Answer(201, kept_headers, msgspec.json.encode(answer.content)))
    if not with_piece:
        return answer
    await write.commit()  # what comes now must find it, and stay when the rest does not come
    return _answer_begun(await _take(request, context, db, write, person, row["id"], 0))


@patch(
    "/uploads/{upload_id:uuid}",
    status_code=204,
    opt=streamed() | changes(*FILE_TAGS),
    request_max_body_size=None,
    operation_class=PieceOperation,
)
async def continue_upload(
    request: AnyRequest, context: Ctx, db: Db, write: Transaction, person: SignedIn, upload_id: FromPath[UUID]
) -> Response[None]:
    """Send the next piece of an upload, from `Upload-Offset` on; the last one makes the file, which `Location` names."""
    return await _continue(request, context, db, write, person, upload_id)


@delete("/uploads/{upload_id:uuid}", status_code=204, operation_class=TusOperation)
async def delete_upload(
    request: AnyRequest, context: Ctx, write: Transaction, person: SignedIn, upload_id: FromPath[UUID]
) -> None:
    """Give an upload up. The file that it has become stays."""
    await _give_up(request, context, write, person, upload_id)


@post(
    "/uploads/{upload_id:uuid}",
    status_code=204,
    opt=streamed() | changes(*FILE_TAGS),
    request_max_body_size=None,
    operation_class=OverrideOperation,
)
async def override_upload(
    request: AnyRequest, context: Ctx, db: Db, write: Transaction, person: SignedIn, upload_id: FromPath[UUID]
) -> Response[None]:
    """Do what `X-HTTP-Method-Override` says, PATCH or DELETE, for clients that can send neither."""
    match request.headers.get("x-http-method-override", "").upper():
        case "PATCH":
            return await _continue(request, context, db, write, person, upload_id)
        case "DELETE":
            await _give_up(request, context, write, person, upload_id)
            return Response(None, status_code=204)
        case _:
            raise Problem("method_not_allowed", headers={"Allow": "DELETE, GET, HEAD, OPTIONS, PATCH"})


async def _continue(
    request: AnyRequest, context: Context, db: Database, write: Write, person: Viewer, upload_id: UUID
) -> Response[None]:
    tus.speak(request)
    tus.require_piece(request)
    offset = tus.number_in(request, "Upload-Offset")
    row = await _take(request, context, db, write, person, upload_id, offset)
    headers = {"Upload-Offset": str(row["received"]), **tus.expiry(row["expires_at"])}
    if row["file_id"] is not None:
        headers["Location"] = f"/files/{row['file_id']}"
    return Response(None, status_code=204, headers=headers)


async def _take(
    request: AnyRequest, context: Context, db: Database, write: Write, person: Viewer, upload_id: UUID, offset: int
) -> asyncpg.Record:
    """Receive a piece, and make the file when it was the last one; returns the row as it is then."""
    resources = resources_of(context)
    await _find(db, person, upload_id)  # before there is a draft of somebody else's making
    async with open_draft(resources.drafts, upload_id) as draft:
        row = await _find(db, person, upload_id)  # nobody else changes it now
        if row["file_id"] is None:
            await receive_piece(request, db, draft, row, offset)
            row = await _find(db, person, upload_id)
            if row["received"] == row["length"]:
                await finish(context, db, write, person, row, draft)
                row = await _find(db, person, upload_id)
        elif offset != row["length"]:
            raise goes_on_at(row["length"])
    return row


async def _give_up(request: AnyRequest, context: Context, write: Write, person: Viewer, upload_id: UUID) -> None:
    """The row goes first: a draft that nobody knows is swept, and a row without its bytes would promise them."""
    tus.speak(request)
    if await write.fetchval(DELETE_UPLOAD, upload_id, person.id) is None:
        raise not_found()
    await write.commit()
    draft_path(resources_of(context).drafts, upload_id).unlink(missing_ok=True)


async def _begin(context: Context, write: Write, person: Viewer, length: int, metadata: str) -> asyncpg.Record:
    said = tus.read_metadata(metadata)
    about = about_from({name: said[name] for name in ("alt", "visibility") if name in said})
    name = plain_name(said.get("filename") or said.get("name"))
    await ensure_owner(write, person)
    await require_room_for_pieces(write, context.settings, person.id, length)
    at = now()
    row = await write.fetchrow(
        ADD_UPLOAD, new_id(), person.id, length, name, about.alt, about.visibility, metadata, at, at + LASTS
    )
    assert row is not None  # noqa: S101  (RETURNING of one row)
    return row


async def _find(db: Database, person: Viewer, upload_id: UUID) -> asyncpg.Record:
    row = await db.fetchrow(READ_UPLOAD, upload_id, person.id)
    if row is None:
        raise not_found()
    return row


def _require_length(context: Context, length: int) -> int:
    most = context.settings.resumable_mb * MEGABYTE
    if length > most:
        raise too_large(most)
    if length == 0:
        raise invalid("/Upload-Length", "The file is empty.")
    return length


def _answer_protocol(context: Context) -> Response[None]:
    headers = {
        "Tus-Resumable": tus.VERSION,
        "Tus-Version": tus.VERSION,
        "Tus-Extension": tus.EXTENSIONS,
        "Tus-Max-Size": str(context.settings.resumable_mb * MEGABYTE),
    }
    return Response(None, status_code=204, headers=headers)


def _answer_begun(row: asyncpg.Record) -> Response[ResumableUpload]:
    headers = {
        "Location": f"/uploads/{row['id']}",
        "Upload-Offset": str(row["received"]),
        **tus.expiry(row["expires_at"]),
    }
    return Response(upload_of(row), status_code=201, headers=headers)


def _idempotent(request: AnyRequest, person: Viewer, length: int) -> IdempotentCall | None:
    key = request.headers.get("idempotency-key")
    said = f"{length} {request.headers.get('upload-metadata', '')}".encode()
    return None if key is None else IdempotentCall(str(person.id), key, "POST", "/uploads", said)


ROUTES: Final = (
    # What answers OPTIONS first: the framework gives a path that has nothing for it an answer of its own.
    show_protocol,
    show_protocol_again,
    read_upload,
    create_upload,
    continue_upload,
    delete_upload,
    override_upload,
)
