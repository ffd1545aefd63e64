"""History is told at its own times, by the task that tells it and by nobody else."""

import asyncio
from datetime import UTC, datetime

from townsquare.kit.clock import as_of, now
from townsquare.kit.ids import new_id, time_of

THEN = datetime(2020, 2, 29, 12, 30, tzinfo=UTC)


def test_times_and_ids_are_those_of_the_moment_that_is_told():
    with as_of(THEN):
        assert now() == THEN
        assert time_of(new_id()) == THEN
        with as_of(datetime(2021, 1, 1, tzinfo=UTC)):
            assert time_of(new_id()).year == 2021
        assert now() == THEN
    assert now().year > 2020
    assert time_of(new_id()).year > 2020


async def test_other_tasks_live_in_the_present():
    told = asyncio.Event()

    async def tell() -> datetime:
        with as_of(THEN):
            await told.wait()
            return now()

    telling = asyncio.create_task(tell())
    await asyncio.sleep(0)
    assert now() > THEN
    told.set()
    assert await telling == THEN
