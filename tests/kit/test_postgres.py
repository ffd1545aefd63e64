"""The embedded PostgreSQL is found or started, shared, configured and stopped."""

import asyncio
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from testbed.postgres_users import (
    active,
    another_townsquare,
    ask,
    data_folder,
    running,
    told_pid,
    townsquare_on,
    until_active,
)
from townsquare.kit.postgres_errors import PostgresBusyError, PostgresFolderError, PostgresStartError, PostgresVersionError
from townsquare.kit.postgres_locks import only_starter
from townsquare.kit.postgres_postmaster import find_postmaster

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to look for another account")


@pytest.fixture
def data() -> Iterator[Path]:
    """A data folder of the test's own."""
    with data_folder() as folder:
        yield folder


async def test_cold_start_gives_an_empty_safe_and_private_server(data: Path) -> None:
    async with running(data) as server:
        assert await ask(server, "SHOW data_checksums") == "on"
        assert await ask(server, "SHOW server_encoding") == "UTF8"
        assert await ask(server, "SHOW listen_addresses") == ""
        assert await ask(server, "SHOW jit") == "off"
        assert stat.S_IMODE((data / "run").stat().st_mode) == 0o700
        assert stat.S_IMODE(server.log.stat().st_mode) == 0o600
    assert find_postmaster(server.cluster) is None


async def test_an_acknowledged_write_is_on_disk_unless_a_test_says_otherwise(data: Path) -> None:
    async with running(data, durable=True) as server:
        for name in ("fsync", "synchronous_commit", "full_page_writes"):
            assert await ask(server, f"SHOW {name}") == "on"


async def test_letters_of_every_script_are_letters(data: Path) -> None:
    async with running(data) as server:
        connection = await asyncpg.connect(server.url("postgres"))
        await connection.execute("CREATE EXTENSION pg_trgm")
        trigrams = await connection.fetchval("SELECT array_length(show_trgm('żółw'), 1)")
        lowered = await connection.fetchval("SELECT lower('ŻÓŁW ΣΑΣ')")
        await connection.close()
    assert trigrams == 5
    assert lowered.startswith("żółw σα")


async def test_warm_start_finds_what_was_written(data: Path) -> None:
    async with running(data) as server:
        await ask(server, "CREATE TABLE kept AS SELECT 7 AS number")
    async with running(data) as server:
        assert await ask(server, "SELECT number FROM kept") == 7


async def test_second_townsquare_adopts_and_the_last_one_stops(data: Path) -> None:
    first, second = townsquare_on(data), townsquare_on(data)
    await first.start()
    await second.start()
    assert first.pid == second.pid
    await first.stop()
    assert await ask(second, "SELECT 1") == 1
    await second.stop()
    assert find_postmaster(first.cluster) is None


async def test_processes_that_start_together_share_one_server(data: Path) -> None:
    others = [another_townsquare(data) for _ in range(3)]
    pids = {await asyncio.to_thread(told_pid, other) for other in others}
    assert len(pids) == 1
    for other in others:
        other.communicate("stop\n", timeout=60)
    assert [other.returncode for other in others] == [0, 0, 0]
    assert find_postmaster(data / "postgres") is None


async def test_files_that_are_no_cluster_are_not_touched(data: Path) -> None:
    (data / "postgres").mkdir()
    (data / "postgres" / "thesis.txt").write_text("years of work")
    with pytest.raises(PostgresFolderError, match="no PostgreSQL cluster"):
        await townsquare_on(data).start()
    assert (data / "postgres" / "thesis.txt").exists()


@pytest.mark.parametrize("name", ["a" * 120, 'o\'clock, "sharp" & 100 %'])
async def test_a_folder_that_fits_no_socket_address_is_served_from_a_private_one(data: Path, name: str) -> None:
    async with running(data / name) as server:
        assert await ask(server, "SELECT 1") == 1
        sockets = Path(str(await ask(server, "SHOW unix_socket_directories")).strip('"'))
        assert not sockets.is_relative_to(data)
        assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
    shutil.rmtree(sockets)


async def test_a_locked_out_townsquare_is_told_so(data: Path) -> None:
    async with running(data) as server:
        hba = server.cluster / "pg_hba.conf"
        hba.write_text("local all all reject\n")
    with pytest.raises(PostgresStartError, match="does not let townsquare in"):
        await townsquare_on(data).start()


