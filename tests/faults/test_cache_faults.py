"""Faults around the caches of the real platform: Redis, the word of changes, processes that stop, die or are slow.

Whatever happens, as long as PostgreSQL is well: nobody is answered 5xx, whoever has written sees what they wrote, nobody
else is shown anything that was replaced more than a second ago, and nobody is shown what is another's.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass

import pytest

from testbed import cache_strikes as strikes
from testbed.cache_strikes import Stage, Strike
from testbed.freshness import Row, summary, table
from testbed.platforms import Platform, running_platform, until
from testbed.postgres_users import data_folder
from testbed.proxy import running_proxy
from testbed.valkey import Valkey, free_port, running_valkey
from testbed.witnesses import Cast, Witnesses, witnesses_of, witnesses_of_split

WORKERS = 4
POOL = 4


@dataclass
class Theatre:
    """A platform with its people, who stay the same from one fault to the next."""

    stage: Stage
    split: bool
    cast: Cast | None = None

    def witnesses(self) -> AbstractAsyncContextManager[Witnesses]:
        """Connect the people to its processes."""
        if self.split:
            return witnesses_of_split(self.stage.platform, self.cast, each=5)
        return witnesses_of(self.stage.platform, self.cast, each=3)

    async def play(self, strike: Strike, rows: list[Row]) -> Row:
        """Let it happen, and say what was seen."""
        async with self.witnesses() as witnesses:
            self.cast = witnesses.cast
            if not self.split:
                await strikes.redis_reached(self.stage, witnesses)
            await strike(self.stage, witnesses)
            await witnesses.end()
        where = "split" if self.split else f"{WORKERS} workers"
        row = Row(f"{where}: {strike.__name__.replace('_', ' ')}", witnesses.history)
        rows.append(row)
        return row


@pytest.fixture(scope="module")
def rows() -> Iterator[list[Row]]:
    """The table of what was seen, printed at the end."""
    seen: list[Row] = []
    yield seen
    print("\n" + table(seen))


@pytest.fixture(scope="module")
async def workers() -> AsyncIterator[Theatre]:
    """Four processes on one port, with a Redis that they share."""
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(data_folder())
        valkey = await stack.enter_async_context(running_valkey(folder / "valkey"))
        proxy = await stack.enter_async_context(running_proxy(valkey.port))
        options = {"pool_size": POOL, "redis_url": f"redis://127.0.0.1:{proxy.port}"}
        starting = running_platform(folder / "data", "up", "--workers", str(WORKERS), **options)
        platform = await stack.enter_async_context(starting)
        await until(lambda: strikes.complete(platform, WORKERS), 60)
        yield Theatre(Stage(platform, valkey, proxy), split=False)


@pytest.fixture(scope="module")
async def split() -> AsyncIterator[Theatre]:
    """A process a service, with the address of a Redis that has never been there."""
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(data_folder())
        absent = Valkey(folder / "valkey")
        proxy = await stack.enter_async_context(running_proxy(free_port()))
        options = {"pool_size": POOL, "redis_url": f"redis://127.0.0.1:{free_port()}"}
        platform: Platform = await stack.enter_async_context(running_platform(folder / "data", "up", "--split", **options))
        yield Theatre(Stage(platform, absent, proxy), split=True)


def nothing_was_wrong(row: Row) -> None:
    told = row.history
    assert told.stale() == [], summary(told)
    assert told.strangers == []
    assert told.errors == []
    assert told.hits() > 0


# What makes Redis be left alone for a while does not follow upon each other: each begins when it is in use again.
@pytest.mark.parametrize(
    "strike",
    [
        strikes.redis_frozen,
        strikes.redis_flushed,
        strikes.worker_frozen,
        strikes.redis_slow,
        strikes.listeners_cut,
        strikes.redis_restored,
        strikes.slow_fill,
        strikes.redis_full,
        strikes.followers_cut,
        strikes.transaction_open,
        strikes.redis_killed,
        strikes.redis_replaced,
        strikes.redis_password,
        strikes.redis_absent,
    ],
    ids=lambda strike: strike.__name__,
)
async def test_nobody_notices_but_by_waiting(strike: Strike, workers: Theatre, rows: list[Row]) -> None:
    row = await workers.play(strike, rows)
    nothing_was_wrong(row)
    assert row.history.cut == 0


async def test_processes_that_share_a_redis_answer_from_what_another_has_kept(workers: Theatre, rows: list[Row]) -> None:
    row = await workers.play(strikes.nothing, rows)
    nothing_was_wrong(row)
    assert row.history.hits("detail=l2") > 0


async def test_what_a_dying_process_has_answered_is_seen_by_the_others(workers: Theatre, rows: list[Row]) -> None:
    nothing_was_wrong(await workers.play(strikes.writer_killed, rows))


@pytest.mark.parametrize(
    "strike",
    [strikes.nothing, strikes.listeners_cut, strikes.followers_cut, strikes.transaction_open, strikes.slow_fill],
    ids=lambda strike: strike.__name__,
)
async def test_nobody_notices_in_split_mode(strike: Strike, split: Theatre, rows: list[Row]) -> None:
    row = await split.play(strike, rows)
    nothing_was_wrong(row)
    assert row.history.cut == 0
