"""What befalls the caches of a running platform, while its witnesses write and read."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import cycle
from typing import Final

import aiohttp
import asyncpg
import psutil
from redis.asyncio import Redis

from testbed.platforms import Platform, frozen, until
from testbed.proxy import Proxy
from testbed.town import Person
from testbed.valkey import Valkey
from testbed.witnesses import KINDS, Lane, Witnesses, lane_to, only, workers_of
from townsquare.kit.readers import SEEN

DATABASES: Final = ("users", "content")
FEW: Final = 4
MANY: Final = 20
FROZEN_SECONDS: Final = 3.0
"""Longer than a look gives trust (1 s), than a look may take (2 s) and than any pause between looks. What is frozen for
longer has nothing more that could run out: everything else only makes an entry end sooner."""

# Those that wait for notifications, and those that look: asyncpg prepares nothing for LISTEN, so it stands as it is.
LISTENERS: Final = "query ILIKE 'LISTEN%'"
FOLLOWERS: Final = "application_name LIKE '%-follower'"


@dataclass
class Stage:
    """The platform and what can be done to its Redis."""

    platform: Platform
    valkey: Valkey
    proxy: Proxy


Strike = Callable[[Stage, Witnesses], Awaitable[None]]


# --- Redis ---------------------------------------------------------------------------------------------------------


async def nothing(stage: Stage, witnesses: Witnesses) -> None:
    """All is well."""
    async with witnesses.at_work():
        await witnesses.go_on(2 * MANY)


async def redis_absent(stage: Stage, witnesses: Witnesses) -> None:
    """It is not there when the load begins."""
    stage.valkey.kill()
    async with witnesses.at_work():
        await witnesses.go_on(MANY)
    await stage.valkey.start()


async def redis_killed(stage: Stage, witnesses: Witnesses) -> None:
    """It dies, and comes back empty."""
    async with witnesses.at_work():
        await witnesses.go_on(MANY)
        stage.valkey.kill()
        await witnesses.go_on(MANY)
        await stage.valkey.start()
        await witnesses.go_on(MANY)


async def redis_frozen(stage: Stage, witnesses: Witnesses) -> None:
    """It takes connections and questions, and says nothing; then it answers them all."""
    async with witnesses.at_work():
        await witnesses.go_on(FEW)
        stage.valkey.freeze()
        try:
            await witnesses.go_on(MANY)
        finally:
            stage.valkey.thaw()
        await witnesses.go_on(MANY)


async def redis_slow(stage: Stage, witnesses: Witnesses) -> None:
    """Each of its answers comes 200 ms late, so that it is old when it comes."""
    async with witnesses.at_work():
        stage.proxy.delay = 0.1  # each way
        try:
            await witnesses.go_on(2 * MANY)
        finally:
            stage.proxy.delay = 0.0


async def redis_full(stage: Stage, witnesses: Witnesses) -> None:
    """It takes nothing more, and drops nothing."""
    async with witnesses.at_work():
        await stage.valkey.set_option("maxmemory-policy", "noeviction")
        await stage.valkey.set_option("maxmemory", "1")
        await witnesses.go_on(2 * MANY)
        await stage.valkey.set_option("maxmemory", "0")


async def redis_flushed(stage: Stage, witnesses: Witnesses) -> None:
    """It is emptied again and again."""
    async with witnesses.at_work():
        for _ in range(2 * MANY // FEW):
            await stage.valkey.ask("FLUSHALL")
            await witnesses.go_on(FEW)


async def redis_restored(stage: Stage, witnesses: Witnesses) -> None:
    """It comes back with what it held many writes ago."""
    async with witnesses.at_work():
        await witnesses.go_on(MANY)
        await stage.valkey.ask("SAVE")
        held = await stage.valkey.ask("DBSIZE")
        assert held > 0
        await witnesses.go_on(MANY)
        stage.valkey.kill()
        await stage.valkey.start()
        await witnesses.go_on(MANY)
    stage.valkey.kill()
    (stage.valkey.folder / "dump.rdb").unlink()
    await stage.valkey.start()


async def redis_replaced(stage: Stage, witnesses: Witnesses) -> None:
    """Under each key stands what belongs to another: what another's server would hold if it used the same names."""
    async with witnesses.at_work():
        for _ in range(2 * MANY // FEW):
            await _shuffle(stage.valkey)
            await witnesses.go_on(FEW)


async def _shuffle(valkey: Valkey) -> None:
    keys = sorted(await valkey.ask("KEYS", "*"))
    async with Redis(port=valkey.port, protocol=2) as client:
        async with client.pipeline(transaction=False) as asking:
            for key in keys:
                asking.dump(key)
            held = await asking.execute()
        async with client.pipeline(transaction=False) as placing:
            for key, other in zip(keys, held[1:] + held[:1], strict=True):
                if other is not None:
                    placing.restore(key, 60_000, other, replace=True)
            await placing.execute()


async def redis_password(stage: Stage, witnesses: Witnesses) -> None:
    """It wants a password that the platform does not know, and then no more."""
    async with witnesses.at_work():
        await witnesses.go_on(FEW)
        await stage.valkey.set_option("requirepass", "of another")
        stage.valkey.password = "of another"
        await stage.valkey.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await witnesses.go_on(MANY)
        await stage.valkey.set_option("requirepass", "")
        stage.valkey.password = None
        await witnesses.go_on(MANY)


# --- word of changes -----------------------------------------------------------------------------------------------


async def listeners_cut(stage: Stage, witnesses: Witnesses) -> None:
    """No notification arrives for long: the connections that wait for them are cut again and again."""
    await _cut(stage, witnesses, LISTENERS)


async def followers_cut(stage: Stage, witnesses: Witnesses) -> None:
    """The connections that look at the outbox are cut again and again."""
    await _cut(stage, witnesses, FOLLOWERS)


async def _cut(stage: Stage, witnesses: Witnesses, whom: str) -> None:
    cutting = f"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE {whom} AND pid <> pg_backend_pid()"
    cut = 0
    async with connected(stage.platform, "users") as database, witnesses.at_work():
        for _ in range(2 * MANY):
            cut += await database.fetchval(cutting)
            await witnesses.go_on(1)
    assert cut >= len(DATABASES) * len(witnesses.lanes), "nobody was cut"


async def transaction_open(stage: Stage, witnesses: Witnesses) -> None:
    """A transaction with a number of its own stays open for the whole load, and says at its end what it has changed."""
    async with AsyncExitStack() as stack:
        for name in DATABASES:
            database = await stack.enter_async_context(connected(stage.platform, name))
            transaction = database.transaction()
            await transaction.start()
            await database.fetchval("SELECT pg_current_xact_id()::text")
            stack.push_async_callback(transaction.commit)
        async with witnesses.at_work():
            await witnesses.go_on(2 * MANY)


# --- processes -----------------------------------------------------------------------------------------------------


async def worker_frozen(stage: Stage, witnesses: Witnesses) -> None:
    """One of the processes does not run for a while. What it is asked meanwhile it answers when it runs again.

    It wrote itself before, and the others write while it is frozen.
    """
    workers = workers_of(stage.platform)
    number = sorted(workers)[2]  # where nobody writes, so that the others can go on
    async with AsyncExitStack() as stack:
        lanes = [await stack.enter_async_context(_another_lane(stage, workers, number)) for _ in range(4)]
        for lane in lanes:
            await witnesses.read(witnesses.cast.writers[0], "bio", lane)
        async with witnesses.at_work():
            await witnesses.go_on(MANY)
            late = await _ask_while_frozen(workers[number], witnesses, lanes)
            await witnesses.go_on(MANY)
        assert late == len(lanes), [lane.process for lane in lanes]


async def _ask_while_frozen(worker: psutil.Process, witnesses: Witnesses, lanes: Sequence[Lane]) -> int:
    """Freeze the process, ask it one thing after another, let it run, and return how many answers came after that."""
    began, asked = time.monotonic(), list[asyncio.Task[None]]()
    with frozen([worker]):
        for at, lane in enumerate(lanes):
            await asyncio.sleep(began + FROZEN_SECONDS * (at + 1) / len(lanes) - time.monotonic())
            asked.append(asyncio.create_task(witnesses.read(witnesses.cast.writers[at % 2], KINDS[at % 3], lane)))
        await asyncio.sleep(0)
        late = sum(not task.done() for task in asked)
    await asyncio.gather(*asked)
    return late


async def writer_killed(stage: Stage, witnesses: Witnesses) -> None:
    """The process that has just answered a write dies, before it has told anybody; the others find it by looking."""
    writer = witnesses.cast.writers[0]
    for number, kind in zip(witnesses.lanes, KINDS, strict=False):  # another each time: those that died are being started
        workers = workers_of(stage.platform)
        others = [lanes[0] for name, lanes in witnesses.lanes.items() if name != number]
        for lane in others:  # so that they hold what is about to change
            await witnesses.read(writer, kind, lane)
        async with _another_lane(stage, workers, number) as lane:
            await witnesses.write(writer, kind, lane)
            workers[number].kill()
        for lane in others:
            await witnesses.read(writer, kind, lane)
            await witnesses.read(writer, kind, lane, writer.person, token=writer.token)
        await witnesses.end()
    await until(lambda: complete(stage.platform, len(witnesses.lanes)))


async def complete(platform: Platform, workers: int) -> bool:
    """Whether so many processes answer behind the port."""
    return await _told(platform, "process_up") == workers


async def redis_reached(stage: Stage, witnesses: Witnesses) -> None:
    """Wait until each process has found by itself that Redis is there, as it does when it wants something from it."""
    numbers = cycle(range(4, 100))

    async def reached() -> bool:
        number = next(numbers)
        for lane, *_ in witnesses.lanes.values():
            await witnesses.wander(lane, number)
        # Of those alone whom somebody asks: the others have no reason to look.
        up = [await _told(stage.platform, "cache_second_level_up", f'service="{name}"') for name in DATABASES]
        return sum(up) == len(DATABASES) * len(witnesses.lanes)

    await until(reached)


async def _told(platform: Platform, metric: str, label: str = "") -> float:
    """Return the sum over a metric's series, or over those with a label."""
    async with platform.client() as client:
        with suppress(OSError, aiohttp.ClientError):
            lines = (await client.get("/metrics")).body.decode().splitlines()
            return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(metric + "{") and label in line)
    return 0.0


