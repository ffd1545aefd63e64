"""The databases of a data folder, for commands that look after what is there; they never make a community by mistake."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from townsquare import hosting
from townsquare.catalogue import BUILT, definition_of
from townsquare.commands.shared import CommandError
from townsquare.kit.database import Database, dsn_for
from townsquare.kit.migrations import pending
from townsquare.settings import Settings

CONNECTIONS = 2
DEADLINE_SECONDS = 30.0


@asynccontextmanager
async def existing_server(settings: Settings) -> AsyncIterator[str]:
    """Lend the address of the PostgreSQL server of a community that is there; raises CommandError when none is."""
    if settings.database_url is None and not (settings.data / "postgres" / "PG_VERSION").exists():
        raise CommandError(
            f"there is no community in {settings.data}; name its folder with --data, or begin with `townsquare up`"
        )
    async with hosting.database_server(settings) as server:
        yield server


@asynccontextmanager
async def database_of(service: str, settings: Settings, server: str) -> AsyncIterator[Database]:
    """Lend a service's database, which must be at this release's level; raises CommandError when it is not."""
    database = Database(
        dsn_for(server, service), size=CONNECTIONS, pooler=settings.database_pooler, deadline=DEADLINE_SECONDS
    )
    try:
        await database.open()
        if missing := await pending(database, definition_of(service).schemas):
            raise CommandError(f"the database {service} lacks {', '.join(missing)}; bring it up with `townsquare migrate`")
        yield database
    finally:
        await database.close()


async def refuse_outdated(settings: Settings, server: str) -> None:
    """Raise CommandError when a service's database is not at this release's level."""
    for service in BUILT:
        async with database_of(service, settings, server):
            pass
