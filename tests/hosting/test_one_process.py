"""`townsquare up`: the whole platform in one process."""

import re
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from testbed.platforms import Platform, frozen, gone, ready, running_platform, until
from testbed.postgres_users import data_folder


@pytest.fixture(scope="module")
async def up() -> AsyncIterator[Platform]:
    with data_folder() as folder:
        async with running_platform(folder / "data", "up") as platform:
            yield platform


async def test_it_says_where_it_is_ready_and_is(up: Platform) -> None:
    said = rf"townsquare is ready at {up.base}  \(\d+\.\d s, data in {re.escape(str(up.data))}\)"
    assert re.search(said, up.output)
    assert await ready(up)


async def test_a_taken_port_is_one_sentence_and_touches_nothing(up: Platform, tmp_path: Path) -> None:
    second = Platform(tmp_path / "data", "up", port=up.port)
    await second.begin()
    assert await second.wait() == 1
    assert second.lines == [
        f"townsquare: cannot listen on 127.0.0.1:{up.port} (Address already in use); choose another with --port"
    ]
    assert not (tmp_path / "data").exists()


async def test_a_second_one_on_the_same_folder_shares_the_server_and_leaves_it_running(up: Platform) -> None:
    async with running_platform(up.data, "up") as second:
        assert second.postgres()[0] == up.postgres()[0]
        assert await ready(second)
    assert await ready(up)


async def test_with_a_frozen_database_readiness_is_503_within_5_seconds_and_the_loop_lives(up: Platform) -> None:
    async with up.client() as client:
        with frozen(up.postgres()):
            started = time.monotonic()
            answer = await client.get("/health/ready")
            assert time.monotonic() - started < 5
            assert answer.status == 503
            assert answer.json["status"] == "unready"
            assert answer.json["checks"]["database"]["reason"] == "timeout"
            assert (await client.get("/health")).status == 200
            metrics = await client.get("/metrics")
            assert (metrics.status, b"db_pool_size" in metrics.body) == (200, True)
        await until(lambda: ready(up))


async def test_a_killed_database_is_started_again(up: Platform) -> None:
    main = up.postgres()[0]
    main.kill()
    assert await gone([main]) == []
    await until(lambda: ready(up))
    assert up.postgres()[0] != main
