"""How a platform ends: by a signal, early or late, or by kill -9; and what it leaves."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.platforms import Platform, gone, ready, running_platform, until
from testbed.postgres_users import data_folder, programs_on


@pytest.fixture(scope="module")
def data() -> Iterator[Path]:
    """One data folder for the module: only the first start makes a cluster."""
    with data_folder() as folder:
        yield folder / "data"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_a_signal_stops_it_cleanly_and_leaves_no_process(data: Path, number: signal.Signals) -> None:
    platform = Platform(data, "up")
    await platform.start()
    family = platform.family()
    assert await platform.stop(number) == 0
    assert platform.lines[-1] == "townsquare has stopped."
    assert await gone(family) == []
    assert programs_on(data) == []


async def test_a_signal_while_it_starts_ends_it_and_the_server(data: Path) -> None:
    platform = Platform(data, "up")
    await platform.begin()
    await until(lambda: has_server(data))
    assert await platform.stop() == 0
    assert programs_on(data) == []


async def has_server(data: Path) -> bool:
    """Whether a server is running, or about to."""
    return (data / "postgres" / "postmaster.pid").exists()


async def test_a_killed_platform_leaves_its_data_to_the_next(data: Path) -> None:
    first = Platform(data, "up")
    await first.start()
    server = first.postgres()[0]
    first.tell(signal.SIGKILL)
    assert await first.wait() == -signal.SIGKILL
    async with running_platform(data, "up") as second:
        assert second.postgres()[0] == server
        assert await ready(second)
    assert programs_on(data) == []
