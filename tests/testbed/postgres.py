"""A real PostgreSQL for tests: the platform's own, with durability traded for speed."""

from pathlib import Path

from townsquare.kit.postgres import EmbeddedPostgres, find_programs

FORGETFUL = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "64MB",
}


async def start_test_postgres(folder: Path) -> EmbeddedPostgres:
    """A server in `folder`; stop it when done.

    Processes that name the same folder (the workers of pytest-xdist) share one server: the first starts it, the others
    adopt it, and the last one's `stop` stops it.
    """
    server = EmbeddedPostgres(folder, find_programs(None), extra=FORGETFUL)
    await server.start()
    return server
