"""Forward-only migrations: `NNNN_name.sql` files, each applied once, in order, by whichever process comes first.

A folder `<component>/schema` holds the files of one component (`kit`, `users`, ...), numbered from 0001 without gaps. Each
file runs in a transaction of its own together with its row in `schema_migrations`. One whose first line is
`-- migrate:no-transaction` (for CREATE INDEX CONCURRENTLY) runs outside one and must bear being run again after a crash.
An applied file is never edited: its contents are compared, and a difference is refused.
"""

import asyncio
import hashlib
import re
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import asyncpg

from townsquare.kit.database import Connection, DatabaseUnavailable

CONNECT_SECONDS = 10.0
LOCK_PAUSE_SECONDS = 0.1
NO_TRANSACTION = "-- migrate:no-transaction"
# Any number, the same in every release.
MIGRATING = 7_267_382

CREATE_TABLE = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    component text NOT NULL,
    version int NOT NULL,
    name text NOT NULL,
    sha256 text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (component, version)
)
"""

# The primary key's order; a row a file.
SELECT_APPLIED = """
SELECT component, version, name, sha256
FROM schema_migrations
ORDER BY component, version
"""

RECORD = "INSERT INTO schema_migrations (component, version, name, sha256) VALUES ($1, $2, $3, $4)"

_FILE_NAME = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")
# What may hold a semicolon that ends no statement: comments, strings, quoted names, dollar-quoted bodies.
_TOKEN = re.compile(
    r"""--[^\n]* | /\*.*?\*/ | [eE]'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*' | "[^"]*" | \$(\w*)\$.*?\$\1\$ | (?P<end>;)""",
    re.DOTALL | re.VERBOSE,
)
_ONLY_COMMENTS = re.compile(r"(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/)*", re.DOTALL)


class MigrationError(Exception):
    """The schema could not be brought up to date; the message says what to do."""


class MigrationFilesError(MigrationError):
    """The files are not numbered 0001, 0002, ... each once."""


class ChangedFileError(MigrationError):
    """A file that has been applied now has other contents."""


class VanishedFileError(MigrationError):
    """A file that has been applied is not there any more."""


class NewerDatabaseError(MigrationError):
    """The database was migrated by a newer release than this one."""


class MigrationLockError(MigrationError):
    """Somebody else held a lock for longer than we wait."""


class MissingDatabaseError(MigrationError):
    """The server has no such database, and it is not ours to make one on a server of somebody else's."""


class StatementError(MigrationError):
    """PostgreSQL refused a statement; the message names file and line."""


class Readable(Protocol):
    """What `pending` needs: a Database or a connection."""

    async def fetch(self, query: str, /) -> list[asyncpg.Record]:
        """Return all rows."""
        ...


@dataclass(frozen=True, slots=True)
class Migration:
    """One file. Line endings do not count: a checkout on another system has the same contents."""

    component: str
    version: int
    name: str
    sql: str

    @property
    def sha256(self) -> str:
        """The contents' hash."""
        return hashlib.sha256(self.sql.encode()).hexdigest()

    @property
    def label(self) -> str:
        """What people read: `users/0001_people.sql`."""
        return f"{self.component}/{self.name}"


async def migrate(dsn: str, folders: Sequence[Path], *, lock_timeout: float = 60) -> list[str]:
    """Apply what is missing, folder by folder; returns the labels of the files applied.

    Any number of processes may do so at once: one works, the others wait up to `lock_timeout` seconds. A file's
    statements wait as long for locks on tables. Raises MigrationError, and DatabaseUnavailable.
    """
    migrations = [migration for folder in folders for migration in _read(folder)]
    async with _alone(dsn, lock_timeout), _connected(dsn) as connection:
        await connection.execute(CREATE_TABLE)
        missing = _compare(migrations, await connection.fetch(SELECT_APPLIED))
        for migration in missing:
            await _apply(connection, migration, lock_timeout)
    return [migration.label for migration in missing]


async def pending(database: Readable, folders: Sequence[Path]) -> list[str]:
    """Return the labels of the files that have not been applied; one cheap query, no look into the files."""
    try:
        applied = {(row["component"], row["version"]) for row in await database.fetch(SELECT_APPLIED)}
    except asyncpg.UndefinedTableError:
        applied = set[tuple[str, int]]()
    return [
        f"{_component(folder)}/{path.name}"
        for folder in folders
        for version, path in _numbered(folder)
        if (_component(folder), version) not in applied
    ]


async def verify(database: Readable, folders: Sequence[Path]) -> list[str]:
    """As `pending`, with a look into the files: raises MigrationError where they and the database contradict each other."""
    migrations = [migration for folder in folders for migration in _read(folder)]
    try:
        applied = await database.fetch(SELECT_APPLIED)
    except asyncpg.UndefinedTableError:
        applied = []
    return [migration.label for migration in _compare(migrations, applied)]


@asynccontextmanager
async def _connected(dsn: str) -> AsyncIterator[Connection]:
    try:
        # No prepared statements: must work through a transaction pooler too.
        connection = await asyncpg.connect(dsn, timeout=CONNECT_SECONDS, statement_cache_size=0)
    except asyncpg.InvalidCatalogNameError as error:
        raise MissingDatabaseError(f"{error}: create it, for example with `createdb`.") from error
    except (OSError, TimeoutError, asyncpg.PostgresConnectionError, asyncpg.CannotConnectNowError) as error:
        raise DatabaseUnavailable("The database to migrate cannot be reached.") from error
    try:
        yield connection
    finally:
        await connection.close(timeout=CONNECT_SECONDS)


