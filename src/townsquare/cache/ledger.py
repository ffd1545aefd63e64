"""The ledger: which changes are known, and so which entries may be served.

The one rule: **an entry may be served only if every known change of its tags is seen by the entry's snapshot.** It holds
whether the entry was filled here a moment ago or comes from a shared cache that was restored from an old copy.

The ledger is bounded. What it forgets raises `known_from`: an entry that began to be read before that is refused, because
nobody can say any more what has changed since.
"""

from collections.abc import Iterable
from typing import Final

from townsquare.cache.snapshots import NOTHING_SEEN, Snapshot

MAX_TAGS: Final = 200_000
MAX_LOG: Final = 20_000
MOST_TOGETHER: Final = 32
"""Changes of one tag whose order nobody knows; of more, the oldest are forgotten."""
EVERYTHING: Final = "*"
"""The tag of every entry: a change of it leaves nothing in any process or shared cache."""

_Changed = int | tuple[int, ...]
"""One transaction, as a rule; several where a snapshot may see one and not the other."""


class Ledger:
    """Known changes by tag. Tags of the families in `watched` (the part before the colon) are also kept in their order."""

    def __init__(self, watched: Iterable[str] = (), *, max_tags: int = MAX_TAGS, max_log: int = MAX_LOG) -> None:
        self.known_from = 0
        """Every change by a transaction from this one on is known, as far as it was committed at the last look."""
        self.position = 0
        """How many changes of watched families were recorded so far."""
        self.seen = NOTHING_SEEN
        """What the last look had seen: all that it sees has been recorded."""
        self._watched = frozenset(watched)
        self._changed: dict[str, _Changed] = {}
        self._log_tags: list[str] = []
        self._log_xids: list[int] = []
        self._log_from = 0
        self._max_tags = max_tags
        self._max_log = max_log

    def __len__(self) -> int:
        return len(self._changed)

    def begin(self, snapshot: Snapshot, known_from: int) -> None:
        """Say from which transaction on everything will be known; what was known before is forgotten."""
        self.known_from = known_from
        self.seen = snapshot
        self._changed.clear()
        self._log_from = self.position = self.position + 1
        self._log_tags.clear()
        self._log_xids.clear()

    def record(self, tag: str, xid: int) -> None:
        """Note that transaction `xid` changed `tag`."""
        earlier = self._changed.pop(tag, None)  # popped, so that the dictionary stays in the order of the changes
        self._changed[tag] = xid if earlier is None else self._together(earlier, xid)
        if len(self._changed) > self._max_tags:
            oldest = self._changed.pop(next(iter(self._changed)))
            self._forget(oldest if isinstance(oldest, int) else max(oldest))
        if tag.partition(":")[0] in self._watched:
            self._log(tag, xid)

    def admits(self, tags: Iterable[str], snapshot: Snapshot) -> bool:
        """True when nothing is known that these tags' holder has not seen: it may be kept and served."""
        if snapshot.xmin < self.known_from:
            return False
        changed = self._changed
        if EVERYTHING in changed and not _sees(snapshot, changed[EVERYTHING]):
            return False
        return not any(tag in changed and not _sees(snapshot, changed[tag]) for tag in tags)

    def changed_since(self, position: int, tags: frozenset[str], snapshot: Snapshot) -> bool:
        """True when one of `tags` (all of watched families) may have changed after `position`, unseen by the snapshot.

        Costs a look into a set for each change since then; a position that is no longer in the log counts as changed.
        """
        if position < self._log_from:
            return True
        since = position - self._log_from
        if tags.isdisjoint(self._log_tags[since:]):
            return False
        later = zip(self._log_tags[since:], self._log_xids[since:], strict=True)
        return any(tag in tags and not snapshot.sees(xid) for tag, xid in later)

    def _together(self, earlier: _Changed, xid: int) -> _Changed:
        """Drop what every snapshot that sees `xid` must have seen too.

        The larger number alone does not do: of two transactions the larger may end first, and a snapshot taken in
        between sees it and not the other. Only what had ended at a look at which `xid` had not surely comes before.
        """
        seen = self.seen
        others = (earlier,) if isinstance(earlier, int) else earlier
        if seen.sees(xid):
            kept = [other for other in others if other != xid]
        else:
            kept = [other for other in others if other != xid and not seen.sees(other)]
        if not kept:
            return xid
        while len(kept) >= MOST_TOGETHER:
            self._forget(oldest := min(kept))
            kept.remove(oldest)
        return (*kept, xid)

    def _forget(self, xid: int) -> None:
        self.known_from = max(self.known_from, xid + 1)

    def _log(self, tag: str, xid: int) -> None:
        self.position += 1
        self._log_tags.append(tag)
        self._log_xids.append(xid)
        if len(self._log_tags) > self._max_log:
            half = (self._max_log + 1) // 2
            del self._log_tags[:half]
            del self._log_xids[:half]
            self._log_from += half


def _sees(snapshot: Snapshot, changed: _Changed) -> bool:
    return snapshot.sees(changed) if isinstance(changed, int) else all(map(snapshot.sees, changed))
