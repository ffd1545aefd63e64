"""One kept value, with everything that decides whether it may be served."""

from collections.abc import Callable
from typing import Final

from townsquare.cache.snapshots import Snapshot
from townsquare.cache.statistics import Counts
from townsquare.cache.strategies import Strategy

OVERHEAD: Final = 700
"""Bytes that an entry takes beside its value and the letters of its key, its places in the store included."""
PER_TAG: Final = 200
"""Bytes of a tag: its text, its place in the entry's set and in the index. Both are measured: tests/cache/test_store.py
does it again."""


class Entry:
    """A kept value. `key` is unique in its store; times are those of the store's clock.

    `tags` name what it depends on. `watched` are tags that it depends on too but which are too many to index: they are
    compared with what was invalidated since the last look at the entry (see `Ledger.changed_since`). `lent` is a set of
    tags in the value that others watch. Neither is in `size`: the store counts a set once, whoever holds it.
    """

    __slots__ = (
        "checked", "counts", "created", "fresh_until", "hits", "in_main", "key", "lent", "look_again_at",
        "on_removal", "size", "snapshot", "strategy", "tags", "usable_until", "value", "watched",
    )  # fmt: skip

    def __init__(
        self,
        key: str,
        value: object,
        size: int,
        strategy: Strategy,
        snapshot: Snapshot,
        tags: frozenset[str],
        *,
        watched: frozenset[str] | None = None,
        lent: frozenset[str] | None = None,
        checked: int = 0,
        counts: Counts,
        created: float,
        lifetime: float,
    ) -> None:
        self.key = key
        self.value = value
        self.size = OVERHEAD + size + len(key) + PER_TAG * len(tags)
        self.strategy = strategy
        self.snapshot = snapshot
        self.tags = tags
        self.watched = watched
        self.lent = lent
        self.checked = checked
        self.counts = counts
        self.created = created
        self.fresh_until = created + lifetime
        self.usable_until = self.fresh_until + strategy.grace
        self.look_again_at = created + lifetime * strategy.eager
        """Until then a hit needs no further thought; then the first one refreshes the entry."""
        self.hits = 0
        self.in_main = False
        self.on_removal: list[Callable[[], None]] = []
        """What leads to this entry from elsewhere and must not outlive it."""
