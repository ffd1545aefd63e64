"""HTTP byte by byte, for requests that no client would send."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import msgspec

PATIENCE = 20.0


@dataclass(frozen=True)
class RawAnswer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The decoded body."""
        return msgspec.json.decode(self.body)

    @property
    def code(self) -> str:
        """The problem's code."""
        return self.json["code"]


class RawConnection:
    """A connection on which one writes what one likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    async def send(self, *parts: bytes) -> None:
        """Send bytes; when the other side has had enough, that is no error."""
        try:
            for part in parts:
                self.writer.write(part)
                await self.writer.drain()
        except ConnectionError:
            return

    async def answer(self, *, bodyless: bool = False) -> RawAnswer:
        """Read one answer."""
        async with asyncio.timeout(PATIENCE):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            line, *lines = head.rstrip().split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in lines)}
            length = 0 if bodyless else int(headers.get("content-length", "0"))
            return RawAnswer(int(line.split(" ")[1]), headers, await self._reader.readexactly(length))


@asynccontextmanager
async def connected(base: str) -> AsyncIterator[RawConnection]:
    """Open a connection to the server of an address."""
    place = urlsplit(base)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    try:
        yield RawConnection(reader, writer)
    finally:
        writer.close()


def request_of(method: str, target: bytes | str, headers: Iterable[tuple[str, str]] = (), body: bytes = b"") -> bytes:
    """Write down a request as it is given, without a look at whether it makes sense."""
    raw = target.encode() if isinstance(target, str) else target
    lines = [method.encode() + b" " + raw + b" HTTP/1.1", b"Host: test"]
    lines += [f"{name}: {value}".encode("latin-1") for name, value in headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


async def raw_request(
    base: str, method: str, target: bytes | str, headers: Iterable[tuple[str, str]] = (), body: bytes = b""
) -> RawAnswer:
    """Send one such request and read the answer."""
    async with connected(base) as connection:
        await connection.send(request_of(method, target, headers, body))
        return await connection.answer(bodyless=method == "HEAD")
