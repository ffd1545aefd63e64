"""Media that came in an archive: the content service tells of them, and they become files under the very ids.

Their bytes wait in `data/imports`, named by the id, until a job has taken them up. Everything here may be told and done
twice: `settled` says, in the transaction that makes a file, that there is nothing left to be done. What a post shows can be
seen by whoever has its address, as the post may be seen by fewer than all; a profile's pictures are public.
"""

import mimetypes
from datetime import timedelta
from pathlib import Path
from typing import Final, Literal, TypeAlias
from uuid import UUID

import asyncpg
import msgspec
from msgspec import Struct

from townsquare.kit.database import Connection, rows_affected
from townsquare.kit.jobs import Job, JobContext, enqueue
from townsquare.kit.outbox import Event, NewEvent, insert_events
from townsquare.kit.problems import Problem
from townsquare.kit.readers import Reader
from townsquare.services.media.file_view import Visibility
from townsquare.services.media.files import remove_row
from townsquare.services.media.people import ADD_OWNER, LOCK_PERSON
from townsquare.services.media.processing import LOCK
from townsquare.services.media.receiving import workplace
from townsquare.services.media.resources import resources_of
from townsquare.services.media.upload import NewFile, Prepared, add_file_in_job, prepare
from townsquare.settings import Settings

Purpose: TypeAlias = Literal["post", "avatar", "banner"]

VISIBILITIES: Final[dict[Purpose, Visibility]] = {"post": "unlisted", "avatar": "public", "banner": "public"}
NAMES: Final[dict[Purpose, str]] = {"post": "imported", "avatar": "avatar", "banner": "banner"}
"""The archive's own names are long numbers."""
MAX_ALT: Final = 1_500


class MediumTold(Struct, frozen=True):
    """The state of a medium of an archive; of one that is not wanted any more nothing else is told."""

    id: UUID
    author: UUID | None = None
    purpose: Purpose = "post"
    alt: str | None = None
    deleted: bool = False


class ImportedMedium(Struct, frozen=True):
    """A medium that is to be taken up, or to be forgotten."""

    id: UUID


# All by primary key.
TELL_MEDIUM: Final = """
INSERT INTO imported_media AS m (id, owner_id, purpose, alt, version)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (id) DO UPDATE
SET version = excluded.version
WHERE m.version < excluded.version
"""

FORGET_MEDIUM: Final = """
INSERT INTO imported_media AS m (id, version, settled)
VALUES ($1, $2, true)
ON CONFLICT (id) DO UPDATE
SET owner_id = NULL, purpose = NULL, alt = NULL, settled = true, version = excluded.version
WHERE m.version < excluded.version
"""

FIND_WANTED: Final = "SELECT owner_id, purpose, alt FROM imported_media WHERE id = $1 AND NOT settled"
LOCK_WANTED: Final = f"{FIND_WANTED} FOR UPDATE"

SETTLE: Final = """
UPDATE imported_media
SET owner_id = NULL, purpose = NULL, alt = NULL, settled = true
WHERE id = $1
"""


async def medium_told(connection: Connection, event: Event) -> None:
    """Have a medium taken up, or forgotten; the work is a job's: others must not wait for it."""
    told = msgspec.json.decode(event.payload, type=MediumTold)
    if told.deleted or told.author is None:
        status = await connection.execute(FORGET_MEDIUM, told.id, event.id)
        job = FORGET
    else:
        alt = told.alt[:MAX_ALT] if told.alt else None
        status = await connection.execute(TELL_MEDIUM, told.id, told.author, told.purpose, alt, event.id)
        job = TAKE_UP
    if rows_affected(status):
        await enqueue(connection, job, ImportedMedium(told.id))


async def take_up(context: JobContext, payload: ImportedMedium) -> None:
    """Make a file of a medium; what is not accepted is deleted, and told as deleted, so that no post has a hole.

    Where its bytes are not there, the job fails and is tried again: they may lie in another machine's folder.
    """
    source = source_of(context.settings, payload.id)
    row = await context.db.fetchrow(FIND_WANTED, payload.id)
    if row is not None:
        try:
            await _take_up(context, payload.id, row, source)
        except Problem as problem:
            if problem.status >= 500:
                raise
            context.log.info("a medium of an archive was refused", medium=str(payload.id), code=problem.code)
            await _refuse(context, payload.id, row["owner_id"])
    source.unlink(missing_ok=True)


async def _take_up(context: JobContext, medium: UUID, row: asyncpg.Record, source: Path) -> None:
    resources = resources_of(context)
    async with workplace(resources.drafts) as folder:
        prepared = await prepare(resources, context.db, source, folder)
    new = _new_file(medium, row, prepared)
    async with context.db.transaction() as connection:
        if await connection.fetchrow(LOCK_WANTED, medium) is None:
            return  # it was forgotten meanwhile, or another run was first
        await _require_owner(connection, new.owner)
        await add_file_in_job(connection, context.settings, new, prepared, limited=False)
        await connection.execute(SETTLE, medium)


def _new_file(medium: UUID, row: asyncpg.Record, prepared: Prepared) -> NewFile:
    purpose: Purpose = row["purpose"]
    name = NAMES[purpose] + (mimetypes.guess_extension(prepared.found.media_type) or "")
    return NewFile(medium, row["owner_id"], name, row["alt"], VISIBILITIES[purpose], purpose)


async def _refuse(context: JobContext, medium: UUID, owner: UUID) -> None:
    async with context.db.transaction() as connection:
        await connection.execute(SETTLE, medium)
        gone = {"id": medium, "owner": owner, "deleted": True}
        await insert_events(connection, [NewEvent("file", str(medium), (), gone)])


async def _require_owner(connection: Connection, owner: UUID) -> None:
    """Make sure of the owner's row; users tells how they are called. Raises `forbidden` for somebody who has left."""
    person = await connection.fetchrow(LOCK_PERSON, owner)
    if person is None:
        await connection.execute(ADD_OWNER, owner, "")
    elif person["hidden"]:
        raise Problem("forbidden", "This account has been deleted.")


async def forget_medium(context: JobContext, payload: ImportedMedium) -> None:
    """Delete the file of a medium, if it has become one."""
    async with context.db.transaction() as connection:
        row = await connection.fetchrow(LOCK, payload.id)
        if row is not None:
            await insert_events(connection, [await remove_row(connection, row)])


def source_of(settings: Settings, medium: UUID) -> Path:
    """Return where the bytes of a medium wait."""
    return settings.data / "imports" / str(medium)


TAKE_UP: Final = "take-up"
FORGET: Final = "forget-imported-file"

JOBS: Final = (
    Job(TAKE_UP, ImportedMedium, take_up, timeout=timedelta(minutes=10)),
    Job(FORGET, ImportedMedium, forget_medium),
)

READER: Final = Reader("content", {"imported_media": medium_told})
