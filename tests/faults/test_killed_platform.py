"""kill -9 of the platform at random moments, under concurrent writes: nothing is lost, nothing happens twice."""

import asyncio
import random
from contextlib import suppress

import psutil
import pytest

from testbed.crowd import Crowd
from testbed.platforms import Platform, end, gone, until
from testbed.postgres_users import data_folder
from testbed.reckoning import reckon
from townsquare.catalogue import BUILT

SEED = 20_260_301


async def kill(platform: Platform, chance: random.Random) -> None:
    """Kill every process of the platform at once; every other time PostgreSQL's too, as a power cut does."""
    family = platform.family()
    server = platform.postgres()
    spared = set(server) if chance.random() < 0.5 else set[psutil.Process]()
    victims = [process for process in family if process not in spared]
    for victim in victims:
        with suppress(psutil.NoSuchProcess):
            victim.kill()
    await platform.wait()
    assert await gone(victims) == []


@pytest.mark.parametrize(("arguments", "rounds"), [(("up",), 4), (("up", "--split"), 3)], ids=["one process", "split"])
async def test_after_a_kill_everything_acknowledged_is_there_and_every_event_took_effect_once(
    arguments: tuple[str, ...], rounds: int
) -> None:
    chance = random.Random(SEED)
    with data_folder() as folder:
        platform = Platform(folder / "data", *arguments)
        await platform.start()
        try:
            async with platform.client() as client:
                crowd = Crowd(client, SEED)
                writing = asyncio.create_task(crowd.run())
                for _ in range(rounds):
                    await crowd.acknowledge(40)
                    await asyncio.sleep(chance.random() * 0.3)
                    await kill(platform, chance)
                    platform = Platform(platform.data, *arguments, port=platform.port)
                    await platform.start()
                await crowd.acknowledge(40)
                crowd.stop()
                await writing
                assert crowd.stale == []
                assert crowd.cut > 0
                assert {answer.status for answer in crowd.refused} <= {503}
                await reckon(platform, client, crowd)
        finally:
            await end(platform)


async def test_a_killed_service_loses_nothing_while_the_others_go_on() -> None:
    chance = random.Random(SEED)
    with data_folder() as folder:
        platform = Platform(folder / "data", "up", "--split")
        await platform.start()
        try:
            async with platform.client() as client:
                crowd = Crowd(client, SEED)
                writing = asyncio.create_task(crowd.run())
                for service in ("users", "content", "gateway"):
                    await crowd.acknowledge(40)
                    await asyncio.sleep(chance.random() * 0.3)
                    for child in platform.children("serve", service):
                        child.kill()
                await crowd.acknowledge(40)
                crowd.stop()
                await writing
                assert crowd.stale == []
                assert {answer.status for answer in crowd.refused} <= {503}
                await until(lambda: complete(platform))
                await reckon(platform, client, crowd)
        finally:
            await end(platform)


async def complete(platform: Platform) -> bool:
    """Whether every service and the gateway have a process again."""
    return len(platform.children("--supervised")) == len(BUILT) + 1
