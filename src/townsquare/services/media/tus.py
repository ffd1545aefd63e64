"""tus 1.0.0, the protocol of uploads in pieces (https://tus.io/protocols/resumable-upload): its headers.

`Tus-Resumable` stands in every request and every answer; who speaks another version is told which one is spoken here.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from datetime import datetime
from email.utils import format_datetime
from typing import Final

from townsquare.kit.asgi import AnyRequest
from townsquare.kit.calls import call_of
from townsquare.kit.problems import Problem, invalid

VERSION: Final = "1.0.0"
EXTENSIONS: Final = "creation,creation-with-upload,expiration,termination"
PIECE: Final = "application/offset+octet-stream"
MAX_METADATA: Final = 10_000
_NUMBER: Final = re.compile(r"[0-9]{1,15}", re.ASCII)
_KEY: Final = re.compile(r"[!-+\--~]+", re.ASCII)


def speak(request: AnyRequest) -> None:
    """Begin an answer of the protocol; raises `precondition_failed` for another version."""
    call_of(request.scope).headers.append((b"tus-resumable", VERSION.encode()))
    if request.headers.get("tus-resumable") != VERSION:
        said = f"Uploads in pieces speak tus {VERSION} here (`Tus-Resumable: {VERSION}`)."
        raise Problem("precondition_failed", said, headers={"Tus-Version": VERSION})


def number_in(request: AnyRequest, name: str) -> int:
    """Read a header that is a number of bytes; raises `invalid`."""
    given = request.headers.get(name, "")
    if _NUMBER.fullmatch(given) is None:
        raise invalid(f"/{name}", "A number of bytes is needed here.")
    return int(given)


def is_piece(request: AnyRequest) -> bool:
    """Say whether the body is a piece of a file."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == PIECE


def require_piece(request: AnyRequest) -> None:
    """Refuse a body that is no piece."""
    if not is_piece(request):
        raise Problem("unsupported_media_type", f"Send a piece of the file (`Content-Type: {PIECE}`).")


def read_metadata(header: str) -> dict[str, str]:
    """Read `Upload-Metadata`: names, each with a text in Base64, separated by commas; raises `invalid`."""
    if len(header) > MAX_METADATA:
        raise _unreadable("is too long")
    found: dict[str, str] = {}
    for pair in header.split(",") if header.strip() else ():
        name, _, value = pair.strip().partition(" ")
        if _KEY.fullmatch(name) is None or name in found:
            raise _unreadable("has a name that is empty, strange or there twice")
        found[name] = _decoded(value.strip())
    return found


def expiry(moment: datetime) -> Mapping[str, str]:
    """Return the header that says until when an upload may go on."""
    return {"Upload-Expires": format_datetime(moment, usegmt=True)}


def _decoded(value: str) -> str:
    try:
        return base64.b64decode(value, validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        raise _unreadable("has a value that is no text in Base64") from None


def _unreadable(why: str) -> Problem:
    return invalid("/Upload-Metadata", f"It {why}.")
