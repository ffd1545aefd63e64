"""Files that came in an archive, kept in `data/imports` under their media's ids until the media service takes them up.

A file is complete and on the disk before it is noted as kept, so a run that is cut off anywhere leaves nothing half done.
"""

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

from townsquare.importing.archive_files import ArchivedFile
from townsquare.kit.context import Context
from townsquare.kit.transactions import transaction
from townsquare.services.content.imported_media import files_kept, folder_of

BATCH = 100
CHUNK = 1 << 20
PAUSE_SECONDS = 0.1


async def keep_files(content: Context, files: Iterable[ArchivedFile], wanted: Mapping[str, Sequence[UUID]]) -> int:
    """Copy files out of an archive, in its own order; returns for how many media there was one.

    `wanted` says by the name in the archive which media have that file.
    """
    folder = folder_of(content.settings)
    folder.mkdir(parents=True, exist_ok=True)
    kept, waiting = 0, list[UUID]()
    async with _alone_in(folder):
        for file in files:
            _keep(file, folder, wanted[file.path])
            waiting += wanted[file.path]
            if len(waiting) >= BATCH:
                kept += await _note(content, waiting)
        return kept + await _note(content, waiting)


@asynccontextmanager
async def _alone_in(folder: Path) -> AsyncIterator[None]:
    """Wait until no other import writes into the folder: of the same archive it would write the same files."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        while not _locked(handle):
            await asyncio.sleep(PAUSE_SECONDS)  # a wait inside flock could not be interrupted
        yield
    finally:
        os.close(handle)


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _keep(file: ArchivedFile, folder: Path, media: Sequence[UUID]) -> None:
    first, *others = (folder / str(medium) for medium in media)
    draft = first.with_suffix(".part")
    with draft.open("wb") as target:
        while chunk := file.stream.read(CHUNK):
            target.write(chunk)
        target.flush()
        os.fsync(target.fileno())
    draft.rename(first)
    for other in others:
        other.unlink(missing_ok=True)
        other.hardlink_to(first)


async def _note(content: Context, media: list[UUID]) -> int:
    count = len(media)
    if media:
        async with transaction(content) as write:
            await files_kept(write, media)
        media.clear()
    return count
