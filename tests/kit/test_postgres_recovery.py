"""The embedded PostgreSQL recovers from kills, freezes, half-made clusters and misleading leftovers."""

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import asyncpg
import psutil
import pytest

from testbed.platforms import gone
from testbed.postgres_users import (
    another_townsquare,
    ask,
    data_folder,
    pid_of,
    programs_on,
    running,
    told_pid,
    townsquare_on,
    until_active,
)
from townsquare.kit.postgres import EmbeddedPostgres
from townsquare.kit.postgres_errors import PostgresSilentError, PostgresStartError
from townsquare.kit.postgres_locks import only_starter
from townsquare.kit.postgres_postmaster import find_postmaster


@pytest.fixture
def data() -> Iterator[Path]:
    """A data folder of the test's own."""
    with data_folder() as folder:
        yield folder


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
    await until_active(server, "DO %")
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


async def test_stopping_after_the_folder_was_deleted_ends_the_server(data: Path) -> None:
    server = townsquare_on(data / "town")
    await server.start()
    process = psutil.Process(pid_of(server))
    shutil.rmtree(data / "town")
    await server.stop()
    assert await gone([process]) == []


async def test_nothing_is_started_after_stop(data: Path) -> None:
    server = townsquare_on(data)
    await server.start()
    watch = asyncio.create_task(server.supervise())
    os.kill(pid_of(server), signal.SIGKILL)
    # Long enough for the death to be noticed, too short for the restart that follows it.
    await asyncio.sleep(0.1)
    await server.stop()
    async with asyncio.timeout(30):
        await watch
    assert programs_on(data) == []
