"""A worker, as the pool sees it: a process that is spoken to, and that can be ended at any moment."""

import asyncio
import contextlib
import os
from collections.abc import Sequence
from typing import Final, TypeVar, cast

import msgspec

from townsquare.images.model import Limits, Unavailable
from townsquare.images.protocol import LENGTH_BYTES, LONGEST, FromWorker, Missing, Ready, Start, ToWorker, frame, from_worker

START_SECONDS: Final = 30.0
"""A start takes a fifth of a second. On a machine that does nothing else for this long, pictures are not what matters."""

ENVIRONMENT: Final = {
    # Two arenas, and whatever is large goes back to the system at once: what a picture took is not kept for the next.
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": str(256 * 1024),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 20),
    "LANG": "C.UTF-8",
}
_KEPT: Final = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT")
"""What a Python or a libvips outside the usual places may need to be found. No secret of the service goes to a worker."""

M = TypeVar("M")


class Ended(Exception):
    """The worker is gone, or speaks no sense."""


class WorkerProcess:
    """One worker. Made by `start`; `end` it, whatever happens."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._stdin = cast(asyncio.StreamWriter, process.stdin)
        self._stdout = cast(asyncio.StreamReader, process.stdout)

    @classmethod
    async def start(cls, command: Sequence[str], limits: Limits) -> "WorkerProcess":
        """Start a worker and wait until it can work; raises `Unavailable` when it cannot."""
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                # Decoders print what they find in a picture.
                stderr=asyncio.subprocess.DEVNULL,
                env={**ENVIRONMENT, **kept},
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            raise Unavailable(f"no worker starts: {error.strerror}") from error
        worker = cls(process)
        try:
            await worker._greet(limits)
        except BaseException:
            await worker.end()
            raise
        return worker

    async def _greet(self, limits: Limits) -> None:
        try:
            async with asyncio.timeout(START_SECONDS):
                self.say(Start(limits))
                answer = await self.hear(Ready, Missing)
        except (Ended, TimeoutError) as error:
            raise Unavailable("no worker starts") from error
        if isinstance(answer, Missing):
            raise Unavailable(answer.why)

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether nobody has seen it end yet."""
        return self._process.returncode is None

    def say(self, message: ToWorker) -> None:
        """Send the message. A worker that is gone is noticed when it does not answer."""
        self._stdin.write(frame(message))

    async def hear(self, *expected: type[M]) -> M:
        """Return the next message, which must be of one of the expected kinds; raises `Ended`."""
        try:
            length = int.from_bytes(await self._stdout.readexactly(LENGTH_BYTES))
            if length > LONGEST:
                raise Ended
            message: FromWorker = from_worker.decode(await self._stdout.readexactly(length))
        except (asyncio.IncompleteReadError, ConnectionError, msgspec.DecodeError) as error:
            raise Ended from error
        if not isinstance(message, expected):
            raise Ended
        return message

    def kill(self) -> None:
        """End the process now. It may take a moment until it is gone."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def end(self) -> int:
        """End the process now and wait until it is gone: nothing is written by it after that. Returns its exit code."""
        self.kill()
        return await self._gone()

    async def exit_code(self) -> int:
        """Return how a process that has closed its pipe ends; one that does not end by itself is ended."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                return await self._gone()
        return await self.end()

    async def _gone(self) -> int:
        code = await self._process.wait()
        self._stdin.close()
        return code
