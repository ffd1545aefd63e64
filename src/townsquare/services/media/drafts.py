"""The bytes so far of an upload in pieces: a file in the folder of drafts, to which one at a time may write.

The lock is the operating system's, on the file itself: it holds between processes, and ends with the process that had it.
"""

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import FileIO
from pathlib import Path
from typing import Final
from uuid import UUID

from townsquare.kit.problems import Problem
from townsquare.services.media.receiving import on_disk

PART: Final = ".part"


def draft_path(drafts: Path, upload_id: UUID) -> Path:
    """Return where the bytes of an upload are."""
    return drafts / f"{upload_id}{PART}"


class Draft:
    """A draft that is open, and nobody else's meanwhile."""

    def __init__(self, path: Path, file: FileIO) -> None:
        self.path = path
        self._file = file

    @property
    def size(self) -> int:
        """How many bytes are there."""
        return os.fstat(self._file.fileno()).st_size

    def go_on_from(self, offset: int) -> None:
        """Have the next byte stand at `offset`; what is behind it goes: nobody was told that it is there."""
        with on_disk():
            self._file.truncate(offset)
            self._file.seek(offset)

    def write(self, data: bytes) -> None:
        """Add bytes; raises `unavailable` where the disk is full."""
        with on_disk():
            rest = memoryview(data)
            while rest:  # a disk that is nearly full takes a part of it
                rest = rest[self._file.write(rest) :]

    async def sync(self) -> None:
        """Return when the disk itself has what was written."""
        with on_disk():
            await asyncio.to_thread(os.fsync, self._file.fileno())


@asynccontextmanager
async def open_draft(drafts: Path, upload_id: UUID) -> AsyncIterator[Draft]:
    """Open a draft, made where there is none; raises `in_flight` while somebody else has it."""
    path = draft_path(drafts, upload_id)
    with on_disk():
        descriptor = await asyncio.to_thread(os.open, path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with FileIO(descriptor, "r+") as file:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Problem("in_flight", "Bytes of this upload are just coming in.", headers={"Retry-After": "1"}) from None
        yield Draft(path, file)
