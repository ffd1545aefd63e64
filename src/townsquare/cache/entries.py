"""One kept value, with everything that decides whether it may be served."""

from collections.abc import Callable
from typing import Final

from townsquare.cache.snapshots import Snapshot
from townsquare.cache.statistics import Counts
from townsquare.cache.strategies import Strategy

OVERHEAD: Final = 600
"""Bytes that an entry costs beside its value: measured with tracemalloc for an entry with four tags, its places in the
store's dictionaries included."""
PER_TAG: Final = 110
"""Bytes of one more tag: its text, its place in the index."""


class Entry:
    """A kept value. `key` is unique in its store; times are those of the store's clock.

    `tags` name what it depends on. `watched` are tags that it depends on too but which are too many to index: they are
    compared with what was invalidated since the last look at the entry (see `Ledger.changed_since`).
    """

    __slots__ = (
        "checked", "counts", "created", "fresh_until", "hits", "in_main", "key", "look_again_at", "on_removal",
        "size", "snapshot", "strategy", "tags", "usable_until", "value", "watched",
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
        checked: int = 0,
        counts: Counts,
        created: float,
        lifetime: float,
    ) -> None:
        self.key = key
        self.value = value
        self.size = OVERHEAD + size + len(key) + PER_TAG * (len(tags) + len(watched or ()))
        self.strategy = strategy
        self.snapshot = snapshot
        self.tags = tags
        self.watched = watched
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
