"""Where the bytes of files are: a folder, or a bucket of any S3. Named by the hash of their content, whole or not there.

Object stores are slow at times and away at others. Whatever is asked of one ends within seconds, in an answer or in
`StorageUnavailable`, and what it said is for the log alone. obstore does its work in threads of its own.
"""

import asyncio
import hashlib
import os
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from time import time
from typing import IO, Final

from msgspec import Struct
from obstore import list as list_objects  # pyright: ignore[reportUnknownVariableType]  (one overload is of arro3, absent here)
from obstore.exceptions import BaseError
from obstore.store import LocalStore, S3Store

from townsquare.kit.logs import get_logger
from townsquare.kit.problems import Problem
from townsquare.services.media.bucket import open_bucket
from townsquare.settings import Settings

ANSWER_SECONDS: Final = 5.0
"""So long may a store take for what moves few bytes."""
SLOWEST: Final = 250_000
"""Bytes a second; a store that takes or gives less is as good as away."""
CHUNK: Final = 1 << 18
PART: Final = 8 << 20
"""Larger files go up in parts of this size, four at a time: 32 MB of memory."""
PUTS_AT_ONCE: Final = 4
MOST_PARTS: Final = 9_000
"""S3 takes 10,000."""

_KEY: Final = re.compile(r"([0-9a-f]{2})/([0-9a-f]{62})")
_NAME: Final = re.compile(r"[0-9a-f]{64}")
# As obstore names what it has not written to its end.
_UNFINISHED: Final = "*#[0-9]*"
_BEYOND_ALL_NAMES: Final = "g"


class StorageUnavailable(Problem):
    """The store is away, slow or full, or does not let us in; in a request it is answered with 503."""

    def __init__(self) -> None:
        detail = "The place where files are kept does not answer right now."
        super().__init__("unavailable", detail, headers={"Retry-After": "5"})


class ObjectMissing(Problem):
    """There is nothing of this name; in a request it is answered with 404."""

    def __init__(self) -> None:
        super().__init__("not_found", "These bytes are not there any more.")


class Named(Struct, frozen=True):
    """Bytes by the hash of their content, and how many they are."""

    name: str
    bytes: int


