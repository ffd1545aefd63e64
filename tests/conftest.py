"""The fixtures that every test may use: a PostgreSQL for each test process, and the platform running on it."""

import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from testbed.postgres import start_test_postgres
from testbed.town import Town, running_town
from townsquare.kit.postgres import EmbeddedPostgres
from townsquare.topology import SERVICES


def pytest_configure() -> None:
    """Let the programs that tests start take the signals that tests send.

    What runs behind `nohup` or `&` ignores some and hands that on; a handler, even one that does nothing, is not handed on.
    """
    for number in (signal.SIGHUP, signal.SIGINT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


@pytest.fixture(scope="session")
async def postgres(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedPostgres]:
    """A real PostgreSQL of this test process alone."""
    server = await start_test_postgres(tmp_path_factory.mktemp("pg"))
    try:
        yield server
    finally:
        await server.stop()


@pytest.fixture(scope="session")
async def town(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    """The whole platform, for all tests of this process: they use people of their own."""
    await postgres.ensure_databases([service.database for service in SERVICES.values()])
    data: Path = tmp_path_factory.mktemp("town")
    async with running_town(data, postgres.url("postgres")) as running:
        yield running
