"""`townsquare jobs`: what waits, runs and has failed; try again or discard."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import get_args

import click
from msgspec import Struct

from townsquare.catalogue import BUILT
from townsquare.commands.database import database_of, existing_server
from townsquare.commands.shared import (
    CommandError,
    Words,
    data_option,
    json_option,
    print_facts,
    print_json,
    print_table,
    run,
    shown,
    task_settings,
)
from townsquare.kit.database import Database
from townsquare.kit.job_admin import (
    JobDetails,
    JobState,
    PeriodicJob,
    QueuedJob,
    discard_jobs,
    list_jobs,
    list_periodic,
    show_job,
)
from townsquare.kit.jobs import JobStat, NotFailedError, retry_failed, stats
from townsquare.settings import Settings

MESSAGE_WIDTH = 80


class ServiceJobs(Struct, frozen=True):
    """How the jobs of one service stand."""

    service: str
    jobs: list[JobStat]
    periodic: list[PeriodicJob]


class JobsOf(Struct, frozen=True):
    """Jobs of one service."""

    service: str
    items: list[QueuedJob]


class Touched(Struct, frozen=True):
    """How many jobs of one service were put back or discarded."""

    service: str
    jobs: int


@click.group("jobs", invoke_without_command=True)
@data_option
@json_option
@click.pass_context
def command(context: click.Context, data: Path | None, as_json: bool) -> None:
    """Show the jobs that requests left to be done after them. Without a command: how they stand, and what has failed."""
    if context.invoked_subcommand is None:
        _show_state(task_settings(data=data), as_json=as_json)


def _show_state(settings: Settings, *, as_json: bool) -> None:
    state, failed = run(_state(settings))
    if as_json:
        print_json(state)
        return
    click.echo("Waiting, running, failed:")
    stands = [(one.service, s) for one in state for s in one.jobs]
    print_table(
        ("service", "job", "waiting", "running", "failed", "oldest due for"),
        [(service, s.name, s.queued, s.running, s.failed, f"{s.oldest_seconds:.0f} s") for service, s in stands],
    )
    click.echo("Once in each period:")
    print_table(
        ("service", "job", "every", "next"),
        [(one.service, p.name, p.period, p.next_run) for one in state for p in one.periodic],
    )
    if any(one.items for one in failed):
        click.echo("Failed for good (`townsquare jobs show SERVICE ID` says where, `townsquare jobs retry` tries again):")
        _print_jobs(failed)


async def _state(settings: Settings) -> tuple[list[ServiceJobs], list[JobsOf]]:
    state: list[ServiceJobs] = []
    failed: list[JobsOf] = []
    async with existing_server(settings) as server:
        for service in BUILT:
            async with database_of(service, settings, server) as database:
                state.append(ServiceJobs(service, await stats(database), await list_periodic(database)))
                failed.append(JobsOf(service, await list_jobs(database, state="failed", limit=20)))
    return state, failed


@command.command("list")
@click.option("--service", type=click.Choice(BUILT), help="Of this service alone.")
@click.option("--state", type=click.Choice(get_args(JobState)), help="Only jobs in this state.")
@click.option("--job", type=Words(), help="Only jobs of this name.")
@click.option(
    "--limit", type=click.IntRange(1, 1000), default=100, show_default=True, help="How many of each service at most."
)
@click.option("--before", type=click.IntRange(1), help="Go on behind the job with this id; with --service.")
@data_option
@json_option
def list_(
    service: str | None,
    state: JobState | None,
    job: str | None,
    limit: int,
    before: int | None,
    data: Path | None,
    as_json: bool,
) -> None:
    """List the jobs in the queues, the newest first. Those that are done have left them."""
    if before is not None and service is None:
        raise click.UsageError("--before needs --service: ids are a service's own")
    found = run(_list(task_settings(data=data), (service,) if service else BUILT, state, job, before, limit))
    if as_json:
        print_json(found)
    else:
        _print_jobs(found)


async def _list(
    settings: Settings, services: Sequence[str], state: JobState | None, job: str | None, before: int | None, limit: int
) -> list[JobsOf]:
    found: list[JobsOf] = []
    async with existing_server(settings) as server:
        for service in services:
            async with database_of(service, settings, server) as database:
                jobs = await list_jobs(database, state=state, name=job, before=before, limit=limit)
                found.append(JobsOf(service, jobs))
    return found


@command.command()
@click.argument("service", type=click.Choice(BUILT))
@click.argument("job", type=click.IntRange(1, 2**63 - 1), metavar="ID")
@data_option
@json_option
def show(service: str, job: int, data: Path | None, as_json: bool) -> None:
    """Show the job ID of SERVICE, with the traceback of its last failure."""
    found = run(_show(task_settings(data=data), service, job))
    if as_json:
        print_json(found)
        return
    names = ("id", "name", "state", "attempts", "enqueued_at", "due_at", "updated_at", "error", "message")
    print_facts([("service", service), *((name.replace("_", " "), getattr(found, name)) for name in names)])
    if found.traceback:
        click.echo(f"\n{shown(found.traceback)}")


async def _show(settings: Settings, service: str, job: int) -> JobDetails:
    async with _database(settings, service) as database:
        found = await show_job(database, job)
    if found is None:
        raise CommandError(f"{service} has no job {job} in its queue: it is done, or there never was one")
    return found


@command.command()
@click.argument("service", type=click.Choice(BUILT), required=False)
@click.argument("jobs", type=click.IntRange(1, 2**63 - 1), nargs=-1, metavar="[ID]...")
@data_option
@json_option
def retry(service: str | None, jobs: tuple[int, ...], data: Path | None, as_json: bool) -> None:
    """Try failed jobs again, with all their attempts: all of them, those of SERVICE, or those with these IDs."""
    touched = run(_retry(task_settings(data=data), (service,) if service else BUILT, jobs))
    _say(touched, as_json, "will be tried again", "Nothing has failed.")


async def _retry(settings: Settings, services: Sequence[str], ids: Sequence[int]) -> list[Touched]:
    touched: list[Touched] = []
    async with existing_server(settings) as server:
        for service in services:
            async with database_of(service, settings, server) as database:
                try:
                    touched.append(Touched(service, await retry_failed(database, ids or None)))
                except NotFailedError as error:
                    raise CommandError(f"{service}: {error}") from error
    return touched


@command.command()
@click.argument("service", type=click.Choice(BUILT))
@click.argument("jobs", type=click.IntRange(1, 2**63 - 1), nargs=-1, metavar="[ID]...")
@click.option("--all-failed", is_flag=True, help="Everything of SERVICE that has failed for good.")
@data_option
@json_option
def discard(service: str, jobs: tuple[int, ...], all_failed: bool, data: Path | None, as_json: bool) -> None:
    """Take jobs of SERVICE out of its queue for good: what they were to do is not done. One that runs is left alone."""
    if bool(jobs) == all_failed:
        raise click.UsageError("name the IDs of jobs, or say --all-failed")
    touched = run(_discard(task_settings(data=data), service, jobs or None))
    _say([touched], as_json, "will not be done", "Nothing has failed.")


async def _discard(settings: Settings, service: str, ids: Sequence[int] | None) -> Touched:
    async with _database(settings, service) as database:
        discarded = await discard_jobs(database, ids)
    if missing := set(ids or ()) - set(discarded):
        ids_left = ", ".join(map(str, sorted(missing)))
        raise CommandError(f"{len(discarded)} discarded; {service} has no waiting or failed job with the id {ids_left}")
    return Touched(service, len(discarded))


@asynccontextmanager
async def _database(settings: Settings, service: str) -> AsyncIterator[Database]:
    async with existing_server(settings) as server, database_of(service, settings, server) as database:
        yield database


def _print_jobs(found: Sequence[JobsOf]) -> None:
    print_table(
        ("service", "id", "job", "state", "attempts", "due", "why it failed last"),
        [
            (one.service, job.id, job.name, job.state, job.attempts, job.due_at, _why(job))
            for one in found
            for job in one.items
        ],
    )


def _why(job: QueuedJob) -> str:
    """Say it in one line."""
    if not job.error:
        return ""
    words = " ".join(f"{job.error}: {job.message}".split())
    return words if len(words) <= MESSAGE_WIDTH else f"{words[: MESSAGE_WIDTH - 1]}…"


def _say(touched: Sequence[Touched], as_json: bool, done: str, nothing: str) -> None:
    if as_json:
        print_json(touched)
        return
    for one in touched:
        if one.jobs:
            click.echo(f"{one.jobs} {'job' if one.jobs == 1 else 'jobs'} of {one.service} {done}.")
    if not any(one.jobs for one in touched):
        click.echo(nothing)
