"""A piece of an upload as it comes in, and the file that the last one makes; the routes are in `resumable.py`."""

import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final
from uuid import UUID

import asyncpg
from msgspec import Struct

from townsquare.kit.asgi import AnyRequest
from townsquare.kit.clock import now
from townsquare.kit.context import Context
from townsquare.kit.database import Database
from townsquare.kit.identity import Viewer
from townsquare.kit.ids import new_id
from townsquare.kit.jobs import Job, JobContext, TryAgain, enqueue
from townsquare.kit.problems import Problem, not_found
from townsquare.kit.writes import Write
from townsquare.services.media.drafts import Draft, draft_path, open_draft
from townsquare.services.media.file_view import Visibility
from townsquare.services.media.people import LOCK_PERSON, ensure_owner
from townsquare.services.media.receiving import chunks, workplace
from townsquare.services.media.resources import Resources, resources_of
from townsquare.services.media.upload import NewFile, Prepared, add_file, add_file_in_job, prepare

LASTS: Final = timedelta(days=1)
"""So long may an upload go on after its last progress."""
SYNC_BYTES: Final = 32_000_000
SYNC_SECONDS: Final = 5.0
"""So much, and for so long, may come in before the disk and the row are brought up to it."""
BEHIND: Final = timedelta(minutes=3)
"""By then the request that brought the last byte has made the file, or never will."""


class ResumableUpload(Struct, frozen=True, omit_defaults=True):
    """An upload in pieces. `file` is the file that it has become."""

    id: UUID
    name: str
    visibility: Visibility
    length: int
    received: int
    created_at: datetime
    expires_at: datetime
    alt: str | None = None
    file: UUID | None = None


class FinishUpload(Struct, frozen=True):
    """An upload of which every byte is there."""

    id: UUID


UPLOAD_COLUMNS: Final = "id, owner_id, length, received, name, alt, visibility, metadata, file_id, created_at, expires_at"

# All by primary key.
ADVANCE: Final = """
UPDATE resumable_uploads
SET received = $2, expires_at = $3
WHERE id = $1 AND file_id IS NULL AND expires_at > now()
RETURNING length
"""

FIND_WHOLE: Final = f"""
SELECT {UPLOAD_COLUMNS}
FROM resumable_uploads
WHERE id = $1 AND received = length AND file_id IS NULL AND expires_at > now()
"""

LOCK_WHOLE: Final = f"{FIND_WHOLE} FOR UPDATE"

BECOME: Final = "UPDATE resumable_uploads SET file_id = $2 WHERE id = $1"

FORGET_UPLOAD: Final = "DELETE FROM resumable_uploads WHERE id = $1"


def upload_of(row: asyncpg.Record) -> ResumableUpload:
    """Make an upload from a row of UPLOAD_COLUMNS."""
    return ResumableUpload(
        row["id"], row["name"], row["visibility"], row["length"], row["received"], row["created_at"], row["expires_at"],
        row["alt"], row["file_id"],
    )  # fmt: skip


async def receive_piece(request: AnyRequest, db: Database, draft: Draft, row: asyncpg.Record, offset: int) -> None:
    """Write a body behind what is there; what came before it was cut stays.

    Raises `conflict` for another offset, `too_large` for more than was announced, and what `chunks` and the disk raise.
    """
    received = min(row["received"], draft.size)
    if received != row["received"]:  # the draft was lost with its disk
        await _advance(db, row["id"], received)
    if offset != received:
        raise goes_on_at(received)
    said = request.headers.get("content-length", "0")
    if said.isdigit() and offset + int(said) > row["length"]:
        raise _too_much(row["length"])
    draft.go_on_from(offset)
    await _Incoming(db, draft, row).take(request)


class _Incoming:
    """The bytes of one request, on their way into the draft."""

    def __init__(self, db: Database, draft: Draft, row: asyncpg.Record) -> None:
        self._db = db
        self._draft = draft
        self._id: UUID = row["id"]
        self._length: int = row["length"]
        self._kept: int = row["received"]
        self._received = self._kept
        self._since = time.monotonic()

    async def take(self, request: AnyRequest) -> None:
        try:
            async for chunk in chunks(request):
                if self._received + len(chunk) > self._length:
                    raise _too_much(self._length)
                self._draft.write(chunk)
                self._received += len(chunk)
                if self._is_due():
                    await self._keep()
        finally:
            await self._keep()

    def _is_due(self) -> bool:
        return self._received - self._kept >= SYNC_BYTES or time.monotonic() - self._since >= SYNC_SECONDS

    async def _keep(self) -> None:
        """First the disk, then the row."""
        if self._received == self._kept:
            return
        await self._draft.sync()
        await _advance(self._db, self._id, self._received)
        self._kept, self._since = self._received, time.monotonic()


