"""The cache: a hit costs a look into a dictionary, a miss is filled once, and nothing is served that may be wrong.

Whoever owns it tells it what has changed: `changed` for the process's own commits, before their writer is answered, and
`looked` for what a look at the source's outbox found. Between looks it is trusted for a moment only; when they stop, what is
kept stays kept, but nothing is served as fresh until contact is back.
"""

import asyncio
import random
import time
from collections.abc import Callable, Iterable
from typing import Final

from townsquare.cache.entries import Entry
from townsquare.cache.events import Begun, EntryEvicted, EntryInvalidated, Event, ServedStale, TouchLost, TouchRegained
from townsquare.cache.fills import Deadline, Filler, Flight, Flights, Moment
from townsquare.cache.ledger import Ledger
from townsquare.cache.outcomes import Change, Fill, Filled, FillFailed, Outcome, Result, Wanted
from townsquare.cache.second_level import SecondLevel
from townsquare.cache.snapshots import NOTHING_SEEN, Snapshot
from townsquare.cache.statistics import Statistics
from townsquare.cache.store import Removal, Store
from townsquare.cache.strategies import Strategy
from townsquare.cache.tracing import NoTracer, Tracer

__all__ = ["Cache", "Change", "Fill", "FillFailed", "Filled", "Outcome", "Result"]

DEFAULT_CAPACITY: Final = 64 << 20


