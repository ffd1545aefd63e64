"""The cache: a hit costs a look into a dictionary, a miss is filled once, and nothing is served that may be wrong.

Whoever owns it tells it what has changed: `changed` for the process's own commits, before their writer is answered, and
`looked` for what a look at the source's outbox found. Between looks it is trusted for a moment only; when they stop, what is
kept stays kept, but nothing is served as fresh until contact is back.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from townsquare.cache.entries import Entry
from townsquare.cache.ledger import Ledger
from townsquare.cache.second_level import SecondLevel
from townsquare.cache.snapshots import NOTHING_SEEN, Snapshot
from townsquare.cache.statistics import Counts, Statistics
from townsquare.cache.store import Store
from townsquare.cache.strategies import Strategy

DEFAULT_CAPACITY: Final = 64 << 20

Result = Literal["hit", "hit_shared", "stale", "miss", "joined", "bypass"]


@dataclass(frozen=True, slots=True)
class Filled:
    """What a fill brought. `size` is in bytes; with `keep` false (an error, say) it is answered and forgotten.

    `failed` says that the origin itself failed: a stale entry is then the better answer.
    """

    value: object
    size: int
    tags: frozenset[str]
    watched: frozenset[str] | None = None
    keep: bool = True
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """A value, how it was come by, and the entry that holds it (None when it was not kept)."""

    value: object
    result: Result
    entry: Entry | None


@dataclass(frozen=True, slots=True)
class Change:
    """A committed transaction's effect: `xid` changed all of `tags`."""

    xid: int
    tags: Sequence[str]


Fill = Callable[[], Awaitable[Filled]]
Flight = asyncio.Task[Outcome]


class FillFailed(Exception):
    """The origin failed; `value` is what it answered (a problem, say), if anything."""

    def __init__(self, value: object) -> None:
        super().__init__("the origin failed")
        self.value = value


