"""The front itself: what leads to an entry ends with all that it rests on, and never fills the memory."""

import time
import tracemalloc

import pytest

from townsquare.cache.cache import Cache, Change
from townsquare.cache.entries import Entry
from townsquare.cache.http import front as front_module
from townsquare.cache.http.front import (
    ALIAS_OVERHEAD,
    MAX_ASKED_BYTES,
    MAX_REQUEST_BYTES,
    MEMO_OVERHEAD,
    Alias,
    Asked,
    Front,
)
from townsquare.cache.http.responses import CODING_OVERHEAD, StoredResponse
from townsquare.cache.snapshots import Snapshot
from townsquare.cache.strategies import Strategy

KEPT = Strategy("KEPT", lifetime=600, grace=60, jitter=0)
REQUEST = b"GET /x HTTP/1.1\r\n\r\n"


class Clock:
    """A monotonic clock that stands still."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class World:
    """A cache and its front, with time in hand."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.cache = Cache(watched=["posts"], clock=self.clock)
        self.cache.begin(Snapshot(100, 100), 1)
        self.trust()
        self.front = Front(headers=[(b"x-front", b"yes")], clock=self.clock)
        self.second = object()

    def trust(self) -> None:
        self.cache.looked(Snapshot(100, 100), [], float("inf"))

    def entry(self, key: str, *tags: str, watched: frozenset[str] | None = None, body: bytes = b"body") -> Entry:
        entry = Entry(
            key,
            StoredResponse([(b"content-type", b"text/plain")], b'"tag"', body),
            len(body),
            KEPT,
            self.cache.snapshot,
            frozenset(tags),
            watched=watched,
            checked=self.cache.ledger.position,
            counts=self.cache.statistics.of("KEPT"),
            created=self.clock.now,
            lifetime=KEPT.lifetime,
        )
        assert self.cache.store.add(entry)
        return entry

    def alias(self, entry: Entry, until: float = float("inf")) -> Alias:
        return Alias(
            self.cache, entry, "identity", until=until, who=None, counted=[0.0], counted_unchanged=[0.0]
        )  # fmt: skip

    def learn(self, asked: Asked, entry: Entry, *ends_with: Entry, until: float = float("inf")) -> Alias:
        alias = self.alias(entry, until)
        self.front.learn(asked, alias, ends_with)
        return alias

    def remember(self, request: bytes, alias: Alias) -> None:
        for _ in range(2):
            self.front.remember(request, alias, unchanged=False, named="")

    def answer(self, alias: Alias, *, unchanged: bool = False) -> bytes | None:
        return self.front.answer(alias, self.second, "", unchanged=unchanged)


@pytest.fixture
def world() -> World:
    return World()


ASKED = Asked(b"/x")


def test_a_coding_that_is_made_for_an_answer_counts_in_the_bound_of_bytes(world: World) -> None:
    entry = world.entry("k", body=bytes(range(256)) * 100)
    before, size = world.cache.store.bytes, entry.size
    for coding in ("gzip", "br"):
        made = Alias(world.cache, entry, coding, until=float("inf"), who=None, counted=[0.0], counted_unchanged=[0.0])
        for _ in range(2):
            assert world.answer(made)
    assert isinstance(entry.value, StoredResponse)
    grown = len(entry.value.body("gzip")) + len(entry.value.body("br")) + 2 * CODING_OVERHEAD
    assert world.cache.store.bytes == before + grown
    assert entry.size == size + grown


def test_an_answer_is_whole_http(world: World) -> None:
    alias = world.learn(ASKED, world.entry("k"))
    head, _, body = (world.answer(alias) or b"").partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    assert first == b"HTTP/1.1 200 OK"
    headers = dict(line.split(b": ", 1) for line in lines)
    assert len(headers) == len(lines)
    assert headers.pop(b"date").endswith(b"GMT")
    assert headers == {
        b"content-type": b"text/plain",
        b"etag": b'"tag"',
        b"x-front": b"yes",
        b"content-length": b"4",
        b"cache-status": b"townsquare; hit; ttl=600; detail=l1",
    }
    assert body == b"body"


def test_the_remaining_lifetime_is_that_of_the_second(world: World) -> None:
    alias = world.learn(ASKED, world.entry("k"))
    assert b"ttl=600;" in (world.answer(alias) or b"")
    world.clock.now += 10
    assert b"ttl=600;" in (world.answer(alias) or b"")
    world.second = object()
    assert b"ttl=590;" in (world.answer(alias) or b"")
    assert b"ttl=590;" in (world.answer(alias, unchanged=True) or b"")


@pytest.mark.parametrize("by", ["change", "clearing", "replacement", "new beginning"])
def test_an_alias_and_its_memos_end_with_the_entry(world: World, by: str) -> None:
    alias = world.learn(ASKED, world.entry("k", "tag"))
    world.remember(REQUEST, alias)
    assert world.front.recall(REQUEST) is not None
    match by:
        case "change":
            world.cache.changed(Change(100, ["tag"]))
        case "clearing":
            world.cache.clear()
        case "replacement":
            world.entry("k", "tag")
        case _:
            world.cache.begin(Snapshot(1, 1), 1)
    assert world.front.find(ASKED) is None
    assert world.front.recall(REQUEST) is None
    assert world.answer(alias) is None


def test_an_alias_ends_with_whatever_else_led_to_it(world: World) -> None:
    standing = world.entry("standing", "blocks:me")
    alias = world.learn(ASKED, world.entry("k"), standing)
    world.remember(REQUEST, alias)
    world.cache.changed(Change(100, ["blocks:me"]))
    assert world.front.find(ASKED) is None
    assert world.front.recall(REQUEST) is None


