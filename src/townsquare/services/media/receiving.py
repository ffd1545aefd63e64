"""Reading an upload as it comes: `multipart/form-data`, straight into a draft on the disk, in bounded memory.

A draft is nobody's file yet. Whoever receives one removes it, whatever happens; what a killed process leaves is swept.
"""

import asyncio
import errno
import hashlib
import os
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp
from time import monotonic
from typing import IO, Annotated, Final, TypeAlias, cast

import msgspec
from msgspec import Meta, Struct
from multipart import MultipartError, MultipartSegment, ParserLimitReached, PushMultipartParser
from multipart import parse_options_header as _parse_header  # pyright: ignore[reportUnknownVariableType]  (without types)

from townsquare.kit.asgi import AnyRequest
from townsquare.kit.problems import Problem, invalid, unavailable
from townsquare.kit.text_types import TEXT
from townsquare.services.media.file_view import Visibility

MEGABYTE: Final = 1_000_000
SILENCE_SECONDS: Final = 30.0
"""So long may an upload stand still."""
LONGEST_SECONDS: Final = 3_600.0
"""So long may a request bring bytes, or a trickle would hold its place for ever."""
MAX_FIELD: Final = 10_000
"""Bytes of a field that is no file."""
MAX_NAME: Final = 200
FORM_AROUND: Final = 100_000
"""So many bytes may stand around the file in its form."""

AltText: TypeAlias = Annotated[str, Meta(max_length=1_500, pattern=TEXT)]
_LENGTH: Final = re.compile(r"[0-9]{1,18}")
_NOT_IN_NAMES: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff/\\]+")


class About(Struct, frozen=True, forbid_unknown_fields=True):
    """What people say of a file that they upload."""

    alt: AltText | None = None
    visibility: Visibility = "public"


class Received(Struct, frozen=True):
    """A file that has come in whole; `digest` is of all that was sent with it, to know a repetition by."""

    path: Path
    name: str
    about: About
    digest: bytes


@asynccontextmanager
async def workplace(drafts: Path) -> AsyncIterator[Path]:
    """Lend a folder of one's own for what is being received and made; it is gone afterwards."""
    with on_disk():
        folder = Path(await asyncio.to_thread(mkdtemp, dir=drafts))
    try:
        yield folder
    finally:
        await asyncio.to_thread(remove, folder)


def remove(folder: Path) -> None:
    """Remove a workplace. Nothing is nested in it."""
    with suppress(FileNotFoundError):
        for path in folder.iterdir():
            path.unlink(missing_ok=True)
        folder.rmdir()


async def receive(request: AnyRequest, folder: Path, most: int) -> Received:
    """Read the form of an upload into `folder`; its file may have `most` bytes.

    Raises the problems `unsupported_media_type`, `malformed_request`, `too_large`, `invalid`, `request_timeout` and, when
    the disk is full, `unavailable`.
    """
    form = _Form(folder / "original", most)
    parser = _parser(request)
    with form, _understood():
        async for chunk in chunks(request):
            form.take(parser.parse(chunk))
        parser.close()
        form.end()
    return form.received()


async def chunks(request: AnyRequest) -> AsyncIterator[bytes]:
    """Yield a body as it comes; raises `request_timeout` when it stands still, or takes too long."""
    stream = aiter(request.stream())
    until = monotonic() + LONGEST_SECONDS
    while True:
        left = until - monotonic()
        try:
            async with asyncio.timeout(min(SILENCE_SECONDS, left)):
                chunk = await anext(stream, None)
        except TimeoutError:
            silent = f"Nothing has come for {SILENCE_SECONDS:.0f} seconds."
            why = silent if left > SILENCE_SECONDS else "This takes too long; send it in pieces (`POST /uploads`)."
            raise Problem("request_timeout", why) from None
        if chunk is None:
            return
        if chunk:
            yield chunk


def require_size(request: AnyRequest, most: int) -> int:
    """Refuse a form by what it says of itself, before any of it is read; returns how large it says its file is, about."""
    said = request.headers.get("content-length") or "0"
    if _LENGTH.fullmatch(said) is None or int(said) > most + FORM_AROUND:
        raise too_large(most)
    return max(0, int(said) - FORM_AROUND)


def too_large(most: int) -> Problem:
    """Make the 413 for a file."""
    return Problem("too_large", f"A file may have {most / MEGABYTE:,.0f} MB.")