@asynccontextmanager
async def _another_lane(stage: Stage, workers: dict[str, psutil.Process], number: str) -> AsyncIterator[Lane]:
    base = stage.platform.base
    bases = {service: f"{base}/api/{service}" for service in DATABASES}
    async with AsyncExitStack() as stack:
        with only(number, workers):
            lane = await stack.enter_async_context(lane_to(f"worker {number}", bases, f"{base}/health"))
        yield lane


# --- a fill that takes long ----------------------------------------------------------------------------------------

# Whoever reads a profile for everybody has read it, and then waits for the lock. Who changes one, or reads it for one
# person alone, does not: those queries look into blocks too, or lock what they read.
MAKE_SLOW: Final = """
ALTER TABLE people RENAME TO people_at_rest;
CREATE FUNCTION after_a_while() RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    IF current_query() LIKE '%p.bio%' AND current_query() NOT LIKE '%UPDATE%' AND current_query() NOT LIKE '%blocks%' THEN
        PERFORM pg_advisory_lock_shared(1), pg_advisory_unlock_shared(1);
    END IF;
    RETURN true;
END $$;
CREATE VIEW people AS SELECT * FROM people_at_rest WHERE after_a_while();
"""
MAKE_QUICK: Final = """
DROP VIEW people;
DROP FUNCTION after_a_while;
ALTER TABLE people_at_rest RENAME TO people;
"""
WAITING: Final = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = 1"


