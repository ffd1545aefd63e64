"""Uploads as a browser sends them."""

import io
from pathlib import Path
from typing import Any

import aiohttp
from PIL import Image

from testbed.town import Answer, Client, Person

PHOTOS = Path(__file__).parents[1] / "images" / "photos"


def photo(name: str = "coffee.jpg") -> bytes:
    """Return a photograph that nobody here made; see the README beside it."""
    return (PHOTOS / name).read_bytes()


def small_photo(colour: str = "teal") -> bytes:
    """Return a photograph, to look at its type, that costs next to nothing to work on."""
    out = io.BytesIO()
    Image.new("RGB", (16, 16), colour).save(out, "JPEG")
    return out.getvalue()


def form(data: bytes, name: str = "photo.jpg", **fields: str) -> tuple[bytes, str]:
    """Return the body of a form with the part `file`, and its content type."""
    boundary = "----a-boundary-of-a-browser"
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n' for key, value in fields.items()
    ]
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\nContent-Type: image/x\r\n\r\n'
    return "".join(parts).encode() + head.encode() + data + f"\r\n--{boundary}--\r\n".encode(), boundary


async def send_file(
    media: Client,
    person: Person | None,
    data: bytes,
    name: str = "photo.jpg",
    *,
    headers: dict[str, str] | None = None,
    **fields: str,
) -> Answer:
    """Upload a file."""
    body, boundary = form(data, name, **fields)
    sent = {"Content-Type": f"multipart/form-data; boundary={boundary}"} | (headers or {})
    return await media.post("/upload", as_=person, data=body, headers=sent)


async def uploaded(media: Client, person: Person, data: bytes | None = None, name: str = "photo.jpg", **fields: str) -> Any:
    """Upload a file that is accepted; returns the answer's body."""
    answer = await send_file(media, person, photo() if data is None else data, name, **fields)
    assert answer.status == 201, answer.body
    return answer.json


async def bytes_at(session: aiohttp.ClientSession, base: str, url: str, **headers: str) -> tuple[int, Any, bytes]:
    """Fetch an address of an answer."""
    async with session.get(base + url, headers=headers) as answer:
        return answer.status, answer.headers, await answer.read()
