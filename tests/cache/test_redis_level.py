"""The second level on a healthy Valkey."""

import asyncio
import time
from collections.abc import AsyncIterator

import msgspec
import pytest

from testbed.second_level import NAMES, TextCodec, an_entry, running_level, until, written
from testbed.valkey import Valkey, running_valkey
from townsquare.cache.http.codec import ResponseCodec
from townsquare.cache.http.responses import StoredResponse
from townsquare.cache.parcels import MAX_VALUE, pack, unpack
from townsquare.cache.redis_level import MAX_WAITING, RedisLevel
from townsquare.cache.snapshots import Snapshot


@pytest.fixture(scope="module")
async def valkey(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Valkey]:
    async with running_valkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture
async def level(valkey: Valkey) -> AsyncIterator[RedisLevel]:
    async with running_level(valkey.url) as running:
        yield running


async def test_an_entry_comes_back_with_all_that_is_needed_to_doubt_it(level: RedisLevel) -> None:
    snapshot = Snapshot(100, 120, frozenset({101, 117}))
    await written(
        level, an_entry("feed", "posts", tags=["follows:ada"], watched=["posts:bob", "posts:cem"], snapshot=snapshot)
    )
    shared = await level.get("feed")
    assert shared is not None
    assert (shared.value, shared.size, shared.snapshot) == ("posts", 5, snapshot)
    assert (shared.tags, shared.watched) == ({"follows:ada"}, {"posts:bob", "posts:cem"})


async def test_another_process_finds_it_from_its_first_request_on(level: RedisLevel, valkey: Valkey) -> None:
    name = f"town{next(NAMES)}"
    level.rename(name)
    await written(level, an_entry())
    async with running_level(valkey.url, name) as later:
        shared = await later.get("profile")
    assert shared is not None
    assert shared.value == "Ada"


async def test_the_time_that_is_left_is_the_entrys_own(level: RedisLevel, valkey: Valkey) -> None:
    await written(level, an_entry("old", lifetime=60, created=time.monotonic() - 50), an_entry("young", lifetime=60))
    old, young = await asyncio.gather(level.get("old"), level.get("young"))
    assert old is not None
    assert young is not None
    assert old.fresh_for <= 10
    assert 10 < young.fresh_for <= 60


async def test_what_has_outlived_its_lifetime_is_not_written_and_goes_by_itself(level: RedisLevel) -> None:
    await written(level, an_entry("brief", lifetime=0.5))
    level.put(an_entry("over", lifetime=60, created=time.monotonic() - 61))
    await until(lambda: gone(level, "brief"))
    assert await level.get("over") is None


async def gone(level: RedisLevel, key: str) -> bool:
    return await level.get(key) is None


async def test_the_last_one_that_was_put_stands(level: RedisLevel) -> None:
    await written(level, *(an_entry("profile", value) for value in ("Ada", "Ada L.", "Ada Lovelace")))
    shared = await level.get("profile")
    assert shared is not None
    assert shared.value == "Ada Lovelace"


async def test_a_restored_source_has_another_name_and_finds_nothing_of_the_former(level: RedisLevel) -> None:
    level.rename("town:71:1")
    await written(level, an_entry())
    level.rename("town:71:2")
    assert await level.get("profile") is None


async def test_before_it_has_a_name_nothing_is_read_or_written(valkey: Valkey) -> None:
    async with running_level(valkey.url, "") as level:
        level.put(an_entry())
        assert await level.get("profile") is None
        assert (level.counts.gets, level.counts.lost) == (0, 1)


@pytest.mark.parametrize("key", ["", "a b\r\nGET c", "\x00", "ä/ö?q=😀", "\udcff", "k" * 5000], ids=repr)
async def test_any_text_is_a_key(level: RedisLevel, key: str) -> None:
    await written(level, an_entry(key, "there"), an_entry(key + "x", "elsewhere"))
    shared = await level.get(key)
    assert shared is not None
    assert shared.value == "there"


async def test_a_thousand_at_once_are_answered_on_a_few_connections(level: RedisLevel, valkey: Valkey) -> None:
    entries = [an_entry(f"profile {number}", f"person {number}") for number in range(1000)]
    await written(level, *entries)
    found = await asyncio.gather(*(level.get(entry.key) for entry in entries))
    assert [shared and shared.value for shared in found] == [entry.value for entry in entries]
    assert (await valkey.ask("INFO", "clients"))["connected_clients"] < 20


async def test_more_than_can_wait_to_be_written_is_dropped_and_counted(level: RedisLevel) -> None:
    for number in range(MAX_WAITING + 10):
        level.put(an_entry(f"profile {number}"))
    assert level.counts.lost == 10
    await until(lambda: level.counts.puts == MAX_WAITING)


async def test_what_waits_is_bounded_in_bytes_too(level: RedisLevel) -> None:
    for number in range(30):
        level.put(an_entry(f"feed {number}", "x" * (MAX_VALUE - 2000)))
    assert level.counts.lost > 0
    await until(lambda: level.counts.puts + level.counts.lost == 30)
    lost = level.counts.lost
    level.put(an_entry("afterwards"))
    await until(lambda: level.counts.puts + level.counts.lost == 31)
    assert level.counts.lost == lost