async def slow_fill(stage: Stage, witnesses: Witnesses) -> None:
    """Every process has read a profile and not yet kept it, when it is changed ten times; who comes then waits as well.

    Nothing but those ten writes speaks against what was read: before it began, each process had heard of everything.
    """
    writer = witnesses.cast.writers[0]
    (where, *_), *elsewhere = witnesses.lanes.values()
    others = [first for first, *_ in elsewhere]
    async with slow_reads(stage.platform) as database, asyncio.TaskGroup() as group:
        await witnesses.write(writer, "bio", where)
        await _all_is_heard(stage, witnesses)
        await database.execute("SELECT pg_advisory_lock(1)")
        slow = [group.create_task(witnesses.read(writer, "bio", first)) for first in others]
        await until(lambda: _so_many(database, len(others)))
        for _ in range(10):
            await witnesses.write(writer, "bio", where)
        for _, second, third, *_ in elsewhere:
            group.create_task(witnesses.read(writer, "bio", second))
            await witnesses.read(writer, "bio", third, writer.person, token=writer.token)
        await _all_is_heard(stage, witnesses)
        assert await _so_many(database, len(others)), "nothing was slow"
        await database.execute("SELECT pg_advisory_unlock(1)")
        for read in await asyncio.gather(*slow):
            assert read is not None
            assert read.cache == "townsquare; fwd=miss", f"what was read before ten writes was kept: {read}"
        for first in others:
            read = await witnesses.read(writer, "bio", first)
            assert read is not None
            assert read.number == witnesses.history.writes[-1].number, f"what was read before ten writes is served: {read}"
    await witnesses.end()


