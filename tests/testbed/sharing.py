"""Processes that share a second level: each with a cache, a follower and connections of its own, to one real PostgreSQL.

What they keep are counters that anybody may raise.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from testbed.second_level import TextCodec
from townsquare import kit
from townsquare.cache.cache import Cache, Change, Filled, Outcome
from townsquare.cache.redis_level import RedisLevel
from townsquare.cache.strategies import Strategy
from townsquare.kit.beside import beside
from townsquare.kit.database import Database
from townsquare.kit.follower import Follower
from townsquare.kit.migrations import migrate
from townsquare.kit.outbox import NewEvent, Outbox, insert_events
from townsquare.kit.postgres import EmbeddedPostgres

RAISE = "UPDATE counters SET value = value + 1 WHERE name = $1 RETURNING value"
COUNTER = Strategy("COUNTER", lifetime=60, grace=0)


class Process:
    """One of them; `with_follower` says whether it looks at the outbox by itself."""

    def __init__(self, dsn: str, redis: str) -> None:
        self.level = RedisLevel(redis, TextCodec())
        self.cache = Cache(second=self.level)
        self.database = Database(dsn, size=4)
        self.outbox = Outbox(self.database)
        self.outbox.tell_cache = lambda xid, tags: self.cache.changed(Change(xid, tags))
        self.follower = Follower(
            self.cache, self.database, self.outbox, lambda identity: self.level.rename(f"counters:{identity}")
        )
        self.may_answer = asyncio.Event()
        """Fills that have read wait for it before they bring what they read."""
        self.may_answer.set()
        self.has_read = asyncio.Event()

    async def read(self, name: str) -> tuple[int, Outcome]:
        """Return a counter, and how it was come by."""

        async def fill() -> Filled:
            value = await self.database.fetchval("SELECT value FROM counters WHERE name = $1", name)
            self.has_read.set()
            await self.may_answer.wait()
            return Filled(str(value), 1, frozenset({f"counter:{name}"}))

        outcome = await self.cache.fetch(name, COUNTER, fill)
        assert isinstance(outcome.value, str)
        return int(outcome.value), outcome

    async def value(self, name: str) -> int:
        """Return a counter."""
        return (await self.read(name))[0]

    async def raise_by_one(self, name: str) -> tuple[int, int]:
        """Raise a counter; returns its value and the transaction, when the process itself knows of the change."""
        async with self.database.connection() as connection, connection.transaction():
            value = await connection.fetchval(RAISE, name)
            xid = await insert_events(connection, [NewEvent("counter", name, (f"counter:{name}",), {})])
        self.outbox.committed(xid, [f"counter:{name}"])
        return value, xid


@asynccontextmanager
async def running_process(dsn: str, redis: str, *, follows: bool = True) -> AsyncIterator[Process]:
    """Run one; unless it follows, it has looked once and trusts that for ever."""
    process = Process(dsn, redis)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(process.database.close)
        await process.database.open()
        stack.push_async_callback(process.outbox.close)
        await process.outbox.open()
        stack.push_async_callback(process.level.close)
        stack.push_async_callback(process.cache.close)
        await process.follower.look()
        if follows:
            await stack.enter_async_context(beside(process.follower.run()))
        else:
            process.cache.trusted_until = float("inf")
        yield process


async def with_counters(postgres: EmbeddedPostgres, *names: str) -> str:
    """Make a database with these counters at 0, unless they are there; returns its address."""
    await postgres.ensure_databases(["counters"])
    dsn = postgres.url("counters")
    await migrate(dsn, [Path(kit.__path__[0]) / "schema"])
    database = Database(dsn, size=1)
    await database.open()
    try:
        await database.execute("CREATE TABLE IF NOT EXISTS counters (name text PRIMARY KEY, value integer NOT NULL)")
        for name in names:
            await database.execute("INSERT INTO counters VALUES ($1, 0) ON CONFLICT DO NOTHING", name)
    finally:
        await database.close()
    return dsn