async def test_an_abandoned_query_does_not_run_on(data: Path) -> None:
    async with running(data) as server:
        connection = await asyncpg.connect(server.url("postgres"))
        busy = asyncio.create_task(connection.execute("SELECT pg_sleep(60)"))
        await until_active(server, "SELECT pg_sleep%")
        connection.terminate()
        async with asyncio.timeout(10):
            while await active(server, "SELECT pg_sleep%"):
                await asyncio.sleep(0.05)
        with pytest.raises((OSError, asyncpg.PostgresError, asyncpg.InterfaceError)):
            await busy


async def test_databases_are_created_once_however_many_ask(data: Path) -> None:
    async with running(data) as server, running(data) as other:
        wanted = ["users", "content", 'odd "name"']
        await asyncio.gather(*(one.ensure_databases(wanted) for one in (server, other, server)))
        await server.ensure_databases(wanted)
        connection = await asyncpg.connect(server.url('odd "name"'))
        assert await connection.fetchval("SELECT current_database()") == 'odd "name"'
        await connection.close()


async def test_the_operators_settings_win(data: Path) -> None:
    async with running(data) as server:
        assert await ask(server, "SHOW max_connections") == "200"
        (server.cluster / "custom.conf").write_text("max_connections = 33\n")
    async with running(data) as server:
        assert await ask(server, "SHOW max_connections") == "33"


async def test_a_wrong_setting_is_shown_to_the_operator(data: Path) -> None:
    async with running(data) as server:
        (server.cluster / "custom.conf").write_text("max_connektions = 33\n")
    with pytest.raises(PostgresStartError, match="max_connektions"):
        await townsquare_on(data).start()


async def test_a_cluster_of_another_version_is_refused_by_name(data: Path) -> None:
    async with running(data) as server:
        pass
    (server.cluster / "PG_VERSION").write_text("14\n")
    with pytest.raises(PostgresVersionError, match=r"made by PostgreSQL 14.*these programs are PostgreSQL \d\d"):
        await townsquare_on(data).start()


async def test_a_start_that_failed_leaves_the_way_free(data: Path) -> None:
    async with running(data) as server:
        (server.cluster / "custom.conf").write_text("nonsense = 1\n")
    with pytest.raises(PostgresStartError):
        await server.start()
    (server.cluster / "custom.conf").unlink()
    async with running(data) as server:
        assert await ask(server, "SELECT 1") == 1


def test_waiting_for_another_starter_ends(data: Path) -> None:
    lock = data / "postgres.lock"
    with (
        only_starter(lock, patience=1),
        pytest.raises(PostgresBusyError, match="Another process"),
        only_starter(lock, patience=0.1),
    ):
        pass


async def test_a_large_log_is_put_aside(data: Path) -> None:
    async with running(data) as server:
        pass
    with server.log.open("ab") as log:
        log.truncate(20 * 1024 * 1024)
    async with running(data):
        assert server.log.stat().st_size < 1024 * 1024
        assert (data / "postgres.log.1").stat().st_size == 20 * 1024 * 1024


@as_root
async def test_root_lends_the_cluster_to_an_unprivileged_account(data: Path) -> None:
    async with running(data) as server:
        owner = server.cluster.stat().st_uid
        assert owner != 0
        assert Path(f"/proc/{server.pid}").stat().st_uid == owner


@as_root
async def test_root_behind_a_closed_door_uses_a_namespace_of_its_own(data: Path) -> None:
    data.chmod(0o700)
    async with running(data) as server:
        assert await ask(server, "SELECT 1") == 1
        assert server.cluster.stat().st_uid == 0
        mapping = Path(f"/proc/{server.pid}/uid_map").read_text().split()
        assert mapping[0] != "0"
        assert mapping[1:] == ["0", "1"]
    assert find_postmaster(server.cluster) is None


@as_root
async def test_a_cluster_changes_hands_when_its_account_is_locked_out(data: Path) -> None:
    async with running(data) as server:
        await ask(server, "CREATE TABLE kept AS SELECT 7 AS number")
    data.chmod(0o700)
    async with running(data) as server:
        assert await ask(server, "SELECT number FROM kept") == 7
    assert {path.lstat().st_uid for path in server.cluster.rglob("*")} == {0}
