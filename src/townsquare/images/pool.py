"""The way in: pictures are worked on in a few processes, which may crash, hang or swell without harm to the one that asks.

A worker starts with the first picture and ends when there was none for some minutes. It has one picture at a time, so memory
is bounded by the number of workers and each one's limit; `pixels_in_flight` bounds it further, because two pictures of the
largest kind at once are rare and dear, and the second can wait. Whoever comes first is served first.
"""

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Self

from townsquare.images.admission import Admission
from townsquare.images.model import Limits, Processed, Reason, Rejected, Unavailable, Wanted
from townsquare.images.protocol import Done, Failed, Go, Job, Refused, Taken, Weighed
from townsquare.images.worker_process import Ended, WorkerProcess

COMMAND: Final = (sys.executable, "-I", "-m", "townsquare.images.worker")
"""Starts a worker. Isolated: neither the working directory nor the environment can slip it another module."""

PIXELS_IN_FLIGHT: Final = 160_000_000
"""One picture of the largest kind that is allowed, and two of the usual beside it."""

IDLE_SECONDS: Final = 120.0
ABSENCE_SECONDS: Final = 60.0
"""So long it is believed that pyvips is not there, before a worker looks again."""

STARTS: Final = 3
"""So many workers in a row may be found dead before one takes a job."""

TOO_LONG: Final = (Reason.SIZE, "The picture takes too long to work on.")
CRASHED: Final = (Reason.BROKEN, "The picture cannot be read.")

log = logging.getLogger(__name__)


class TooBusy(Exception):
    """So many pictures wait already that this one would wait too long. Come back later."""


