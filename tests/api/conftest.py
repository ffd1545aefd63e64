"""A town of its own for fuzzing: what is made up there must not turn up in the lists that other tests read."""

from collections.abc import AsyncIterator

import pytest

from testbed.postgres import start_test_postgres
from testbed.town import Town, running_town
from townsquare.topology import SERVICES


@pytest.fixture(scope="module")
async def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    """The platform on a PostgreSQL of its own."""
    server = await start_test_postgres(tmp_path_factory.mktemp("fuzzed-pg"))
    try:
        await server.ensure_databases([service.database for service in SERVICES.values()])
        async with running_town(tmp_path_factory.mktemp("fuzzed"), server.url("postgres")) as town:
            yield town
    finally:
        await server.stop()
