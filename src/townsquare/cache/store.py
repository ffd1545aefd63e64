"""The first level: entries in the process, bounded in bytes, found by key and by tag.

Which entry goes when the room is used up is decided by S3-FIFO (Yang, Zhang, Qiu, Yue, Vigfusson: "FIFO queues are all you
need for cache eviction", SOSP 2023): newcomers wait in a small queue, only what is asked for again there enters the main
one, and what was thrown out too early is remembered and enters it at once. So a scan over many keys that nobody asks for
again passes through a tenth of the room and leaves the rest alone. A hit costs one addition.

Two things that the paper has no word for, because its objects never change: a new version takes the place of the old one in
its queue, and what was asked for often and then invalidated is remembered like what was thrown out too early.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Final, Literal

from townsquare.cache.entries import Entry
from townsquare.cache.ledger import EVERYTHING, Ledger
from townsquare.cache.tag_sets import TagSets
from townsquare.cache.tags import TagIndex

SMALL_SHARE: Final = 0.1
LARGEST_SHARE: Final = 0.25
"""Of the capacity: what is larger is not kept, or it would throw out everything else."""
MOST_HITS: Final = 3
"""The paper's two bits."""
FEWEST_GHOSTS: Final = 100

Removal = Literal["changed", "replaced", "evicted", "cleared"]
"""Why an entry went."""


