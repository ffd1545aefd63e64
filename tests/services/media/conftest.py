"""A store of each kind, and a database of the media service that nothing else touches."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from testbed.s3 import S3, running_s3
from townsquare.kit import migrations
from townsquare.kit.database import Database
from townsquare.kit.migrations import migrate
from townsquare.kit.postgres import EmbeddedPostgres
from townsquare.services import media
from townsquare.services.media.storage import Storage, open_storage
from townsquare.settings import Settings

SCHEMAS = [Path(migrations.__file__).parent / "schema", Path(media.__file__).parent / "schema"]


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """A server for all tests that leave it running."""
    with running_s3(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(params=["folder", "bucket"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """An empty store of either kind."""
    if request.param == "folder":
        return open_storage(Settings(data=tmp_path))
    server: S3 = request.getfixturevalue("s3")
    return open_storage(server.settings(tmp_path, storage_url=f"s3://town/{uuid4().hex}"))


@pytest.fixture
def folder(tmp_path: Path) -> Storage:
    """An empty folder."""
    return open_storage(Settings(data=tmp_path))


@pytest.fixture
async def db(postgres: EmbeddedPostgres) -> AsyncIterator[Database]:
    """An empty database of the media service."""
    name = f"media_{uuid4().hex}"
    await postgres.ensure_databases([name])
    await migrate(postgres.url(name), SCHEMAS)
    database = Database(postgres.url(name), size=10)
    await database.open()
    try:
        yield database
    finally:
        await database.close()
