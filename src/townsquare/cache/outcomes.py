"""What goes into the cache and what comes out of it."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Literal

from msgspec import Struct

from townsquare.cache.entries import Entry
from townsquare.cache.strategies import Strategy

Result = Literal["hit", "hit_shared", "stale", "miss", "joined", "bypass"]


class Filled(Struct, frozen=True):
    """What a fill brought. `size` is in bytes; with `keep` false (an error, say) it is answered and forgotten.

    `failed` says that the origin itself failed: a stale entry is then the better answer. `lent` is a set of tags in the
    value, not in its size, that other entries will watch: it is counted once for all of them.
    """

    value: object
    size: int
    tags: frozenset[str]
    watched: frozenset[str] | None = None
    lent: frozenset[str] | None = None
    keep: bool = True
    failed: bool = False


Fill = Callable[[], Awaitable[Filled]]


class Wanted(Struct, frozen=True):
    """What a caller asks for. A `refresh` takes no entry from the second level that is itself due for one."""

    key: str
    strategy: Strategy
    fill: Fill
    refresh: bool = False


class Outcome(Struct, frozen=True):
    """A value, how it was come by, and the entry that holds it (None when it was not kept)."""

    value: object
    result: Result
    entry: Entry | None


class FillFailed(Exception):
    """The origin failed; `value` is what it answered (a problem, say), if anything."""

    def __init__(self, value: object) -> None:
        super().__init__("the origin failed")
        self.value = value


class Change(Struct, frozen=True):
    """A committed transaction's effect: `xid` changed all of `tags`."""

    xid: int
    tags: Sequence[str]
