"""Asking the cache: one fill for all who ask, stale answers where they are the better ones, refreshing before the end."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest

from townsquare.cache.cache import Cache, Change, Filled, FillFailed, Outcome
from townsquare.cache.entries import Entry
from townsquare.cache.events import (
    Begun,
    EntryEvicted,
    EntryInvalidated,
    EntryKept,
    EntryRefused,
    Event,
    OriginFailed,
    ServedStale,
    TouchLost,
    TouchRegained,
)
from townsquare.cache.ledger import EVERYTHING
from townsquare.cache.second_level import SharedEntry
from townsquare.cache.snapshots import Snapshot
from townsquare.cache.strategies import Strategy

KIND = Strategy("KIND", lifetime=100, grace=50, eager=0.9, jitter=0.1, soft_deadline=0.02, hard_deadline=0.2)


@dataclass
class Clock:
    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Second:
    """A second level in the process."""

    kept: dict[str, SharedEntry] = field(default_factory=dict[str, SharedEntry])
    looks: int = 0

    async def get(self, key: str) -> SharedEntry | None:
        self.looks += 1
        await asyncio.sleep(0)
        return self.kept.get(key)

    def put(self, entry: Entry) -> None:
        self.kept[entry.key] = SharedEntry(entry.value, 100, entry.snapshot, entry.tags, entry.watched, 100.0)


@dataclass
class Origin:
    """Counts its fills; each waits until it is let go."""

    fills: int = 0
    tags: frozenset[str] = frozenset({"a"})
    fails: bool = False
    waits: list[asyncio.Event] = field(default_factory=list[asyncio.Event])
    slow: bool = False

    async def __call__(self) -> Filled:
        self.fills += 1
        value = self.fills
        if self.slow:
            self.waits.append(asyncio.Event())
            await self.waits[-1].wait()
        if self.fails:
            return Filled("a problem", 0, frozenset(), keep=False, failed=True)
        return Filled(value, 100, self.tags)


class World:
    def __init__(self, second: Second | None = None) -> None:
        self.clock = Clock()
        self.cache = Cache(1 << 20, watched=["posts"], second=second, clock=self.clock, chance=lambda: 0.0)
        self.origin = Origin()
        self.events: list[Event] = []
        self.cache.listeners.append(self.events.append)
        self.cache.begin(Snapshot(100, 100), 100)
        self.look(100)

    def look(self, xid: int, *changes: Change) -> None:
        self.cache.looked(Snapshot(xid, xid), changes, self.clock.now + 1_000)

    async def ask(self, **options: bool) -> Outcome:
        return await self.cache.fetch("key", KIND, self.origin, **options)

    def begin_to_ask(self) -> asyncio.Task[Outcome]:
        return asyncio.create_task(self.ask())

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(5):
            while not condition():
                await asyncio.sleep(0)

    def seen(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    await made.cache.close()


# --- one fill for all ------------------------------------------------------------------------------------------------


async def test_a_thousand_who_ask_at_once_cost_one_fill(world: World):
    world.origin.slow = True
    asked = [world.begin_to_ask() for _ in range(1_000)]
    await world.until(lambda: world.origin.waits)
    world.origin.waits[0].set()
    outcomes = await asyncio.gather(*asked)
    assert world.origin.fills == 1
    assert {outcome.value for outcome in outcomes} == {1}
    assert [outcome.result for outcome in outcomes].count("joined") == 999
    counts = world.cache.statistics.of("KIND")
    assert (counts.miss, counts.joined, counts.hit) == (1, 999, 0)
    entry = world.cache.get("key")
    assert entry is not None
    assert entry.value == 1


async def test_when_the_one_who_fills_leaves_one_fill_begins_anew_for_all_who_wait(world: World):
    world.origin.slow = True
    first, *others = [world.begin_to_ask() for _ in range(10)]
    await world.until(lambda: world.origin.waits)
    first.cancel()
    await world.until(lambda: len(world.origin.waits) == 2)
    others[0].cancel()  # nor does it end with another
    world.origin.waits[1].set()
    assert {(await other).value for other in others[1:]} == {2}
    assert first.cancelled()
    assert world.origin.fills == 2
    assert not world.seen(OriginFailed)


async def test_a_fill_goes_on_though_nobody_waits_for_it_any_more(world: World):
    world.origin.slow = True
    asked = world.begin_to_ask()
    await world.until(lambda: world.origin.waits)
    asked.cancel()
    await world.until(lambda: len(world.origin.waits) == 2)
    world.origin.waits[1].set()
    await world.until(lambda: world.cache.get("key"))
    assert (await world.ask()).value == 2


async def test_who_waits_for_a_second_fill_is_not_cancelled_with_the_one_who_fills(world: World):
    async def ask_again() -> Outcome:
        await world.ask()
        return await world.ask()

    world.origin.slow = True
    again = asyncio.create_task(ask_again())
    await world.until(lambda: len(world.origin.waits) == 1)
    world.cache.changed(Change(150, ["a"]))
    waiting = world.begin_to_ask()
    await asyncio.sleep(0)
    world.look(151)
    world.origin.waits[0].set()
    await world.until(lambda: len(world.origin.waits) == 2)
    again.cancel()
    await world.until(lambda: len(world.origin.waits) == 3)
    world.origin.waits[2].set()
    assert (await waiting).value == 3


async def test_a_caller_s_own_deadline_is_not_taken_for_the_fill_s(world: World):
    world.origin.slow = True
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await world.ask()
    assert not world.seen(OriginFailed)
    await world.until(lambda: len(world.origin.waits) == 2)
    world.origin.waits[1].set()


async def test_who_came_during_a_fill_that_a_write_overtook_gets_a_newer_one(world: World):
    world.origin.slow = True
    began = world.begin_to_ask()
    await world.until(lambda: len(world.origin.waits) == 1)
    world.cache.changed(Change(150, ["a"]))
    came_later = [world.begin_to_ask() for _ in range(10)]
    await asyncio.sleep(0)
    world.look(151)
    world.origin.waits[0].set()
    assert (await began).value == 1  # he asked before the write was done
    await world.until(lambda: len(world.origin.waits) == 2)
    world.origin.waits[1].set()
    assert {(await later).value for later in came_later} == {2}
    assert world.origin.fills == 2
    assert world.seen(EntryRefused) == [EntryRefused("KIND", "key")]


async def test_who_came_during_a_fill_gets_his_own_when_touch_was_lost(world: World):
    world.origin.slow = True
    began, came_later = world.begin_to_ask(), world.begin_to_ask()
    await world.until(lambda: len(world.origin.waits) == 1)
    world.clock.now += 2_000
    world.origin.waits[0].set()
    assert (await began).value == 1
    await world.until(lambda: len(world.origin.waits) == 2)
    world.origin.waits[1].set()
    assert (await came_later).value == 2


async def test_a_fill_that_takes_too_long_fails_for_all_who_wait(world: World):
    world.origin.slow = True
    results = await asyncio.gather(world.ask(), world.ask(), return_exceptions=True)
    assert isinstance(results[0], TimeoutError)
    assert isinstance(results[1], TimeoutError)  # the second one's own fill, after the first had failed
    assert world.cache.statistics.of("KIND").failed == 2
    assert len(world.seen(OriginFailed)) == 2


async def test_a_fill_that_is_overtaken_by_another_source_is_not_kept(world: World):
    world.origin.slow = True
    asked = world.begin_to_ask()
    await world.until(lambda: world.origin.waits)
    world.cache.begin(Snapshot(50, 50), 50)
    world.look(60)
    world.origin.waits[0].set()
    assert (await asked).entry is None
    assert world.cache.get("key") is None
    assert world.seen(Begun)


async def test_what_is_not_to_be_kept_is_not(world: World):
    async def missing() -> Filled:
        return Filled("404", 0, frozenset(), keep=False)

    outcome = await world.cache.fetch("key", KIND, missing)
    assert (outcome.value, outcome.entry, len(world.cache.store)) == ("404", None, 0)


# --- freshness -------------------------------------------------------------------------------------------------------


async def test_out_of_touch_nothing_is_fresh_and_nothing_is_lost(world: World):
    await world.ask()
    world.cache.trusted_until = world.clock.now + 1
    world.clock.now += 1
    assert world.cache.get("key") is None
    assert (await world.ask()).result == "miss"
    assert world.seen(TouchLost) == [TouchLost()]
    world.look(101)
    assert world.cache.get("key") is not None
    assert len(world.seen(TouchRegained)) == 2


async def test_a_commit_of_this_process_is_known_at_once(world: World):
    await world.ask()
    world.cache.changed(Change(120, ["other", "a"]))
    assert world.cache.get("key") is None
    assert world.seen(EntryInvalidated) == [EntryInvalidated("KIND", "key", "a", 120)]
    assert world.cache.statistics.of("KIND").invalidated == 1
    assert (await world.ask()).entry is None  # its fill may have been sent before the commit, as far as a look can tell
    world.look(121, Change(120, ["other", "a"]))
    assert (await world.ask()).entry is not None


async def test_a_change_of_everything_leaves_nothing(world: World):
    await world.ask()
    world.look(121, Change(120, [EVERYTHING]))
    assert len(world.cache.store) == 0


async def test_a_bypass_neither_looks_nor_keeps(world: World):
    await world.ask()
    outcome = await world.cache.bypass(KIND, world.origin)
    assert (outcome.value, outcome.result, outcome.entry) == (2, "bypass", None)
    entry = world.cache.get("key")
    assert entry is not None
    assert entry.value == 1


# --- stale, and before it comes to that --------------------------------------------------------------------------------


async def test_a_hit_near_the_end_refreshes_in_the_background(world: World):
    await world.ask()
    world.clock.now += 91
    assert world.cache.get("key") is None  # needs a thought
    outcome = await world.ask()
    assert (outcome.value, outcome.result) == (1, "hit")
    counts = world.cache.statistics.of("KIND")
    await world.until(lambda: counts.refreshed)
    refreshed = world.cache.get("key")
    assert refreshed is not None
    assert refreshed.value == 2
    assert counts.miss == 1


async def test_a_refresh_that_fails_is_not_tried_at_every_hit(world: World):
    await world.ask()
    world.clock.now += 91
    world.origin.fails = True
    for _ in range(20):
        assert (await world.ask()).result == "hit"
        await asyncio.sleep(0.001)
    assert world.origin.fills == 2
    world.clock.now += 5
    await world.ask()
    await world.until(lambda: world.origin.fills == 3)


async def test_what_has_outlived_its_life_is_served_when_a_new_one_takes_long(world: World):
    await world.ask()
    world.clock.now += 101
    world.origin.slow = True
    outcome = await world.ask()
    assert (outcome.value, outcome.result) == (1, "stale")
    assert world.seen(ServedStale) == [ServedStale("KIND", "key", "slow")]
    world.origin.waits[0].set()
    await world.until(lambda: world.cache.get("key"))
    assert (await world.ask()).value == 2


async def test_what_has_outlived_its_life_is_not_served_when_a_new_one_comes_soon(world: World):
    await world.ask()
    world.clock.now += 101
    assert (await world.ask()).value == 2


@pytest.mark.parametrize("in_touch", [True, False])
async def test_what_everybody_may_see_is_served_stale_when_the_origin_fails(world: World, in_touch: bool):
    await world.ask()
    world.clock.now += 101
    world.origin.fails = True
    if not in_touch:
        world.cache.distrust()
    assert (await world.ask()).result == "stale"
    assert world.seen(ServedStale) == [ServedStale("KIND", "key", "failed")]
    with pytest.raises(FillFailed) as failure:
        await world.ask(stale_if_failed=False)
    assert failure.value.value == "a problem"


async def test_out_of_touch_a_slow_fill_is_waited_for(world: World):
    await world.ask()
    world.clock.now += 101
    world.cache.distrust()
    world.origin.slow = True
    asked = world.begin_to_ask()
    await asyncio.sleep(KIND.soft_deadline * 2)
    assert not asked.done()
    world.origin.waits[0].set()
    assert (await asked).value == 2


async def test_nothing_is_served_after_its_grace_nor_after_it_was_invalidated(world: World):
    await world.ask()
    world.origin.fails = True
    world.clock.now += 151
    with pytest.raises(FillFailed):
        await world.ask()
    world.origin.fails = False
    await world.ask()
    world.clock.now += 101
    world.origin.slow = True
    asked = world.begin_to_ask()
    await world.until(lambda: world.origin.waits)
    world.cache.changed(Change(130, ["a"]))
    world.origin.waits[0].set()
    assert (await asked).value == 4


# --- the second level --------------------------------------------------------------------------------------------------


async def test_what_another_process_filled_is_taken_over():
    second = Second()
    one, other = World(second), World(second)
    await one.ask()
    outcome = await other.ask()
    assert (outcome.value, outcome.result, other.origin.fills) == (1, "hit_shared", 0)
    assert other.cache.get("key") is not None


async def test_what_has_not_seen_a_change_that_is_known_here_is_refused():
    second = Second()
    one, other = World(second), World(second)
    await one.ask()
    other.look(121, Change(120, ["a"]))
    assert (await other.ask()).result == "miss"


async def test_out_of_touch_and_before_the_first_look_the_second_level_is_not_believed():
    second = Second()
    await World(second).ask()
    other = World(second)
    looks = second.looks
    other.cache.distrust()
    assert (await other.ask()).result == "miss"
    other.cache.begin(Snapshot(100, 100), 100)
    assert (await other.ask()).result == "miss"
    assert second.looks == looks


async def test_a_refresh_does_not_take_what_is_as_old_itself():
    second = Second()
    world = World(second)
    await world.ask()
    shared = second.kept["key"]
    world.clock.now += 95
    second.kept["key"] = SharedEntry(shared.value, 100, shared.snapshot, shared.tags, None, 5.0)
    await world.ask()
    await world.until(lambda: world.origin.fills == 2)


async def test_what_a_strategy_does_not_share_stays_here():
    second = Second()
    world = World(second)
    await world.cache.fetch("key", Strategy("MINE", 100, 0, shared=False), world.origin)
    assert (second.kept, second.looks) == ({}, 0)


# --- telling -----------------------------------------------------------------------------------------------------------


async def test_fills_and_evictions_are_told():
    world = World()
    world.cache.store.capacity = 5_000
    for number in range(10):
        await world.cache.fetch(f"key {number}", KIND, world.origin)
    assert len(world.seen(EntryKept)) == 10
    assert world.seen(EntryEvicted)


async def test_lifetimes_are_jittered():
    ends: set[float] = set()
    for chance in (0.0, 0.5, 1.0):
        cache = Cache(clock=Clock(), chance=lambda chance=chance: chance)
        cache.begin(Snapshot(1, 1), 1)
        outcome = await cache.fetch("key", KIND, Origin())
        assert outcome.entry is not None
        ends.add(outcome.entry.fresh_until - 1_000)
    assert ends == {100.0, 95.0, 90.0}


async def test_closing_ends_the_fills_that_are_under_way(world: World):
    world.origin.slow = True
    asked = world.begin_to_ask()
    await world.until(lambda: world.origin.waits)
    await world.cache.close()
    assert isinstance((await asyncio.gather(asked, return_exceptions=True))[0], asyncio.CancelledError)


async def test_who_waits_for_a_fill_that_closing_ends_begins_no_other(world: World):
    world.origin.slow = True
    asked = [world.begin_to_ask() for _ in range(3)]
    await world.until(lambda: world.origin.waits)
    await world.cache.close()
    ended = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(error) for error in ended] == [asyncio.CancelledError] * 3
    assert world.origin.fills == 1