def plain_name(name: str | None) -> str:
    """Return a file's name as it may be shown and given back: the last part of a path, without what cannot be seen."""
    last = re.split(r"[/\\]", name or "")[-1]
    return _NOT_IN_NAMES.sub("", last).strip()[-MAX_NAME:] or "file"


def about_from(fields: dict[str, str]) -> About:
    """Read what was said of a file; raises `invalid`."""
    given = {name: value for name, value in fields.items() if value != "" or name != "alt"}
    for name, kind in About.__annotations__.items():
        if name in given:
            try:
                msgspec.convert(given[name], kind)
            except msgspec.ValidationError as error:
                raise invalid(f"/{name}", str(error)) from None
    unknown = sorted(given.keys() - About.__annotations__.keys())
    if unknown:
        raise invalid(f"/{unknown[0]}", "There is no such field.")
    return msgspec.convert(given, About)


class _Form:
    """The parts of a form, as they come."""

    def __init__(self, path: Path, most: int) -> None:
        self._path = path
        self._most = most
        self._name: str | None = None
        self._fields: dict[str, bytearray] = {}
        self._segment: MultipartSegment | None = None
        self._file: IO[bytes] | None = None
        self._size = 0
        self._digest = hashlib.blake2b(digest_size=32)

    def __enter__(self) -> "_Form":
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            with suppress(OSError):
                self._file.close()

    def take(self, events: Iterator[MultipartSegment | bytes | bytearray | None]) -> None:
        for event in events:
            if isinstance(event, MultipartSegment):
                self._begin(event)
            elif event is not None:
                self._add(bytes(event))

    def end(self) -> None:
        """Have the draft hold all that was written to it: what a full disk does not take is told here at the latest."""
        if self._file is not None:
            with on_disk():
                self._file.close()

    def received(self) -> Received:
        if self._name is None:
            raise invalid("/file", "A file is needed.")
        if self._size == 0:
            raise invalid("/file", "The file is empty.")
        fields = {name: _text(name, value) for name, value in self._fields.items()}
        self._digest.update(repr(sorted(fields.items())).encode())
        return Received(self._path, self._name, about_from(fields), self._digest.digest())

    def _begin(self, segment: MultipartSegment) -> None:
        self._segment = segment
        name = segment.name or ""
        if name == "file" and self._name is None:
            self._name = plain_name(segment.filename)
            with on_disk():
                self._file = self._path.open("wb")
        elif name == "file" or name in self._fields:
            raise invalid(f"/{name}", "This stands twice in the form.")
        else:
            self._fields[name] = bytearray()

    def _add(self, data: bytes) -> None:
        assert self._segment is not None  # noqa: S101  (the parser names a part before its bytes)
        name = self._segment.name or ""
        if name != "file":
            self._fields[name] += data
            if len(self._fields[name]) > MAX_FIELD:
                raise invalid(f"/{name}", "This is too long.")
            return
        self._size += len(data)
        if self._size > self._most:
            raise too_large(self._most)
        self._digest.update(data)
        assert self._file is not None  # noqa: S101  (likewise)
        with on_disk():
            self._file.write(data)


def _parser(request: AnyRequest) -> PushMultipartParser:
    kind, options = cast("tuple[str, dict[str, str]]", _parse_header(request.headers.get("content-type", "")))
    boundary = options.get("boundary", "")
    if kind != "multipart/form-data" or not boundary:
        raise Problem("unsupported_media_type", "Send a form (`Content-Type: multipart/form-data`) with the part `file`.")
    return PushMultipartParser(boundary, max_segment_count=10, strict=True)


def _text(name: str, value: bytearray) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise invalid(f"/{name}", "This is not valid UTF-8.") from None


@contextmanager
def _understood() -> Iterator[None]:
    try:
        yield
    except ParserLimitReached:
        raise Problem("malformed_request", "The form has too many parts, or too long heads of parts.") from None
    except MultipartError as error:
        raise Problem("malformed_request", f"The form cannot be read: {error.args[0]}.") from None


@contextmanager
def on_disk() -> Iterator[None]:
    """Say what a disk that takes nothing more means to whoever uploads."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS):
            raise
        raise unavailable(
            f"There is no room for this file right now ({os.strerror(error.errno)}).", retry_after=60
        ) from None
