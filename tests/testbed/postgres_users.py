"""Townsquares that use one embedded PostgreSQL, in this process and in others, and a look at what they leave behind."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import asyncpg

from testbed.postgres import FORGETFUL
from townsquare.kit.postgres import EmbeddedPostgres, find_programs
from townsquare.kit.postgres_postmaster import find_postmaster

GIGABYTE = 2**30
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


@contextmanager
def data_folder() -> Iterator[Path]:
    """A data folder that every account can pass through; whatever still runs on it is ended."""
    with tempfile.TemporaryDirectory(prefix="town-", dir=_quick_place(), ignore_cleanup_errors=True) as folder:
        place = Path(folder)
        place.chmod(0o711)
        yield place
        for pid_file in place.rglob("postmaster.pid"):
            if postmaster := find_postmaster(pid_file.parent):
                os.kill(postmaster.pid, signal.SIGCONT)
                postmaster.end(patience=5)


def _quick_place() -> str | None:
    # A cluster is made by almost every test and synced to disk: in memory, where there is enough, that costs nothing.
    memory = Path("/dev/shm")
    enough = memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > GIGABYTE
    return str(memory) if enough else None


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


def programs_on(data: Path) -> list[str]:
    """The command lines of the programs that were told to work on the folder."""
    lines = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            lines.append(entry.read_bytes().decode(errors="replace"))
    return [line for line in lines if str(data) in line]


async def active(server: EmbeddedPostgres, query: str) -> bool:
    """Whether a query like this one is at work."""
    counting = f"SELECT count(*) FROM pg_stat_activity WHERE query LIKE '{query}' AND state = 'active'"
    return await ask(server, counting) == 1


async def until_active(server: EmbeddedPostgres, query: str) -> None:
    """Wait for a query like this one to be at work."""
    async with asyncio.timeout(10):
        while not await active(server, query):
            await asyncio.sleep(0.01)