class Cache:
    """Keeps values of one source of truth. `watched` are families of tags that entries may watch without an index.

    `clock` is monotonic, in seconds; `chance` returns numbers from 0 to 1 for the jitter. `second` is shared by processes
    and never needed. `tracer` is OpenTelemetry's, if anybody wants spans.
    """

    def __init__(
        self,
        capacity: int = DEFAULT_CAPACITY,
        *,
        watched: Iterable[str] = (),
        second: SecondLevel | None = None,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
        tracer: Tracer | None = None,
    ) -> None:
        self.ledger = Ledger(watched)
        self.store = Store(capacity, self.ledger, self._removed)
        self.statistics = Statistics()
        self.snapshot = NOTHING_SEEN
        """What the last look had seen: no entry that is filled from now on is older, and whatever it sees is known.

        Who must see a certain transaction can be served from what is kept when this sees it. That this process committed it
        does not suffice: its author may have made another write elsewhere just before.
        """
        self.trusted_until = float("-inf")
        """Until then every change that anybody may rely on is known."""
        self.listeners: list[Callable[[Event], None]] = []
        """Told of what happens; see `events.py`."""
        self._clock = clock
        self._filler = Filler(
            self.store,
            self.statistics,
            second,
            clock=clock,
            chance=chance,
            tracer=tracer or NoTracer(),
            moment=self._moment,
            trusted=lambda: self.trusted,
            tell=self._tell,
        )
        self._flights = Flights(self._filler.fill)
        self._source = 0
        self._in_touch = False
        self._cause: tuple[str | None, int | None] = (None, None)

    @property
    def now(self) -> float:
        """The time on this cache's clock."""
        return self._clock()

    @property
    def trusted(self) -> bool:
        """True while contact with the source is known to be good."""
        return self._clock() < self.trusted_until

    # --- what has changed ----------------------------------------------------------------------------------------

    def begin(self, snapshot: Snapshot, known_from: int) -> None:
        """Begin to follow the source, or begin anew: all changes from `known_from` on will be told, or were before this.

        Nothing is trusted until the first look, and nothing is kept whose fill began before.
        """
        self._source += 1
        self.store.clear()
        self.ledger.begin(snapshot, known_from)
        self.snapshot = snapshot
        self.distrust()
        self._tell(Begun())

    def changed(self, change: Change) -> None:
        """Take note of this process's own commit: whatever has not seen it is gone when this returns."""
        for tag in change.tags:
            self._cause = tag, change.xid
            self.store.invalidate(tag, change.xid)
        self._cause = None, None

    def looked(self, snapshot: Snapshot, changes: Iterable[Change], trusted_until: float) -> None:
        """Take in a look at the source: `changes` are all that `snapshot` sees and the one before did not.

        `trusted_until` is counted from before the look was sent, on this cache's clock.
        """
        for change in changes:
            self.changed(change)
        self.ledger.looked(snapshot)
        self.snapshot = snapshot
        self.trusted_until = trusted_until
        if not self._in_touch and self.trusted:
            self._in_touch = True
            self._tell(TouchRegained())

    def distrust(self) -> None:
        """Serve nothing as fresh until the next look."""
        self.trusted_until = float("-inf")

    def clear(self) -> None:
        """Drop what this process keeps. (A change of the tag `EVERYTHING` does it everywhere, shared entries included.)"""
        self.store.clear()

    async def close(self) -> None:
        """End the fills that are under way."""
        await self._flights.close()

    def _moment(self) -> Moment:
        return Moment(self._source, self.snapshot, self.ledger.position)

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
        now = self._clock()
        kept = self.store.find(key)
        if kept is not None and now >= kept.usable_until:
            kept = None
        wanted = Wanted(key, strategy, fill, refresh=kept is not None)
        flight = self._flights.of(key)
        if kept is not None and now < kept.fresh_until and now < self.trusted_until:
            if now >= kept.look_again_at and flight is None:
                self._refresh(kept, now, wanted)
            counts.hit += 1
            return Outcome(kept.value, "hit", kept)
        self._notice_lost_touch(now)
        if kept is not None:
            outcome = await self._rather_stale(kept, flight, wanted, if_failed=stale_if_failed)
        elif flight is not None:
            outcome = await self._landed(flight, wanted, joined=True)
        else:
            outcome = await self._flights.fly(wanted)
        counts.count(outcome.result)
        return outcome

    async def bypass(self, strategy: Strategy, fill: Fill) -> Outcome:
        """Ask the origin without a look at what is kept, for a caller who must see what may not be known here yet."""
        self.statistics.of(strategy.name).bypass += 1
        with Deadline(strategy.hard_deadline):
            filled = await fill()
        if filled.failed:
            raise FillFailed(filled.value)
        return Outcome(filled.value, "bypass", None)

    async def _landed(self, flight: Flight, wanted: Wanted, *, joined: bool) -> Outcome:
        """Wait for a fill, which does not end when the caller leaves.

        One that we joined began before we came. It may have read before a write that we know to be done, or long ago, so
        its answer is ours only where an entry of the same age would be; else one that begins now is right for all who wait.
        """
        source = self._source
        await asyncio.wait([flight.landed])
        if not joined:
            return flight.landed.result()
        if self.trusted and source == self._source and not flight.landed.cancelled() and not flight.landed.exception():
            outcome = flight.landed.result()
            if outcome.entry is not None and self.store.right(outcome.entry):
                return Outcome(outcome.value, "joined", outcome.entry)
        while (following := self._flights.of(wanted.key)) is not None:
            await asyncio.wait([following.landed])
            if not following.landed.cancelled():  # as when the one who filled has left: then another is under way
                outcome = following.landed.result()
                return Outcome(outcome.value, "joined", outcome.entry)
        return await self._landed(self._flights.take_off(wanted), wanted, joined=False)

    async def _rather_stale(self, kept: Entry, flight: Flight | None, wanted: Wanted, *, if_failed: bool) -> Outcome:
        """Prefer the fill, but not for long: what has outlived its lifetime unchanged is still right.

        Out of contact nobody knows that, so then only a failure of the origin makes the old answer the better one.
        """
        joined = flight is not None
        flight = flight or self._flights.take_off(wanted)
        patience = asyncio.timeout(wanted.strategy.soft_deadline if self.trusted else None)
        try:
            async with patience:
                return await self._landed(flight, wanted, joined=joined)
        except Exception:
            slow = patience.expired()
            usable = self._clock() < kept.usable_until and self.store.holds(kept)
            if usable and (self.trusted if slow else if_failed):
                self._tell(ServedStale(wanted.strategy.name, wanted.key, "slow" if slow else "failed"))
                return Outcome(kept.value, "stale", kept)
            if not slow:
                raise
        return await self._landed(flight, wanted, joined=joined)

    def _refresh(self, kept: Entry, now: float, wanted: Wanted) -> None:
        """Fill anew what was asked for near its end; if that fails, the next attempt waits for half of what is left."""
        kept.look_again_at = now + (kept.fresh_until - now) / 2

        def landed(flight: asyncio.Future[Outcome]) -> None:
            if not flight.cancelled() and flight.exception() is None:
                kept.counts.refreshed += 1

        self._flights.take_off(wanted).landed.add_done_callback(landed)

    # --- telling -------------------------------------------------------------------------------------------------

    def _removed(self, entry: Entry, why: Removal) -> None:
        if why == "changed":
            entry.counts.invalidated += 1
            self._tell(EntryInvalidated(entry.strategy.name, entry.key, *self._cause))
        elif why == "evicted":
            self._tell(EntryEvicted(entry.strategy.name, entry.key))

    def _notice_lost_touch(self, now: float) -> None:
        if self._in_touch and now >= self.trusted_until:
            self._in_touch = False
            self._tell(TouchLost())

    def _tell(self, event: Event) -> None:
        for listener in self.listeners:
            listener(event)
