"""The follower against a real PostgreSQL: each change told once, whatever the order; trust that ends when it must."""

import asyncio
import random
import shutil
import signal
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import asyncpg
import psutil
import pytest
from structlog.testing import capture_logs

from testbed.platforms import frozen
from testbed.postgres import start_test_postgres
from townsquare.cache.cache import Cache, Change, Filled
from townsquare.cache.contact import TRUST_SECONDS
from townsquare.cache.snapshots import Snapshot
from townsquare.cache.strategies import Strategy
from townsquare.kit import follower as follower_module
from townsquare.kit.beside import beside
from townsquare.kit.database import Connection, Database
from townsquare.kit.follower import LOOK, LOOK_SECONDS, Follower
from townsquare.kit.migrations import migrate
from townsquare.kit.outbox import NewEvent, Outbox, insert_events
from townsquare.kit.postgres import EmbeddedPostgres

PLATFORM_SCHEMA = Path(follower_module.__file__).parent / "schema"
KIND = Strategy("KIND", lifetime=600, grace=60)


class RecordingCache(Cache):
    """Remembers what looks told it."""

    def __init__(self) -> None:
        super().__init__(watched=["posts"])
        self.told: list[Change] = []
        self.begun = 0

    def begin(self, snapshot: Snapshot, known_from: int) -> None:
        self.begun += 1
        super().begin(snapshot, known_from)

    def looked(self, snapshot: Snapshot, changes: Iterable[Change], trusted_until: float) -> None:
        changes = list(changes)
        self.told += changes
        super().looked(snapshot, changes, trusted_until)


class Following:
    """A process: its pool, its outbox, its cache and what follows."""

    def __init__(self, dsn: str, *, pooler: bool = False) -> None:
        self.identities: list[str] = []
        self.database = Database(dsn, size=1, pooler=pooler, name=f"test-{uuid4().hex[:8]}")
        self.outbox = Outbox(self.database)
        self.cache = RecordingCache()
        self.follower = Follower(self.cache, self.database, self.outbox, self.identities.append)

    @asynccontextmanager
    async def running(self, *, listening: bool = True) -> AsyncIterator[None]:
        await self.database.open()
        if listening:
            await self.outbox.open()
        await self.follower.look()
        try:
            async with beside(self.follower.run()):
                yield
        finally:
            await self.outbox.close()
            await self.database.close()

    async def keep(self, key: str, *tags: str) -> None:
        """Fill an entry."""

        async def fill() -> Filled:
            return Filled(key, 10, frozenset(tags))

        await self.cache.fetch(key, KIND, fill)

    async def until(self, condition: object, seconds: float = 10) -> None:
        assert callable(condition)
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(0.002)


async def fresh_database(server: EmbeddedPostgres) -> str:
    """A database of its own with nothing but the platform's tables; returns its address."""
    name = f"follower_{uuid4().hex[:8]}"
    await server.ensure_databases([name])
    await migrate(server.url(name), [PLATFORM_SCHEMA])
    return server.url(name)


@pytest.fixture
async def dsn(postgres: EmbeddedPostgres) -> str:
    return await fresh_database(postgres)


@pytest.fixture
async def writer(dsn: str) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(dsn)
    yield connection
    await connection.close()


async def change(connection: Connection, *tags: str) -> int:
    """Tell a change in the connection's transaction; returns its number. Nobody is notified."""
    return await insert_events(connection, [NewEvent("thing", "key", tags, {})])


# --- what a look tells -------------------------------------------------------------------------------------------------


async def test_each_commit_is_told_once_in_whatever_order_they_end(dsn: str) -> None:
    chance = random.Random(7)
    process = Following(dsn)
    await process.follower.look()
    connections = [await asyncpg.connect(dsn) for _ in range(6)]
    open_ones: dict[Connection, tuple[int, object]] = {}
    committed: list[int] = []
    for _ in range(300):
        connection = chance.choice(connections)
        if connection not in open_ones:
            transaction = connection.transaction()
            await transaction.start()
            open_ones[connection] = await change(connection, "a", "b"), transaction
        else:
            xid, transaction = open_ones.pop(connection)
            if chance.random() < 0.2:
                await transaction.rollback()  # type: ignore[attr-defined]
            else:
                await transaction.commit()  # type: ignore[attr-defined]
                committed.append(xid)
        if chance.random() < 0.4:
            await process.follower.look()
    await process.follower.look()
    for connection in connections:
        await connection.close()
    assert sorted(told.xid for told in process.cache.told) == sorted(committed)
    assert all(told.tags == ["a", "b"] for told in process.cache.told)
    assert process.cache.begun == 1


