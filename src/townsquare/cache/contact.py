"""Contact with the source of truth: what makes a cache trust itself, and stop trusting itself.

A look brings a snapshot and every change that it sees and the one before did not, so that each is told once, in whatever
order transactions end. A look that fails changes nothing: the trust that the last one gave runs out by itself.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from townsquare.cache.cache import Cache, Change
from townsquare.cache.snapshots import NOTHING_SEEN, Snapshot

TRUST_SECONDS: Final = 1.0
"""No reader gets anything that another's commit replaced longer ago than this."""


@dataclass(frozen=True, slots=True)
class Beginning:
    """Which source it is, and from which transaction on its changes can still be told.

    `identity` differs wherever transaction numbers may be used again: after a restore, a failover, a crash. `incarnation`
    is the part of it that every look brings along.
    """

    identity: str
    incarnation: str
    known_from: int


@dataclass(frozen=True, slots=True)
class Look:
    """What is visible now, and what has come to be visible since the look before."""

    incarnation: str
    snapshot: Snapshot
    changes: Sequence[Change]


class Source(Protocol):
    """What is followed. Both raise whatever they like when they fail.

    Whoever notices that the connection was cut calls `Cache.distrust` at once: it may be another source that answers next,
    with other numbers, and a commit there would not be recognised as new.
    """

    async def begin(self) -> Beginning:
        """Find out where we are."""
        ...

    async def look(self, before: Snapshot) -> Look:
        """Return a snapshot, and the changes that it sees and `before` does not; snapshot and changes of one moment."""
        ...


class SourceReplaced(Exception):
    """The source is another one than a moment ago, again and again."""


class Contact:
    """Keeps `cache` informed about `source`.

    `identified` is told which source it is whenever that is found out anew: entries shared under another name must not
    be found.
    """

    def __init__(self, cache: Cache, source: Source, identified: Callable[[str], None] = lambda _: None) -> None:
        self._cache = cache
        self._source = source
        self._identified = identified
        self._incarnation: str | None = None
        self._before = NOTHING_SEEN

    async def look(self) -> None:
        """Look once; raises what the source raises, and then everything is as it was."""
        if self._incarnation is None:
            await self._begin()
        if not await self._look():
            # Dropped before anything else: it belongs to a past that has not been.
            self._cache.distrust()
            self._cache.clear()
            await self._begin()
            if not await self._look():
                raise SourceReplaced("the source is replaced faster than it can be looked at")

    async def _begin(self) -> None:
        self._incarnation = None
        beginning = await self._source.begin()
        self._before = Snapshot(beginning.known_from, beginning.known_from)
        self._incarnation = beginning.incarnation
        self._cache.begin(self._before, beginning.known_from)
        self._identified(beginning.identity)

    async def _look(self) -> bool:
        """Look; False when it is not the source that we began with, or when that has gone back in time."""
        sent = self._cache.now
        look = await self._source.look(self._before)
        if look.incarnation != self._incarnation or look.snapshot.xmax < self._before.xmax:
            return False
        self._before = look.snapshot
        self._cache.looked(look.snapshot, look.changes, sent + TRUST_SECONDS)
        return True
