"""The real command line as a process of its own: started, watched, killed and stopped as an operator would."""

import asyncio
import os
import random
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import aiohttp
import asyncpg
import psutil

from testbed.town import Client
from townsquare.kit.postgres_cluster import ROLE
from townsquare.kit.postgres_postmaster import PidFile

PORTS = 7
START_SECONDS = 90
"""For a machine that is busy with everything else."""


def free_port() -> int:
    """Return a port that is free with the six behind it, as `--split` needs them."""
    while True:
        base = random.randrange(20_000, 32_000, PORTS)
        with suppress(OSError):
            for port in range(base, base + PORTS):
                with socket.socket() as listener:
                    listener.bind(("127.0.0.1", port))
            return base


class Platform:
    """One `townsquare` command that serves until it is told to stop."""

    def __init__(
        self, data: Path, *arguments: str, port: int | None = None, prefix: Sequence[str] = (), **settings: object
    ) -> None:
        self.data = data
        self.port = free_port() if port is None else port
        self.base = f"http://127.0.0.1:{self.port}"
        self.lines: list[str] = []
        self._arguments = arguments
        self._prefix = prefix
        self._settings = {"rate_limits": "off", **settings, "port": self.port}
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._said = asyncio.Condition()

    @property
    def pid(self) -> int:
        """The command's own process."""
        assert self._process is not None
        return self._process.pid

    @property
    def output(self) -> str:
        """What it has printed and logged so far."""
        return "\n".join(self.lines)

    async def begin(self) -> None:
        """Start the process, without waiting for anything."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith("TOWNSQUARE_")}
        environment |= {f"TOWNSQUARE_{name.upper()}": str(value) for name, value in self._settings.items()}
        self._process = await asyncio.create_subprocess_exec(
            *self._prefix,
            sys.executable,
            "-m",
            "townsquare",
            *self._arguments,
            "--data",
            str(self.data),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=environment,
            cwd="/",
        )
        self._reading = asyncio.create_task(self._read(self._process))

    async def start(self, ready: str = r"ready at") -> None:
        """Start the process and wait until it says that it is ready."""
        await self.begin()
        await self.until_said(ready)

    async def until_said(self, pattern: str, times: int = 1) -> None:
        """Wait until so many lines match; fails when the process ends without."""
        async with asyncio.timeout(START_SECONDS), self._said:
            await self._said.wait_for(lambda: self._matching(pattern) >= times or self._ended())
        assert self._matching(pattern) >= times, self.output

    async def wait(self) -> int:
        """Return the exit code."""
        assert self._process is not None
        assert self._reading is not None
        code = await asyncio.wait_for(self._process.wait(), START_SECONDS)
        await self._reading
        return code

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Tell it to stop; returns the exit code."""
        self.tell(number)
        return await self.wait()

    def tell(self, number: signal.Signals) -> None:
        """Send a signal to the command's own process."""
        assert self._process is not None
        with suppress(ProcessLookupError):
            self._process.send_signal(number)

    def family(self) -> list[psutil.Process]:
        """The process, its children, and the PostgreSQL that it uses."""
        own = psutil.Process(self.pid)
        found = {process.pid: process for process in (own, *own.children(recursive=True), *self.postgres())}
        return list(found.values())

    def children(self, *words: str) -> list[psutil.Process]:
        """The child processes whose command line holds all the words."""
        children = psutil.Process(self.pid).children(recursive=True)
        return [child for child in children if set(words) <= set(child.cmdline())]

    def postgres(self) -> list[psutil.Process]:
        """The server's processes, the main one first."""
        noted = PidFile.read(self.data / "postgres")
        if noted is None:
            return []
        with suppress(psutil.NoSuchProcess):
            main = psutil.Process(noted.pid)
            return [main, *main.children(recursive=True)]
        return []

    async def database(self, name: str) -> asyncpg.Connection:
        """Connect to a service's database."""
        noted = PidFile.read(self.data / "postgres")
        assert noted is not None
        return await asyncpg.connect(host=str(noted.sockets), port=noted.port or 5432, user=ROLE, database=name)

    @asynccontextmanager
    async def client(self, base: str | None = None) -> AsyncIterator[Client]:
        """Lend a client whose every request has a connection of its own."""
        connector = aiohttp.TCPConnector(force_close=True, limit=0)
        async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:
            yield Client(session, base or self.base)

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            async with self._said:
                self.lines.append(line.decode(errors="replace").rstrip())
                self._said.notify_all()
        await process.wait()
        async with self._said:
            self._said.notify_all()

    def _matching(self, pattern: str) -> int:
        return sum(re.search(pattern, line) is not None for line in self.lines)

    def _ended(self) -> bool:
        return self._process is None or self._process.returncode is not None


@asynccontextmanager
async def running_platform(data: Path, *arguments: str, **options: object) -> AsyncIterator[Platform]:
    """Run a command until the block ends; nothing of it is left then."""
    platform = Platform(data, *arguments, **options)  # type: ignore[arg-type]
    try:
        await platform.start()
        yield platform
    finally:
        await end(platform)


async def end(platform: Platform) -> None:
    """Stop the platform, whatever state a test has left it in; by force if need be."""
    if platform._process is None or platform._process.returncode is not None:
        return
    family = platform.family()
    try:
        await asyncio.wait_for(platform.stop(), 40)
    except TimeoutError:
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        raise AssertionError(f"it does not stop:\n{platform.output}") from None


@contextmanager
def frozen(processes: list[psutil.Process]) -> Iterator[None]:
    """Stop the processes with SIGSTOP for a while."""
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.resume()


async def gone(processes: list[psutil.Process], seconds: float = 20) -> list[psutil.Process]:
    """Wait for the processes to end; returns those that have not."""
    _, alive = await asyncio.to_thread(psutil.wait_procs, processes, seconds)
    return [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


async def until(condition: Callable[[], Awaitable[object]], seconds: float = 30) -> None:
    """Wait until an async function returns something true."""
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.05)


async def ready(platform: Platform) -> bool:
    """Whether the platform says that it is ready."""
    async with platform.client() as client:
        with suppress(aiohttp.ClientError):
            return (await client.get("/health/ready")).status == 200
    return False
