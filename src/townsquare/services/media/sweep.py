"""What nobody needs any more is thrown away, once an hour: bytes of no file, and drafts that were given up.

Nothing that is in use can be taken for unused: see `objects.py` for bytes. A draft counts as given up when nothing has
been written to it for a day, or, of an upload in pieces, when its time is over.
"""

import asyncio
import shutil
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from time import time
from typing import Final
from uuid import UUID

from msgspec import Struct

from townsquare.kit.database import Database
from townsquare.kit.jobs import Job, JobContext
from townsquare.kit.retention import Nothing
from townsquare.services.media.drafts import PART, draft_path
from townsquare.services.media.resources import resources_of
from townsquare.services.media.storage import Storage

UNUSED_FOR: Final = timedelta(hours=1)
DRAFTS_FOR: Final = timedelta(days=1)
AT_ONCE: Final = 20
SECONDS: Final = 60.0
"""So long may a batch take; each deletion ends much sooner."""

# Walks objects_unused_idx. Rows that somebody is about to use are locked, and left alone; who wants one that is locked here
# waits until it is gone, and then announces it anew. A file's own bytes are safe even from a wrong count.
TAKE_UNUSED: Final = """
DELETE FROM objects
WHERE name IN (
    SELECT o.name
    FROM objects AS o
    WHERE o.refs = 0 AND o.put_at < now() - $1::interval
      AND NOT EXISTS (SELECT FROM files AS f WHERE f.original = o.name)
    ORDER BY o.put_at
    LIMIT $2
    FOR UPDATE SKIP LOCKED
)
RETURNING name, bytes
"""

COUNT_UNUSED: Final = """
SELECT count(*) AS objects, coalesce(sum(bytes), 0)::bigint AS bytes
FROM objects AS o
WHERE o.refs = 0 AND o.put_at < now() - $1::interval
  AND NOT EXISTS (SELECT FROM files AS f WHERE f.original = o.name)
"""

# Walks resumable_uploads_expired_idx; what is being written to is locked.
TAKE_EXPIRED: Final = """
DELETE FROM resumable_uploads
WHERE id IN (SELECT id FROM resumable_uploads WHERE expires_at < now() LIMIT $1 FOR UPDATE SKIP LOCKED)
RETURNING id
"""

COUNT_EXPIRED: Final = "SELECT count(*) FROM resumable_uploads WHERE expires_at < now()"

# By primary key.
STILL_KNOWN: Final = "SELECT id FROM resumable_uploads WHERE id = ANY($1)"


class Swept(Struct, frozen=True):
    """What was thrown away, or would be."""

    objects: int
    bytes: int
    unfinished: int
    """What was not written to its end in the storage's folder."""
    drafts: int
    uploads: int
    """Uploads in pieces whose time was over."""


async def sweep(
    db: Database, storage: Storage, drafts: Path, *, older: timedelta = UNUSED_FOR, dry_run: bool = False
) -> Swept:
    """Throw away what has been unused for as long as `older` says, and what was given up; or only count it.

    Raises StorageUnavailable; what it was about to delete is then still known, and goes next time.
    """
    if dry_run:
        counted = await db.fetchrow(COUNT_UNUSED, older)
        assert counted is not None  # noqa: S101  (an aggregate has one row)
        objects, size = counted["objects"], counted["bytes"]
        uploads = int(str(await db.fetchval(COUNT_EXPIRED)))
    else:
        objects, size = await sweep_objects(db, storage, older)
        uploads = await sweep_uploads(db, drafts)
    unfinished = await storage.clear_unfinished(max(older, DRAFTS_FOR), dry_run=dry_run)
    return Swept(objects, size, unfinished, await sweep_drafts(db, drafts, dry_run=dry_run), uploads)


async def sweep_objects(db: Database, storage: Storage, older: timedelta) -> tuple[int, int]:
    """Delete what no file uses; returns how many objects and bytes."""
    objects = size = 0
    while True:
        async with db.transaction(deadline=SECONDS) as connection:
            taken = await connection.fetch(TAKE_UNUSED, older, AT_ONCE)
            await _delete_all(storage, [row["name"] for row in taken])
        objects += len(taken)
        size += sum(row["bytes"] for row in taken)
        if len(taken) < AT_ONCE:
            return objects, size


async def _delete_all(storage: Storage, names: Sequence[str]) -> None:
    """Delete bytes before their rows are gone for good, or nobody would ever look for them again.

    Waits for every deletion, also when one fails: the rows must not be free while one is still under way.
    """
    ended = await asyncio.gather(*(storage.delete(name) for name in names), return_exceptions=True)
    for error in ended:
        if error is not None:
            raise error


async def sweep_uploads(db: Database, drafts: Path) -> int:
    """Delete the uploads in pieces whose time is over; returns how many."""
    uploads = 0
    while True:
        async with db.transaction(deadline=SECONDS) as connection:
            taken = await connection.fetch(TAKE_EXPIRED, AT_ONCE)
            for row in taken:
                await asyncio.to_thread(draft_path(drafts, row["id"]).unlink, missing_ok=True)
        uploads += len(taken)
        if len(taken) < AT_ONCE:
            return uploads


async def sweep_drafts(db: Database, drafts: Path, *, dry_run: bool = False) -> int:
    """Delete what a process that was killed left behind in the folder of drafts; returns how many."""
    stale = await asyncio.to_thread(lambda: list(_stale(drafts)))
    pieces = [UUID(path.stem) for path in stale if path.suffix == PART]
    known = {f"{row['id']}{PART}" for row in await db.fetch(STILL_KNOWN, pieces)} if pieces else set[str]()
    given_up = [path for path in stale if path.name not in known]
    if not dry_run:
        for path in given_up:
            await asyncio.to_thread(_remove, path)
    return len(given_up)


def _stale(drafts: Path) -> Iterator[Path]:
    """Yield the drafts to which nothing has been written for a day."""
    before = time() - DRAFTS_FOR.total_seconds()
    for path in drafts.iterdir() if drafts.is_dir() else ():
        try:
            inside = path.iterdir() if path.is_dir() else ()
            newest = max(one.stat().st_mtime for one in (path, *inside))
        except FileNotFoundError:
            continue  # its upload has just come to its end
        if newest < before and (path.is_dir() or _is_piece(path)):
            yield path


def _is_piece(path: Path) -> bool:
    """Say whether a file is ours to delete."""
    try:
        return path.suffix == PART and str(UUID(path.stem)) == path.stem
    except ValueError:
        return False


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


async def sweep_media(context: JobContext, _: Nothing) -> None:
    """Throw away what nobody needs any more."""
    resources = resources_of(context)
    swept = await sweep(context.db, resources.storage, resources.drafts)
    if any((swept.objects, swept.unfinished, swept.drafts, swept.uploads)):
        context.log.info("media was swept", objects=swept.objects, bytes=swept.bytes, drafts=swept.drafts)


JOBS: Final = (Job("sweep-media", Nothing, sweep_media, every=timedelta(hours=1), timeout=timedelta(hours=1)),)
