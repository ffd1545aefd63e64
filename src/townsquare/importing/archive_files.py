"""The files of an archive somebody hands in: a folder, a .zip, a .tar or a .tar.gz, all read in the same way.

An archive is a stranger's. Nothing in it is ever unpacked to a place that it names: files are read by name, one after
the other, names that climb out (`..`) or cannot be written down do not exist, links are not followed, and what an
archive declares is added up before it is believed.
"""

import gzip
import io
import os
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Collection, Generator, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import IO, NamedTuple, Protocol, cast

import msgspec

MEBIBYTE = 1 << 20
CHUNK = 1 << 16


class ArchiveError(Exception):
    """The archive cannot be read: a sentence that says which file of it, and where in it."""


class Limits(msgspec.Struct, frozen=True):
    """How much an archive may hold, so that a small file cannot unfold into one that fills the machine."""

    actor_bytes: int = MEBIBYTE
    item_bytes: int = MEBIBYTE
    outbox_bytes: int = 8 << 30
    media_bytes: int = 64 << 30
    files: int = 300_000
    depth: int = 200


class ArchivedFile(NamedTuple):
    """One file on its way out of the archive; its stream is good until the next one is asked for."""

    path: str
    size: int
    stream: "Reader"


class ArchiveFiles(Protocol):
    """The files of an archive by their safe names: relative, with `/`, never `..`."""

    @property
    def sizes(self) -> Mapping[str, int]:
        """The name and the declared size in bytes of each file."""
        ...

    def open(self, name: str) -> "Reader":
        """Open one of the files that `open_files` was told to keep at hand."""
        ...

    def walk(self, wanted: Collection[str]) -> Iterator[ArchivedFile]:
        """Go once through the archive and hand out those of its files that are wanted, in its own order."""
        ...


@contextmanager
def open_files(path: Path, keep: Collection[str], limits: Limits) -> Generator[ArchiveFiles]:
    """Open the archive at the path, whatever its name says it is.

    Args:
        path: a folder or a file; which kind of file it is, its first bytes tell.
        keep: names (without their folders) that `open` will be asked for.
        limits: how much of each is too much.

    Raises:
        ArchiveError: when it is none of these, is damaged, or holds more than the limits.
    """
    with ExitStack() as stack:
        with _explained(path.name):
            files = _find_kind(path, keep, limits, stack)
        yield files  # beyond the explaining: what the caller fails at is not the archive's fault


def _find_kind(path: Path, keep: Collection[str], limits: Limits, stack: ExitStack) -> ArchiveFiles:
    if path.is_dir():
        return _Folder(path, keep, limits)
    if zipfile.is_zipfile(path):
        return _Zip(stack.enter_context(zipfile.ZipFile(path)), keep, limits)
    return _Tar(path, keep, limits, stack)


class Reader:
    """A stream that can only be read on, and whose failures are sentences."""

    def __init__(self, name: str, source: IO[bytes]) -> None:
        self.name = name
        self._source = source

    def read(self, size: int = -1) -> bytes:
        """Return at most `size` bytes, none at the end."""
        with _explained(self.name):
            return self._source.read(size)

    def close(self) -> None:
        """Give the stream back."""
        self._source.close()


@contextmanager
def _explained(name: str) -> Generator[None]:
    try:
        yield
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise ArchiveError(f"{name} is damaged or incomplete: {error}.") from error
    except (RuntimeError, NotImplementedError) as error:  # zipfile's for a password, an unknown compression
        raise ArchiveError(f"{name} cannot be unpacked: {error}.") from error
    except OSError as error:
        raise ArchiveError(f"{name} cannot be read: {error.strerror or error}.") from error


class _Census:
    """Counts the files of an archive while they are being found, and stops where there are too many."""

    def __init__(self, keep: Collection[str], limits: Limits) -> None:
        self.sizes: dict[str, int] = {}
        self._keep = keep
        self._limits = limits
        self._left = limits.media_bytes

    def add(self, name: str, size: int) -> str | None:
        safe = _safe_name(name)
        if safe is None:
            return None
        if len(self.sizes) >= self._limits.files:
            raise ArchiveError(f"The archive has more than {self._limits.files:,} files.")
        if safe.rpartition("/")[2] not in self._keep:
            self._left -= size
        if self._left < 0:
            most = self._limits.media_bytes // MEBIBYTE
            raise ArchiveError(f"The files in the archive, {safe} among them, come to more than {most:,} MiB.")
        self.sizes[safe] = size
        return safe


def _safe_name(name: str) -> str | None:
    parts = [part for part in name.split("/") if part not in {"", "."}]
    if not parts or ".." in parts or not name.isprintable() or "\\" in name:
        return None
    return "/".join(parts)


