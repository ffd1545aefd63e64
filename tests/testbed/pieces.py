"""Uploads in pieces as a tus client makes them."""

import base64
from typing import Any

from testbed.town import Answer, Client, Person, Town

TUS = {"Tus-Resumable": "1.0.0"}
PIECE = {**TUS, "Content-Type": "application/offset+octet-stream"}


def metadata(**texts: str) -> str:
    """Write `Upload-Metadata`."""
    return ",".join(f"{name} {base64.b64encode(text.encode()).decode()}" for name, text in texts.items())


async def begin(media: Client, person: Person | None, length: int, piece: bytes | None = None, **texts: str) -> Answer:
    """Begin an upload, with its first piece if there is one."""
    headers = {**(TUS if piece is None else PIECE), "Upload-Length": str(length)}
    if texts:
        headers["Upload-Metadata"] = metadata(**texts)
    return await media.post("/uploads", as_=person, headers=headers, data=piece)


async def begun(media: Client, person: Person, length: int, **texts: str) -> str:
    """Begin an upload that is accepted; returns its path."""
    answer = await begin(media, person, length, **texts)
    assert answer.status == 201, answer.body
    return answer.headers["Location"].removeprefix("/api/media")


async def send_piece(media: Client, person: Person, path: str, offset: int, piece: bytes) -> Answer:
    """Send one piece."""
    return await media.patch(path, as_=person, headers={**PIECE, "Upload-Offset": str(offset)}, data=piece)


async def offset_of(media: Client, person: Person, path: str) -> int:
    """Ask how far an upload is."""
    answer = await media.request("HEAD", path, as_=person, headers=TUS)
    assert answer.status == 200
    return int(answer.headers["Upload-Offset"])


async def original_of(town: Town, file_path: str) -> tuple[Any, bytes]:
    """Return what is known of a file that anybody may see, and its bytes."""
    facts = (await town.gateway.get(file_path)).json
    return facts, (await town.gateway.get(facts["original"]["url"])).body
