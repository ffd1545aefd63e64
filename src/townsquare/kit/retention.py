"""Upkeep of the tables that every service has: old answers are forgotten, superseded events are dropped."""

from datetime import timedelta

from msgspec import Struct

from townsquare.kit.idempotency import FORGET
from townsquare.kit.jobs import FORGET_JOB_LOG, Job, JobContext
from townsquare.kit.outbox import COMPACT


class Nothing(Struct, frozen=True):
    """The payload of a job that needs none."""


async def forget_answers(context: JobContext, _: Nothing) -> None:
    """Delete idempotent answers that are older than their 24 hours."""
    async with context.db.connection(deadline=300) as connection:
        await connection.execute(FORGET)


async def compact_outbox(context: JobContext, _: Nothing) -> None:
    """Delete events older than a week whose key has a newer one."""
    async with context.db.connection(deadline=300) as connection:
        await connection.execute(COMPACT)


async def forget_job_log(context: JobContext, _: Nothing) -> None:
    """Delete what became of jobs that have been gone for a week."""
    async with context.db.connection(deadline=300) as connection:
        await connection.execute(FORGET_JOB_LOG)


RETENTION_JOBS = (
    Job("forget-answers", Nothing, forget_answers, every=timedelta(hours=1)),
    Job("compact-outbox", Nothing, compact_outbox, every=timedelta(days=1)),
    Job("forget-job-log", Nothing, forget_job_log, every=timedelta(days=1)),
)
