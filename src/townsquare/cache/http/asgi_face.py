"""The front as ASGI middleware, for any server but uvicorn: the same answers, only later, when the server has made a scope.

Whatever the server does for other answers (`Date`, chunks, HEAD, HTTP/2, closing) it does for these too.
"""

import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, TypeAlias
from urllib.parse import quote

from townsquare.cache.http.front import Asked, Front
from townsquare.cache.http.glance import (
    ACCEPT_ENCODING,
    AUTHORIZATION,
    COOKIE,
    FORWARDED,
    IF_NONE_MATCH,
    NOT_PLAIN,
    SPOTTED,
)  # fmt: skip
from townsquare.cache.http.responses import Headers

# What the specification leaves open stays open: https://asgi.readthedocs.io/en/latest/specs/www.html
Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


class FrontMiddleware:
    """ASGI app before another; a header in `not_plain` makes a request go to that one."""

    def __init__(self, app: App, front: Front, *, not_plain: Iterable[bytes] = ()) -> None:
        self._app = app
        self._front = front
        self._spotted = SPOTTED | dict.fromkeys(not_plain, NOT_PLAIN)
        self._now, self._second = 0, object()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or have it answered."""
        if scope["type"] != "http" or scope["method"] != "GET" or not await self._answer(scope, send):
            await self._app(scope, receive, send)

    async def _answer(self, scope: Scope, send: Send) -> bool:
        front, seen = self._front, self._read(scope["headers"])
        alias = front.find(Asked(_target(scope), seen[AUTHORIZATION], seen[COOKIE], seen[ACCEPT_ENCODING]))
        if seen[NOT_PLAIN] or alias is None:
            return False
        unchanged = seen[IF_NONE_MATCH] != b"" and alias.response.matches(seen[IF_NONE_MATCH])
        reply = front.answer(alias, self._this_second(), self._address(scope, seen[FORWARDED]), unchanged=unchanged)
        if reply is None:
            return False
        head, _, body = reply.partition(b"\r\n\r\n")
        await send({"type": "http.response.start", "status": 304 if unchanged else 200, "headers": _headers(head)})
        await send({"type": "http.response.body", "body": body})
        return True

    def _this_second(self) -> object:
        now = int(time.time())
        if now != self._now:
            self._now, self._second = now, object()
        return self._second

    def _read(self, headers: Iterable[tuple[bytes, bytes]]) -> list[bytes]:
        seen = [b""] * (NOT_PLAIN + 1)
        for name, value in headers:
            place = self._spotted.get(name.lower())
            if place is not None:
                # A second header of one kind is not ours to judge.
                seen[NOT_PLAIN if seen[place] else place] = value or b" "
        return seen

    def _address(self, scope: Scope, forwarded: bytes) -> str:
        client = scope.get("client")
        peer = client[0] if client else ""
        named = self._front.named(forwarded) if forwarded and peer in self._front.proxies else ""
        return named or peer


def _headers(head: bytes) -> Headers:
    """Read the headers of an answer; the date is the server's to add."""
    lines = (line.partition(b": ") for line in head.split(b"\r\n")[1:])
    return [(name, value) for name, _, value in lines if name != b"date"]


def _target(scope: Scope) -> bytes:
    """Return the target as it was sent; `raw_path` is not a duty of servers."""
    path: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
    query: bytes = scope["query_string"]
    return path + b"?" + query if query else path
