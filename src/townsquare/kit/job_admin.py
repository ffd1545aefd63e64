"""The jobs as the operator sees them: what waits, runs and has failed, and what periodic jobs are due.

What a job was given is not shown: it may hold what was mailed to somebody alone.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, Literal, TypeAlias

from msgspec import Struct

from townsquare.kit.database import Database

JobState: TypeAlias = Literal["queued", "running", "failed"]


class QueuedJob(Struct, frozen=True):
    """A job in the queue. `due_at` is when it may run; `message` is why it failed last, if it has."""

    id: int
    name: str
    state: JobState
    attempts: int
    enqueued_at: datetime
    due_at: datetime
    updated_at: datetime
    error: str
    message: str


class JobDetails(QueuedJob, frozen=True):
    """A job with the whole traceback of its last failure."""

    traceback: str


class PeriodicJob(Struct, frozen=True):
    """A job that runs once in each period."""

    name: str
    period: timedelta
    next_run: datetime


# Each job's newest trouble is one row by pgqueuer_log_job_id_status.
JOB_COLUMNS: Final = """
    job.id, job.entrypoint AS name, CASE job.status WHEN 'picked' THEN 'running' ELSE job.status::text END AS state,
    job.attempts + (job.status = 'failed')::int AS attempts, job.created AS enqueued_at, job.execute_after AS due_at,
    job.updated AS updated_at,
    coalesce(last.traceback->>'exception_type', '') AS error,
    coalesce(last.traceback->>'exception_message', '') AS message
"""
JOBS: Final = """
pgqueuer AS job
LEFT JOIN LATERAL (
    SELECT entry.traceback
    FROM pgqueuer_log AS entry
    WHERE entry.job_id = job.id AND entry.traceback IS NOT NULL
    ORDER BY entry.created DESC
    LIMIT 1
) AS last ON true
"""

# The queue is short: finished jobs leave it.
LIST_JOBS = f"""
SELECT {JOB_COLUMNS}
FROM {JOBS}
WHERE ($1::text IS NULL OR job.status::text = CASE $1 WHEN 'running' THEN 'picked' ELSE $1 END)
  AND ($2::text IS NULL OR job.entrypoint = $2)
  AND ($3::bigint IS NULL OR job.id < $3)
ORDER BY job.id DESC
LIMIT $4
"""

# One row by pgqueuer_pkey.
SHOW_JOB = f"""
SELECT {JOB_COLUMNS}, coalesce(last.traceback->>'traceback', '') AS traceback
FROM {JOBS}
WHERE job.id = $1
"""

# A row for each kind of job.
LIST_PERIODIC = """
SELECT name, period, next_run
FROM periodic_jobs
ORDER BY next_run, name
"""

# By pgqueuer_pkey, or all of the short queue. One that runs is left to its runner, which would not notice.
DISCARD_JOBS = """
WITH discarded AS (
    DELETE FROM pgqueuer
    WHERE ($1::bigint[] IS NULL AND status = 'failed') OR (id = ANY($1) AND status IN ('queued', 'failed'))
    RETURNING id, priority, entrypoint
)
INSERT INTO pgqueuer_log (job_id, status, entrypoint, priority)
SELECT id, 'deleted', entrypoint, priority
FROM discarded
RETURNING job_id AS id
"""


async def list_jobs(
    database: Database,
    *,
    state: JobState | None = None,
    name: str | None = None,
    before: int | None = None,
    limit: int = 100,
) -> list[QueuedJob]:
    """List the jobs of the queue, the newest first; `before` is the id of the last one seen."""
    return [QueuedJob(**row) for row in await database.fetch(LIST_JOBS, state, name, before, limit)]


async def show_job(database: Database, job: int) -> JobDetails | None:
    """Return a job of the queue with its last traceback; None when it is done or was discarded."""
    row = await database.fetchrow(SHOW_JOB, job)
    return None if row is None else JobDetails(**row)


async def list_periodic(database: Database) -> list[PeriodicJob]:
    """List the periodic jobs, the next one first."""
    return [PeriodicJob(**row) for row in await database.fetch(LIST_PERIODIC)]


async def discard_jobs(database: Database, ids: Sequence[int] | None = None) -> list[int]:
    """Take jobs out of the queue for good: all that have failed, or those of `ids` that do not run; returns which."""
    return [row["id"] for row in await database.fetch(DISCARD_JOBS, ids)]