async def _all_is_heard(stage: Stage, witnesses: Witnesses) -> None:
    """Wait until content's events have taken effect in users, and each process knows of all that has changed in users."""
    async with connected(stage.platform, "content") as content, connected(stage.platform, "users") as users:
        told = int(await content.fetchval("SELECT max(xid)::text FROM outbox"))
        await until(lambda: _applied(users, told))
        newest = await users.fetchval("SELECT max(xid)::text FROM outbox")
    for *_, lane in witnesses.lanes.values():  # the first ones may be waiting
        await until(lambda lane=lane: _has_heard(lane, witnesses.cast.writers[0].person, newest))


async def _applied(users: asyncpg.Connection, told: int) -> bool:
    return int(await users.fetchval(SEEN, "content") or 0) > told


async def _has_heard(lane: Lane, person: Person, newest: str) -> bool:
    """Ask for something else than the profile, which nobody is to fill: who has not heard passes what it keeps by."""
    headers = {"Consistency-Token": f"users.{newest}"}
    answer = await lane.call("users", "GET", f"/users/{person.id}/skills", headers=headers)
    return answer.headers["Cache-Status"] != "townsquare; fwd=request"


async def _so_many(database: asyncpg.Connection, waiting: int) -> bool:
    return await database.fetchval(WAITING) >= waiting


@asynccontextmanager
async def slow_reads(platform: Platform) -> AsyncIterator[asyncpg.Connection]:
    """Have whoever reads a profile wait after that, while somebody holds lock number 1."""
    async with connected(platform, "users") as database:
        await database.execute(MAKE_SLOW)
        try:
            yield database
        finally:
            await database.execute("SELECT pg_advisory_unlock_all()")
            await database.execute(MAKE_QUICK)


@asynccontextmanager
async def connected(platform: Platform, name: str) -> AsyncIterator[asyncpg.Connection]:
    """Connect to a service's database."""
    database = await platform.database(name)
    try:
        yield database
    finally:
        await database.close()
