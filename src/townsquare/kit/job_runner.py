"""Runs jobs beside the requests: looks for them, tries them again, stops without losing any.

pgqueuer takes each job once among all runners, keeps its heartbeat and writes down what became of it.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial

import asyncpg
import msgspec

from townsquare.kit.database import Database, DatabaseUnavailable
from townsquare.kit.job_queue import Entrypoint, Manager, PoolDriver, queries_on
from townsquare.kit.jobs import CONNECTIONS, Attempt, Job, JobContext, TryAgain

LOOK_SECONDS = 1.0
HEARTBEAT = timedelta(seconds=30)
GRACE_SECONDS = 10.0
CANCEL_SECONDS = 5.0
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
DEADLINE_SECONDS = 10.0

# Served by pgqueuer_ep_ea_idx, pgqueuer_picked_heartbeat_idx and periodic_jobs_pkey; stops at the first row of each.
LOOK = """
SELECT
    EXISTS (SELECT FROM pgqueuer WHERE entrypoint = ANY($1) AND status = 'queued' AND execute_after < now())
    OR EXISTS (
        SELECT FROM pgqueuer
        WHERE status = 'picked' AND heartbeat < now() - $2::interval AND entrypoint = ANY($1)
    ) AS ready,
    EXISTS (SELECT FROM periodic_jobs WHERE name = ANY($1) AND next_run <= now()) AS due
"""

# A changed period counts from now on; the first run of a new job is at once.
REGISTER = """
INSERT INTO periodic_jobs (name, period)
SELECT * FROM unnest($1::text[], $2::interval[])
ON CONFLICT (name) DO UPDATE
SET period = excluded.period, next_run = least(periodic_jobs.next_run, now() + excluded.period)
WHERE periodic_jobs.period <> excluded.period
"""

# The second of two processes waits for the first one's row lock and then finds the job due no more. Periods that passed
# while nothing ran are one run, and the beat is kept.
TAKE_DUE = """
UPDATE periodic_jobs
SET next_run = date_bin(period, now(), next_run) + period
WHERE name = ANY($1) AND next_run <= now()
RETURNING name
"""

# How often a job has been taken since it was last put into the queue. Served by pgqueuer_log_job_id_status.
COUNT_PICKS = """
SELECT count(*)
FROM pgqueuer_log
WHERE job_id = $1
  AND status = 'picked'
  AND id > (SELECT max(id) FROM pgqueuer_log WHERE job_id = $1 AND status = 'queued')
