"""Calls to another service: in this process when it is hosted here, else over a kept HTTP/1.1 connection.

The caller cannot tell which. Both carry the services' shared secret, which is what opens internal paths.
"""

import asyncio
from typing import Protocol

import aiohttp
from litestar.types import HTTPReceiveMessage, HTTPScope, Message

from townsquare.kit.asgi import HTTPApp
from townsquare.kit.problems import Problem

INTERNAL_HEADER = "townsquare-internal"


class Reply:
    """Status, headers and whole body of an answer."""

    def __init__(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body


class Upstream(Protocol):
    """Another service, wherever it runs."""

    async def call(
        self, method: str, target: str, *, body: bytes = b"", token: str | None = None, timeout: float | None = None
    ) -> Reply:
        """Send an internal request to `target` (path and query), as the person whose access token is given, or as nobody.

        Raises the problems `upstream_unavailable` and `upstream_timeout`.
        """
        ...


class LocalUpstream:
    """A service hosted in this process."""

    def __init__(self, app: HTTPApp, secret: str) -> None:
        self._app = app
        self._secret = secret

    async def call(
        self, method: str, target: str, *, body: bytes = b"", token: str | None = None, timeout: float | None = None
    ) -> Reply:
        """Run the request through the app, without a socket."""
        reply = Reply(500, [], b"")

        async def receive() -> HTTPReceiveMessage:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                reply.status, reply.headers = message["status"], list(message["headers"])
            elif message["type"] == "http.response.body":
                reply.body += message["body"]

        try:
            async with asyncio.timeout(timeout):
                await self._app(_scope(method, target, self._secret, token), receive, send)
        except TimeoutError as error:
            raise Problem("upstream_timeout", headers={"Retry-After": "1"}) from error
        return reply


class RemoteUpstream:
    """A service on its own port."""

    def __init__(self, session: aiohttp.ClientSession, base: str, secret: str, timeout: float) -> None:
        self._session = session
        self._base = base
        self._headers = {INTERNAL_HEADER: secret, "content-type": "application/json"}
        self._timeout = timeout

    async def call(
        self, method: str, target: str, *, body: bytes = b"", token: str | None = None, timeout: float | None = None
    ) -> Reply:
        """Send the request over the network."""
        limit = aiohttp.ClientTimeout(total=timeout or self._timeout)
        headers = self._headers if token is None else {**self._headers, "authorization": f"Bearer {token}"}
        try:
            async with self._session.request(
                method, self._base + target, data=body or None, headers=headers, timeout=limit
            ) as answer:
                headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in answer.headers.items()]
                return Reply(answer.status, headers, await answer.read())
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Problem("upstream_unavailable", headers={"Retry-After": "1"}) from error


def _scope(method: str, target: str, secret: str, token: str | None) -> HTTPScope:
    path, _, query = target.partition("?")
    headers = [(INTERNAL_HEADER.encode(), secret.encode()), (b"content-type", b"application/json")]
    if token is not None:
        headers.append((b"authorization", f"Bearer {token}".encode()))
    return {  # pyright: ignore[reportReturnType]
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": headers,
        "client": ("127.0.0.1", 0),
        "server": ("127.0.0.1", 0),
        "state": {},
    }
