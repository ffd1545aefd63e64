"""Everything that can happen to Redis, done to a real one: nobody notices, and it is used again when it is back."""

import asyncio
import itertools
import shutil
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from testbed.proxy import running_proxy
from testbed.second_level import PATIENT, TextCodec, an_entry, running_level, until
from testbed.valkey import Valkey, free_port, running_valkey
from townsquare.cache.cache import Cache, Filled
from townsquare.cache.redis_level import PATIENCE, RedisLevel
from townsquare.cache.snapshots import Snapshot
from townsquare.cache.strategies import Strategy

PROFILE = Strategy("PROFILE", lifetime=60, grace=60)
DEADLINE = 0.15
"""Longer than in earnest: the machine may be busy with other tests."""
IN_TIME = (DEADLINE + PATIENCE) / 2
"""Half-way between the deadline and what it would take to wait for the call itself."""


class Reader:
    """A cache over a level, and those who ask it for what only its origin knows."""

    def __init__(self, level: RedisLevel) -> None:
        self.level = level
        self.cache = Cache(second=level)
        self.cache.begin(Snapshot(10, 10), 0)
        self.cache.looked(Snapshot(10, 10), [], float("inf"))
        self._keys = itertools.count()

    async def ask(self) -> None:
        """Ask for something new: the origin's answer comes, and the second level held it up no longer than it may."""

        async def fill() -> Filled:
            return Filled("from the origin", 15, frozenset({"tag"}))

        before = time.monotonic()
        outcome = await self.cache.fetch(f"new {next(self._keys)}", PROFILE, fill)
        assert outcome.value == "from the origin"
        assert time.monotonic() - before < IN_TIME

    async def is_left_alone(self) -> None:
        """Ask until the breaker is open; from then on nothing is sent any more."""
        for _ in range(20):
            await self.ask()
            if not self.level.breaker.closed:
                break
        assert not self.level.breaker.closed
        gets = self.level.counts.gets
        await asyncio.gather(*(self.ask() for _ in range(50)))
        assert self.level.counts.gets == gets

    async def shares(self) -> bool:
        """True when what is put is found again."""
        self.level.put(an_entry("shared"))
        return await self.level.get("shared") is not None


@asynccontextmanager
async def reading(url: str, name: str = "town", **options: Any) -> AsyncIterator[Reader]:
    async with running_level(url, name, **({"deadline": DEADLINE} | options)) as level:
        yield Reader(level)


@pytest.fixture
async def valkey(tmp_path: Path) -> AsyncIterator[Valkey]:
    async with running_valkey(tmp_path / "valkey") as server:
        yield server


@pytest.fixture
async def reader(valkey: Valkey) -> AsyncIterator[Reader]:
    """A reader that has reached its server."""
    async with reading(valkey.url) as running:
        await until(running.shares)
        yield running


@pytest.fixture
async def patient(valkey: Valkey) -> AsyncIterator[Reader]:
    """One that waits long, for where nothing is late."""
    async with reading(valkey.url, deadline=PATIENT) as running:
        await until(running.shares)
        yield running


async def test_absent_and_started_later(tmp_path: Path) -> None:
    server = Valkey(tmp_path)
    server.port = free_port()
    async with reading(server.url) as reader:
        await reader.is_left_alone()
        await server.start()
        try:
            await until(reader.shares)
        finally:
            server.kill()


async def test_a_name_that_nobody_has() -> None:
    async with reading("redis://nobody.invalid") as reader:
        await reader.is_left_alone()


