"""Two file locks order the processes that share one cluster; the system drops those of a dead process."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from townsquare.kit.postgres_errors import PostgresBusyError

PAUSE = 0.02


@contextmanager
def only_starter(path: Path, *, patience: float) -> Iterator[int]:
    """Be the only process that starts or stops the server; yields the lock's file.

    A program that inherits the file keeps the lock for as long as it lives, even when its parent is killed.
    Raises PostgresBusyError after `patience` seconds.
    """
    lock = _open(path)
    try:
        until = time.monotonic() + patience
        # Asked for again and again, because a wait inside flock knows no deadline.
        while not _try(lock, fcntl.LOCK_EX):
            if time.monotonic() > until:
                raise PostgresBusyError(
                    f"Another process has been starting or stopping PostgreSQL on {path.parent} for"
                    f" {patience:.0f} seconds. See what holds {path} (fuser '{path}'), end it, and try again."
                )
            time.sleep(PAUSE)
        yield lock
    finally:
        os.close(lock)


class Lease:
    """A sign, kept by each process that uses the server, that it is still needed.

    Not safe on its own: take it and ask for the last one only as the `only_starter`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    def take(self) -> None:
        """Say that the server is needed; more than once is the same as once."""
        if self._file is None:
            self._file = _open(self._path)
            fcntl.flock(self._file, fcntl.LOCK_SH)

    def is_last(self) -> bool:
        """Whether nobody else needs the server. The answer uses the lease up: release it next."""
        if self._file is None:
            self._file = _open(self._path)
        return _try(self._file, fcntl.LOCK_EX)

    def release(self) -> None:
        """Say that the server is not needed any more here."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _try(file: int, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
