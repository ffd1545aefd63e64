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
END_SECONDS = 25.0
"""Longer than requests (5 s) and jobs (15 s) may take to end."""


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
        self._log = get_logger("supervisor")

    async def run(self, stop: asyncio.Event) -> None:
        """Start everything, restart what fails, end everything when `stop` is set."""
        async with asyncio.TaskGroup() as group:
            for program in self._programs:
                group.create_task(self._keep(program, stop))

    async def _keep(self, program: Program, stop: asyncio.Event) -> None:
        pause = FIRST_PAUSE
        while not stop.is_set():
            started = time.monotonic()
            code = await self._run(program, stop)
            if stop.is_set():
                return
            steady = time.monotonic() - started > STABLE_SECONDS
            pause = FIRST_PAUSE if steady else pause
            self._log.warning("process ended, starting it again", program=program.name, code=code, pause=pause)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), pause)
            pause = min(pause * 2, MAX_PAUSE)

    async def _run(self, program: Program, stop: asyncio.Event) -> int | str:
        """Run the process to its end, which `stop` brings about; returns its exit code, or why it did not start."""
        try:
            process = await _start(program)
        except OSError as error:
            return str(error)
        ended, stopped = asyncio.create_task(process.wait()), asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({ended, stopped}, return_when=asyncio.FIRST_COMPLETED)
            return ended.result() if ended.done() else await _end(process)
        finally:
            ended.cancel()
            stopped.cancel()


async def _start(program: Program) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "townsquare",
        *program.arguments,
        pass_fds=tuple(program.sockets),
        env={**os.environ, **program.environment},
        stdin=asyncio.subprocess.PIPE,
        # Out of reach of the terminal's Ctrl-C: the parent ends its children, in its own time.
        start_new_session=True,
    )


async def _end(process: asyncio.subprocess.Process) -> int:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        return await asyncio.wait_for(process.wait(), END_SECONDS)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        return await process.wait()


async def parent_gone() -> None:
    """Return when the supervising process is gone, however it went: it holds the other end of our standard input."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()