class Pool:
    """Workers for pictures. `async with Pool(...) as pool: await pool.process(...)`; leaving it ends them all."""

    def __init__(
        self,
        workers: int = 2,
        limits: Limits | None = None,
        *,
        pixels_in_flight: int = PIXELS_IN_FLIGHT,
        queue: int = 200,
        idle_seconds: float = IDLE_SECONDS,
        command: Sequence[str] = COMMAND,
    ) -> None:
        """Take at most `workers` pictures at a time, never more than there are processors, and let `queue` others wait.

        `command` starts a worker that speaks `protocol`; tests bring their own.
        """
        self.limits = limits or Limits()
        self.crashes = 0
        """How many workers ended in the middle of a picture, by themselves or because it took too long."""
        self._command = tuple(command)
        self._queue = queue
        self._idle_seconds = idle_seconds
        self._workers = max(1, min(workers, os.cpu_count() or 1))
        self._turns = asyncio.Semaphore(self._workers)
        self._admission = Admission(pixels_in_flight)
        self._waiting = 0
        self._busy: set[WorkerProcess] = set()
        self._idle: dict[WorkerProcess, asyncio.TimerHandle] = {}
        self._absent_until, self._absent_why = 0.0, ""
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closed = True
        for retirement in self._idle.values():
            retirement.cancel()
        workers = [*self._busy, *self._idle]
        self._idle.clear()
        await asyncio.gather(*(worker.end() for worker in workers))
        # Whoever still waits is told so, and a worker that was just starting is ended by the one that started it.
        for _turn in range(self._workers):
            await self._turns.acquire()
        for _turn in range(self._workers):
            self._turns.release()

    @property
    def waiting(self) -> int:
        """How many pictures wait for a worker."""
        return self._waiting

    @property
    def working(self) -> int:
        """How many pictures are worked on."""
        return len(self._busy)

    @property
    def pids(self) -> list[int]:
        """The ids of the workers' processes."""
        return [worker.pid for worker in (*self._busy, *self._idle) if worker.alive]

    async def process(self, source: Path, folder: Path, wanted: Wanted, *, turn_within: float | None = None) -> Processed:
        """Make what is wanted of the picture at `source`, as files `{size}.{format}` in `folder`, which exists.

        Who has no turn `turn_within` seconds from now is told `TooBusy`: nothing was begun then, and nothing is lost.
        When this returns or raises, nobody writes into `folder` any more; what is in it is the caller's to remove.
        Cancelling it ends the work. Raises `Rejected` with a reason for the sender, `Unavailable`, or `TooBusy`.
        """
        job = Job(_absolute(source), _absolute(folder), sorted(wanted))
        async with self._turn(turn_within):
            for _ in range(STARTS):
                answer = await self._ask(await self._worker(), job)
                if answer is not None:
                    return _processed(answer)
            raise Unavailable("workers end as soon as they have started")

    @asynccontextmanager
    async def _turn(self, within: float | None) -> AsyncIterator[None]:
        if self._turns.locked() and self._waiting >= self._queue:
            raise TooBusy
        self._waiting += 1
        try:
            async with asyncio.timeout(within):
                await self._turns.acquire()
        except TimeoutError:
            raise TooBusy from None
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._turns.release()

    async def _worker(self) -> WorkerProcess:
        """Return a worker that has nothing to do: the one that worked last, or a new one."""
        while self._idle and not self._closed:
            worker, retirement = self._idle.popitem()
            retirement.cancel()
            if worker.alive:
                return worker
        if self._closed:
            raise Unavailable("the pool is closed")
        if time.monotonic() < self._absent_until:
            raise Unavailable(self._absent_why)
        try:
            worker = await WorkerProcess.start(self._command, self.limits)
        except Unavailable as error:
            self._absent_until, self._absent_why = time.monotonic() + ABSENCE_SECONDS, str(error)
            log.warning("pictures cannot be worked on: %s", error)
            raise
        if self._closed:
            await worker.end()
            raise Unavailable("the pool is closed")
        return worker

    async def _ask(self, worker: WorkerProcess, job: Job) -> Done | Refused | Failed | None:
        """Return the worker's answer, None when it had ended before it took the job. It is ended unless it has answered."""
        self._busy.add(worker)
        try:
            answer = await self._answer(worker, job)
        except BaseException:
            await worker.end()
            raise
        finally:
            self._busy.discard(worker)
        if answer is None or self._closed:
            await worker.end()
        else:
            self._idle[worker] = asyncio.get_running_loop().call_later(self._idle_seconds, self._retire, worker)
        return answer

    async def _answer(self, worker: WorkerProcess, job: Job) -> Done | Refused | Failed | None:
        try:
            worker.say(job)
            async with asyncio.timeout(self.limits.seconds):
                if not await self._taken(worker):
                    return None
                answer = await worker.hear(Weighed, Refused, Failed)
            if not isinstance(answer, Weighed):
                return answer
            async with self._admission.room_for(answer.pixels):
                worker.say(Go())
                async with asyncio.timeout(self.limits.seconds):
                    return await worker.hear(Done, Refused, Failed)
        except TimeoutError:
            raise self._lost("it took too long", TOO_LONG) from None
        except Ended:
            if self._closed:
                raise Unavailable("the pool is closed") from None
            code = await worker.exit_code()
            raise self._lost(f"exit code {code}", TOO_LONG if code == -signal.SIGXCPU else CRASHED) from None

    @staticmethod
    async def _taken(worker: WorkerProcess) -> bool:
        try:
            await worker.hear(Taken)
        except Ended:
            return False
        return True

    def _lost(self, how: str, refusal: tuple[Reason, str]) -> Rejected:
        self.crashes += 1
        log.warning("a worker was lost to a picture: %s", how)
        return Rejected(*refusal)

    def _retire(self, worker: WorkerProcess) -> None:
        del self._idle[worker]
        worker.kill()


def _absolute(path: Path) -> str:
    # Workers live in the root folder.
    return str(path.absolute())


def _processed(answer: Done | Refused | Failed) -> Processed:
    if isinstance(answer, Done):
        return answer.processed
    if isinstance(answer, Refused):
        raise Rejected(answer.reason, answer.message)
    log.error("a picture could not be worked on: %s", answer.why)
    if answer.ours:
        raise Unavailable(answer.why)
    raise Rejected(*CRASHED)
