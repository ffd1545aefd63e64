"""The ledger: which changes are known, and so which entries may be served.

The one rule: **an entry may be served only if every known change of its tags is seen by the entry's snapshot.** It holds
whether the entry was filled here a moment ago or comes from a shared cache that was restored from an old copy.

A snapshot has not seen two kinds of transactions: those that began after it (`xmax` and above), for which each tag's largest
number is enough, and those that were running when it was taken (`active`), for which it is remembered what each has
changed. The largest number alone would not do: of two transactions the larger may end first, and a snapshot taken in
between sees it and not the other.

The ledger is bounded. What it forgets makes it refuse whoever may not have seen that, because nobody can say any more.
"""

from collections.abc import Iterable
from typing import Final

from townsquare.cache.snapshots import NOTHING_SEEN, Snapshot

MAX_TAGS: Final = 200_000
MAX_LISTED: Final = 50_000
MAX_LOG: Final = 20_000
EVERYTHING: Final = "*"
"""The tag of every entry: a change of it leaves nothing in any process or shared cache."""


class Ledger:
    """Known changes by tag. Tags of the families in `watched` (the part before the colon) are also kept in their order."""

    def __init__(
        self,
        watched: Iterable[str] = (),
        *,
        max_tags: int = MAX_TAGS,
        max_listed: int = MAX_LISTED,
        max_log: int = MAX_LOG,
    ) -> None:
        self.known_from = 0
        """The tags of every transaction from this one on are known, as far as it was committed at the last look."""
        self.position = 0
        """How many changes of watched families were recorded so far."""
        self._watched = frozenset(watched)
        self._seen = NOTHING_SEEN
        self._newest: dict[str, int] = {}
        self._listed: dict[int, set[str]] = {}
        self._listed_from = 0
        self._listed_pairs = 0
        self._forgot_unseen = False
        self._log_tags: list[str] = []
        self._log_xids: list[int] = []
        self._log_from = 0
        self._max_tags = max_tags
        self._max_listed = max_listed
        self._max_log = max_log

    def __len__(self) -> int:
        return len(self._newest)

    def begin(self, snapshot: Snapshot, known_from: int) -> None:
        """Say from which transaction on everything will be known; what was known before is forgotten."""
        self.known_from = self._listed_from = known_from
        self._newest.clear()
        self._listed.clear()
        self._listed_pairs = 0
        self._log_from = self.position = self.position + 1
        self._log_tags.clear()
        self._log_xids.clear()
        self.looked(snapshot)

    def record(self, tag: str, xid: int) -> None:
        """Note that transaction `xid` changed `tag`."""
        newest = max(self._newest.pop(tag, 0), xid)  # popped, so that the dictionary stays in the order of the changes
        self._newest[tag] = newest
        if len(self._newest) > self._max_tags:
            forgotten = self._newest.pop(next(iter(self._newest)))
            self.known_from = max(self.known_from, forgotten + 1)
        self._list(tag, xid)
        if tag.partition(":")[0] in self._watched:
            self._log(tag, xid)

    def looked(self, snapshot: Snapshot) -> None:
        """Say what a look has seen, when all that it brought is recorded."""
        self._seen = snapshot
        self._forgot_unseen = False

    def admits(self, tags: Iterable[str], snapshot: Snapshot) -> bool:
        """True when nothing is known that these tags' holder has not seen: it may be kept and served."""
        newest, xmax = self._newest, snapshot.xmax
        if xmax < self.known_from or newest.get(EVERYTHING, -1) >= xmax:
            return False
        for tag in tags:  # loops, because a fill is checked here and a generator takes longer than its tags
            if newest.get(tag, -1) >= xmax:
                return False
        return not snapshot.active or all(self._left_alone(tags, xid) for xid in snapshot.active)

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

    def _left_alone(self, tags: Iterable[str], xid: int) -> bool:
        """True when transaction `xid`, running at some time, is known to have changed none of `tags` since."""
        listed = self._listed.get(xid)
        if listed is not None:
            return EVERYTHING not in listed and listed.isdisjoint(tags)
        if xid >= self._listed_from:
            return True  # it runs on, was rolled back, or has changed nothing
        return not self._seen.sees(xid) and not self._forgot_unseen  # it runs on, however long ago it began

    def _list(self, tag: str, xid: int) -> None:
        tags = self._listed.setdefault(xid, set())
        self._listed_pairs += tag not in tags
        tags.add(tag)
        while self._listed_pairs > self._max_listed and len(self._listed) > 1:
            forgotten = next(iter(self._listed))
            self._listed_pairs -= len(self._listed.pop(forgotten))
            self._listed_from = max(self._listed_from, forgotten + 1)
            self._forgot_unseen |= not self._seen.sees(forgotten)

    def _log(self, tag: str, xid: int) -> None:
        self.position += 1
        self._log_tags.append(tag)
        self._log_xids.append(xid)
        if len(self._log_tags) > self._max_log:
            half = (self._max_log + 1) // 2
            del self._log_tags[:half]
            del self._log_xids[:half]
            self._log_from += half
