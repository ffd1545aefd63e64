"""Processes that share a Redis never show each other what has been replaced: a real PostgreSQL, real looks at its outbox."""

import asyncio
import itertools
import time
from collections import defaultdict
from collections.abc import AsyncIterator

import pytest

from testbed.second_level import until
from testbed.sharing import RAISE, Process, running_process, with_counters
from testbed.valkey import Valkey, running_valkey
from townsquare.cache.contact import TRUST_SECONDS
from townsquare.kit.outbox import NewEvent, insert_events
from townsquare.kit.postgres import EmbeddedPostgres

COUNTERS = [f"counter{number}" for number in range(20)]
SLACK = 0.5
"""For a busy machine, between the moment that a value was decided on and the moment that the clock is read."""
_unused = itertools.count()


@pytest.fixture(scope="module")
async def dsn(postgres: EmbeddedPostgres) -> str:
    return await with_counters(postgres, *COUNTERS, *(f"own{number}" for number in range(20)))


@pytest.fixture
def name() -> str:
    """A counter that no other test touches."""
    return f"own{next(_unused)}"


@pytest.fixture
async def valkey(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Valkey]:
    async with running_valkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


async def shared_by(process: Process, name: str) -> None:
    """Have the process read, and wait until what it read stands in Redis."""
    puts = process.level.counts.puts
    await process.read(name)
    await until(lambda: process.level.counts.puts > puts)


async def seen(xid: int, process: Process) -> None:
    """Wait until the process has looked behind a transaction's end."""
    await until(lambda: process.cache.snapshot.sees(xid))


async def from_redis(process: Process, name: str) -> tuple[int, str]:
    """Read what may be in Redis as a process that does not have it; until Redis itself was no reason for a miss."""
    while True:
        gets, late = process.level.counts.gets, process.level.counts.late
        value, outcome = await process.read(name)
        if process.level.counts.gets > gets and process.level.counts.late == late:
            return value, outcome.result
        process.cache.clear()
        await asyncio.sleep(0.01)


async def test_what_one_process_has_worked_out_another_need_not(dsn: str, valkey: Valkey, name: str) -> None:
    async with running_process(dsn, valkey.url) as one:
        _, xid = await one.raise_by_one(name)
        await seen(xid, one)
        await shared_by(one, name)
        async with running_process(dsn, valkey.url) as other:
            assert await from_redis(other, name) == (1, "hit_shared")


async def test_where_nothing_was_written_for_hours_a_new_process_takes_it_from_redis_too(
    dsn: str, valkey: Valkey, name: str
) -> None:
    async with running_process(dsn, valkey.url) as one:
        _, xid = await one.raise_by_one(name)
        await one.database.execute("UPDATE outbox SET created_at = created_at - interval '3 hours'")
        await seen(xid, one)
        await shared_by(one, name)
        await one.database.execute("SELECT pg_current_xact_id()")  # as transactions of other databases do
        async with running_process(dsn, valkey.url) as newcomer:
            assert await from_redis(newcomer, name) == (1, "hit_shared")


async def test_after_a_write_nobody_takes_the_old_value_from_redis(dsn: str, valkey: Valkey, name: str) -> None:
    async with running_process(dsn, valkey.url) as writer, running_process(dsn, valkey.url) as reader:
        await shared_by(reader, name)
        _, xid = await writer.raise_by_one(name)
        assert await writer.value(name) == 1
        await seen(xid, reader)
        assert await reader.value(name) == 1
        async with running_process(dsn, valkey.url) as newcomer:
            assert await newcomer.value(name) == 1


async def test_a_slow_fill_that_is_shared_after_the_write_is_refused_by_all_others(
    dsn: str, valkey: Valkey, name: str
) -> None:
    async with running_process(dsn, valkey.url, follows=False) as slow, running_process(dsn, valkey.url) as writer:
        slow.may_answer.clear()
        reading = asyncio.create_task(slow.read(name))
        await slow.has_read.wait()
        await writer.raise_by_one(name)
        slow.may_answer.set()
        assert (await reading)[0] == 0
        await until(lambda: slow.level.counts.puts == 1)  # it does not know; the others do
        assert await from_redis(writer, name) == (1, "miss")
        async with running_process(dsn, valkey.url) as newcomer:
            assert (await from_redis(newcomer, name))[0] == 1