class _Folder:
    def __init__(self, root: Path, keep: Collection[str], limits: Limits) -> None:
        self._root = root
        census = _Census(keep, limits)
        for folder, _, names in os.walk(root):
            for name in names:
                path = Path(folder, name)
                facts = path.lstat()
                if stat.S_ISREG(facts.st_mode):
                    census.add(path.relative_to(root).as_posix(), facts.st_size)
        self.sizes = census.sizes

    def open(self, name: str) -> Reader:
        with _explained(name):
            return Reader(name, (self._root / name).open("rb"))

    def walk(self, wanted: Collection[str]) -> Iterator[ArchivedFile]:
        for name in self.sizes.keys() & set(wanted):
            with closing(self.open(name)) as stream:
                yield ArchivedFile(name, self.sizes[name], stream)


class _Zip:
    def __init__(self, source: zipfile.ZipFile, keep: Collection[str], limits: Limits) -> None:
        self._source = source
        self._members: dict[str, zipfile.ZipInfo] = {}
        census = _Census(keep, limits)
        for member in source.infolist():
            mode = member.external_attr >> 16
            if member.is_dir() or (stat.S_IFMT(mode) and not stat.S_ISREG(mode)):
                continue
            if name := census.add(member.filename, member.file_size):
                self._members[name] = member
        self.sizes = census.sizes

    def open(self, name: str) -> Reader:
        with _explained(name):
            # zipfile ends the stream at the declared size, whatever else has been packed.
            return Reader(name, self._source.open(self._members[name]))

    def walk(self, wanted: Collection[str]) -> Iterator[ArchivedFile]:
        for name in self._members.keys() & set(wanted):
            with closing(self.open(name)) as stream:
                yield ArchivedFile(name, self.sizes[name], stream)


class _Tar:
    """A tar has no index, so it is gone through once to make one; what is kept at hand is copied on the way."""

    def __init__(self, path: Path, keep: Collection[str], limits: Limits, stack: ExitStack) -> None:
        self._path = path
        self._kept: dict[str, IO[bytes]] = {}
        census = _Census(keep, limits)
        for name, size, source in self._members():
            safe = census.add(name, size)
            if safe and safe.rpartition("/")[2] in keep and safe.count("/") < 2:
                if size > limits.outbox_bytes or len(self._kept) >= 2 * len(keep):
                    raise ArchiveError(f"{safe} is too large, or there are too many of its name.")
                self._kept[safe] = stack.enter_context(_copy(Reader(safe, source)))
        self.sizes = census.sizes

    def open(self, name: str) -> Reader:
        copy = self._kept[name]
        copy.seek(0)
        return Reader(name, cast("IO[bytes]", _Shared(copy)))

    def walk(self, wanted: Collection[str]) -> Iterator[ArchivedFile]:
        left = set(wanted)
        for name, size, source in self._members():
            safe = _safe_name(name)
            if safe in left:
                left.discard(safe)
                yield ArchivedFile(safe, size, Reader(safe, source))

    def _members(self) -> Iterator[tuple[str, int, IO[bytes]]]:
        with _explained(self._path.name), self._path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            source = cast("IO[bytes]", gzip.GzipFile(fileobj=file)) if packed else file
            with tarfile.open(fileobj=cast("IO[bytes]", _Frugal(source)), mode="r:") as tar:
                seen = cast("list[tarfile.TarInfo]", vars(tar)["members"])
                while (member := tar.next()) is not None:
                    seen.clear()  # or tarfile would remember every member of a large archive
                    content = tar.extractfile(member) if member.isreg() else None
                    if content is not None:
                        yield member.name, member.size, content


def _copy(reader: Reader) -> IO[bytes]:
    copy = cast("IO[bytes]", tempfile.TemporaryFile())  # noqa: SIM115 - the caller closes it
    while chunk := reader.read(CHUNK):
        copy.write(chunk)
    return copy


class _Shared(io.RawIOBase):
    """A file that is read by one reader after the other: closing a reader leaves it open."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source

    def read(self, size: int = -1, /) -> bytes:
        return self._source.read(size)


class _Frugal(io.RawIOBase):
    """A file that gives no more than a mebibyte at a time.

    tarfile reads a member's long name in one piece, and its length is whatever the archive says.
    """

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source

    def read(self, size: int = -1, /) -> bytes:
        if not 0 <= size <= MEBIBYTE:
            raise ArchiveError("The archive has a file with an impossibly long name.")
        return self._source.read(size)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._source.seek(offset, whence)

    def tell(self) -> int:
        return self._source.tell()
