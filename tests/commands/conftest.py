"""One community for all tests of the commands: its data folder with a running PostgreSQL in it, and the platform on top."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from testbed.command_line import CommandLine
from testbed.postgres import start_test_postgres
from testbed.postgres_users import data_folder
from testbed.town import Town, running_town
from townsquare.topology import SERVICES


@pytest.fixture(scope="session")
async def square() -> AsyncIterator[Town]:
    """The platform, on the embedded PostgreSQL of its own data folder. It answers while a test awaits."""
    with data_folder() as data:
        server = await start_test_postgres(data)
        try:
            await server.ensure_databases([service.database for service in SERVICES.values()])
            async with running_town(data, server.url("postgres")) as town:
                yield town
        finally:
            await server.stop()


@pytest.fixture
def cli(square: Town) -> CommandLine:
    """The command line on the community's folder."""
    return CommandLine(square.settings.data)


@pytest.fixture
def bare() -> Iterator[CommandLine]:
    """The command line on a folder in which there is nothing yet; whatever it leaves running is ended."""
    with data_folder() as data:
        yield CommandLine(data)


@pytest.fixture
def folder(bare: CommandLine) -> Path:
    """The folder in which there is nothing yet."""
    return bare.data