async def _advance(db: Database, upload_id: UUID, received: int) -> None:
    """Note what is safe; whoever brings the last byte leaves a job behind that makes the file if nobody else has.

    Raises `not_found` for an upload that was given up meanwhile.
    """
    async with db.transaction() as connection:
        length = await connection.fetchval(ADVANCE, upload_id, received, now() + LASTS)
        if length is None:
            raise not_found()
        if received == length:
            await enqueue(connection, FINISH, FinishUpload(upload_id), after=BEHIND)


def goes_on_at(offset: int) -> Problem:
    """Make the 409 for a piece from elsewhere."""
    return Problem("conflict", f"This upload goes on at {offset}.", headers={"Upload-Offset": str(offset)})


def _too_much(length: int) -> Problem:
    return Problem("too_large", f"The upload was announced with {length} bytes.")


# --- the file ------------------------------------------------------------------------------------------------------


async def finish(context: Context, db: Database, write: Write, person: Viewer, row: asyncpg.Record, draft: Draft) -> None:
    """Make the file of an upload that is whole, and commit it; of a file that is refused, everything goes."""
    resources = resources_of(context)
    try:
        prepared = await _prepare(resources, db, draft)
        if await write.fetchrow(LOCK_WHOLE, row["id"]) is None:
            raise not_found()  # it was given up meanwhile
        await ensure_owner(write, person)
        file = await add_file(context, write, _new_file(row), prepared)
        await write.execute(BECOME, row["id"], file["id"])
        await write.commit()
    except Problem as problem:
        if problem.status < 500:
            resources.stages.uploads["refused"] += 1
            await write.rollback()
            await forget(db, resources.drafts, row["id"])
        raise
    resources.stages.uploads[file["status"]] += 1
    draft.path.unlink(missing_ok=True)


async def finish_in_job(context: JobContext, payload: FinishUpload) -> None:
    """Make the file that the request with the last byte has not made."""
    resources = resources_of(context)
    row = await context.db.fetchrow(FIND_WHOLE, payload.id)
    if row is None:
        return
    try:
        async with open_draft(resources.drafts, payload.id) as draft:
            prepared = await _prepare(resources, context.db, draft)
            await _add_in_job(context, row, prepared)
            draft.path.unlink(missing_ok=True)
    except Problem as problem:
        if problem.code == "in_flight":
            raise TryAgain(BEHIND, "its request is still working on it") from None
        if problem.status >= 500:
            raise
        context.log.info("an upload in pieces was refused", upload=str(payload.id), code=problem.code)
        await forget(context.db, resources.drafts, payload.id)


async def _add_in_job(context: JobContext, row: asyncpg.Record, prepared: Prepared) -> None:
    async with context.db.transaction() as connection:
        if await connection.fetchrow(LOCK_WHOLE, row["id"]) is None:
            return
        owner = await connection.fetchrow(LOCK_PERSON, row["owner_id"])
        if owner is None or owner["hidden"]:
            raise Problem("forbidden", "This account has been deleted.")
        file = await add_file_in_job(connection, context.settings, _new_file(row), prepared)
        await connection.execute(BECOME, row["id"], file["id"])


async def forget(db: Database, drafts: Path, upload_id: UUID) -> None:
    """Forget an upload with its bytes."""
    await db.execute(FORGET_UPLOAD, upload_id)
    draft_path(drafts, upload_id).unlink(missing_ok=True)


async def _prepare(resources: Resources, db: Database, draft: Draft) -> Prepared:
    async with workplace(resources.drafts) as folder:
        return await prepare(resources, db, draft.path, folder)


def _new_file(row: asyncpg.Record) -> NewFile:
    return NewFile(new_id(), row["owner_id"], row["name"], row["alt"], row["visibility"])


FINISH: Final = "finish-upload"

JOBS: Final = (Job(FINISH, FinishUpload, finish_in_job, timeout=timedelta(minutes=30)),)