async def test_what_is_too_large_stays_in_its_process(level: RedisLevel) -> None:
    level.put(an_entry("large", "x" * MAX_VALUE))
    await written(level, an_entry("small"))
    assert await level.get("large") is None


async def test_a_value_that_cannot_be_written_takes_no_other_with_it_for_good(level: RedisLevel) -> None:
    entry = an_entry("wrong")
    entry.value = object()
    level.put(entry)
    await until(lambda: level.counts.lost == 1)
    await written(level, an_entry("right"))
    assert level.breaker.closed


async def test_closing_writes_what_waits(valkey: Valkey) -> None:
    async with running_level(valkey.url, name := f"town{next(NAMES)}") as level:
        level.put(an_entry())
    async with running_level(valkey.url, name) as later:
        assert await later.get("profile") is not None


async def test_a_closed_level_answers_nothing_and_raises_nothing(valkey: Valkey) -> None:
    async with running_level(valkey.url) as level:
        await written(level, an_entry())
    level.put(an_entry())
    assert await level.get("profile") is None


async def test_readiness_can_ask(level: RedisLevel) -> None:
    await level.ping()


async def test_what_happens_is_counted(level: RedisLevel) -> None:
    await written(level, an_entry("there"))
    await level.get("there")
    await level.get("nowhere")
    counts = level.counts
    assert (counts.gets, counts.hits, counts.puts, counts.lost, counts.errors) == (2, 1, 1, 0, 0)


# --- what is found and is none of ours -------------------------------------------------------------------------------

WRONG = [
    b"", b"somebody else's", b"\x00" * 100, b"\xff" * 100, msgspec.msgpack.encode({"a": 1}), msgspec.msgpack.encode([]),
    msgspec.msgpack.encode([1, b"another key", "1:1:", [], None, b"x"]),
]  # fmt: skip


@pytest.mark.parametrize("data", WRONG, ids=repr)
async def test_what_is_no_entry_of_this_key_is_a_miss(level: RedisLevel, valkey: Valkey, data: bytes) -> None:
    await valkey.ask("SET", f"{level._name}:profile", data, "PX", 60_000)
    assert await level.get("profile") is None
    assert level.counts.refused == 1
    assert level.breaker.closed


async def test_an_entry_that_was_moved_to_another_key_is_a_miss(level: RedisLevel, valkey: Valkey) -> None:
    await written(level, an_entry("feed of ada"))
    await valkey.ask("COPY", f"{level._name}:feed of ada", f"{level._name}:feed of bob")
    assert await level.get("feed of bob") is None
    assert await level.get("feed of ada") is not None


async def test_an_entry_without_an_end_is_a_miss(level: RedisLevel, valkey: Valkey) -> None:
    await written(level, an_entry())
    await valkey.ask("PERSIST", f"{level._name}:profile")
    assert await level.get("profile") is None


async def test_another_kind_of_thing_under_the_key_is_a_miss(level: RedisLevel, valkey: Valkey) -> None:
    await valkey.ask("RPUSH", f"{level._name}:profile", "a", "b")
    assert await level.get("profile") is None


def parcel_of(key: bytes) -> bytes:
    parcel = pack(key, an_entry(), TextCodec(), time.monotonic())
    assert parcel is not None
    return parcel.data


def test_a_parcel_that_lost_or_changed_bytes_is_nothing_or_still_names_its_key() -> None:
    data = parcel_of(b"key")
    assert unpack(b"key", data, 1000, TextCodec()) is not None
    for length in range(len(data)):
        assert unpack(b"key", data[:length], 1000, TextCodec()) is None
    for place in range(len(data)):
        for byte in (0x00, 0x7F, 0xC1, 0xFF):
            unpack(b"key", data[:place] + bytes([byte]) + data[place + 1 :], 1000, TextCodec())  # must not raise


@pytest.mark.parametrize("left", [0, -1, -2, None, b"5"])
def test_a_parcel_needs_an_end(left: object) -> None:
    assert unpack(b"key", parcel_of(b"key"), left, TextCodec()) is None


# --- answers ---------------------------------------------------------------------------------------------------------


def test_an_answer_comes_back_as_it_was() -> None:
    codec = ResponseCodec()
    answer = StoredResponse([(b"content-type", b"application/json")], b'"a1"', b'{"name":"Ada"}')
    answer.make("br")
    back = codec.decode(codec.encode(answer))
    assert (back.headers, back.etag, back.plain) == (answer.headers, answer.etag, answer.plain)
    assert back.make("gzip") == answer.make("gzip")
    assert back.body("gzip") == answer.body("gzip")


@pytest.mark.parametrize("data", WRONG, ids=repr)
def test_what_was_never_an_answer_is_an_error_that_is_expected(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        ResponseCodec().decode(data)