"""


class LostJobError(Exception):
    """The processes that ran the job have died again and again."""


class JobRunner:
    """Runs one service's jobs in this process, beside as many others as there are.

    It looks for jobs every `look` seconds, and at once after `wake`. A job whose process has not been heard of for
    `heartbeat` is taken again. A stop waits `grace` seconds for running jobs, then puts them back into the queue.
    """

    def __init__(
        self,
        dsn: str,
        jobs: Sequence[Job],
        context: JobContext,
        *,
        look: float = LOOK_SECONDS,
        heartbeat: timedelta = HEARTBEAT,
        grace: float = GRACE_SECONDS,
    ) -> None:
        self.processed: Counter[tuple[str, str]] = Counter()
        """Attempts of this process by job and outcome, one of OUTCOMES."""
        self._jobs = {job.name: job for job in jobs}
        self._context = context
        self._look_seconds = look
        self._heartbeat = heartbeat
        self._grace = grace
        # Of its own: a crowd of requests must not starve the heartbeats, nor a crowd of jobs the requests.
        self._database = Database(
            dsn,
            size=CONNECTIONS,
            pooler=context.settings.database_pooler,
            deadline=DEADLINE_SECONDS,
            name="townsquare-jobs",
        )
        self._running: set[asyncio.Future[None]] = set()
        self._interrupted = False
        self._woken = asyncio.Event()
        self._stopping = asyncio.Event()
        self._driver: PoolDriver | None = None
        self._manager: Manager | None = None
        self._work: asyncio.Task[None] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The jobs that it runs."""
        return tuple(self._jobs)

    async def run(self) -> None:
        """Run jobs until `stop`, or until cancelled, which stops as gracefully."""
        self._work = asyncio.create_task(self._serve(), name="jobs")
        try:
            await asyncio.shield(self._work)
        except asyncio.CancelledError:
            await self.stop()
            raise

    def wake(self) -> None:
        """Look now: a job has just been enqueued here."""
        self._woken.set()

    async def stop(self) -> None:
        """Take no more jobs, wait for those that run, put back into the queue what takes too long."""
        self._stopping.set()
        if self._driver is not None:
            self._driver.shutdown.set()
        if self._manager is not None:
            self._manager.stop()
        if self._work is None or await _ended(self._work, self._grace):
            return
        self._interrupted = True
        for task in self._running:
            task.cancel()
        if not await _ended(self._work, CANCEL_SECONDS):
            self._work.cancel()

    async def _serve(self) -> None:
        entrypoints = {
            name: Entrypoint(partial(self._perform, job), hold=job.every is None) for name, job in self._jobs.items()
        }
        self._driver = PoolDriver(self._database)
        with suppress(DatabaseUnavailable):
            await self._database.open()
        looking = asyncio.create_task(self._look(self._driver), name="jobs-look")
        pause = FIRST_PAUSE
        try:
            while not self._stopping.is_set():
                self._manager = Manager(self._driver, entrypoints)
                try:
                    await self._manager.run(self._heartbeat)
                except Exception:
                    self._context.log.exception("jobs are interrupted")
                    pause = await self._pause(pause)
        finally:
            looking.cancel()
            await self._database.close()

    async def _pause(self, seconds: float) -> float:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)
        return min(seconds * 2, LONGEST_PAUSE)

    async def _look(self, driver: PoolDriver) -> None:
        """Wake the manager when there is something to do; one cheap query a time."""
        registered = False
        while True:
            try:
                if not registered:
                    await self._register()
                    registered = True
                if await self._something_to_do():
                    await driver.wake()
            except (DatabaseUnavailable, asyncpg.PostgresError) as error:
                self._context.log.debug("jobs wait for the database", error_type=type(error).__name__)
            except Exception:  # nobody would look for jobs any more, and nobody would know
                self._context.log.exception("looking for jobs has failed")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), self._look_seconds)
            self._woken.clear()

    async def _register(self) -> None:
        periods = {job.name: job.every for job in self._jobs.values() if job.every is not None}
        await self._database.execute(REGISTER, list(periods), list(periods.values()))

    async def _something_to_do(self) -> bool:
        row = await self._database.fetchrow(LOOK, list(self._jobs), self._heartbeat)
        if row is not None and row["due"]:
            await self._enqueue_due()
        return row is not None and (row["ready"] or row["due"])

    async def _enqueue_due(self) -> None:
        """Enqueue the periodic jobs that are due, but none that still waits or runs from the last time."""
        async with self._database.transaction() as connection:
            queries = queries_on(connection)
            for row in await connection.fetch(TAKE_DUE, list(self._jobs)):
                await queries.enqueue(row["name"], b"{}", dedupe_key=f"every:{row['name']}", on_conflict="skip")

    async def _perform(self, job: Job, attempt: Attempt) -> None:
        """Run one attempt; raises TryAgain, or what has made the job fail for good."""
        try:
            await self._attempt(job, attempt)
        except TryAgain as again:
            self._note(job, attempt, "retried", again)
            raise
        except Exception as error:
            hopeless = isinstance(error, LostJobError | msgspec.DecodeError)
            if hopeless or attempt.failures + 1 >= job.attempts:
                self._note(job, attempt, "failed", error)
                raise
            self._note(job, attempt, "retried", error)
            raise TryAgain(job.delay(attempt.failures), str(error)) from error
        self.processed[job.name, "succeeded"] += 1

    async def _attempt(self, job: Job, attempt: Attempt) -> None:
        await self._refuse_lost(job, attempt)
        payload = msgspec.json.decode(attempt.payload, type=job.payload)
        task = asyncio.ensure_future(job.run(self._context, payload))
        self._running.add(task)
        try:
            await asyncio.wait_for(task, job.timeout.total_seconds())
        except asyncio.CancelledError:
            if not self._interrupted:
                raise
            # By `stop`. A cancellation that reaches pgqueuer would delete the job.
            raise TryAgain(timedelta(0), "interrupted by a stop") from None
        finally:
            self._running.discard(task)

    async def _refuse_lost(self, job: Job, attempt: Attempt) -> None:
        """Give a job up that kills its process each time; pgqueuer counts only failures that were reported."""
        if attempt.waited < self._heartbeat:
            return
        picks = await self._database.fetchval(COUNT_PICKS, attempt.job_id)
        if attempt.failures + int(str(picks)) > job.attempts:
            raise LostJobError(f"{job.name} has ended its process or outlived it {job.attempts} times.")

    def _note(self, job: Job, attempt: Attempt, outcome: str, error: Exception) -> None:
        self.processed[job.name, outcome] += 1
        log = self._context.log.bind(job=job.name, job_id=attempt.job_id, attempt=attempt.failures + 1)
        if outcome == "failed":
            log.error("job failed", exc_info=error)
        else:
            log.warning("job will be tried again", error_type=type(error).__name__)


async def _ended(task: asyncio.Task[None], seconds: float) -> bool:
    done, _ = await asyncio.wait({task}, timeout=seconds)
    return bool(done)
