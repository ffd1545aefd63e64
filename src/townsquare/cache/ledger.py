"""The ledger: which changes are known, and so which entries may be served.

The one rule: **an entry may be served only if every known change of its tags is seen by the entry's snapshot.** It holds
whether the entry was filled here a moment ago or comes from a shared cache that was restored from an old copy.

The ledger is bounded. What it forgets raises `known_from`: an entry that began to be read before that is refused, because
nobody can say any more what has changed since.
"""

from collections.abc import Iterable
from itertools import islice
from typing import Final

from townsquare.cache.snapshots import Snapshot

MAX_TAGS: Final = 200_000
MAX_LOG: Final = 20_000


class Ledger:
    """Known changes by tag. Tags of the families in `watched` (the part before the colon) are also kept in their order."""

    def __init__(self, watched: Iterable[str] = (), *, max_tags: int = MAX_TAGS, max_log: int = MAX_LOG) -> None:
        self.known_from = 0
        """Every change by a transaction from this one on is known, as far as it was committed at the last look."""
        self.position = 0
        """How many changes of watched families were recorded so far."""
        self._watched = frozenset(watched)
        self._changed: dict[str, int] = {}
        self._log: list[tuple[str, int]] = []
        self._log_from = 0
        self._max_tags = max_tags
        self._max_log = max_log

    def begin(self, known_from: int) -> None:
        """Say from which transaction on everything will be known; what was known before is forgotten."""
        self.known_from = known_from
        self._changed.clear()
        self._forget_log()

    def record(self, tag: str, xid: int) -> None:
        """Note that transaction `xid` changed `tag`."""
        last = self._changed.pop(tag, -1)  # popped, so that the dictionary stays in the order of the changes
        self._changed[tag] = max(last, xid)
        if len(self._changed) > self._max_tags:
            oldest = next(iter(self._changed))
            self.known_from = max(self.known_from, self._changed.pop(oldest) + 1)
        if tag.partition(":")[0] in self._watched:
            self.position += 1
            self._log.append((tag, xid))
            if len(self._log) > self._max_log:
                half = self._max_log // 2
                del self._log[:half]
                self._log_from += half

    def admits(self, tags: Iterable[str], snapshot: Snapshot) -> bool:
        """True when nothing is known that these tags' holder has not seen: it may be kept and served."""
        if snapshot.xmin < self.known_from:
            return False
        changed = self._changed
        return not any(tag in changed and not snapshot.sees(changed[tag]) for tag in tags)

    def changed_since(self, position: int, tags: frozenset[str], snapshot: Snapshot) -> bool:
        """True when one of `tags` (all of watched families) may have changed after `position`, unseen by the snapshot.

        Costs a look into a set for each change since then; a position that is no longer in the log counts as changed.
        """
        if position < self._log_from:
            return True
        later = islice(self._log, position - self._log_from, None)
        return any(tag in tags and not snapshot.sees(xid) for tag, xid in later)

    def _forget_log(self) -> None:
        self._log_from = self.position = self.position + 1
        self._log.clear()
