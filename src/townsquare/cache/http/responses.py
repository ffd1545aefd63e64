"""A kept answer as finished bytes: its body in each encoding, its entity tags, its head.

Encodings are made once, at the first hit that wants them: a miss pays nothing for them, and what nobody asks for is never
made. A head is made anew at most once a second, because of its date and remaining lifetime.
"""

import gzip
import re
from collections.abc import Callable
from email.utils import formatdate
from typing import Final, Literal, cast

import brotli

Headers = list[tuple[bytes, bytes]]
Coding = Literal["identity", "gzip", "br"]

MIN_COMPRESSED: Final = 256
"""Bytes; below, the headers of a compressed answer are as long as what it saves."""
BROTLI_QUALITY: Final = 5
GZIP_LEVEL: Final = 6
"""Both measured on our JSON: the next level costs twice the time for 1 % fewer bytes."""

CODING_OVERHEAD: Final = 40
"""Bytes of a body beside its letters; its place among the bodies is there anyway."""

_SUFFIX: Final[dict[Coding, bytes]] = {"identity": b"", "gzip": b"-gz", "br": b"-br"}
_QUALITY: Final = re.compile(r";\s*q\s*=\s*([01](?:\.\d{0,3})?)\s*$")


class StoredResponse:
    """An answer of 200. `headers` are all that do not change from hit to hit, without length, coding and tag."""

    __slots__ = ("_bodies", "etag", "headers")

    def __init__(self, headers: Headers, etag: bytes, body: bytes) -> None:
        self.headers = headers
        self.etag = etag
        """The strong tag of the plain body, quotes included."""
        self._bodies: dict[Coding, bytes] = {"identity": body}

    @property
    def size(self) -> int:
        """The bytes of headers and plain body."""
        return len(self.plain) + sum(len(name) + len(value) for name, value in self.headers)

    @property
    def plain(self) -> bytes:
        """The body as it was made."""
        return self._bodies["identity"]

    def coding_for(self, accept_encoding: bytes) -> Coding:
        """Return the best coding that the client takes; a small body stays plain."""
        return "identity" if len(self.plain) < MIN_COMPRESSED else best_coding(accept_encoding)

    def make(self, coding: Coding) -> int:
        """Make the body in a coding, and return how many bytes more that takes: the store must hear of them."""
        if coding in self._bodies:
            return 0
        made = self._bodies[coding] = _encoded(self.plain, coding)
        return len(made) + CODING_OVERHEAD

    def body(self, coding: Coding) -> bytes:
        """Return the body in a coding that was made."""
        return self._bodies[coding]

    def tag(self, coding: Coding) -> bytes:
        """Return the entity tag of the body in a coding: other bytes, another strong tag (RFC 9110, 8.8.3.3)."""
        return _in_coding(self.etag, coding)

    def matches(self, if_none_match: bytes) -> bool:
        """True when the client has this answer, in whatever coding (weak comparison, RFC 9110, 13.1.2)."""
        if if_none_match.strip() == b"*":
            return True
        ours = in_each_coding(self.etag)
        return any(part.strip().removeprefix(b"W/") in ours for part in if_none_match.split(b","))

    def head(self, coding: Coding, extra: Headers) -> Headers:
        """Return the headers of a 200 in a coding."""
        headers = [*self.headers, (b"etag", self.tag(coding)), *extra]
        if coding != "identity":
            headers.append((b"content-encoding", coding.encode()))
        headers.append((b"content-length", b"%d" % len(self.body(coding))))
        return headers

    def head_unchanged(self, coding: Coding, extra: Headers) -> Headers:
        """Return the headers of a 304: those that a 200 would have, but for the body's own (RFC 9110, 15.4.5)."""
        kept = [(name, value) for name, value in self.headers if name != b"content-type"]
        return [*kept, (b"etag", self.tag(coding)), *extra]


def in_each_coding(etag: bytes) -> set[bytes]:
    """Return the entity tags of all codings of the body that has this one when it is plain."""
    return {_in_coding(etag, coding) for coding in _SUFFIX}


def _in_coding(etag: bytes, coding: Coding) -> bytes:
    suffix = _SUFFIX[coding]
    return etag[:-1] + suffix + b'"' if suffix else etag


def _encoded(body: bytes, coding: Coding) -> bytes:
    if coding == "gzip":
        return gzip.compress(body, GZIP_LEVEL, mtime=0)
    compress = cast("Callable[..., bytes]", brotli.compress)  # pyright: ignore[reportUnknownMemberType]  (comes without types)
    return compress(body, quality=BROTLI_QUALITY)


def best_coding(accept_encoding: bytes) -> Coding:
    """Choose among brotli, gzip and none by the client's qualities; ours decides between equals (RFC 9110, 12.5.3)."""
    qualities = _qualities(accept_encoding.decode("latin-1").lower())
    anything = qualities.get("*", 0.0)
    best: Coding = "identity"
    quality = 0.0
    codings: tuple[Coding, ...] = ("br", "gzip")
    for coding in codings:
        if (given := qualities.get(coding, anything)) > quality:
            best, quality = coding, given
    return best if quality >= qualities.get("identity", 0.0) and quality > 0 else "identity"


def _qualities(accept_encoding: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for part in accept_encoding.split(","):
        coding, quality = part.strip(), 1.0
        if (given := _QUALITY.search(coding)) is not None:
            coding, quality = coding[: given.start()].strip(), min(float(given[1]), 1.0)
        if coding:
            found[coding] = quality
    return found


def status_line_and(status: int, headers: Headers) -> bytes:
    """Write the head of an HTTP/1.1 answer, up to and without its empty line."""
    line = b"HTTP/1.1 200 OK\r\n" if status == 200 else b"HTTP/1.1 304 Not Modified\r\n"
    return line + b"".join(b"%b: %b\r\n" % header for header in headers)


def http_date(timestamp: float) -> bytes:
    """Write a moment as HTTP does."""
    return formatdate(timestamp, usegmt=True).encode()