class Store:
    """Entries within `capacity` bytes, checked against `ledger` when they come in.

    `removed` is told of each entry that has gone, and why; it must not touch the store.
    """

    def __init__(
        self, capacity: int, ledger: Ledger, removed: Callable[[Entry, Removal], None] = lambda _, __: None
    ) -> None:
        self.capacity = capacity
        self.ledger = ledger
        self.evictions = 0
        self._removed = removed
        self._entries: dict[str, Entry] = {}
        self._entry_bytes = 0
        self._tagged = TagIndex()
        self._sets = TagSets()
        self._small: OrderedDict[str, Entry] = OrderedDict()
        self._main: OrderedDict[str, Entry] = OrderedDict()
        self._small_bytes = 0
        self._small_capacity = int(capacity * SMALL_SHARE)
        self._ghosts: OrderedDict[int, None] = OrderedDict()
        """Hashes of keys, which may be long and are not counted once their entries are gone."""

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(list(self._entries.values()))

    @property
    def bytes(self) -> int:
        """What the entries take, and the sets of tags that they hold."""
        return self._entry_bytes + self._sets.bytes

    def find(self, key: str) -> Entry | None:
        """Return the entry under `key` unless it has been invalidated; whether it is fresh is the caller's question."""
        entry = self._entries.get(key)
        if entry is None or (entry.watched is not None and not self._unchanged(entry)):
            return None
        if entry.hits < MOST_HITS:
            entry.hits += 1
        return entry

    def holds(self, entry: Entry) -> bool:
        """True while `entry` itself is still the one under its key, and is still right."""
        return self._entries.get(entry.key) is entry and (entry.watched is None or self._unchanged(entry))

    def right(self, entry: Entry) -> bool:
        """True while nothing is known that `entry` has not seen, whether it is kept or not."""
        ledger = self.ledger
        return ledger.admits(entry.tags, entry.snapshot) and (
            entry.watched is None or not ledger.changed_since(entry.checked, entry.watched, entry.snapshot)
        )

    def add(self, entry: Entry) -> bool:
        """Keep an entry, in the place of the one under its key; False when it is not right any more, or too large."""
        sets = _held_by(entry)
        with_sets = entry.size + sum(map(self._sets.cost, sets)) if sets else entry.size
        if with_sets > self.capacity * LARGEST_SHARE or not self.right(entry):
            return False
        former = self._entries.get(entry.key)
        self._entries[entry.key] = entry
        self._tagged.add(entry)
        if sets:
            self._hold_sets(entry)
        self._entry_bytes += entry.size
        if former is not None:
            self._succeed(former, entry)
        elif hash(entry.key) in self._ghosts:
            del self._ghosts[hash(entry.key)]
            self._enter_main(entry)
        else:
            self._small[entry.key] = entry
            self._small_bytes += entry.size
        self._make_room()
        return self._entries.get(entry.key) is entry

    def grown(self, entry: Entry, more: int) -> None:
        """Say that an entry's value has come to take `more` bytes, wherever it is."""
        entry.size += more
        if self._entries.get(entry.key) is entry:
            self._entry_bytes += more
            if not entry.in_main:
                self._small_bytes += more
            self._make_room()

    def invalidate(self, tag: str, xid: int) -> list[Entry]:
        """Record that transaction `xid` changed `tag`; remove and return the entries that have not seen it."""
        self.ledger.record(tag, xid)
        tagged = self._entries.values() if tag == EVERYTHING else self._tagged.holders(tag)
        unseen = [entry for entry in tagged if not entry.snapshot.sees(xid)]
        for entry in unseen:
            self._remove_changed(entry)
        return unseen

    def clear(self) -> None:
        """Remove everything."""
        for entry in self:
            self._remove(entry, "cleared")
        self._ghosts.clear()

    def _hold_sets(self, entry: Entry) -> None:
        """Give the entry the sets that others have already, in the place of its own."""
        if entry.watched is not None:
            entry.watched = self._sets.hold(entry.watched)
        if entry.lent is not None:
            lent, entry.lent = entry.lent, self._sets.hold(entry.lent)
            if entry.value is lent:
                entry.value = entry.lent

    # --- removing ------------------------------------------------------------------------------------------------

    def _unchanged(self, entry: Entry) -> bool:
        ledger = self.ledger
        if entry.checked == ledger.position:
            return True
        assert entry.watched is not None  # noqa: S101  (the callers look)
        if ledger.changed_since(entry.checked, entry.watched, entry.snapshot):
            self._remove_changed(entry)
            return False
        entry.checked = ledger.position
        return True

    def _remove_changed(self, entry: Entry) -> None:
        if entry.in_main or entry.hits > 1:
            self._remember_ghost(entry.key)
        self._remove(entry, "changed")

    def _remove(self, entry: Entry, why: Removal) -> None:
        if entry.in_main:
            del self._main[entry.key]
        else:
            del self._small[entry.key]
            self._small_bytes -= entry.size
        self._forget(entry, why)

    def _forget(self, entry: Entry, why: Removal) -> None:
        if self._entries.get(entry.key) is entry:
            del self._entries[entry.key]
        self._entry_bytes -= entry.size
        self._tagged.discard(entry)
        for tags in _held_by(entry):
            self._sets.release(tags)
        for forget in entry.on_removal:
            forget()
        self._removed(entry, why)

    # --- S3-FIFO -------------------------------------------------------------------------------------------------

    def _succeed(self, former: Entry, entry: Entry) -> None:
        """Put a new version in the old one's place, with its merits."""
        entry.in_main, entry.hits = former.in_main, former.hits
        if entry.in_main:
            self._main[entry.key] = entry
        else:
            self._small[entry.key] = entry
            self._small_bytes += entry.size - former.size
        self._forget(former, "replaced")

    def _enter_main(self, entry: Entry) -> None:
        entry.in_main = True
        entry.hits = 0
        self._main[entry.key] = entry

    def _make_room(self) -> None:
        while self.bytes > self.capacity:
            self._evict()

    def _evict(self) -> None:
        """Take one step: throw an entry out, or move one on."""
        if self._small and (self._small_bytes > self._small_capacity or not self._main):
            key, entry = self._small.popitem(last=False)
            self._small_bytes -= entry.size
            if entry.hits > 1:
                self._enter_main(entry)
                return
            self._remember_ghost(key)
        else:
            key, entry = self._main.popitem(last=False)
            if entry.hits > 0:
                entry.hits -= 1
                self._main[key] = entry
                return
        self.evictions += 1
        self._forget(entry, "evicted")

    def _remember_ghost(self, key: str) -> None:
        self._ghosts[hash(key)] = None
        while len(self._ghosts) > max(len(self._main), FEWEST_GHOSTS):
            self._ghosts.popitem(last=False)


def _held_by(entry: Entry) -> list[frozenset[str]]:
    return [tags for tags in (entry.watched, entry.lent) if tags is not None]
