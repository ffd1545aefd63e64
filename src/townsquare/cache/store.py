"""The first level: entries in the process, bounded in bytes, found by key and by tag.

Which entry goes when the room is used up is decided by S3-FIFO (Yang, Zhang, Qiu, Yue, Vigfusson: "FIFO queues are all you
need for cache eviction", SOSP 2023): newcomers wait in a small queue, only what is asked for again there enters the main
one, and what was thrown out too early is remembered and enters it at once. So a scan over many keys that nobody asks for
again passes through a tenth of the room and leaves the rest alone. A hit costs one addition.
"""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Final

from townsquare.cache.entries import Entry
from townsquare.cache.ledger import Ledger

SMALL_SHARE: Final = 0.1
MOST_HITS: Final = 3
"""The paper's two bits."""


class Store:
    """Entries within `capacity` bytes, checked against `ledger` when they come in."""

    def __init__(self, capacity: int, ledger: Ledger) -> None:
        self.capacity = capacity
        self.ledger = ledger
        self.bytes = 0
        self.evictions = 0
        self._entries: dict[str, Entry] = {}
        self._tagged: dict[str, set[Entry]] = {}
        self._small: OrderedDict[str, Entry] = OrderedDict()
        self._main: OrderedDict[str, Entry] = OrderedDict()
        self._small_bytes = 0
        self._small_capacity = int(capacity * SMALL_SHARE)
        self._ghosts: OrderedDict[str, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(list(self._entries.values()))

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

    def add(self, entry: Entry) -> bool:
        """Keep an entry, in the place of the one under its key; False when it is not right any more, or too large."""
        ledger = self.ledger
        if entry.size > self.capacity // 4 or not ledger.admits(entry.tags, entry.snapshot):
            return False
        if entry.watched is not None and ledger.changed_since(entry.checked, entry.watched, entry.snapshot):
            return False
        self.remove(entry.key)
        self._entries[entry.key] = entry
        for tag in entry.tags:
            self._tagged.setdefault(tag, set()).add(entry)
        self.bytes += entry.size
        if self._ghosts.pop(entry.key, self) is None:
            self._enter_main(entry)
        else:
            self._small[entry.key] = entry
            self._small_bytes += entry.size
        while self.bytes > self.capacity:
            self._evict()
        return entry.key in self._entries

    def invalidate(self, tag: str, xid: int) -> list[Entry]:
        """Record that transaction `xid` changed `tag`; remove and return the entries that have not seen it."""
        self.ledger.record(tag, xid)
        unseen = [entry for entry in self._tagged.get(tag, ()) if not entry.snapshot.sees(xid)]
        for entry in unseen:
            self.remove(entry.key)
        return unseen

    def remove(self, key: str) -> bool:
        """Remove the entry under `key`, and whatever leads to it."""
        entry = self._entries.pop(key, None)
        if entry is None:
            return False
        queue = self._main if entry.in_main else self._small
        del queue[key]
        if not entry.in_main:
            self._small_bytes -= entry.size
        self._forget(entry)
        return True

    def purge(self, tag: str) -> int:
        """Remove all entries with `tag`, whatever they have seen; returns how many."""
        entries = list(self._tagged.get(tag, ()))
        for entry in entries:
            self.remove(entry.key)
        return len(entries)

    def clear(self) -> None:
        """Remove everything."""
        for key in list(self._entries):
            self.remove(key)
        self._ghosts.clear()

    def _unchanged(self, entry: Entry) -> bool:
        ledger = self.ledger
        if entry.checked == ledger.position:
            return True
        assert entry.watched is not None  # noqa: S101  (the callers look)
        if ledger.changed_since(entry.checked, entry.watched, entry.snapshot):
            self.remove(entry.key)
            return False
        entry.checked = ledger.position
        return True

    def _enter_main(self, entry: Entry) -> None:
        entry.in_main = True
        entry.hits = 0
        self._main[entry.key] = entry

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
        del self._entries[key]
        self.evictions += 1
        self._forget(entry)

    def _remember_ghost(self, key: str) -> None:
        self._ghosts[key] = None
        if len(self._ghosts) > max(len(self._main), 100):
            self._ghosts.popitem(last=False)

    def _forget(self, entry: Entry) -> None:
        self.bytes -= entry.size
        for tag in entry.tags:
            tagged = self._tagged[tag]
            tagged.discard(entry)
            if not tagged:
                del self._tagged[tag]
        for forget in entry.on_removal:
            forget()