async def test_a_transaction_that_stays_open_costs_nothing_and_is_told_when_it_ends(dsn: str, writer: Connection) -> None:
    process, patient = Following(dsn), await asyncpg.connect(dsn)
    await process.follower.look()
    transaction = patient.transaction()
    await transaction.start()
    late = await change(patient, "late")
    others = [await change(writer, "a") for _ in range(50)]
    for _ in range(3):
        await process.follower.look()
    assert [told.xid for told in process.cache.told] == others
    await process.keep("of a", "a")
    await process.keep("of late", "late")
    await process.follower.look()
    assert process.cache.get("of a"), "what is filled while it is open is kept"
    await transaction.commit()
    await process.follower.look()
    assert process.cache.told[-1].xid == late
    assert process.cache.get("of a")
    assert process.cache.get("of late") is None
    await patient.close()


@pytest.mark.parametrize("plan", ["force_generic_plan", "force_custom_plan"])
async def test_a_look_reads_no_more_of_a_large_outbox_than_it_tells(dsn: str, writer: Connection, plan: str) -> None:
    await writer.execute(
        "INSERT INTO outbox (xid, topic, key, tags)"
        " SELECT (100 + i / 100)::text::xid8, 'a', i::text, ARRAY['a'] FROM generate_series(1, 50000) AS i"
    )
    await writer.execute("ANALYZE outbox")
    before = Snapshot.parse(await writer.fetchval("SELECT pg_current_snapshot()::text"))
    await change(writer, "new")
    await writer.execute(f"SET plan_cache_mode = {plan}")
    for active in ([], ["300", "301"]):
        rows = await writer.fetch(f"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) {LOOK}", str(before.xmax), active)
        text = "\n".join(row[0] for row in rows)
        assert "Seq Scan on outbox" not in text, text
        assert text.count("Scan using outbox_xid_id_idx") == 2, text


async def test_it_works_without_prepared_statements(dsn: str, writer: Connection) -> None:
    process = Following(dsn, pooler=True)
    await process.follower.look()
    xid = await change(writer, "a")
    await process.follower.look()
    assert process.cache.told == [Change(xid, ["a"])]


# --- how soon ------------------------------------------------------------------------------------------------------------


async def test_a_commit_without_a_notification_is_seen_within_half_a_second(dsn: str, writer: Connection) -> None:
    process = Following(dsn)
    async with process.running(listening=False):
        await process.keep("key", "a")
        began = time.monotonic()
        await change(writer, "a")
        await process.until(lambda: process.cache.get("key") is None)
        assert time.monotonic() - began < TRUST_SECONDS
    assert LOOK_SECONDS <= 0.5


async def test_no_notification_is_missed_while_a_look_is_under_way(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower_module, "LOOK_SECONDS", 60.0)
    process, other = Following(dsn), Following(dsn)
    async with process.running():
        await asyncio.sleep(0.05)  # listening has begun
        for number in range(60):
            async with other.database.transaction() as connection:
                xid = await change(connection, f"tag:{number}")
            other.outbox.committed(xid, ())
            await asyncio.sleep(number % 7 / 1_000)
        last = xid
        await process.until(lambda: last in [told.xid for told in process.cache.told], 5)
    await other.outbox.close()
    await other.database.close()


async def test_a_busy_pool_does_not_keep_it_from_looking(dsn: str, writer: Connection) -> None:
    process = Following(dsn)
    async with process.running():
        busy = asyncio.create_task(process.database.fetchval("SELECT pg_sleep(1.5)"))
        await process.until(lambda: process.database.in_use == 1)
        xid = await change(writer, "a")
        await process.until(lambda: xid in [told.xid for told in process.cache.told], 1)
        assert not busy.done()
        assert process.cache.trusted
        busy.cancel()


# --- when trust ends -----------------------------------------------------------------------------------------------------


async def test_a_cut_connection_ends_the_trust_at_once_and_loses_nothing(dsn: str, writer: Connection) -> None:
    process = Following(dsn)
    await process.follower.look()
    await process.keep("kept", "b")
    await process.keep("gone", "a")
    assert process.cache.trusted
    xid = await change(writer, "a")
    name = f"{process.database.name}-follower"
    await writer.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1", name)
    await process.until(lambda: not process.cache.trusted, TRUST_SECONDS / 2)
    await process.follower.look()
    assert process.cache.trusted
    assert process.cache.told == [Change(xid, ["a"])]
    assert process.cache.get("kept")
    assert process.cache.get("gone") is None
    assert len(process.identities) == 1


