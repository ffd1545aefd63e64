"""The embedded PostgreSQL is found or started, shared, recovered and stopped, whatever happened before."""

import asyncio
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import asyncpg
import pytest

from testbed.postgres import FORGETFUL
from townsquare.kit.postgres import EmbeddedPostgres, find_programs
from townsquare.kit.postgres_errors import (
    PostgresBusyError,
    PostgresFolderError,
    PostgresSilentError,
    PostgresStartError,
    PostgresVersionError,
)
from townsquare.kit.postgres_locks import only_starter
from townsquare.kit.postgres_postmaster import find_postmaster

ANOTHER_TOWNSQUARE = """
import asyncio, sys
from pathlib import Path
from townsquare.kit.postgres import EmbeddedPostgres, find_programs

async def main():
    server = EmbeddedPostgres(Path(sys.argv[1]), find_programs(None))
    await server.start()
    await server.ensure_databases(["users", "content"])
    print(server.pid, flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    await server.stop()

asyncio.run(main())
"""
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to look for another account")


@pytest.fixture
def data() -> Iterator[Path]:
    """A data folder that every account can pass through; whatever still runs on it is ended."""
    with tempfile.TemporaryDirectory(prefix="town-", ignore_cleanup_errors=True) as folder:
        place = Path(folder)
        place.chmod(0o711)
        yield place
        for pid_file in place.rglob("postmaster.pid"):
            if postmaster := find_postmaster(pid_file.parent):
                os.kill(postmaster.pid, signal.SIGCONT)
                postmaster.end(patience=5)


def townsquare_on(data: Path, *, durable: bool = False, **timeouts: float) -> EmbeddedPostgres:
    """One townsquare's hold on the server; most tests do not mind losing its data."""
    return EmbeddedPostgres(data, find_programs(None), extra={} if durable else FORGETFUL, **timeouts)


@asynccontextmanager
async def running(data: Path, *, durable: bool = False) -> AsyncIterator[EmbeddedPostgres]:
    """A townsquare that uses the server for a while."""
    server = townsquare_on(data, durable=durable)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def ask(server: EmbeddedPostgres, question: str) -> object:
    """The answer to one query."""
    connection = await asyncpg.connect(server.url("postgres"))
    try:
        return await connection.fetchval(question)
    finally:
        await connection.close()


def pid_of(server: EmbeddedPostgres) -> int:
    """The process of a server that must be running."""
    assert server.pid is not None
    return server.pid


