"""The pool: what a lost connection, a cancellation and a deadlock leave behind."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from urllib.parse import urlsplit

import pytest

from townsquare.kit.database import Connection, Database, DatabaseUnavailable, OutcomeUnknown
from townsquare.kit.errors import to_problem
from townsquare.kit.outbox import Outbox
from townsquare.kit.postgres import EmbeddedPostgres
from townsquare.kit.writes import Write


@pytest.fixture
async def narrow(postgres: EmbeddedPostgres) -> AsyncIterator[Database]:
    """A pool of one connection."""
    database = Database(postgres.url("postgres"), size=1, deadline=2)
    await database.open()
    yield database
    await database.close()


@pytest.fixture
async def wide(postgres: EmbeddedPostgres) -> AsyncIterator[Database]:
    """A pool of two connections, and a table with two rows."""
    database = Database(postgres.url("postgres"), size=2, deadline=10)
    await database.open()
    await database.execute("CREATE TABLE IF NOT EXISTS pairs (id int PRIMARY KEY, times int NOT NULL DEFAULT 0)")
    await database.execute("INSERT INTO pairs VALUES (1), (2) ON CONFLICT DO NOTHING")
    yield database
    await database.execute("DROP TABLE pairs")
    await database.close()


def write_on(database: Database) -> Write:
    return Write(database, Outbox(database), "test")


async def waiting(database: Database) -> None:
    """Return when somebody waits for a connection."""
    async with asyncio.timeout(5):
        while not database.waiting:
            await asyncio.sleep(0)


async def handed_over_dead(database: Database, connection: Connection) -> None:
    """Hand the connection to who waits for it, and lose it before he can look."""
    await waiting(database)
    database.give(connection)
    connection.terminate()


async def test_a_connection_lost_while_it_is_handed_to_a_write_is_unavailability(narrow: Database) -> None:
    held = await narrow.take()
    write = write_on(narrow)
    writing = asyncio.create_task(write.execute("SELECT 1"))
    await handed_over_dead(narrow, held)
    with pytest.raises(DatabaseUnavailable):
        await writing
    await write.rollback()
    assert await narrow.fetchval("SELECT 1") == 1


async def test_a_connection_lost_while_it_is_handed_to_a_transaction_is_unavailability(narrow: Database) -> None:
    async def transact() -> None:
        async with narrow.transaction() as connection:
            await connection.execute("SELECT 1")

    held = await narrow.take()
    transacting = asyncio.create_task(transact())
    await handed_over_dead(narrow, held)
    with pytest.raises(DatabaseUnavailable):
        await transacting
    assert await narrow.fetchval("SELECT 1") == 1


async def test_who_leaves_when_a_connection_is_lent_does_not_keep_it(narrow: Database) -> None:
    held = await narrow.take()
    leaving = asyncio.create_task(narrow.fetchval("SELECT 1"))
    await waiting(narrow)
    narrow.give(held)
    leaving.cancel()
    with suppress(asyncio.CancelledError):
        await leaving
    assert narrow.in_use == 0
    assert await narrow.fetchval("SELECT 2") == 2


async def test_a_cancelled_rollback_does_not_lend_its_open_transaction_to_the_next(narrow: Database) -> None:
    write = write_on(narrow)
    await write.execute("SELECT 1")
    leaving = asyncio.create_task(write.rollback())
    await asyncio.sleep(0)
    leaving.cancel()
    with suppress(asyncio.CancelledError):
        await leaving
    async with narrow.connection() as connection:
        assert not connection.is_in_transaction()


async def test_what_is_not_rolled_back_is_closed_when_it_is_given_back(narrow: Database) -> None:
    connection = await narrow.take()
    await connection.execute("BEGIN")
    narrow.give(connection)
    assert connection.is_closed()


async def test_a_deadlock_is_unavailability_and_keeps_the_connections(wide: Database) -> None:
    both_hold_one = asyncio.Barrier(2)

    async def touch(first: int, second: int) -> bool:
        try:
            async with wide.transaction() as connection:
                await connection.execute("UPDATE pairs SET times = times + 1 WHERE id = $1", first)
                await both_hold_one.wait()
                await connection.execute("UPDATE pairs SET times = times + 1 WHERE id = $1", second)
        except DatabaseUnavailable:
            return False
        return True

    assert sorted(await asyncio.gather(touch(1, 2), touch(2, 1))) == [False, True]
    assert wide.idle == 2
    assert await wide.fetchval("SELECT sum(times) FROM pairs") == 2


async def test_of_a_commit_that_was_cut_off_nobody_says_that_nothing_was_changed(wide: Database) -> None:
    write = write_on(wide)
    pid = await write.fetchval("SELECT pg_backend_pid()")
    await write.execute("UPDATE pairs SET times = times + 1 WHERE id = 1")
    await wide.execute("SELECT pg_terminate_backend($1, 5000)", pid)
    with pytest.raises(OutcomeUnknown) as cut:
        await write.commit()
    await write.rollback()
    problem = to_problem(cut.value)
    assert (problem.status, problem.headers["Retry-After"]) == (503, "1")
    assert "not known" in problem.detail
    assert "nothing was changed" in to_problem(DatabaseUnavailable()).detail


@pytest.fixture
async def bounded(postgres: EmbeddedPostgres) -> AsyncIterator[Database]:
    """A pool of ten connections to a server that takes two."""
    async with Database(postgres.url("postgres"), size=1).connection() as admin:
        await admin.execute("CREATE ROLE bounded LOGIN CONNECTION LIMIT 2")
    server = urlsplit(postgres.url("postgres"))
    database = Database(server._replace(netloc="bounded@").geturl(), size=10)
    await database.open()
    yield database
    await database.close()
    async with Database(postgres.url("postgres"), size=1).connection() as admin:
        await admin.execute("DROP ROLE bounded")


async def test_a_server_that_takes_fewer_connections_than_the_pool_would_have_serves_all_the_same(bounded: Database) -> None:
    answers = await asyncio.gather(*(bounded.fetchval("SELECT pg_sleep(0.01) IS NOT NULL") for _ in range(50)))
    assert answers == [True] * 50


async def test_one_overdue_query_makes_nobody_else_fail(postgres: EmbeddedPostgres) -> None:
    database = Database(postgres.url("postgres"), size=5, deadline=0.5)
    await database.open()
    overdue = asyncio.create_task(database.execute("SELECT pg_sleep(20)"))
    while not overdue.done():  # what goes on beside it, and needs new connections the moment it is ended
        assert await asyncio.gather(*(database.fetchval("SELECT 1") for _ in range(20))) == [1] * 20
    with pytest.raises(DatabaseUnavailable):
        await overdue
    assert await asyncio.gather(*(database.fetchval("SELECT 1") for _ in range(20))) == [1] * 20
    await database.close()