async def test_a_redis_that_was_restored_from_an_old_copy_brings_nothing_back(dsn: str, valkey: Valkey, name: str) -> None:
    async with running_process(dsn, valkey.url) as process:
        await shared_by(process, name)
        await valkey.ask("SAVE")
        _, xid = await process.raise_by_one(name)
        await seen(xid, process)
        await shared_by(process, name)
        valkey.kill()
        await valkey.start()
        process.cache.clear()
        assert await from_redis(process, name) == (1, "miss")
    async with running_process(dsn, valkey.url) as newcomer:
        assert (await from_redis(newcomer, name))[0] == 1


async def test_a_transaction_that_stays_open_costs_nothing_and_is_seen_when_it_ends(
    dsn: str, valkey: Valkey, name: str
) -> None:
    async with (
        running_process(dsn, valkey.url) as one,
        running_process(dsn, valkey.url) as other,
        other.database.connection() as connection,
    ):
        async with connection.transaction():
            await connection.fetchval(RAISE, name)
            xid = await insert_events(connection, [NewEvent("counter", name, (f"counter:{name}",), {})])
            await shared_by(one, name)
            assert await from_redis(other, name) == (0, "hit_shared")
        await seen(xid, other)
        assert await other.value(name) == 1


class Storm:
    """Writers and readers in several processes, and what everybody may expect to be shown."""

    def __init__(self, processes: list[Process]) -> None:
        self.processes = processes
        self.reads = 0
        self.shared = 0
        self.wrong: list[str] = []
        self._acknowledged: dict[str, list[tuple[float, int, Process]]] = defaultdict(list)
        self._stop = asyncio.Event()

    async def run(self, seconds: float, faults: AsyncIterator[None]) -> None:
        async with asyncio.TaskGroup() as group:
            for process in self.processes:
                group.create_task(self._write(process))
                for number in range(4):
                    group.create_task(self._read(process, number))
            async for _ in faults:
                await asyncio.sleep(seconds)
            self._stop.set()

    async def _write(self, process: Process) -> None:
        for name in itertools.cycle(COUNTERS):
            if self._stop.is_set():
                return
            value, _ = await process.raise_by_one(name)
            self._acknowledged[name].append((time.monotonic(), value, process))
            await asyncio.sleep(0.01)

    async def _read(self, process: Process, number: int) -> None:
        for name in itertools.cycle(COUNTERS[number:] + COUNTERS[:number]):
            if self._stop.is_set():
                return
            asked = time.monotonic()
            value, outcome = await process.read(name)
            self.reads += 1
            self.shared += outcome.result == "hit_shared"
            expected = max(
                (written for at, written, by in self._acknowledged[name] if self._must_be_seen(process, asked, at, by)),
                default=0,
            )
            if value < expected:
                self.wrong.append(f"{name}: {value} instead of {expected}, {outcome.result}")
            await asyncio.sleep(0)

    def _must_be_seen(self, process: Process, asked: float, acknowledged: float, by: Process) -> bool:
        return acknowledged <= asked - (0 if by is process else TRUST_SECONDS + SLACK)


async def test_in_a_storm_nobody_is_shown_what_was_replaced_long_ago_or_by_themselves(dsn: str, valkey: Valkey) -> None:
    async def faults() -> AsyncIterator[None]:
        yield
        await valkey.ask("SAVE")
        yield
        valkey.kill()
        yield
        await valkey.start()
        yield
        valkey.freeze()
        yield
        valkey.thaw()
        await valkey.ask("FLUSHALL")
        yield

    async with running_process(dsn, valkey.url) as one, running_process(dsn, valkey.url) as other:
        storm = Storm([one, other])
        await storm.run(0.5, faults())
    assert storm.wrong == []
    assert storm.reads > 100
    assert storm.shared > 0