async def test_what_nobody_had_expected_is_said_once_and_not_at_each_look(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    process = Following(dsn)

    async def fail() -> None:
        raise KeyError("incarnation")

    with capture_logs() as lines:
        with monkeypatch.context() as patched:
            patched.setattr(process.follower._contact, "look", fail)
            for _ in range(3):
                await process.follower.look()
        assert not process.cache.trusted
        await process.follower.look()
    assert process.cache.trusted
    assert [line["event"] for line in lines] == ["a look at the outbox failed", "the cache is in touch again"]


@pytest.fixture
async def own_server(tmp_path: Path) -> AsyncIterator[EmbeddedPostgres]:
    """A server that may be maltreated."""
    server = await start_test_postgres(tmp_path)
    try:
        yield server
    finally:
        await server.stop()


async def test_a_frozen_database_ends_the_trust_in_a_second_and_touch_comes_back(own_server: EmbeddedPostgres) -> None:
    process = Following(await fresh_database(own_server))
    async with process.running():
        await process.keep("kept", "a")
        assert own_server.pid is not None
        master = psutil.Process(own_server.pid)
        with frozen([master, *master.children(recursive=True)]):
            began = time.monotonic()
            await process.until(lambda: not process.cache.trusted)
            assert time.monotonic() - began < TRUST_SECONDS + 0.5
            assert process.cache.get("kept") is None
        await process.until(lambda: process.cache.get("kept"))
    assert process.cache.begun == 1


async def test_after_a_crash_everything_is_begun_anew(own_server: EmbeddedPostgres) -> None:
    dsn = await fresh_database(own_server)
    process = Following(dsn)
    async with process.running():
        await process.keep("kept", "a")
        victim = await asyncpg.connect(dsn)
        await victim.execute("CHECKPOINT")  # this server is a forgetful one
        psutil.Process(victim.get_server_pid()).send_signal(signal.SIGKILL)  # the server takes it for a crash of its own
        await process.until(lambda: process.cache.begun == 2, 20)
        await process.until(lambda: process.cache.trusted)
        assert process.cache.get("kept") is None
        victim.terminate()
    assert len(set(process.identities)) == 2


async def test_after_a_restore_everything_is_begun_anew(tmp_path: Path) -> None:
    live, copy = tmp_path / "live", tmp_path / "copy"
    server = await start_test_postgres(live)
    dsn = await fresh_database(server)
    await server.stop()
    shutil.copytree(live / "postgres", copy)
    server = await start_test_postgres(live)
    process = Following(dsn)
    async with process.running():
        for _ in range(5):
            connection = await asyncpg.connect(dsn)
            await change(connection, "a")
            await connection.close()
        await process.keep("of a history that will not have been", "a")
        await server.stop()
        shutil.rmtree(live / "postgres")
        copy.rename(live / "postgres")
        server = await start_test_postgres(live)
        try:
            await process.until(lambda: process.cache.begun == 2 and process.cache.trusted, 20)
            assert len(process.cache.store) == 0
            process.cache.told.clear()
            connection = await asyncpg.connect(dsn)
            await process.keep("key", "a")
            xid = await change(connection, "a")  # a number that had been used before
            await process.until(lambda: Change(xid, ["a"]) in process.cache.told)
            assert process.cache.get("key") is None
            await connection.close()
        finally:
            await server.stop()
    assert len(set(process.identities)) == 2


# --- where it begins -----------------------------------------------------------------------------------------------------


async def test_a_process_that_starts_knows_what_had_changed_before(dsn: str, writer: Connection) -> None:
    await writer.execute(
        "INSERT INTO outbox (topic, key, tags, created_at) VALUES ('a', 'a', '{long}', now() - interval '1 day')"
    )
    shared_long_ago = Snapshot.parse(await writer.fetchval("SELECT pg_current_snapshot()::text"))
    xid = await change(writer, "a")
    process = Following(dsn)
    await process.follower.look()
    ledger = process.cache.ledger
    assert Change(xid, ["a"]) in process.cache.told
    assert not ledger.admits(["a"], shared_long_ago)
    assert ledger.admits(["b"], shared_long_ago)
    assert ledger.admits(["a"], process.cache.snapshot)
    assert not ledger.admits(["b"], Snapshot(3, 3))  # nobody can tell what has changed since then


async def test_what_still_runs_when_a_process_starts_is_told_when_it_ends(dsn: str, writer: Connection) -> None:
    transaction = writer.transaction()
    await transaction.start()
    xid = await change(writer, "a")
    process = Following(dsn)
    await process.follower.look()
    await process.keep("key", "a")
    await transaction.commit()
    await process.follower.look()
    assert process.cache.told == [Change(xid, ["a"])]
    assert process.cache.get("key") is None
