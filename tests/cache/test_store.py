"""The first level: what is thrown out, what is found, and that every byte is counted once."""

import gc
import random
import tracemalloc

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from testbed.cache_books import check_books
from townsquare.cache.entries import OVERHEAD, Entry
from townsquare.cache.ledger import EVERYTHING, Ledger
from townsquare.cache.snapshots import Snapshot
from townsquare.cache.statistics import Counts
from townsquare.cache.store import Removal, Store
from townsquare.cache.strategies import Strategy
from townsquare.cache.tag_sets import PER_TAG

KIND = Strategy("KIND", lifetime=600, grace=60)


def entry(
    key: str,
    size: int = 300,
    tags: tuple[str, ...] = (),
    *,
    watched: frozenset[str] | None = None,
    lent: frozenset[str] | None = None,
    xid: int = 100,
) -> Entry:
    return Entry(
        key,
        key if lent is None else lent,
        size,
        KIND,
        Snapshot(xid, xid),
        frozenset(tags),
        watched=watched,
        lent=lent,
        checked=1,
        counts=Counts(),
        created=0.0,
        lifetime=600.0,
    )


def store_of(entries: int) -> Store:
    """A store with room for so many entries of 300 bytes and a key of four letters."""
    ledger = Ledger(["posts"])
    ledger.begin(Snapshot(1, 1), 1)
    return Store(entries * (OVERHEAD + 304), ledger)


def test_what_nobody_asks_for_again_passes_by_what_is_asked_for():
    store = store_of(100)
    hot = [f"h{number:03}" for number in range(50)]
    for key in hot:
        store.add(entry(key))
        store.find(key)
        store.find(key)
    for number in range(5_000):
        store.add(entry(f"{number:04}"))
    assert all(store.find(key) for key in hot)
    check_books(store)


def test_what_is_asked_for_once_more_after_it_was_thrown_out_stays():
    store = store_of(100)
    for number in range(300):
        store.add(entry(f"{number:04}"))
    thrown_out = "0150"
    assert store.find(thrown_out) is None
    store.add(entry(thrown_out))
    for number in range(1_000, 1_400):
        store.add(entry(f"{number:04}"))
    assert store.find(thrown_out)


def test_a_hit_rate_under_skewed_popularity_is_well_above_that_of_a_plain_queue():
    chance = random.Random(1)
    popularity = [1 / rank**0.9 for rank in range(1, 10_001)]
    asked = [f"{number:04}" for number in chance.choices(range(10_000), popularity, k=40_000)]
    store, hits = store_of(300), 0
    queue: dict[str, None] = {}
    queue_hits = 0
    for key in asked:
        if store.find(key):
            hits += 1
        else:
            store.add(entry(key))
        if key in queue:
            queue_hits += 1
        else:
            queue[key] = None
            if len(queue) > 300:
                del queue[next(iter(queue))]
    assert hits > queue_hits * 1.1
    check_books(store)


def test_a_new_version_takes_the_place_of_the_old_one():
    store = store_of(100)
    store.add(entry("hot1"))
    for _ in range(3):
        store.find("hot1")
    for number in range(150):
        store.add(entry(f"{number:04}"))
    old = store.find("hot1")
    assert old and old.in_main
    new = entry("hot1", 500)
    assert store.add(new)
    assert new.in_main
    assert store.find("hot1") is new
    check_books(store)


def test_what_was_hot_and_invalidated_is_hot_when_it_comes_back():
    store = store_of(100)
    store.add(entry("hot1", tags=("a",)))
    store.find("hot1")
    store.find("hot1")
    store.invalidate("a", 200)
    store.add(entry("hot1", tags=("a",), xid=201))
    for number in range(1_000):
        store.add(entry(f"{number:04}"))
    assert store.find("hot1")