class Cache:
    """Keeps values of one source of truth. `watched` are families of tags that entries may watch without an index.

    `clock` is monotonic, in seconds. `second` is shared by processes and never needed.
    """

    def __init__(
        self,
        capacity: int = DEFAULT_CAPACITY,
        *,
        watched: Iterable[str] = (),
        second: SecondLevel | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.ledger = Ledger(watched)
        self.store = Store(capacity, self.ledger)
        self.statistics = Statistics()
        self.snapshot = NOTHING_SEEN
        """What the last look had seen: no entry that is filled from now on is older."""
        self.trusted_until = float("-inf")
        """Until then every change that anybody may rely on is known."""
        self.on_change: list[Callable[[Sequence[str]], None]] = []
        """Called with the tags of each change, after their entries are gone."""
        self._second = second
        self._clock = clock
        self._flights: dict[str, Flight] = {}

    # --- what has changed ----------------------------------------------------------------------------------------

    def begin(self, snapshot: Snapshot, known_from: int) -> None:
        """Begin to follow the source, or begin anew: all changes from `known_from` on will be told, or were before this."""
        self.store.clear()
        self.ledger.begin(known_from)
        self.snapshot = snapshot

    def changed(self, change: Change) -> None:
        """Take note of a commit: whatever has not seen it is gone when this returns."""
        counts = self.statistics
        for tag in change.tags:
            for entry in self.store.invalidate(tag, change.xid):
                counts.of(entry.strategy.name).invalidated += 1
        for tell in self.on_change:
            tell(change.tags)

    def looked(self, snapshot: Snapshot, changes: Iterable[Change], trusted_until: float) -> None:
        """Take in a look at the source: `changes` are all that `snapshot` sees and the one before did not.

        `trusted_until` is counted from before the look was sent, on this cache's clock.
        """
        for change in changes:
            self.changed(change)
        self.snapshot = snapshot
        self.trusted_until = trusted_until

    def distrust(self) -> None:
        """Serve nothing as fresh until the next look."""
        self.trusted_until = float("-inf")

    @property
    def now(self) -> float:
        """The time on this cache's clock."""
        return self._clock()

    @property
    def trusted(self) -> bool:
        """True while contact with the source is known to be good."""
        return self._clock() < self.trusted_until

    # --- asking --------------------------------------------------------------------------------------------------

    def get(self, key: str) -> Entry | None:
        """Return a fresh entry that needs no thought; None means `fetch`."""
        entry = self.store.find(key)
        if entry is None:
            return None
        now = self._clock()
        if now < entry.look_again_at and now < self.trusted_until:
            entry.counts.hit += 1
            return entry
        return None

    async def fetch(self, key: str, strategy: Strategy, fill: Fill, *, stale_if_failed: bool = True) -> Outcome:
        """Return what is kept under `key`, or fill it: once, however many ask at the same time.

        With `stale_if_failed` (what everybody may see) an entry in its grace is the answer when the origin fails.
        Raises FillFailed, TimeoutError and whatever else `fill` raises.
        """
        counts = self.statistics.of(strategy.name)
        kept = self._usable(key)
        flight = self._flights.get(key)
        now = self._clock()
        if kept is not None and now < kept.fresh_until and now < self.trusted_until:
            if flight is None and now >= kept.look_again_at:
                self._take_off(key, strategy, fill, counts)  # asked for near its end: refreshed before it
            counts.hit += 1
            return Outcome(kept.value, "hit", kept)
        joined = flight is not None
        if flight is None:
            flight = self._take_off(key, strategy, fill, counts)
        if kept is not None:
            return await self._rather_stale(kept, flight, strategy, counts, if_failed=stale_if_failed)
        if not joined:
            return await _landed(flight)
        return await self._join(flight, key, strategy, fill, counts)

    async def bypass(self, strategy: Strategy, fill: Fill) -> Outcome:
        """Ask the origin without a look at what is kept, for a caller who must see what may not be known here yet."""
        self.statistics.of(strategy.name).bypass += 1
        filled = await fill()
        if filled.failed:
            raise FillFailed(filled.value)
        return Outcome(filled.value, "bypass", None)

    async def _join(self, flight: Flight, key: str, strategy: Strategy, fill: Fill, counts: Counts) -> Outcome:
        """Wait for a fill that began before we came. It may have read before a write that we know to be done, so its answer
        is ours only if it was kept; else one that begins now is right for all who wait."""
        await asyncio.wait([flight])
        if not flight.cancelled() and flight.exception() is None and flight.result().entry is not None:
            counts.joined += 1
            return Outcome(flight.result().value, "joined", flight.result().entry)
        following = self._flights.get(key)
        if following is None:
            return await _landed(self._take_off(key, strategy, fill, counts))
        outcome = await _landed(following)
        counts.joined += 1
        return Outcome(outcome.value, "joined", outcome.entry)

    async def _rather_stale(
        self, kept: Entry, flight: Flight, strategy: Strategy, counts: Counts, *, if_failed: bool
    ) -> Outcome:
        """Prefer the fill, but not for long: what has outlived its lifetime unchanged is still right.

        Out of contact nobody knows that, so then only a failure of the origin makes the old answer the better one.
        """
        await asyncio.wait([flight], timeout=strategy.soft_deadline if self.trusted else None)
        if flight.done() and not flight.cancelled() and flight.exception() is None:
            return flight.result()
        if self.store.holds(kept) and (if_failed or not flight.done()):
            counts.stale += 1
            return Outcome(kept.value, "stale", kept)
        return await _landed(flight)

    def _usable(self, key: str) -> Entry | None:
        entry = self.store.find(key)
        if entry is None or entry.usable_until <= self._clock():
            return None
        return entry

    # --- filling -------------------------------------------------------------------------------------------------

    def _take_off(self, key: str, strategy: Strategy, fill: Fill, counts: Counts) -> Flight:
        """Begin a fill, in a task of its own: it goes on when the caller who began it leaves."""
        flight = asyncio.create_task(self._fly(key, strategy, fill, counts), name=f"fill {strategy.name}")
        self._flights[key] = flight
        flight.add_done_callback(lambda done: self._landing(key, done))
        return flight

    def _landing(self, key: str, flight: Flight) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]
        if not flight.cancelled():
            flight.exception()  # looked at, so that a failure nobody waits for is not reported as forgotten

    async def _fly(self, key: str, strategy: Strategy, fill: Fill, counts: Counts) -> Outcome:
        # Taken before the first query: what is read from here on is at least as new.
        snapshot, position = self.snapshot, self.ledger.position
        if self._second is not None and strategy.shared:
            found = await self._from_second(self._second, key, strategy, counts)
            if found is not None:
                return found
        try:
            async with asyncio.timeout(strategy.hard_deadline):
                filled = await fill()
        except BaseException:
            counts.failed += 1
            raise
        if filled.failed:
            counts.failed += 1
            raise FillFailed(filled.value)
        counts.miss += 1
        if not filled.keep:
            return Outcome(filled.value, "miss", None)
        entry = self._entry(key, strategy, counts, filled, snapshot, position)
        if not self.store.add(entry):
            counts.refused += 1
            return Outcome(filled.value, "miss", None)
        if self._second is not None and strategy.shared:
            self._second.put(entry)
        return Outcome(filled.value, "miss", entry)

    def _entry(
        self, key: str, strategy: Strategy, counts: Counts, filled: Filled, snapshot: Snapshot, position: int
    ) -> Entry:
        return Entry(
            key,
            filled.value,
            filled.size,
            strategy,
            snapshot,
            filled.tags,
            watched=filled.watched,
            checked=position,
            counts=counts,
            created=self._clock(),
            lifetime=strategy.lifetime * (1 - random.random() * strategy.jitter),  # noqa: S311  (no secret)
        )

    async def _from_second(self, second: SecondLevel, key: str, strategy: Strategy, counts: Counts) -> Outcome | None:
        shared = await second.get(key)
        now = self._clock()
        if shared is None or shared.fresh_for <= 0 or not self.trusted:
            return None
        tags = shared.tags if shared.watched is None else shared.tags | shared.watched
        if not self.ledger.admits(tags, shared.snapshot):
            return None
        entry = Entry(
            key,
            shared.value,
            shared.size,
            strategy,
            shared.snapshot,
            shared.tags,
            watched=shared.watched,
            checked=self.ledger.position,
            counts=counts,
            created=now,
            lifetime=min(shared.fresh_for, strategy.lifetime),
        )
        if not self.store.add(entry):
            return None
        counts.hit_shared += 1
        return Outcome(shared.value, "hit_shared", entry)


async def _landed(flight: Flight) -> Outcome:
    """Wait for a fill without ending it when the caller leaves."""
    await asyncio.wait([flight])
    return flight.result()
