"""The database: reachable, whole, at this release's level, and agreeing about the time."""

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg

from townsquare import hosting
from townsquare.catalogue import BUILT, definition_of
from townsquare.commands.doctor.finding import Finding, failed, ok, skipped, warning
from townsquare.kit.database import Connection, dsn_for
from townsquare.kit.migrations import MigrationError, verify
from townsquare.kit.postgres_errors import PostgresError
from townsquare.kit.postgres_postmaster import find_postmaster
from townsquare.kit.postgres_programs import OLDEST_MAJOR
from townsquare.settings import Settings

CONNECT_SECONDS = 5.0
SLIGHTLY_OFF, FAR_OFF = timedelta(seconds=5), timedelta(minutes=1)
# Long before the first release: a clock that was never set shows the year in which the machine was made, or 1970.
FIRST_RELEASE = datetime(2026, 1, 1, tzinfo=UTC)
UNREACHABLE = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError)

SELECT_FACTS = """
SELECT
    current_setting('server_version') AS version, current_setting('server_version_num')::int / 10000 AS major,
    current_setting('data_checksums') AS checksums, current_setting('server_encoding') AS encoding, clock_timestamp() AS now
"""

SELECT_MISSING_EXTENSIONS = """
SELECT wanted.name
FROM unnest($1::text[]) AS wanted (name)
WHERE NOT EXISTS (SELECT FROM pg_available_extensions AS available WHERE available.name = wanted.name)
"""

# The last row of outbox_pkey.
SELECT_NEWEST = "SELECT created_at FROM outbox ORDER BY id DESC LIMIT 1"


@dataclass(frozen=True, slots=True)
class _Look:
    """What one look at a service's database has shown; `off` is how far its clock is from this machine's."""

    finding: Finding
    facts: asyncpg.Record | None = None
    off: timedelta | None = None
    newest: datetime | None = None


async def check_database(settings: Settings) -> list[Finding]:
    """Look at the server and each service's database; one that is not running is started, and stopped again."""
    if settings.database_url is None and not (settings.data / "postgres" / "PG_VERSION").exists():
        return [skipped("database", f"none yet in {settings.data}: `townsquare up` makes it"), _check_clock(None, None)]
    try:
        running = settings.database_url is None and find_postmaster(settings.data / "postgres") is not None
        async with hosting.database_server(settings) as server:
            found = [await _check_service(name, server) for name in BUILT]
    except PostgresError as error:
        detail, _, mend = str(error).partition(". ")
        return [failed("database", detail, mend or f"See {settings.data / 'postgres.log'}.")]
    facts = next((look.facts for look in found if look.facts is not None), None)
    about_server = [] if facts is None else [_judge_server(facts, _where(settings, running=running))]
    off = min((look.off for look in found if look.off is not None), default=None)
    newest = max((look.newest for look in found if look.newest is not None), default=None)
    return [*about_server, *(look.finding for look in found), _check_clock(off, newest)]


def _where(settings: Settings, *, running: bool) -> str:
    if settings.database_url is not None:
        return "the configured server"
    return f"in {settings.data}, running" if running else f"in {settings.data}, started for this look"


def _judge_server(facts: asyncpg.Record, where: str) -> Finding:
    detail = f"PostgreSQL {facts['version'].split()[0]}, {where}"
    if facts["major"] < OLDEST_MAJOR:
        return failed("database", detail, f"Upgrade the server to PostgreSQL {OLDEST_MAJOR} or later.")
    if facts["encoding"] != "UTF8":
        return failed("database", f"{detail}, encoding {facts['encoding']}", "Make the databases anew with ENCODING 'UTF8'.")
    if facts["checksums"] != "on":
        mend = "Stop the server and run `pg_checksums --enable`: without them a disk's silent errors are not noticed."
        return warning("database", f"{detail}, without data checksums", mend)
    return ok("database", f"{detail}, data checksums on")


async def _check_service(service: str, server: str) -> _Look:
    name = f"database {service}"
    try:
        async with _connected(dsn_for(server, service)) as connection:
            facts = await connection.fetchrow(SELECT_FACTS)
            off = None if facts is None else abs(facts["now"] - datetime.now(UTC))
            finding = await _judge_schema(service, name, connection)
            newest = await connection.fetchval(SELECT_NEWEST) if finding.status == "ok" else None
            return _Look(finding, facts, off, newest)
    except asyncpg.InvalidCatalogNameError:
        return _Look(
            failed(name, f"the server has no database {service}", f"createdb {service}, then `townsquare migrate`.")
        )
    except UNREACHABLE as error:
        detail = f"it cannot be reached ({type(error).__name__}: {error})"
        return _Look(
            failed(name, detail, "Start the server, or correct TOWNSQUARE_DATABASE_URL: host, port, role, password.")
        )


async def _judge_schema(service: str, name: str, connection: Connection) -> Finding:
    definition = definition_of(service)
    missing = await connection.fetch(SELECT_MISSING_EXTENSIONS, _extensions(definition.schemas))
    if missing:
        names = ", ".join(row["name"] for row in missing)
        return failed(
            name, f"the server lacks the extensions {names}", "Install PostgreSQL's contrib package on its machine."
        )
    try:
        waiting = await verify(connection, definition.schemas)
    except MigrationError as error:
        return failed(name, str(error), "Run the release that fits the database.")
    if waiting:
        return warning(
            name, f"lacks {', '.join(waiting)}", "`townsquare migrate`, or start the platform again: it does so too."
        )
    return ok(name, "at this release's level, extensions there")


def _extensions(folders: Sequence[Path]) -> list[str]:
    """Read which extensions the migrations ask for: a second list would go stale."""
    files = [path.read_text("utf-8") for folder in folders for path in sorted(folder.glob("*.sql"))]
    return sorted({name for text in files for name in re.findall(r"CREATE EXTENSION IF NOT EXISTS (\w+)", text)})


def _check_clock(off: timedelta | None, newest: datetime | None) -> Finding:
    """Judge this machine's clock by the database's, and by what has been written."""
    here = datetime.now(UTC)
    mend = "Have the clock set by NTP (`timedatectl set-ntp true`): tokens and codes are good for minutes."
    if here < FIRST_RELEASE:
        return failed("clock", f"it is said to be {here:%Y-%m-%d}", mend)
    if newest is not None and newest - here > FAR_OFF:
        return failed("clock", f"the newest event is of {newest:%Y-%m-%d %H:%M:%S} UTC, which is to come", mend)
    if off is None:
        return ok("clock", f"{here:%Y-%m-%d %H:%M:%S} UTC")
    detail = f"{here:%Y-%m-%d %H:%M:%S} UTC, {off.total_seconds():.1f} s from the database's"
    if off > FAR_OFF:
        return failed("clock", detail, mend)
    return warning("clock", detail, mend) if off > SLIGHTLY_OFF else ok("clock", detail)


@asynccontextmanager
async def _connected(dsn: str) -> AsyncIterator[Connection]:
    # No prepared statements: may be behind a transaction pooler.
    connection = await asyncpg.connect(dsn, timeout=CONNECT_SECONDS, command_timeout=CONNECT_SECONDS, statement_cache_size=0)
    try:
        yield connection
    finally:
        await connection.close(timeout=CONNECT_SECONDS)
