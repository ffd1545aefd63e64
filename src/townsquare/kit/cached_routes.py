"""Which routes are cached, under which key, and what changes them: declared where a route stands, read here.

`@get("/users/{user_id:str}/skills", opt=cached(USER_SKILLS, "plain", "limit", "cursor", tags=("skills:{person}",)))` names
the strategy, the audience, the query parameters that make a difference, and the tags that an answer may have. Other
parameters are not in the key, so they cannot fill the memory, and never reach the handler of a cached answer.

`@delete(..., opt=changes("skills:{person}", "skills"))` names the tags that a write may emit. Handlers name the very tags;
the reference page of the cache is made from the declarations, and tests hold the two to each other.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal, cast
from urllib.parse import parse_qsl, urlencode

from litestar.handlers import HTTPRouteHandler

from townsquare.cache.strategies import Strategy

Audience = Literal["everybody", "plain", "own", "viewer"]
"""Who may be given one and the same entry.

`everybody`: it does not depend on who asks. `plain`: what nobody in particular gets is right for everybody whom nothing
singles out (no blocks, no mutes); the others have entries of their own. `own`: who signed in has an entry of their own, the
rest share one. `viewer`: only who signed in gets an answer at all, and it is theirs alone.
"""

_OPTION: Final = "cached"
_CHANGES: Final = "changes"
_PARAMETER: Final = re.compile(r"\{(\w+):(\w+)\}")
_PATTERNS: Final = {"str": r"[^/]+", "uuid": r"[0-9a-fA-F]{8}(?:-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}"}


@dataclass(frozen=True, slots=True)
class Declaration:
    """What a route says of its caching."""

    strategy: Strategy
    audience: Audience
    parameters: tuple[str, ...]
    tags: tuple[str, ...]
    """Templates of the tags that an answer may have, such as `profile:{person}`. Those that the cache's layer itself gives
    to what is kept for one viewer (`kit/caching.py`) are not among them."""


@dataclass(frozen=True, slots=True)
class CachedRoute:
    """A cached route: `template` is its path as metrics name it."""

    template: str
    pattern: re.Pattern[str]
    declaration: Declaration

    def query(self, query_string: bytes) -> str:
        """Return the declared parameters of a query in their declared order, the others left out."""
        if not query_string or not self.declaration.parameters:
            return ""
        given = parse_qsl(query_string.decode("latin-1"), keep_blank_values=True)
        names = self.declaration.parameters
        return urlencode([pair for name in names for pair in given if pair[0] == name])


def cached(strategy: Strategy, audience: Audience, *parameters: str, tags: tuple[str, ...]) -> dict[str, Any]:
    """Return a route's `opt`: its answers of 200 are kept until one of its tags changes."""
    return {_OPTION: Declaration(strategy, audience, parameters, tags)}


def changes(*tags: str) -> dict[str, Any]:
    """Return a write's `opt`: templates of the tags that it may emit."""
    return {_CHANGES: tags}


@dataclass(frozen=True, slots=True)
class ChangingRoute:
    """A write that changes cached answers."""

    method: str
    template: str
    tags: tuple[str, ...]


def changing_routes(handlers: Iterable[object]) -> list[ChangingRoute]:
    """Return the writes among a service's handlers that say what they change."""
    return [route for handler in handlers for route in _changing(handler)]


class CachedRoutes:
    """The cached routes among a service's handlers."""

    def __init__(self, handlers: Iterable[object]) -> None:
        self.routes = [route for handler in handlers for route in _routes_of(handler)]

    def find(self, path: str) -> CachedRoute | None:
        """Return the route of a path."""
        for route in self.routes:
            if route.pattern.fullmatch(path):
                return route
        return None


def _routes_of(handler: object) -> Iterable[CachedRoute]:
    if not isinstance(handler, HTTPRouteHandler):
        return
    declaration = handler.opt.get(_OPTION)
    if isinstance(declaration, Declaration):
        for path in sorted(handler.paths):
            yield CachedRoute(_template(path), path_pattern(path), declaration)


def _changing(handler: object) -> Iterable[ChangingRoute]:
    if isinstance(handler, HTTPRouteHandler) and _CHANGES in handler.opt:
        for path in sorted(handler.paths):
            methods = cast("set[str]", handler.http_methods)  # one; the framework leaves its type open
            yield ChangingRoute(min(methods), _template(path), tuple(handler.opt[_CHANGES]))


def _template(path: str) -> str:
    """Return a path as the API's document and the metrics write it: `/profile/{user_id}`."""
    return _PARAMETER.sub(r"{\1}", path)


def path_pattern(path: str) -> re.Pattern[str]:
    """Return what matches the paths that a route's path stands for."""
    parts = _PARAMETER.split(path)
    text = ""
    for at in range(0, len(parts), 3):
        text += re.escape(parts[at])
        if at + 2 < len(parts):
            text += _PATTERNS[parts[at + 2]]
    return re.compile(text)
