"""A few processes kept running: a failed one is started again, with back-off; all are ended together."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from townsquare.kit.logs import get_logger

STABLE_SECONDS = 10.0
FIRST_PAUSE = 0.2
MAX_PAUSE = 10.0
END_SECONDS = 8.0


@dataclass(frozen=True, slots=True)
class Program:
    """One process: a name for people, `townsquare` arguments, sockets to hand down and extra environment."""

    name: str
    arguments: Sequence[str]
    sockets: Sequence[int] = ()
    environment: Mapping[str, str] = field(default_factory=dict[str, str])


class Supervisor:
    """Runs programs until told to stop."""

    def __init__(self, programs: Sequence[Program]) -> None:
        self._programs = programs
        self._running: dict[str, asyncio.subprocess.Process] = {}
        self._log = get_logger("supervisor")

    async def run(self, stop: asyncio.Event) -> None:
        """Start everything, restart what fails, end everything when `stop` is set."""
        keepers = [asyncio.create_task(self._keep(program, stop)) for program in self._programs]
        await stop.wait()
        await asyncio.gather(*(self._end(process) for process in self._running.values()))
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)

    async def _keep(self, program: Program, stop: asyncio.Event) -> None:
        pause = FIRST_PAUSE
        while not stop.is_set():
            started = time.monotonic()
            process = await self._start(program)
            code = await process.wait()
            if stop.is_set():
                return
            pause = FIRST_PAUSE if time.monotonic() - started > STABLE_SECONDS else min(pause * 2, MAX_PAUSE)
            self._log.warning("process ended, starting it again", program=program.name, code=code, pause=pause)
            await asyncio.sleep(pause)

    async def _start(self, program: Program) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "townsquare",
            *program.arguments,
            pass_fds=tuple(program.sockets),
            env={**os.environ, **program.environment},
            stdin=asyncio.subprocess.PIPE,
        )
        self._running[program.name] = process
        return process

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        if process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), END_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()


async def parent_gone() -> None:
    """Return when the supervising process is gone, however it went: it holds the other end of our standard input."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()
