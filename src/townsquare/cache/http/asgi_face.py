"""The front as ASGI middleware, for any server but uvicorn: the same answers, only later, when the server has made a scope.

Whatever the server does for other answers (`Date`, chunks, HEAD, HTTP/2, closing) it does for these too.
"""

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, TypeAlias
from urllib.parse import quote

from townsquare.cache.http.front import Alias, Asked, Front
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
        more = front.admits(alias, self._address(scope, seen[FORWARDED]), unchanged=unchanged)
        if more is None:
            return False
        headers, response = self._added(alias, more), alias.response
        status = 304 if unchanged else 200
        head = response.head_unchanged(alias.coding, headers) if unchanged else response.head(alias.coding, headers)
        body = b"" if unchanged else response.body(alias.coding)
        await send({"type": "http.response.start", "status": status, "headers": head})
        await send({"type": "http.response.body", "body": body})
        return True

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

    def _added(self, alias: Alias, more: bytes) -> Headers:
        lines = (line.partition(b": ") for line in more.splitlines())
        limits = [(name, value) for name, _, value in lines]
        return [*self._front.headers, (b"cache-status", self._front.status_of(alias)), *limits]


def _target(scope: Scope) -> bytes:
    """Return the target as it was sent; `raw_path` is not a duty of servers."""
    path: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
    query: bytes = scope["query_string"]
    return path + b"?" + query if query else path
