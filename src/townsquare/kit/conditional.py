"""Conditional requests: strong entity tags, `If-None-Match` (304) and `If-Match` (412), RFC 9110, section 13."""

import hashlib

import msgspec

from townsquare.cache.http.responses import in_each_coding
from townsquare.kit.asgi import AnyRequest
from townsquare.kit.problems import Problem

_TAG_BYTES = 12


def etag_of(body: bytes) -> str:
    """Return the strong entity tag of these bytes, quotes included."""
    return f'"{hashlib.blake2b(body, digest_size=_TAG_BYTES).hexdigest()}"'


def matches(header: str, tag: str, *, weak: bool) -> bool:
    """True when `tag` is in the header's list. `weak` comparison (for If-None-Match) ignores a `W/`."""
    if header.strip() == "*":
        return True
    listed = [part.strip() for part in header.split(",")]
    if weak:
        listed = [part.removeprefix("W/") for part in listed]
    return tag in listed


def require_match(request: AnyRequest, current: msgspec.Struct) -> None:
    """Refuse a write to something that is no longer what the caller read; without `If-Match` nothing is asked.

    `current` is the resource exactly as GET answers it, compressed or not: each coding has its own tag, and stands for the
    same state. Raises the problem `precondition_failed`.
    """
    wanted = request.headers.get("if-match")
    if wanted is None:
        return
    tags = in_each_coding(etag_of(msgspec.json.encode(current)).encode())
    if not any(matches(wanted, tag.decode(), weak=False) for tag in tags):
        raise Problem("precondition_failed")
