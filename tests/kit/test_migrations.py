"""Migrations: each file once, in order, never changed afterwards."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from townsquare.kit import migrations
from townsquare.kit.database import Database, DatabaseUnavailable
from townsquare.kit.job_queue import queries_on
from townsquare.kit.migrations import (
    ChangedFileError,
    MigrationFilesError,
    MigrationLockError,
    NewerDatabaseError,
    StatementError,
    VanishedFileError,
    migrate,
    pending,
)
from townsquare.kit.postgres import EmbeddedPostgres

PLATFORM = Path(migrations.__file__).parent / "schema"
PEOPLE = "CREATE TABLE people (id int PRIMARY KEY);\n"

Files = Callable[..., Path]


@pytest.fixture
async def dsn(postgres: EmbeddedPostgres) -> str:
    """An empty database."""
    name = f"migrations_{uuid4().hex}"
    await postgres.ensure_databases([name])
    return postgres.url(name)


@pytest.fixture
async def connection(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    opened = await asyncpg.connect(dsn)
    yield opened
    await opened.close()


@pytest.fixture
def users(tmp_path: Path) -> Files:
    """Write the files of the component `users`; returns their folder."""
    folder = tmp_path / "users" / "schema"
    folder.mkdir(parents=True)

    def write(**files: str) -> Path:
        for name, sql in files.items():
            (folder / f"{name.removeprefix('v')}.sql").write_text(sql)
        return folder

    return write


async def test_files_are_applied_in_order_and_once(dsn: str, connection: asyncpg.Connection, users: Files) -> None:
    folder = users(v0002_skills="ALTER TABLE people ADD skills text[];", v0001_people=PEOPLE)

    assert await pending(connection, [folder]) == ["users/0001_people.sql", "users/0002_skills.sql"]
    assert await migrate(dsn, [folder]) == ["users/0001_people.sql", "users/0002_skills.sql"]
    assert await migrate(dsn, [folder]) == []
    assert await pending(connection, [folder]) == []
    assert await connection.fetch("SELECT id, skills FROM people") == []


async def test_components_are_numbered_apart(dsn: str, tmp_path: Path, users: Files) -> None:
    applied = await migrate(dsn, [PLATFORM, users(v0001_people=PEOPLE)])
    assert applied == ["kit/0001_platform.sql", "kit/0002_jobs.sql", "users/0001_people.sql"]

    database = Database(dsn, size=1)
    await database.open()
    users(v0002_more="SELECT 1")
    assert await pending(database, [PLATFORM, tmp_path / "users" / "schema"]) == ["users/0002_more.sql"]
    await database.close()


async def test_replicas_that_start_together_apply_each_file_once(dsn: str, users: Files) -> None:
    folder = users(
        v0001_people=PEOPLE + "SELECT pg_sleep(0.2);",
        v0002_index="-- migrate:no-transaction\nCREATE INDEX CONCURRENTLY people_id_idx ON people (id);",
        v0003_first="INSERT INTO people VALUES (1);",
    )

    async with asyncio.timeout(20):
        applied = await asyncio.gather(*(migrate(dsn, [folder]) for _ in range(4)))

    assert sorted(map(len, applied)) == [0, 0, 0, 3]


async def test_a_file_that_fails_leaves_nothing_and_the_error_names_its_line(
    dsn: str, connection: asyncpg.Connection, users: Files
) -> None:
    folder = users(
        v0001_people=PEOPLE,
        v0002_wrong="CREATE TABLE half ();\n\n-- a comment; with a semicolon\nCREATE TABLE people ();\n",
        v0003_later="CREATE TABLE later ();",
    )

    with pytest.raises(StatementError, match=r'users/0002_wrong\.sql, line 4: relation "people" already exists'):
        await migrate(dsn, [folder])

    assert await pending(connection, [folder]) == ["users/0002_wrong.sql", "users/0003_later.sql"]
    assert await connection.fetchval("SELECT to_regclass('half')") is None


async def test_the_line_is_the_one_that_postgresql_points_at(dsn: str, users: Files) -> None:
    with pytest.raises(StatementError, match="line 3: type"):
        await migrate(dsn, [users(v0001_people="CREATE TABLE people (\n    id int,\n    name txt\n);")])


async def test_a_changed_file_is_refused(dsn: str, users: Files) -> None:
    await migrate(dsn, [users(v0001_people=PEOPLE)])
    with pytest.raises(ChangedFileError, match=r"users/0001_people\.sql"):
        await migrate(dsn, [users(v0001_people=PEOPLE + "-- again")])


async def test_line_endings_are_no_change(dsn: str, users: Files) -> None:
    folder = users(v0001_people=PEOPLE)
    await migrate(dsn, [folder])
    (folder / "0001_people.sql").write_bytes(PEOPLE.replace("\n", "\r\n").encode())
    assert await migrate(dsn, [folder]) == []


async def test_a_vanished_file_is_refused(dsn: str, users: Files) -> None:
    folder = users(v0001_people=PEOPLE, v0002_more="SELECT 1")
    await migrate(dsn, [folder])
    (folder / "0001_people.sql").unlink()
    with pytest.raises(VanishedFileError, match=r"users/0001_people\.sql"):
        await migrate(dsn, [folder])


async def test_a_database_of_a_newer_release_is_refused(dsn: str, users: Files) -> None:
    folder = users(v0001_people=PEOPLE, v0002_more="SELECT 1")
    await migrate(dsn, [folder])
    (folder / "0002_more.sql").unlink()
    with pytest.raises(NewerDatabaseError, match=r"users/0002_more\.sql"):
        await migrate(dsn, [folder])


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        (["0001_a", "0003_c"], "0003_c.sql follows a gap: there is no 0002"),
        (["0001_a", "0001_b"], "0001_a.sql and 0001_b.sql .* have the same number"),
        (["1_a"], "1_a.sql .* is not named like"),
    ],
)
async def test_badly_numbered_files_are_refused(
    dsn: str, connection: asyncpg.Connection, users: Files, files: list[str], complaint: str
) -> None:
    folder = users(**dict.fromkeys((f"v{name}" for name in files), "CREATE TABLE t ()"))
    with pytest.raises(MigrationFilesError, match=complaint):
        await migrate(dsn, [folder])
    assert await connection.fetchval("SELECT to_regclass('t')") is None


async def test_waiting_for_another_migration_ends_with_a_clear_error(
    dsn: str, connection: asyncpg.Connection, users: Files
) -> None:
    await connection.execute("SELECT pg_advisory_lock($1)", migrations.MIGRATING)
    with pytest.raises(MigrationLockError, match="Another process"):
        await migrate(dsn, [users(v0001_people=PEOPLE)], lock_timeout=0.2)


async def test_waiting_for_a_table_ends_with_a_clear_error(dsn: str, connection: asyncpg.Connection, users: Files) -> None:
    await migrate(dsn, [users(v0001_people=PEOPLE)])
    folder = users(v0002_skills="\nALTER TABLE people ADD skills text[];")
    async with connection.transaction():
        await connection.execute("LOCK TABLE people IN ACCESS SHARE MODE")
        with pytest.raises(MigrationLockError, match=r"0002_skills\.sql, line 2: another session holds"):
            await migrate(dsn, [folder], lock_timeout=0.2)
    assert await migrate(dsn, [folder]) == ["users/0002_skills.sql"]


async def test_a_file_outside_a_transaction_is_run_again_after_a_failure(
    dsn: str, connection: asyncpg.Connection, users: Files
) -> None:
    build = (
        "-- migrate:no-transaction\nDROP INDEX CONCURRENTLY IF EXISTS one;\nCREATE UNIQUE INDEX CONCURRENTLY one ON t (n);"
    )
    folder = users(v0001_t="CREATE TABLE t (n int); INSERT INTO t VALUES (1), (1);", v0002_one=build)
    with pytest.raises(StatementError, match="line 3: could not create unique index"):
        await migrate(dsn, [folder])
    await connection.execute("DELETE FROM t")
    assert await migrate(dsn, [folder]) == ["users/0002_one.sql"]


async def test_a_server_that_is_away_is_said_to_be(tmp_path: Path, users: Files) -> None:
    with pytest.raises(DatabaseUnavailable):
        await migrate(f"postgresql://nobody@/none?host={tmp_path}", [users(v0001_people=PEOPLE)])


def test_semicolons_that_end_no_statement_are_kept() -> None:
    body = "CREATE FUNCTION f() RETURNS int AS $f$ BEGIN; RETURN 1; END $f$ LANGUAGE plpgsql"
    text = r"""SELECT ';', E'\';', "a;b" /* ; */ FROM t -- ;"""
    assert [statement for _, statement in migrations.split(f"-- ;\n{body};\n{text}\n;\n-- end;\n")] == [body, text + "\n"]


async def test_the_tables_of_jobs_are_those_of_the_installed_pgqueuer(dsn: str, connection: asyncpg.Connection) -> None:
    await migrate(dsn, [PLATFORM])
    plan = await queries_on(connection).plan_upgrade()
    # Its notify trigger is left out on purpose: see 0002_jobs.sql.
    assert [statement.split()[1:3] for statement in plan.statements] == [
        ["FUNCTION", "fn_pgqueuer_changed()"],
        ["TRIGGER", "tg_pgqueuer_changed"],
    ]
