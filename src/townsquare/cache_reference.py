"""The reference page of the cache: what is kept, for whom, and what each write changes, made from the declarations."""

import re
from collections.abc import Iterable, Iterator
from typing import Final

from townsquare.catalogue import BUILT, definition_of
from townsquare.kit.app import Definition
from townsquare.kit.cached_routes import Audience, CachedRoute, CachedRoutes, changing_routes
from townsquare.strategies import BY_SERVICE, STRATEGIES

FOR_WHOM: Final[dict[Audience, str]] = {
    "everybody": "everybody",
    "plain": "everybody; whom a block or a mute singles out, alone",
    "own": "who did not sign in; everybody else, alone",
    "viewer": "each alone",
}
_NAME: Final = re.compile(r"\{\w+\}")
_SINGLED_OUT: Final = frozenset({"blocks:{}", "mutes:{}"})
_ALONE: Final = "whatever is kept for these people alone"


def page() -> str:
    """Return the page, without its heading."""
    definitions = {name: definition_of(name) for name in BUILT}
    return "\n".join([*_kept(definitions), *_changes(definitions), *_waiting()]) + "\n"


def _kept(definitions: dict[str, Definition]) -> Iterator[str]:
    yield "An answer is fresh for its strategy's lifetime, unless one of its tags changes: then it is gone at once."
    yield "After its lifetime it may be served for its grace while a newer one is made, or, where it is for everybody,"
    yield "while the service cannot make one. Only answers of 200 are kept."
    yield "How and why: [the cache, page by page](../cache/README.md)."
    for name, definition in definitions.items():
        yield from ("", f"## What {name} keeps", "")
        yield "| call | strategy | lifetime | grace | for whom | told apart by | tags |"
        yield "|---|---|---|---|---|---|---|"
        yield from map(_row, CachedRoutes(definition.routes).routes)
    yield from ("", "What is kept for one person alone has the tags `blocks:{person}` and `mutes:{person}` besides.")


def _row(route: CachedRoute) -> str:
    declared = route.declaration
    strategy = declared.strategy
    return (
        f"| `GET {route.template}` | {strategy.name} | {strategy.lifetime:g} s | {strategy.grace:g} s "
        f"| {FOR_WHOM[declared.audience]} | {_codes(f'?{name}' for name in declared.parameters)} | {_codes(declared.tags)} |"
    )


def _changes(definitions: dict[str, Definition]) -> Iterator[str]:
    yield from ("", "## What each write changes", "")
    yield "A write drops what has one of the tags that it emits. Which of these it emits depends on what it changes:"
    yield "a new bio changes a profile, a new name also every list in which it stands."
    yield "What crosses to another service does so as an event."
    for name, definition in definitions.items():
        kept = CachedRoutes(definition.routes).routes
        yield from ("", f"### In {name}", "", "| write | tags | drops |", "|---|---|---|")
        for route in changing_routes(definition.routes):
            yield f"| `{route.method} {route.template}` | {_codes(route.tags)} | {_dropped(route.tags, kept)} |"
        for what, tags in definition.changes.items():
            yield f"| {what} | {_codes(tags)} | {_dropped(tags, kept)} |"


def _dropped(tags: Iterable[str], kept: Iterable[CachedRoute]) -> str:
    """Say which answers have one of the tags; templates mean the same whatever they call their parts."""
    changed = set(map(_shape, tags))
    routes = [route.template for route in kept if changed & set(map(_shape, route.declaration.tags))]
    alone = [_ALONE] if changed & _SINGLED_OUT else []
    return ", ".join([*(f"`{template}`" for template in routes), *alone]) or "nothing that is kept"


def _shape(template: str) -> str:
    return _NAME.sub("{}", template)


def _waiting() -> Iterator[str]:
    used = {name for service in BUILT for name in _strategies_of(definition_of(service))}
    yield from ("", "## Strategies that wait for their service", "", "| strategy | service | lifetime |", "|---|---|---|")
    for service, strategies in BY_SERVICE.items():
        for strategy in strategies:
            if strategy.name not in used:
                yield f"| {strategy.name} | {service} | {STRATEGIES[strategy.name].lifetime:g} s |"


def _strategies_of(definition: Definition) -> Iterator[str]:
    for route in CachedRoutes(definition.routes).routes:
        yield route.declaration.strategy.name


def _codes(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in dict.fromkeys(names))
