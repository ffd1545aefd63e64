"""The notes service, for tests of the kit."""

from collections.abc import AsyncIterator

import pytest

from testbed.notes import Notes, running_notes
from townsquare.kit.postgres import EmbeddedPostgres


@pytest.fixture(scope="session")
async def notes(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Notes]:
    """A running notes service."""
    await postgres.ensure_databases(["messages"])
    async with running_notes(tmp_path_factory.mktemp("notes"), postgres.url("postgres")) as running:
        yield running
