"""The reverse index: which entries depend on a tag.

Most tags are held by one entry, which then stands there itself: a set around it would take more room than all the rest
that the index keeps of it.
"""

from collections.abc import Collection

from townsquare.cache.entries import Entry

_Holders = dict[Entry, None]
"""A set that keeps its order, so that the same run goes the same way."""


class TagIndex:
    """Entries by tag."""

    def __init__(self) -> None:
        self._holders: dict[str, Entry | _Holders] = {}

    def __len__(self) -> int:
        return len(self._holders)

    def holders(self, tag: str) -> Collection[Entry]:
        """Return the entries that depend on `tag`."""
        found = self._holders.get(tag)
        if found is None:
            return ()
        return (found,) if isinstance(found, Entry) else tuple(found)

    def add(self, entry: Entry) -> None:
        """Enter an entry under each of its tags."""
        for tag in entry.tags:
            found = self._holders.setdefault(tag, entry)
            if isinstance(found, dict):
                found[entry] = None
            elif found is not entry:
                self._holders[tag] = {found: None, entry: None}

    def discard(self, entry: Entry) -> None:
        """Take an entry out."""
        for tag in entry.tags:
            found = self._holders[tag]
            if isinstance(found, dict):
                del found[entry]
                if found:
                    continue
            del self._holders[tag]
