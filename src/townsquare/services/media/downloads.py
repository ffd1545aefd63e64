"""The bytes of a file: `/files/{id}/{size}.{format}` and `/files/{id}/original`.

What an address names never changes, so it may be kept for a year; ranges are answered, so that films can be wound. Nothing
of it can act as a page of this site: types are never guessed, scripts never run, and what is not a picture, film or sound
is offered for saving.
"""

import re
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote
from uuid import UUID

import asyncpg
from litestar import Response, get
from litestar.params import FromPath, FromQuery
from litestar.response import Stream

from townsquare.images.model import FORMATS, MEDIA_TYPES, SIZES, Format, SizeName
from townsquare.kit.asgi import AnyRequest
from townsquare.kit.calls import call_of
from townsquare.kit.conditional import matches
from townsquare.kit.context import Context
from townsquare.kit.dependencies import Ctx, Db
from townsquare.kit.problems import Problem, not_found
from townsquare.services.media.addresses import Signer, path_of
from townsquare.services.media.file_view import FILE_COLUMNS, KeptVariant, variants_of
from townsquare.services.media.on_demand import make_variant
from townsquare.services.media.resources import resources_of

WHOLE_BYTES: Final = 1 << 20
"""So much is answered from memory; what is larger is streamed."""
YEAR: Final = 31_536_000
_WHAT: Final = re.compile(r"(thumbnail|small|medium|large)\.(avif|webp|jpeg|png)")
_RANGE: Final = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_SHOWN: Final = frozenset({"image", "video", "audio"})

# By primary keys.
FIND_BYTES: Final = f"""
SELECT {FILE_COLUMNS}
FROM files AS f
JOIN people AS o ON o.id = f.owner_id
WHERE f.id = $1 AND NOT o.hidden
"""


@dataclass(frozen=True, slots=True)
class Content:
    """Bytes of the storage and what they are."""

    object: str
    bytes: int
    media_type: str
    name: str
    attached: bool
    expires: int | None
    """Until when the address is good (seconds since 1970) of what is private; None for what everybody may keep."""


@get("/files/{file_id:uuid}/{what:str}", media_type="application/octet-stream")
async def read_bytes(
    request: AnyRequest,
    context: Ctx,
    db: Db,
    file_id: FromPath[UUID],
    what: FromPath[str],
    expires: FromQuery[int | None] = None,
    signature: FromQuery[str | None] = None,
) -> Response[Any]:
    """Read a file: a variant of a picture (`small.webp`), or the `original`."""
    row = await db.fetchrow(FIND_BYTES, file_id)
    if row is None:
        raise not_found()
    private = row["visibility"] == "private" or (what == "original" and row["kind"] == "image")
    if private and not Signer.of(context.settings).opens(path_of(file_id, what), expires, signature):
        raise not_found()
    content = await _content(context, row, what, expires if private else None)
    return await _answer(request, context, content)


async def _content(context: Context, row: asyncpg.Record, what: str, expires: int | None) -> Content:
    if what == "original":
        attached = row["kind"] not in _SHOWN or row["media_type"] == "image/svg+xml"
        return Content(row["original"], row["bytes"], row["media_type"], row["name"], attached, expires)
    named = _WHAT.fullmatch(what)
    if named is None:
        raise not_found()
    size, name = _pair(named[1], named[2])
    variant = await _variant(context, row, size, name)
    stem = row["name"].rpartition(".")[0] or row["name"]
    return Content(variant.object, variant.bytes, MEDIA_TYPES[name], f"{stem}.{name}", False, expires)


def _pair(size: str, name: str) -> tuple[SizeName, Format]:
    return next(s for s in SIZES if s == size), next(f for f in FORMATS if f == name)


async def _variant(context: Context, row: asyncpg.Record, size: SizeName, name: Format) -> KeptVariant:
    formats = variants_of(row).get(size)
    if not formats:
        raise not_found()
    return formats.get(name) or await make_variant(context, row["id"], size, name)


async def _answer(request: AnyRequest, context: Context, content: Content) -> Response[Any]:
    tag = f'"{content.object[:32]}"'
    headers = _headers(content, tag)
    asked = request.headers
    if (known := asked.get("if-none-match")) is not None and matches(known, tag, weak=True):
        return Response(b"", status_code=304, headers=headers)
    start, end = 0, content.bytes
    status = 200
    head = call_of(request.scope).head
    # Ranges are of GET alone (RFC 9110, section 14.2).
    if not head and (said := asked.get("range")) is not None and asked.get("if-range", tag) == tag:
        found = _range(said, content.bytes)
        if found is not None:
            (start, end), status = found, 206
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{content.bytes}"
    headers["Content-Length"] = str(end - start)
    storage = resources_of(context).storage
    if head:
        return Stream(_nothing(), status_code=status, headers=headers, media_type=content.media_type)
    if end - start <= WHOLE_BYTES:
        body = await storage.read(content.object, start, end)
        return Response(body, status_code=status, headers=headers, media_type=content.media_type)
    stream = storage.stream(content.object, start, end)
    return Stream(stream, status_code=status, headers=headers, media_type=content.media_type)


def _headers(content: Content, tag: str) -> dict[str, str]:
    """Describe the bytes. A browser keeps what is private no longer than its address is good."""
    left = YEAR if content.expires is None else max(0, min(YEAR, content.expires - int(time.time())))
    scope = "public" if content.expires is None else "private"
    disposition = "attachment" if content.attached else "inline"
    return {
        "ETag": tag,
        "Cache-Control": f"{scope}, max-age={left}, immutable",
        "Accept-Ranges": "bytes",
        "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
        "Content-Disposition": f"{disposition}; filename*=UTF-8''{quote(content.name, safe='')}",
    }


def _range(said: str, size: int) -> tuple[int, int] | None:
    """Return start and end of one range, None for what is not understood, which is then no range at all.

    Raises `range_not_satisfiable`.
    """
    asked = _RANGE.fullmatch(said.strip())
    if asked is None or asked[0] == "bytes=-":
        return None
    first, last = asked[1], asked[2]
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(size, int(last) + 1) if last else size
        if last and int(last) < start:
            return None
    if start >= size or start >= end:
        raise Problem("range_not_satisfiable", headers={"Content-Range": f"bytes */{size}"})
    return start, end


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""


ROUTES: Final = (read_bytes,)
