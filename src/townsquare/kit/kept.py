"""Something that a handler would else ask the database for again and again, kept in this process under the answers' rules.

It is never an answer, so it goes to no second level and is shown to nobody: only what handlers work out with it is.
"""

from collections.abc import Awaitable, Callable
from typing import Final, Generic, NamedTuple, TypeVar, cast

from townsquare.cache.cache import Cache, Filled
from townsquare.cache.strategies import Strategy

T = TypeVar("T")

LIFETIME: Final = 600.0
"""Seconds; what changes it ends it before."""


class Read(NamedTuple, Generic[T]):
    """What was asked for; `size` is in bytes, without `lent`: the tags in it that answers will watch."""

    value: T
    size: int
    lent: frozenset[str] | None = None


def kept_strategy(name: str) -> Strategy:
    """Return the strategy of what is kept so: none of the 22, because it is no answer."""
    return Strategy(name, lifetime=LIFETIME, grace=0, shared=False)


async def kept(
    cache: Cache, strategy: Strategy, key: str, tags: frozenset[str], read: Callable[[], Awaitable[Read[T]]]
) -> T:
    """Return what is kept under `key` until one of `tags` changes; `read` asks for it."""
    entry = cache.get(key)
    if entry is not None:
        return cast("T", entry.value)  # a key has one kind of value

    async def fill() -> Filled:
        value, size, lent = await read()
        return Filled(value, size, tags, lent=lent)

    outcome = await cache.fetch(key, strategy, fill, stale_if_failed=False)
    return cast("T", outcome.value)
