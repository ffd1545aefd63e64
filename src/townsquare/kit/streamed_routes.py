"""Routes that read their body themselves as it comes, because it may be larger than memory: uploads.

`@post("/upload", opt=streamed(), request_max_body_size=None)` says so where a route stands. Nothing before its handler then
judges the body: its type, its length and an `Idempotency-Key` are the handler's to look at.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeAlias, cast

from litestar.handlers import HTTPRouteHandler

from townsquare.kit.cached_routes import path_pattern

IsStreamed: TypeAlias = Callable[[str, str], bool]
"""Says of a method and a path whether the body is the handler's."""

_OPTION: Final = "streamed"


def streamed() -> dict[str, Any]:
    """Return a route's `opt`: its body is its own to read."""
    return {_OPTION: True}


def streamed_routes(handlers: Iterable[object]) -> IsStreamed:
    """Return what tells the streamed routes among a service's handlers."""
    found: list[tuple[str, re.Pattern[str]]] = []
    for handler in handlers:
        if isinstance(handler, HTTPRouteHandler) and _OPTION in handler.opt:
            methods = cast("set[str]", handler.http_methods)
            found += [(method, path_pattern(path)) for path in handler.paths for method in methods]

    def is_streamed(method: str, path: str) -> bool:
        return any(method == known and pattern.fullmatch(path) for known, pattern in found)

    return is_streamed
