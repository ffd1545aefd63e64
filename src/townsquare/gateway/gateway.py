"""Routing: `/api/{service}/...` to the service, the rest to the platform's own pages.

A service hosted in this process is called directly; one on its own port over kept HTTP/1.1 connections, streamed in both
directions, within the topology's timeout.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol, cast
from urllib.parse import quote

import aiohttp
from litestar.types import HTTPScope, Message, Receive, Send

from townsquare.kit.asgi import HTTPApp
from townsquare.kit.calls import Call, call_of, send_problem
from townsquare.kit.edge import ADDRESS_HEADER, FORWARDED_HEADER, OWN_HEADERS, PREFIX_HEADER, REQUEST_ID_HEADER
from townsquare.kit.problems import Code, Problem
from townsquare.topology import Service

_HOP_BY_HOP = frozenset(
    (b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"te", b"trailer",
     b"transfer-encoding", b"upgrade", b"host")
)  # fmt: skip
_SET_BY_THE_EDGE = frozenset((b"x-request-id", b"x-content-type-options", b"referrer-policy", b"vary", b"date", b"server"))
_NOT_OURS_TO_SAY = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
"""What the HTTP client would add by itself: whoever asks may have left it out on purpose."""
_CONNECT_SECONDS = 2.0


class Destination(Protocol):
    """Where requests for one service go."""

    async def __call__(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        """Answer the request; the path is the service's own."""
        ...


class Gateway:
    """ASGI app behind the edge. `pages` answers whatever is no service's."""

    def __init__(self, destinations: Mapping[str, Destination], pages: HTTPApp) -> None:
        self._destinations = destinations
        self._pages = pages

    async def __call__(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        """Pass one request on."""
        path: str = scope["path"]
        if not path.startswith("/api/"):
            await self._pages(scope, receive, send)
            return
        name, slash, rest = path[5:].partition("/")
        destination = self._destinations.get(name)
        if destination is None or not slash or not _is_plain(scope, name):
            await self._pages(scope, receive, send)
            return
        call_of(scope).prefix = f"/api/{name}"
        inner = cast("HTTPScope", {**scope, "path": f"/{rest}", "raw_path": _raw(scope, name)})
        await destination(inner, receive, send)


def _is_plain(scope: HTTPScope, name: str) -> bool:
    """False where the part that names the service is percent-encoded: what is cut off below would be something else."""
    return not scope["raw_path"] or scope["raw_path"].startswith(f"/api/{name}/".encode())


def _raw(scope: HTTPScope, name: str) -> bytes:
    return (scope["raw_path"] or quote(scope["path"]).encode())[len("/api/") + len(name) :]


class RemoteService:
    """A service on a port of its own."""

    def __init__(self, service: Service, base: str, session: aiohttp.ClientSession, secret: str) -> None:
        self._base = base
        self._session = session
        self._secret = secret
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=service.timeout)

    async def __call__(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        """Stream the request there and the answer back; an answer that breaks off there breaks off here."""
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._pass_on(scope, receive, watched)
        except (aiohttp.ClientError, OSError) as error:
            if begun:
                raise
            # To be slow in connecting is to be away: nothing was asked of it yet.
            late = isinstance(error, TimeoutError) and not isinstance(error, aiohttp.ConnectionTimeoutError)
            code: Code = "upstream_timeout" if late else "upstream_unavailable"
            await send_problem(Problem(code, headers={"Retry-After": "1"}), scope, send)

    async def _pass_on(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        query = scope["query_string"].decode("latin-1")
        raw = scope["raw_path"].decode("latin-1")
        url = _encoded(self._base + raw + (f"?{query}" if query else ""))
        async with self._session.request(
            scope["method"],
            url,
            headers=self._headers(scope),
            data=_body(receive) if _has_body(scope) else None,
            timeout=self._timeout,
            allow_redirects=False,
            skip_auto_headers=_NOT_OURS_TO_SAY,
        ) as answer:
            headers = [
                (name.lower(), value)
                for name, value in answer.raw_headers
                if name.lower() not in _HOP_BY_HOP and name.lower() not in _SET_BY_THE_EDGE
            ]
            await send({"type": "http.response.start", "status": answer.status, "headers": headers})
            async for chunk in answer.content.iter_any():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _headers(self, scope: HTTPScope) -> list[tuple[str, str]]:
        dropped = {*_HOP_BY_HOP, *OWN_HEADERS, REQUEST_ID_HEADER}
        for name, value in scope["headers"]:
            if name == b"connection":
                dropped.update(each.strip().lower() for each in value.split(b","))
        dropped.discard(b"content-length")  # the body's length is the body's, whatever a client calls it
        passed = [
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"] if name not in dropped
        ]
        return passed + self._own_headers(call_of(scope))

    def _own_headers(self, call: Call) -> list[tuple[str, str]]:
        return [
            (FORWARDED_HEADER.decode(), self._secret),
            (PREFIX_HEADER.decode(), call.prefix),
            (ADDRESS_HEADER.decode(), call.address),
            (REQUEST_ID_HEADER.decode(), call.id),
        ]


def _encoded(url: str) -> Any:
    from yarl import URL  # aiohttp's own URL type: the path goes on exactly as it came

    return URL(url, encoded=True)


def _has_body(scope: HTTPScope) -> bool:
    return any(name in (b"content-length", b"transfer-encoding") for name, _ in scope["headers"])


async def _body(receive: Receive) -> AsyncIterator[bytes]:
    while True:
        message = cast("dict[str, Any]", await receive())
        if message["type"] == "http.disconnect":
            raise aiohttp.ClientPayloadError("the client left")
        if message.get("body"):
            yield message["body"]
        if not message.get("more_body", False):
            return
