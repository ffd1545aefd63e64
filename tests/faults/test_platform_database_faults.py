"""PostgreSQL killed, frozen and restarted under the real platform: only 503s with Retry-After, in time; nothing is lost."""

import asyncio
import signal
from collections.abc import AsyncIterator

import pytest

from testbed.crowd import Crowd
from testbed.platforms import Platform, frozen, ready, running_platform, until
from testbed.postgres_users import data_folder
from testbed.reckoning import reckon

SEED = 20_260_302
DEADLINE = 1.5
LONGEST = 5.0
"""Seconds for any refusal: some wait for a connection and then for the database, on a machine that is busy."""


@pytest.fixture(params=[("up",), ("up", "--split")], ids=["one process", "split"], scope="module")
async def up(request: pytest.FixtureRequest) -> AsyncIterator[Platform]:
    with data_folder() as folder:
        async with running_platform(folder / "data", *request.param, request_deadline=DEADLINE) as platform:
            yield platform


async def test_every_fault_is_a_503_in_time_and_ends_by_itself(up: Platform) -> None:
    async with up.client() as client:
        crowd = Crowd(client, SEED)
        writing = asyncio.create_task(crowd.run())
        for fault in (signal.SIGKILL, signal.SIGSTOP, signal.SIGINT):
            await crowd.acknowledge(40)
            await strike(up, crowd, fault)
            await crowd.acknowledge(40)
        crowd.stop()
        await writing
        assert crowd.stale == []
        await until(lambda: ready(up))
        assert crowd.cut == 0
        assert {(answer.status, answer.code) for answer in crowd.refused} == {(503, "unavailable")}
        assert all(int(answer.headers["Retry-After"]) >= 1 for answer in crowd.refused)
        assert crowd.slowest_refusal < LONGEST
        await reckon(up, client, crowd)


async def strike(platform: Platform, crowd: Crowd, fault: signal.Signals) -> None:
    """Let PostgreSQL die, or be frozen until each writer has been told more than once that it must wait."""
    if fault is not signal.SIGSTOP:
        platform.postgres()[0].send_signal(fault)
        return
    goal = len(crowd.refused) + 10
    with frozen(platform.postgres()):
        async with asyncio.timeout(60):
            while len(crowd.refused) < goal:
                await asyncio.sleep(0.05)