def test_what_is_larger_than_a_quarter_of_the_room_is_not_kept():
    store = store_of(100)
    assert not store.add(entry("big1", store.capacity // 4 + 1))
    assert store.bytes == 0


def test_a_commit_removes_what_has_not_seen_it_and_nothing_else():
    store = store_of(100)
    for key, tags, xid in (("old1", ("a",), 100), ("new1", ("a",), 201), ("none", ("b",), 100), ("both", ("a", "b"), 100)):
        store.add(entry(key, tags=tags, xid=xid))
    assert {gone.key for gone in store.invalidate("a", 200)} == {"old1", "both"}
    assert {left.key for left in store} == {"new1", "none"}
    assert not store.add(entry("late", tags=("a",), xid=150))
    assert {gone.key for gone in store.invalidate(EVERYTHING, 200)} == {"none"}


def test_a_watched_tag_removes_an_entry_when_it_is_looked_at():
    store = store_of(100)
    feed = entry("feed", watched=frozenset({"posts:x", "posts:y"}))
    feed.checked = store.ledger.position
    store.add(feed)
    store.invalidate("posts:z", 200)
    assert store.find("feed") is feed
    assert store.holds(feed)
    store.invalidate("posts:y", 201)
    assert not store.holds(feed)
    assert store.find("feed") is None
    assert len(store) == 0


def test_whatever_leads_to_an_entry_ends_with_it():
    told: list[str] = []
    for remove in ("evicted", "changed", "replaced", "cleared"):
        reasons: list[Removal] = []
        ledger = Ledger()
        ledger.begin(Snapshot(1, 1), 1)
        store = Store(20_000, ledger, lambda _, why, reasons=reasons: reasons.append(why))
        kept = entry("kept", tags=("a",))
        kept.on_removal.append(lambda remove=remove: told.append(remove))
        store.add(kept)
        match remove:
            case "evicted":
                for number in range(40):
                    store.add(entry(f"{number:04}"))
            case "changed":
                store.invalidate("a", 200)
            case "replaced":
                store.add(entry("kept"))
            case _:
                store.clear()
        assert reasons[0] == remove
    assert told == ["evicted", "changed", "replaced", "cleared"]


def test_an_entry_that_grows_is_counted_and_may_cost_others_their_place():
    store = store_of(10)
    for number in range(10):
        store.add(entry(f"{number:04}"))
    newest = store.find("0009")
    assert newest
    store.grown(newest, 1_500)
    assert store.bytes <= store.capacity
    assert store.evictions
    check_books(store)


def test_the_names_of_what_has_gone_take_no_room():
    store = store_of(1_000)
    gc.collect()
    tracemalloc.start()
    for number in range(500):
        store.add(entry(f"{number}".ljust(20_000, ".")))
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert store.evictions
    assert taken < 1.2 * store.capacity


def test_a_set_that_many_hold_is_counted_once_and_stands_there_once():
    store, each, the_set = store_of(100), OVERHEAD + 304, 7 * PER_TAG
    lender = entry("lent", lent=followed(7))
    pages = [entry(f"{number:04}", watched=followed(7)) for number in range(3)]
    for one in (lender, *pages):
        assert store.add(one)
    assert store.bytes == 4 * each + the_set
    assert all(page.watched is lender.value for page in pages)
    again = entry("lent", lent=followed(7))
    store.add(again)  # in the place of the first
    assert store.bytes == 4 * each + the_set
    assert again.value is lender.value
    check_books(store)
    store.clear()
    assert store.bytes == 0


def test_a_set_of_tags_counts_when_it_is_asked_whether_an_entry_is_too_large():
    store = store_of(100)
    most = int(store.capacity / 4 / PER_TAG)
    assert not store.add(entry("0001", watched=followed(most)))
    assert store.add(entry("0001", watched=followed(most // 2)))
    assert store.add(entry("0002", watched=followed(most // 2)))
    assert store.bytes < store.capacity / 4


def followed(tags: int, whose: int = 0) -> frozenset[str]:
    return frozenset({f"posts:{whose:018x}{tag:018x}" for tag in range(tags)})


@pytest.mark.parametrize("tags", [10, 100, 1_000])
def test_the_bytes_that_are_counted_for_feeds_are_the_bytes_that_are_taken(tags: int):
    store = store_of(1_000_000)
    gc.collect()
    tracemalloc.start()
    for number in range(20_000 // tags):
        lent = followed(tags, number)
        strategy, own = KIND, frozenset({f"follows:{number:036x}"})
        common = {"checked": 1, "counts": COUNTS, "created": float(number), "lifetime": 600.0}
        store.add(Entry(f"followed {number:032x}", lent, 0, strategy, SEEN, own, lent=lent, **common))
        for page in range(3):
            value, key = bytes(1_000), f"{number:032x} /feed/{number:036x}?{page}"
            names = frozenset({f"post:{number:018x}{post:018x}" for post in range(20)})
            watched = followed(tags, number) if page else lent
            store.add(Entry(key, value, 1_000, strategy, SEEN, names, watched=watched, **common))
    del lent, value, key, names, watched, common, own
    gc.collect()
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken == pytest.approx(store.bytes, rel=0.2)


@pytest.mark.parametrize("tags", [0, 1, 4, 12])
def test_the_bytes_that_are_counted_are_the_bytes_that_are_taken(tags: int):
    store = store_of(1_000_000)
    gc.collect()
    tracemalloc.start()
    for number in range(3_000):
        names = tuple(f"profile:{number:032x}-{tag}" for tag in range(tags))
        key = f"- /profile/{number:032x}?"
        value = bytes(1_000)
        kept = Entry(key, value, 1_000, KIND, SEEN, frozenset(names), counts=COUNTS, created=float(number), lifetime=600.0)
        store.add(kept)
    del names, key, value, kept
    gc.collect()
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken == pytest.approx(store.bytes, rel=0.2)


SEEN = Snapshot(100, 100)
COUNTS = Counts()


class Books(RuleBasedStateMachine):
    """Whatever is done to a store in whatever order, its books are right."""

    @initialize(room=st.integers(3, 30))
    def begin(self, room: int) -> None:
        self.store = store_of(room)
        self.xid = 200

    @rule(
        key=st.integers(0, 40),
        size=st.integers(0, 3_000),
        tags=st.sets(st.sampled_from("abc")),
        watched=st.none() | st.frozensets(st.sampled_from(["posts:x", "posts:y"])),
        lent=st.none() | st.frozensets(st.sampled_from(["posts:x", "posts:y"])),
    )
    def add(self, key: int, size: int, tags: set[str], watched: frozenset[str] | None, lent: frozenset[str] | None) -> None:
        new = entry(f"{key:04}", size, tuple(tags), watched=watched, lent=lent, xid=self.xid)
        new.checked = self.store.ledger.position
        added = self.store.add(new)
        assert added == (self.store.find(new.key) is new)

    @rule(key=st.integers(0, 40))
    def find(self, key: int) -> None:
        self.store.find(f"{key:04}")

    @rule(tag=st.sampled_from(["a", "b", "c", "posts:x", EVERYTHING]))
    def invalidate(self, tag: str) -> None:
        self.xid += 1
        self.store.invalidate(tag, self.xid)
        self.xid += 1
        assert not [kept for kept in self.store if tag in kept.tags]

    @rule(key=st.integers(0, 40), more=st.integers(0, 4_000))
    def grow(self, key: int, more: int) -> None:
        kept = self.store.find(f"{key:04}")
        if kept is not None:
            self.store.grown(kept, more)

    @rule()
    def clear(self) -> None:
        self.store.clear()

    @invariant()
    def books_are_right(self) -> None:
        if hasattr(self, "store"):
            check_books(self.store)


TestBooks = Books.TestCase
TestBooks.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