@asynccontextmanager
async def _alone(dsn: str, timeout: float) -> AsyncIterator[None]:
    """Hold the lock on a transaction that stays open: through a pooler, a session's lock would be anybody's.

    It is asked for again and again, each time in a new transaction, and never waited for: CREATE INDEX CONCURRENTLY, in the
    process that has the lock, waits for the end of every transaction that it finds inside a statement.
    """
    until = time.monotonic() + timeout
    async with _connected(dsn) as guard:
        while time.monotonic() <= until:
            async with guard.transaction():
                if await guard.fetchval("SELECT pg_try_advisory_xact_lock($1)", MIGRATING):
                    # A simple statement also closes the cursor of the one before, which would hold a snapshot.
                    await guard.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
                    yield
                    return
            await asyncio.sleep(LOCK_PAUSE_SECONDS)
    raise MigrationLockError(
        f"Another process has been migrating this database for more than {timeout:g} seconds. Wait for it, or see what it"
        " waits for in pg_stat_activity."
    )


def _component(folder: Path) -> str:
    return folder.parent.name


def _numbered(folder: Path) -> list[tuple[int, Path]]:
    """The folder's files by number; raises MigrationFilesError."""
    found: dict[int, Path] = {}
    for path in sorted(folder.glob("*.sql")):
        match = _FILE_NAME.fullmatch(path.name)
        if match is None:
            raise MigrationFilesError(f"{path.name} in {folder} is not named like 0001_people.sql.")
        if (other := found.setdefault(int(match[1]), path)) is not path:
            raise MigrationFilesError(f"{other.name} and {path.name} in {folder} have the same number.")
    return list(found.items())


def _read(folder: Path) -> list[Migration]:
    return [Migration(_component(folder), version, path.name, _text(path)) for version, path in _numbered(folder)]


def _text(path: Path) -> str:
    """The contents, with line endings normalised (`read_text` translates them)."""
    return path.read_text("utf-8")


def _compare(migrations: Sequence[Migration], applied: Sequence[asyncpg.Record]) -> list[Migration]:
    """Return what is missing; raises MigrationError where files and database contradict each other."""
    files = {(migration.component, migration.version): migration for migration in migrations}
    last: dict[str, int] = {migration.component: migration.version for migration in migrations}
    for row in applied:
        component, version = row["component"], row["version"]
        if (file := files.pop((component, version), None)) is None:
            _refuse_missing(f"{component}/{row['name']}", newer=version > last.get(component, 0))
        elif file.sha256 != row["sha256"]:
            raise ChangedFileError(
                f"{file.label} has been applied with other contents. Restore it, and put the change into a new file."
            )
    _refuse_gaps(migrations)
    return list(files.values())


def _refuse_missing(label: str, *, newer: bool) -> None:
    if newer:
        raise NewerDatabaseError(f"The database has {label}, which this release does not know: run the newer release.")
    raise VanishedFileError(f"{label} has been applied but the file is gone. Restore it.")


def _refuse_gaps(migrations: Sequence[Migration]) -> None:
    expected: dict[str, int] = {}
    for migration in migrations:
        number = expected[migration.component] = expected.get(migration.component, 0) + 1
        if migration.version != number:
            raise MigrationFilesError(f"{migration.label} follows a gap: there is no {number:04}.")


async def _apply(connection: Connection, migration: Migration, lock_timeout: float) -> None:
    row = (migration.component, migration.version, migration.name, migration.sha256)
    if migration.sql.startswith(NO_TRANSACTION):
        await _run(connection, migration)
        await connection.execute(RECORD, *row)
        return
    async with connection.transaction():
        await connection.execute(f"SET LOCAL lock_timeout = {round(lock_timeout * 1000)}")
        await _run(connection, migration)
        await connection.execute(RECORD, *row)


async def _run(connection: Connection, migration: Migration) -> None:
    """Run the statements one by one, so that each error has a line and no transaction is implied."""
    for start, statement in split(migration.sql):
        try:
            await connection.execute(statement)
        except asyncpg.LockNotAvailableError as error:
            where = _where(migration, start, 0)
            raise MigrationLockError(f"{where}: another session holds the table's lock. Try again.") from error
        except asyncpg.PostgresError as error:
            offset = int(getattr(error, "position", None) or 1) - 1
            raise StatementError(f"{_where(migration, start, offset)}: {error}") from error


def _where(migration: Migration, start: int, offset: int) -> str:
    line = migration.sql.count("\n", 0, start + offset) + 1
    return f"{migration.label}, line {line}"


def split(sql: str) -> Iterator[tuple[int, str]]:
    """Cut a file into statements, each with the offset at which it begins."""
    start = 0
    for token in _TOKEN.finditer(sql):
        if token["end"]:
            yield from _statement(sql, start, token.start())
            start = token.end()
    yield from _statement(sql, start, len(sql))


def _statement(sql: str, start: int, end: int) -> Iterator[tuple[int, str]]:
    begin = start
    if (leading := _ONLY_COMMENTS.match(sql, start, end)) is not None:
        begin = leading.end()
    if begin < end:
        yield begin, sql[begin:end]