@pytest.mark.parametrize("gone", ["entry", "standing"])
def test_what_has_changed_while_the_answer_was_made_is_not_learned(world: World, gone: str) -> None:
    entry, standing = world.entry("k", "entry"), world.entry("s", "standing")
    world.cache.changed(Change(100, [gone]))
    world.learn(ASKED, entry, standing)
    assert world.front.find(ASKED) is None


def test_an_alias_ends_with_the_token(world: World) -> None:
    alias = world.learn(ASKED, world.entry("k"), until=world.clock.now + 5)
    assert world.answer(alias) is not None
    world.clock.now += 5
    assert world.answer(alias) is None
    world.learn(ASKED, alias.entry, until=world.clock.now)
    assert world.answer(world.front.find(ASKED) or alias) is None


def test_near_its_end_an_entry_is_looked_at_by_who_can_refresh_it(world: World) -> None:
    alias = world.learn(ASKED, world.entry("k"))
    world.clock.now += KEPT.lifetime * KEPT.eager
    assert world.answer(alias) is None


def test_out_of_contact_nothing_is_answered_and_nothing_is_lost(world: World) -> None:
    alias = world.learn(ASKED, world.entry("k"))
    world.cache.distrust()
    assert world.answer(alias) is None
    world.trust()
    assert world.answer(alias) is not None


def test_what_watches_too_much_for_an_index_is_checked_at_each_hit(world: World) -> None:
    alias = world.learn(ASKED, world.entry("feed", watched=frozenset({"posts:1"})))
    world.cache.changed(Change(100, ["posts:2"]))
    assert world.answer(alias) is not None
    world.cache.changed(Change(100, ["posts:1"]))
    assert world.answer(alias) is None
    assert world.front.find(ASKED) is None


def test_a_hit_counts_for_what_is_thrown_out_first(world: World) -> None:
    entry = world.entry("k")
    alias = world.learn(ASKED, entry)
    for _ in range(5):
        world.answer(alias)
    assert entry.hits == 3
    assert world.cache.statistics.of("KEPT").hit == 5


def test_a_request_is_remembered_at_its_second_sight(world: World) -> None:
    alias = world.learn(ASKED, world.entry("k"))
    world.front.remember(REQUEST, alias, unchanged=False, named="")
    assert world.front.recall(REQUEST) is None
    world.front.remember(REQUEST, alias, unchanged=True, named="1.2.3.4")
    assert world.front.recall(REQUEST) == (alias, True, "1.2.3.4")


def test_what_is_large_is_not_remembered(world: World) -> None:
    entry = world.entry("k")
    world.learn(Asked(b"/x", cookie=b"c" * MAX_ASKED_BYTES), entry)
    alias = world.learn(ASKED, entry)
    world.remember(b"x" * MAX_REQUEST_BYTES, alias)
    assert world.front.find(Asked(b"/x", cookie=b"c" * MAX_ASKED_BYTES)) is None
    assert world.front.recall(b"x" * MAX_REQUEST_BYTES) is None


def test_who_varies_a_cookie_at_will_fills_no_memory(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front_module, "MAX_ALIAS_BYTES", 100 * (ALIAS_OVERHEAD + 10))
    entry = world.entry("k")
    aliases = [world.learn(Asked(b"/x", cookie=b"%06d" % number), entry) for number in range(1_000)]
    found = [
        alias for number, alias in enumerate(aliases) if world.front.find(Asked(b"/x", cookie=b"%06d" % number)) is alias
    ]
    assert found == aliases[-len(found) :]
    assert 90 <= len(found) <= 100
    assert len(entry.on_removal) == 1
    assert world.answer(aliases[0]) is None


def test_memos_are_bounded_and_begin_anew(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front_module, "MAX_MEMO_BYTES", 100 * (MEMO_OVERHEAD + 6))
    alias = world.learn(ASKED, world.entry("k", "tag"))
    requests = [b"%06d" % number for number in range(250)]
    for request in requests:
        world.remember(request, alias)
    kept = [request for request in requests if world.front.recall(request) is not None]
    assert kept == requests[-len(kept) :]
    assert 1 <= len(kept) <= 100
    assert alias.memos == kept
    world.cache.changed(Change(100, ["tag"]))
    assert [request for request in requests if world.front.recall(request) is not None] == []


def test_the_overheads_are_no_less_than_what_is_used(world: World) -> None:
    count = 2_000
    entries = [world.entry(f"k{number}") for number in range(count)]
    tracemalloc.start()
    try:
        aliases = [world.learn(Asked(b"/%06d" % n), entry) for n, entry in enumerate(entries)]
        for alias in aliases:
            world.answer(alias)
        world.second = object()
        world.answer(aliases[0])  # another second: copies of the one before are gone
        learned = tracemalloc.get_traced_memory()[0] / count
        for n, alias in enumerate(aliases):
            world.remember(b"GET /%06d" % n, alias)
        remembered = tracemalloc.get_traced_memory()[0] / count - learned
    finally:
        tracemalloc.stop()
    assert learned <= ALIAS_OVERHEAD
    assert remembered <= MEMO_OVERHEAD + 60  # the requests themselves


def test_the_date_is_read_once_a_second(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 0.0)
    alias = world.learn(ASKED, world.entry("k"))
    assert b"date: Thu, 01 Jan 1970 00:00:00 GMT\r\n" in (world.answer(alias) or b"")
    monkeypatch.setattr(time, "time", lambda: 60.0)
    assert b"00:00:00 GMT" in (world.answer(alias) or b"")
    world.second = object()
    assert b"date: Thu, 01 Jan 1970 00:01:00 GMT\r\n" in (world.answer(alias) or b"")
