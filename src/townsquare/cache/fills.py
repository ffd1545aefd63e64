"""Filling: one fill a key at a time, from the second level if it has what is wanted, else from the origin."""

import asyncio
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any

from msgspec import Struct

from townsquare.cache.entries import Entry
from townsquare.cache.events import EntryKept, EntryRefused, Event, OriginFailed
from townsquare.cache.outcomes import Filled, FillFailed, Outcome, Wanted
from townsquare.cache.second_level import SecondLevel, SharedEntry
from townsquare.cache.snapshots import Snapshot
from townsquare.cache.statistics import Statistics
from townsquare.cache.store import Store
from townsquare.cache.tracing import Tracer


class Moment(Struct, frozen=True):
    """When a fill began: which source it was (a number), what its last look had seen, where the ledger's log was."""

    source: int
    snapshot: Snapshot
    position: int


class Deadline:
    """Ends what is done inside it after so many seconds: as `asyncio.timeout` does, at half its price."""

    __slots__ = ("_cancelling", "_passed", "_seconds", "_task", "_timer")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._passed = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  (there is one wherever a coroutine runs)
        self._task, self._cancelling = task, task.cancelling()
        self._timer = task.get_loop().call_later(self._seconds, self._pass)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._timer.cancel()
        # Somebody else may have cancelled too: then that is what happened.
        if self._passed and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def _pass(self) -> None:
        self._passed = True
        self._task.cancel()


class Flight:
    """A fill under way: `landed` brings its outcome, `task` is the one that runs it."""

    __slots__ = ("landed", "task")

    def __init__(self, landed: asyncio.Future[Outcome], task: asyncio.Task[Any]) -> None:
        self.landed = landed
        self.task = task


class Flights:
    """The fills under way, by key: who wants a key that is being filled need not fill it again."""

    def __init__(self, fill: Callable[[Wanted], Coroutine[Any, Any, Outcome]]) -> None:
        self._fill = fill
        self._flights: dict[str, Flight] = {}
        self._closed = False

    def of(self, key: str) -> Flight | None:
        """Return the fill of `key` that is under way."""
        return self._flights.get(key)

    async def fly(self, wanted: Wanted) -> Outcome:
        """Fill in the caller's own task: another one, and waiting for it, would be the dearest part of a miss.

        When the caller leaves, the fill takes off anew in a task of its own: others wait for it, or will ask.
        """
        if self._closed:
            raise asyncio.CancelledError
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  (as above)
        landed: asyncio.Future[Outcome] = task.get_loop().create_future()
        self._flights[wanted.key] = Flight(landed, task)
        try:
            outcome = await self._fill(wanted)
        except asyncio.CancelledError:
            del self._flights[wanted.key]
            if not self._closed:
                self.take_off(wanted)
            landed.cancel()
            raise
        except BaseException as error:
            del self._flights[wanted.key]
            landed.set_exception(error)
            landed.exception()  # looked at, so that a failure nobody waits for is not reported as forgotten
            raise
        del self._flights[wanted.key]
        landed.set_result(outcome)
        return outcome

    def take_off(self, wanted: Wanted) -> Flight:
        """Begin a fill in a task of its own: it goes on whoever leaves."""
        task = asyncio.create_task(self._fill(wanted), name="cache fill")
        flight = self._flights[wanted.key] = Flight(task, task)
        task.add_done_callback(lambda _: self._landing(wanted.key, flight))
        if self._closed:  # who waited for one that was ended takes off anew
            task.cancel()
        return flight

    async def close(self) -> None:
        """End them all, and whatever takes off from now on."""
        self._closed = True
        flights = list(self._flights.values())
        for task in {flight.task for flight in flights}:
            task.cancel()
        await asyncio.gather(*(flight.landed for flight in flights), return_exceptions=True)

    def _landing(self, key: str, flight: Flight) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]
        if not flight.landed.cancelled():
            flight.landed.exception()


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
            span = self._tracer.start_as_current_span("cache.fill", attributes={"cache.strategy": strategy.name})
            with span, Deadline(strategy.hard_deadline):
                filled = await wanted.fill()
        except asyncio.CancelledError:  # whoever has left or closes, it was not the origin that failed
            raise
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