def another_townsquare(data: Path) -> subprocess.Popen[str]:
    """A second process that uses the server until its input ends."""
    command = [sys.executable, "-c", ANOTHER_TOWNSQUARE, str(data)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def told_pid(other: subprocess.Popen[str]) -> int:
    """The server's process, told by the other townsquare when the server answers."""
    assert other.stdout is not None
    return int(other.stdout.readline())


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


async def test_a_killed_townsquare_leaves_its_server_to_the_next(data: Path) -> None:
    other = another_townsquare(data)
    pid = await asyncio.to_thread(told_pid, other)
    other.kill()
    other.communicate()
    async with running(data) as server:
        assert server.pid == pid
    assert find_postmaster(server.cluster) is None


async def test_the_terminals_interrupt_does_not_reach_the_server(data: Path) -> None:
    async with running(data) as server:
        assert os.getsid(pid_of(server)) != os.getsid(0)


async def test_a_server_that_dies_is_started_again_with_all_it_acknowledged(data: Path) -> None:
    async with running(data, durable=True) as server:
        await ask(server, "CREATE TABLE kept AS SELECT 7 AS number")
        watch = asyncio.create_task(server.supervise())
        for _ in range(2):
            killed = pid_of(server)
            os.kill(killed, signal.SIGKILL)
            async with asyncio.timeout(30):
                while server.pid == killed or not await answers(server):
                    await asyncio.sleep(0.01)
        assert await ask(server, "SELECT number FROM kept") == 7
    async with asyncio.timeout(5):
        await watch


async def answers(server: EmbeddedPostgres) -> bool:
    """Whether the server takes a connection at this moment."""
    with suppress(OSError, PostgresStartError, asyncpg.PostgresError):
        return await ask(server, "SELECT true") is True
    return False


async def killed_server(data: Path) -> EmbeddedPostgres:
    """A server that was killed, its postmaster.pid left behind, as after a power cut."""
    server = townsquare_on(data)
    await server.start()
    postmaster = find_postmaster(server.cluster)
    assert postmaster is not None
    os.kill(postmaster.pid, signal.SIGKILL)
    assert await asyncio.to_thread(postmaster.ended, 10)
    postmaster.close()
    return server


async def test_remains_of_a_killed_server_do_not_prevent_a_start(data: Path) -> None:
    server = await killed_server(data)
    await server.start()
    assert await ask(server, "SELECT 1") == 1
    await server.stop()


async def test_a_killed_servers_busy_parts_do_not_prevent_a_start(data: Path) -> None:
    server = townsquare_on(data)
    await server.start()
    connection = await asyncpg.connect(server.url("postgres"))
    busy = asyncio.create_task(connection.execute("DO 'BEGIN LOOP END LOOP; END'"))
    async with asyncio.timeout(10):
        while await ask(server, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'DO %' AND state = 'active'") != 1:
            await asyncio.sleep(0.01)
    os.kill(pid_of(server), signal.SIGKILL)
    async with asyncio.timeout(8):
        await server.start()
    with pytest.raises((OSError, asyncpg.PostgresError, asyncpg.InterfaceError)):
        await busy
    await server.stop()


async def test_a_number_that_another_program_has_got_does_not_prevent_a_start(data: Path) -> None:
    server = await killed_server(data)
    # Of the server's own account: PostgreSQL knows by itself that somebody else's process cannot be a server here.
    stranger = subprocess.Popen(["sleep", "60"], user=server.cluster.stat().st_uid)
    pid_file = server.cluster / "postmaster.pid"
    _, _, rest = pid_file.read_text().partition("\n")
    pid_file.write_text(f"{stranger.pid}\n{rest}")
    try:
        await server.start()
        assert await ask(server, "SELECT 1") == 1
        await server.stop()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


async def test_an_empty_pid_file_does_not_prevent_a_start(data: Path) -> None:
    server = await killed_server(data)
    (server.cluster / "postmaster.pid").write_text("")
    await server.start()
    assert await ask(server, "SELECT 1") == 1
    await server.stop()


async def test_a_cluster_cut_short_is_made_anew(data: Path) -> None:
    half = data / "postgres.new"
    half.mkdir()
    (half / "PG_VERSION").write_text("18\n")
    async with running(data) as server:
        assert await ask(server, "SELECT 1") == 1
    assert not half.exists()


async def test_a_kill_in_the_middle_of_making_the_cluster_leaves_none(data: Path) -> None:
    other = another_townsquare(data)
    async with asyncio.timeout(30):
        while not (data / "postgres.new" / "PG_VERSION").exists():
            await asyncio.sleep(0.005)
    other.kill()
    other.communicate()
    assert not (data / "postgres").exists()
    with only_starter(data / "postgres.lock", patience=30):
        assert programs_on(data) == []
    async with running(data) as server:
        assert await ask(server, "SELECT 1") == 1


def programs_on(data: Path) -> list[str]:
    """The command lines of the programs that were told to work on the folder."""
    lines = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            lines.append(entry.read_bytes().decode(errors="replace"))
    return [line for line in lines if str(data) in line]


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


async def test_a_frozen_server_is_reported_within_the_deadline_and_used_when_it_thaws(data: Path) -> None:
    async with running(data) as server:
        os.kill(pid_of(server), signal.SIGSTOP)
        late = townsquare_on(data, answer_timeout=0.5)
        async with asyncio.timeout(5):
            with pytest.raises(PostgresSilentError, match=f"kill -CONT {server.pid}"):
                await late.start()
        os.kill(pid_of(server), signal.SIGCONT)
        await late.start()
        assert late.pid == server.pid
        await late.stop()


async def test_a_frozen_server_is_stopped_all_the_same(data: Path) -> None:
    server = townsquare_on(data, stop_timeout=0.2)
    await server.start()
    os.kill(pid_of(server), signal.SIGSTOP)
    await server.stop()
    assert find_postmaster(server.cluster) is None


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
