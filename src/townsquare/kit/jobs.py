"""Jobs: work that a request leaves to be done after it, kept in the service's own database (pgqueuer).

A job is enqueued in the transaction that needs it, and runs at least once after the commit (`kit/job_runner.py`): when its
process dies, another takes it again. So what a job does must bear being done twice. What fails is tried again, ever more
patiently; what has failed for good stays in the queue until somebody looks at it (`townsquare jobs`).
"""

import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import msgspec
from msgspec import Struct
from structlog.stdlib import BoundLogger

from townsquare.kit.database import Connection, Database
from townsquare.settings import Settings

LONGEST_DELAY = timedelta(hours=1)
OUTCOMES = ("succeeded", "retried", "failed")
# One for pgqueuer's manager, one for our look and the heartbeats; the second is opened only when both meet.
CONNECTIONS = 2
"""Connections that the jobs of one service have in one process, beside the requests'."""

# The queue is short: finished jobs leave it.
COUNT_JOBS = """
SELECT
    entrypoint AS name,
    count(*) FILTER (WHERE status = 'queued') AS queued,
    count(*) FILTER (WHERE status = 'picked') AS running,
    count(*) FILTER (WHERE status = 'failed') AS failed,
    coalesce(extract(epoch FROM now() - min(execute_after) FILTER (
        WHERE status = 'queued' AND execute_after < now()
    )), 0)::float8 AS oldest_seconds
FROM pgqueuer
GROUP BY entrypoint
ORDER BY entrypoint
"""

LOCK_FAILED = """
SELECT id
FROM pgqueuer
WHERE status = 'failed' AND ($1::bigint[] IS NULL OR id = ANY($1))
FOR UPDATE
"""

# What became of jobs that are gone, for a week. Served by pgqueuer_log_created.
FORGET_JOB_LOG = """
DELETE FROM pgqueuer_log AS entry
WHERE entry.created < now() - interval '7 days'
  AND NOT EXISTS (SELECT FROM pgqueuer WHERE id = entry.job_id)
"""


class TryAgain(Exception):
    """Raised by a job that wants to be run again `after` a while; counts as one of its attempts."""

    def __init__(self, after: timedelta, reason: str = "") -> None:
        super().__init__(reason)
        self.after = after


class NotFailedError(Exception):
    """Jobs that were to be tried again have not failed for good; the message says which."""

    def __init__(self, ids: Iterable[int]) -> None:
        super().__init__(f"no failed job has the id {', '.join(map(str, sorted(ids)))}")


@dataclass(frozen=True, slots=True)
class JobContext:
    """What a job has at hand."""

    db: Database
    settings: Settings
    log: BoundLogger
    resources: object = None
    """What the service holds besides its database (`Definition.resources`)."""


@dataclass(frozen=True, slots=True)
class Job:
    """A kind of job. `run` gets a `payload` and may be run more than once with it.

    Each attempt may take `timeout`. After a failure the job waits `backoff`, then twice as long each time up to an hour;
    after `attempts` it has failed for good. With `every` the job runs once in each such period, across all processes, with
    an empty payload; what has failed for good is then not kept, for the next period comes anyway.
    """

    name: str
    payload: type[Struct]
    run: Callable[[JobContext, Any], Awaitable[None]]  # Any: each job has a payload of its own
    every: timedelta | None = None
    timeout: timedelta = timedelta(minutes=5)
    attempts: int = 10
    backoff: timedelta = timedelta(seconds=5)

    def delay(self, failures: int) -> timedelta:
        """How long to wait after one more failure; spread, so that what failed together does not return together."""
        return min(self.backoff * 2.0 ** min(failures, 30), LONGEST_DELAY) * random.uniform(0.8, 1.2)  # noqa: S311


@dataclass(frozen=True, slots=True)
class Attempt:
    """One run of one job: after so many failures, and so long after it was due."""

    job_id: int
    payload: bytes
    failures: int
    waited: timedelta


class JobStat(Struct, frozen=True):
    """How the jobs of one name stand; `oldest_seconds` is how long the first in the queue has been due."""

    name: str
    queued: int
    running: int
    failed: int
    oldest_seconds: float


async def enqueue(connection: Connection, name: str, payload: Struct, *, after: timedelta | None = None) -> None:
    """Have a job run once the caller's transaction is committed, or `after` a while; never if it is rolled back."""
    from townsquare.kit.job_queue import queries_on

    await queries_on(connection).enqueue(name, msgspec.json.encode(payload), execute_after=after)


async def stats(database: Database) -> list[JobStat]:
    """Count the jobs, by name."""
    return [JobStat(**row) for row in await database.fetch(COUNT_JOBS)]


async def retry_failed(database: Database, ids: Sequence[int] | None = None) -> int:
    """Put failed jobs (all, or those of `ids`) back into the queue with all their attempts; returns how many.

    Raises NotFailedError, and touches none, when one of `ids` has not failed for good.
    """
    from townsquare.kit.job_queue import queries_on

    async with database.transaction() as connection:
        found = [row["id"] for row in await connection.fetch(LOCK_FAILED, ids)]
        if missing := set(ids or ()) - set(found):
            raise NotFailedError(missing)
        await queries_on(connection).requeue_jobs(found)
    return len(found)