@contextmanager
def nobody_accepts() -> Iterator[int]:
    """A port where a connection is neither made nor refused."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        waiting = [socket.socket() for _ in range(3)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        yield port
        for one in waiting:
            one.close()


async def test_a_connection_that_is_never_made() -> None:
    with nobody_accepts() as port:
        async with reading(f"redis://127.0.0.1:{port}") as reader:
            await reader.is_left_alone()


@pytest.mark.parametrize("said", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"", b"+OK\r\n", b"*2\r\n$5\r\n"], ids=repr)
async def test_something_else_listens_there(said: bytes) -> None:
    async def talk(stream: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await stream.read(100)
        writer.write(said)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server, reading(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}") as reader:
        await reader.is_left_alone()


async def test_killed_and_started_again(reader: Reader, valkey: Valkey) -> None:
    valkey.kill()
    await reader.is_left_alone()
    await valkey.start()
    await until(reader.shares)


async def test_started_again_between_two_requests(patient: Reader, valkey: Valkey) -> None:
    valkey.kill()
    await valkey.start()
    await patient.ask()
    assert patient.level.breaker.closed
    await until(patient.shares)


async def test_frozen_and_thawed(reader: Reader, valkey: Valkey) -> None:
    valkey.freeze()
    await reader.is_left_alone()
    valkey.thaw()
    await until(reader.shares)


async def test_frozen_while_a_crowd_asks(reader: Reader, valkey: Valkey) -> None:
    valkey.freeze()
    before = time.monotonic()
    found = await asyncio.gather(*(reader.level.get(f"profile {number}") for number in range(500)))
    assert set(found) == {None}
    assert time.monotonic() - before < IN_TIME
    await until(lambda: not reader.level.breaker.closed)
    valkey.thaw()
    await until(reader.shares)


async def test_slow_and_quick_again(valkey: Valkey) -> None:
    async with running_proxy(valkey.port) as proxy, reading(f"redis://127.0.0.1:{proxy.port}") as reader:
        await until(reader.shares)
        proxy.delay = 0.1  # in each direction
        await reader.is_left_alone()
        proxy.delay = 0
        await until(reader.shares)


async def test_connections_cut_in_the_middle(valkey: Valkey) -> None:
    async with running_proxy(valkey.port) as proxy, reading(f"redis://127.0.0.1:{proxy.port}") as reader:
        await until(reader.shares)
        for _ in range(5):
            proxy.delay = 0.02
            asking = [asyncio.create_task(reader.ask()) for _ in range(20)]
            await asyncio.sleep(0)
            await proxy.end()
            await asyncio.gather(*asking)
        proxy.delay = 0
        await until(reader.shares)


async def test_full_it_still_answers_and_takes_again_when_there_is_room(patient: Reader, valkey: Valkey) -> None:
    await valkey.set_option("maxmemory-policy", "noeviction")
    await valkey.set_option("maxmemory", "1")
    lost = patient.level.counts.lost
    await patient.ask()
    await until(lambda: patient.level.counts.lost > lost)
    await until(lambda: patient.level.get("shared"))
    assert patient.level.breaker.closed
    await valkey.set_option("maxmemory", "0")
    puts = patient.level.counts.puts
    await patient.ask()
    await until(lambda: patient.level.counts.puts > puts)


async def test_flushed(patient: Reader, valkey: Valkey) -> None:
    await valkey.ask("FLUSHALL")
    assert await patient.level.get("shared") is None
    await patient.ask()
    await until(patient.shares)
    assert patient.level.breaker.openings == 0


async def test_restored_from_an_old_copy_what_it_returns_says_how_old_it_is(reader: Reader, valkey: Valkey) -> None:
    level = reader.level
    level.put(an_entry("profile", "Ada Byron", snapshot=Snapshot(100, 100)))
    await until(lambda: level.get("profile"))
    await valkey.ask("SAVE")
    level.put(an_entry("profile", "Ada Lovelace", snapshot=Snapshot(200, 200)))
    await until(lambda: stands(level, "profile", "Ada Lovelace"))
    valkey.kill()
    await valkey.start()
    await until(lambda: level.get("profile"))
    shared = await level.get("profile")
    assert shared is not None
    assert (shared.value, shared.snapshot) == ("Ada Byron", Snapshot(100, 100))


async def stands(level: RedisLevel, key: str, value: str) -> bool:
    shared = await level.get(key)
    return shared is not None and shared.value == value


async def test_replaced_by_another_ones_data(reader: Reader, valkey: Valkey, tmp_path: Path) -> None:
    async with running_valkey(tmp_path / "other") as other:
        async with reading(other.url, "village") as villagers:
            await until(villagers.shares)
        await other.ask("SET", "town:profile", "something of somebody else's", "PX", 60_000)
        await other.ask("SAVE")
    valkey.kill()
    shutil.copy(tmp_path / "other" / "dump.rdb", valkey.folder / "dump.rdb")
    await valkey.start()
    await until(lambda: refused(reader.level, "profile"))
    assert await reader.level.get("shared") is None
    await reader.ask()
    await until(reader.shares)


async def refused(level: RedisLevel, key: str) -> bool:
    assert await level.get(key) is None
    return level.counts.refused > 0


@pytest.mark.parametrize(
    ("login", "cure"),
    [("", "default nopass"), (":wr0ng@", "default >wr0ng"), ("nobody:s3cret@", "nobody on >s3cret ~* +@all")],
)
async def test_the_wrong_password_until_it_is_the_right_one(valkey: Valkey, login: str, cure: str) -> None:
    await valkey.set_option("requirepass", "s3cret")
    valkey.password = "s3cret"
    told: list[str] = []
    async with reading(f"redis://{login}127.0.0.1:{valkey.port}", given_up=told.append) as reader:
        await reader.is_left_alone()
        assert told == ["AuthenticationError"]
        await valkey.ask("ACL", "SETUSER", *cure.split())
        await until(reader.shares)


async def test_a_password_that_changes_while_it_runs(reader: Reader, valkey: Valkey) -> None:
    await valkey.set_option("requirepass", "s3cret")
    valkey.password = "s3cret"
    await valkey.ask("CLIENT", "KILL", "TYPE", "normal")
    await reader.is_left_alone()
    await valkey.ask("ACL", "SETUSER", "default", "nopass")
    await until(reader.shares)


async def test_whoever_wants_is_told_that_it_is_gone_and_back(valkey: Valkey) -> None:
    told: list[str] = []
    async with reading(valkey.url, given_up=told.append, regained=lambda: told.append("back")) as reader:
        await until(reader.shares)
        valkey.freeze()
        await reader.is_left_alone()
        valkey.thaw()
        await until(reader.shares)
    assert told == ["TimeoutError", "back"]


async def test_readiness_is_told_how_it_is_away(reader: Reader, valkey: Valkey) -> None:
    await reader.level.ping()
    valkey.freeze()
    with pytest.raises(TimeoutError):
        await reader.level.ping()
    valkey.kill()
    with pytest.raises(ConnectionError):
        await reader.level.ping()


async def test_closing_does_not_wait_for_what_is_frozen(valkey: Valkey) -> None:
    level = RedisLevel(valkey.url, TextCodec())
    level.rename("town")
    level.put(an_entry())
    await level.get("profile")
    valkey.freeze()
    for number in range(100):
        level.put(an_entry(f"profile {number}"))
    asking = [asyncio.create_task(level.get(f"profile {number}")) for number in range(200)]
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await level.close()
    assert set(await asyncio.gather(*asking)) == {None}
    await asyncio.sleep(2 * DEADLINE)
    assert [task for task in asyncio.all_tasks() if task.get_name().startswith("cache")] == []
