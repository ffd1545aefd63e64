"""Filling: one fill a key at a time, from the second level if it has what is wanted, else from the origin."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

from townsquare.cache.entries import Entry
from townsquare.cache.events import EntryKept, EntryRefused, Event, OriginFailed
from townsquare.cache.outcomes import Filled, FillFailed, Outcome, Wanted
from townsquare.cache.second_level import SecondLevel, SharedEntry
from townsquare.cache.snapshots import Snapshot
from townsquare.cache.statistics import Statistics
from townsquare.cache.store import Store
from townsquare.cache.tracing import Tracer

Flight = asyncio.Task[Outcome]


class Moment(NamedTuple):
    """When a fill began: which source it was (a number), what its last look had seen, where the ledger's log was."""

    source: int
    snapshot: Snapshot
    position: int


class Flights:
    """The fills under way, by key: who wants a key that is being filled need not fill it again."""

    def __init__(self) -> None:
        self._flights: dict[str, Flight] = {}
        self._closed = False

    def of(self, key: str) -> Flight | None:
        """Return the fill of `key` that is under way."""
        return self._flights.get(key)

    def take_off(self, key: str, fill: Coroutine[Any, Any, Outcome]) -> Flight:
        """Begin a fill, in a task of its own: it goes on when the caller who began it leaves."""
        flight = asyncio.create_task(fill, name="cache fill")
        self._flights[key] = flight
        flight.add_done_callback(lambda done: self._landing(key, done))
        if self._closed:  # who waited for one that was ended takes off anew
            flight.cancel()
        return flight

    async def close(self) -> None:
        """End them all, and whatever takes off from now on."""
        self._closed = True
        flights = list(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)

    def _landing(self, key: str, flight: Flight) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]
        if not flight.cancelled():
            flight.exception()  # looked at, so that a failure nobody waits for is not reported as forgotten


class Filler:
    """Makes entries and puts them into `store`. `moment` and `trusted` are asked for what the cache knows just then."""

    def __init__(
        self,
        store: Store,
        statistics: Statistics,
        second: SecondLevel | None,
        *,
        clock: Callable[[], float],
        chance: Callable[[], float],
        tracer: Tracer,
        moment: Callable[[], Moment],
        trusted: Callable[[], bool],
        tell: Callable[[Event], None],
    ) -> None:
        self._store = store
        self._statistics = statistics
        self._second = second
        self._clock = clock
        self._chance = chance
        self._tracer = tracer
        self._moment = moment
        self._trusted = trusted
        self._tell = tell

    async def fill(self, wanted: Wanted) -> Outcome:
        """Return a value that is no older than this call, kept if nothing speaks against it."""
        second = self._second if wanted.strategy.shared else None
        if second is not None and self._trusted():
            found = await self._from_second(second, wanted)
            if found is not None:
                return found
        # Taken before the first query: what is read from here on is at least as new.
        moment, began = self._moment(), self._clock()
        filled = await self._from_origin(wanted)
        if not filled.keep:
            return Outcome(filled.value, "miss", None)
        entry = self._entry(wanted, filled, moment)
        # Of another source than it is now, its snapshot would mean other transactions.
        if moment.source != self._moment().source or not self._store.add(entry):
            entry.counts.refused += 1
            self._tell(EntryRefused(wanted.strategy.name, wanted.key))
            return Outcome(filled.value, "miss", None)
        if second is not None:
            second.put(entry)
        self._tell(EntryKept(wanted.strategy.name, wanted.key, entry.created - began))
        return Outcome(filled.value, "miss", entry)

    async def _from_origin(self, wanted: Wanted) -> Filled:
        strategy = wanted.strategy
        try:
            with self._tracer.start_as_current_span("cache.fill", attributes={"cache.strategy": strategy.name}):
                async with asyncio.timeout(strategy.hard_deadline):
                    filled = await wanted.fill()
        except BaseException:
            self._failed(wanted)
            raise
        if filled.failed:
            self._failed(wanted)
            raise FillFailed(filled.value)
        return filled

    def _failed(self, wanted: Wanted) -> None:
        self._statistics.of(wanted.strategy.name).failed += 1
        self._tell(OriginFailed(wanted.strategy.name, wanted.key))

    def _entry(self, wanted: Wanted, filled: Filled, moment: Moment) -> Entry:
        strategy = wanted.strategy
        return Entry(
            wanted.key,
            filled.value,
            filled.size,
            strategy,
            moment.snapshot,
            filled.tags,
            watched=filled.watched,
            lent=filled.lent,
            checked=moment.position,
            counts=self._statistics.of(strategy.name),
            created=self._clock(),
            lifetime=strategy.lifetime * (1 - self._chance() * strategy.jitter),
        )

    async def _from_second(self, second: SecondLevel, wanted: Wanted) -> Outcome | None:
        source, strategy = self._moment().source, wanted.strategy
        with self._tracer.start_as_current_span("cache.second_level", attributes={"cache.strategy": strategy.name}):
            shared = await second.get(wanted.key)
        due = strategy.lifetime * (1 - strategy.eager) if wanted.refresh else 0.0
        if shared is None or shared.fresh_for <= due or not self._trusted() or source != self._moment().source:
            return None
        entry = self._shared_entry(wanted, shared)
        if entry is None or not self._store.add(entry):
            return None
        return Outcome(shared.value, "hit_shared", entry)

    def _shared_entry(self, wanted: Wanted, shared: SharedEntry) -> Entry | None:
        """Make an entry of what another process left, if nothing that it depends on has changed since it was read."""
        tags = shared.tags if shared.watched is None else shared.tags | shared.watched
        if not self._store.ledger.admits(tags, shared.snapshot):
            return None
        return Entry(
            wanted.key,
            shared.value,
            shared.size,
            wanted.strategy,
            shared.snapshot,
            shared.tags,
            watched=shared.watched,
            checked=self._store.ledger.position,
            counts=self._statistics.of(wanted.strategy.name),
            created=self._clock(),
            lifetime=min(shared.fresh_for, wanted.strategy.lifetime),
        )