def open_storage(settings: Settings) -> "Storage":
    """Open the store that the settings name; raises StorageUnavailable for a folder that cannot be made.

    A bucket is not asked for anything yet: the service starts without it.
    """
    if settings.storage_url is not None:
        patience = ANSWER_SECONDS + PART / SLOWEST
        quick = open_bucket(settings, settings.storage_url, ANSWER_SECONDS - 1)
        return Storage(quick, open_bucket(settings, settings.storage_url, patience))
    folder = settings.data / "media"
    with _understood("open"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        store = LocalStore(folder)
    return Storage(store, store, folder)


class Storage:
    """One store. `uploads` is the same store with more patience, for large bodies; `folder` is set where it is one."""

    def __init__(self, store: LocalStore | S3Store, uploads: LocalStore | S3Store, folder: Path | None = None) -> None:
        self._store = store
        self._uploads = uploads
        self._folder = folder
        # obstore takes a file below a part's size into memory whole.
        self._putting = asyncio.Semaphore(PUTS_AT_ONCE)

    async def name_of(self, path: Path) -> Named:
        """Return the name that a file's content has here: its BLAKE2b-256, in hexadecimal."""
        return await asyncio.to_thread(_named, path)

    async def put(self, name: str, path: Path) -> None:
        """Keep a file's content under its name, whole or not at all; harmless to repeat.

        What is there already is not sent again. In a folder it is on the disk when this returns, as the row will be.
        """
        length = (await asyncio.to_thread(path.stat)).st_size
        if await self.size(name) != length:
            async with self._putting, _bounded("put", length):
                part = max(PART, length // MOST_PARTS)
                await self._uploads.put_async(
                    _key(name), path, use_multipart=length > part, chunk_size=part, max_concurrency=4
                )
        if self._folder is not None:
            with _understood("put"):
                await asyncio.to_thread(_sync, self._folder / _key(name), self._folder)

    async def stream(self, name: str, start: int = 0, end: int | None = None) -> AsyncGenerator[bytes, None]:
        """Yield the bytes from `start` to before `end`, in chunks. Raises ObjectMissing before the first one.

        Whoever reads slowly is waited for; only the store may not be slow.
        """
        chunks = self._ranges(name, start, end) if self._folder is not None else self._body(name, start, end)
        async with aclosing(chunks):
            async for chunk in chunks:
                yield chunk

    async def read(self, name: str, start: int, end: int) -> bytes:
        """Return the bytes from `start` to before `end`, at once."""
        if start >= end:
            return b""
        async with _bounded("read", end - start):
            return bytes(await self._store.get_range_async(_key(name), start=start, end=end))

    async def fetch(self, name: str, target: Path) -> None:
        """Copy an object into the file `target`, which is not there if that fails."""
        try:
            with _understood("fetch"):
                file = await asyncio.to_thread(target.open, "wb")
            await self._fill(name, file)
        except BaseException:
            await asyncio.to_thread(target.unlink, missing_ok=True)
            raise

    async def delete(self, name: str) -> None:
        """Remove an object, if it is there."""
        with suppress(ObjectMissing):
            async with _bounded("delete"):
                await self._store.delete_async(_key(name))

    async def size(self, name: str) -> int | None:
        """Return how many bytes an object has, or None where there is none."""
        try:
            async with _bounded("size"):
                return (await self._store.head_async(_key(name)))["size"]
        except ObjectMissing:
            return None

    async def names(self) -> AsyncIterator[Named]:
        """Yield all that is there, in no order. What has another form of name is not ours."""
        pages = list_objects(self._store, chunk_size=1000)
        while True:
            async with _bounded("list"):
                page = await anext(pages, None)
            if page is None:
                return
            for found in page:
                if (key := _KEY.fullmatch(found["path"])) is not None:
                    yield Named(key[1] + key[2], found["size"])

    async def check(self) -> None:
        """Raise StorageUnavailable where nothing can be reached, or a folder takes nothing."""
        async with _bounded("check"):
            if self._folder is not None:
                await asyncio.to_thread(_check, self._folder)
            else:
                await anext(list_objects(self._store, offset=_BEYOND_ALL_NAMES), None)

    async def clear_unfinished(self, older: timedelta, *, dry_run: bool = False) -> int:
        """Remove what was not written to its end, from a folder; returns how many there were.

        Of a bucket its own rule for unfinished multipart uploads does that: obstore does not list them.
        """
        return 0 if self._folder is None else await asyncio.to_thread(_clear, self._folder, older, dry_run)

    async def _fill(self, name: str, file: IO[bytes]) -> None:
        with file:
            async for chunk in self.stream(name):
                with _understood("fetch"):
                    await asyncio.to_thread(file.write, chunk)
            with _understood("fetch"):
                file.flush()

    async def _ranges(self, name: str, start: int, end: int | None) -> AsyncGenerator[bytes, None]:
        """Read a local file by ranges: obstore's own stream takes it in pieces of 8 kB, and four times as long."""
        length = await self.size(name)
        if length is None:
            raise ObjectMissing
        end = length if end is None else min(end, length)
        for at in range(start, end, CHUNK):
            yield await self.read(name, at, min(at + CHUNK, end))

    async def _body(self, name: str, start: int, end: int | None) -> AsyncGenerator[bytes, None]:
        """Read one answer of the bucket as it comes."""
        if end is not None and start >= end:
            return
        async with _bounded("get"):
            wanted = {"offset": start} if end is None else (start, end)
            answer = await self._store.get_async(_key(name), options={"range": wanted} if start or end else {})  # pyright: ignore[reportArgumentType]
        chunks = aiter(answer.stream(CHUNK))
        while True:
            async with _bounded("get", CHUNK):
                chunk = await anext(chunks, None)
            if chunk is None:
                return
            yield bytes(chunk)


@asynccontextmanager
async def _bounded(operation: str, length: int = 0) -> AsyncIterator[None]:
    """Give a store the time that `length` bytes may take, and say what went wrong in our words."""
    with _understood(operation):
        async with asyncio.timeout(ANSWER_SECONDS + length / SLOWEST):
            yield


@contextmanager
def _understood(operation: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        if operation in ("put", "check", "list", "open", "fetch"):  # it is the bucket or the folder that is missing
            raise _unavailable(operation, error) from error
        raise ObjectMissing from error
    except (BaseError, OSError) as error:  # a TimeoutError is an OSError, too
        raise _unavailable(operation, error) from error


def _unavailable(operation: str, error: Exception) -> StorageUnavailable:
    said = str(error).partition("\n")[0][:300]
    get_logger("storage").warning("the storage fails", operation=operation, error_type=type(error).__name__, said=said)
    return StorageUnavailable()


def _key(name: str) -> str:
    """Return where an object is: in one of 256 folders, so that none grows beyond what file systems like."""
    if _NAME.fullmatch(name) is None:
        raise ValueError("no name of an object")
    return f"{name[:2]}/{name[2:]}"


def _named(path: Path) -> Named:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=32))
        return Named(digest.hexdigest(), file.tell())


def _sync(path: Path, root: Path) -> None:
    """Have the disk itself keep a file and its name, before a row says that it is there."""
    for step in (path, path.parent, root):
        handle = os.open(step, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _check(folder: Path) -> None:
    room = os.statvfs(folder)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError("the folder of the files may not be written")
    if room.f_bavail * room.f_frsize < PART:
        raise OSError("the disk of the files is full")


def _clear(folder: Path, older: timedelta, dry_run: bool) -> int:
    before = time() - older.total_seconds()
    found = 0
    for path in folder.glob(f"??/{_UNFINISHED}"):
        with suppress(FileNotFoundError):
            if path.stat().st_mtime < before:
                found += 1
                if not dry_run:
                    path.unlink()
    return found
