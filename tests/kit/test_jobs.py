"""Jobs: run after the commit that wanted them, at least once, by one runner at a time."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
import structlog
from msgspec import Struct

from testbed.postgres import start_test_postgres
from townsquare.kit import migrations
from townsquare.kit.database import Database
from townsquare.kit.job_admin import list_jobs, show_job
from townsquare.kit.job_runner import REGISTER, TAKE_DUE, JobRunner
from townsquare.kit.jobs import (
    FORGET_JOB_LOG,
    Job,
    JobContext,
    JobStat,
    NotFailedError,
    TryAgain,
    enqueue,
    retry_failed,
    stats,
)
from townsquare.kit.migrations import migrate
from townsquare.kit.postgres import EmbeddedPostgres, find_programs
from townsquare.settings import Settings

PLATFORM = Path(migrations.__file__).parent / "schema"
SOON = timedelta(milliseconds=10)
HEARTBEAT = timedelta(seconds=1)


class Greeting(Struct, frozen=True):
    """A payload."""

    name: str


class Nothing(Struct, frozen=True):
    """No payload."""


@asynccontextmanager
async def opened(dsn: str) -> AsyncIterator[Database]:
    """A migrated database."""
    await migrate(dsn, [PLATFORM])
    database = Database(dsn, size=5)
    await database.open()
    yield database
    await database.close()


@pytest.fixture
async def database(postgres: EmbeddedPostgres) -> AsyncIterator[Database]:
    name = f"jobs_{uuid4().hex}"
    await postgres.ensure_databases([name])
    async with opened(postgres.url(name)) as found:
        yield found


def runner_of(
    database: Database, *jobs: Job, pooler: bool = False, grace: float = 5, heartbeat: timedelta = HEARTBEAT
) -> JobRunner:
    """A runner that looks often and misses the dead soon."""
    context = JobContext(database, Settings(database_pooler=pooler), structlog.get_logger("jobs"))
    return JobRunner(database.dsn, jobs, context, look=0.05, heartbeat=heartbeat, grace=grace)


@asynccontextmanager
async def running(*runners: JobRunner) -> AsyncIterator[None]:
    """Run them, and stop them gracefully."""
    tasks = [asyncio.create_task(runner.run()) for runner in runners]
    try:
        async with asyncio.timeout(30):
            yield
    finally:
        for runner in runners:
            await runner.stop()
        await asyncio.gather(*tasks)


async def until(what: Callable[[], bool]) -> None:
    """Wait until something is so."""
    while not what():
        await asyncio.sleep(0.01)


class Recorder:
    """A job that notes whom it greets, and fails as often as it is told."""

    def __init__(self, failures: int = 0) -> None:
        self.greeted: list[str] = []
        self.attempts = 0
        self._failures = failures

    async def run(self, _: JobContext, greeting: Greeting) -> None:
        self.attempts += 1
        if self.attempts <= self._failures:
            raise RuntimeError("the greeter is hoarse")
        self.greeted.append(greeting.name)

    def job(self, **options: object) -> Job:
        return Job("greet", Greeting, self.run, backoff=SOON, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("pooler", [False, True])
async def test_a_job_runs_after_the_commit_and_not_after_a_rollback(database: Database, pooler: bool) -> None:
    greeter = Recorder()
    async with running(runner_of(database, greeter.job(), pooler=pooler)):
        async with database.connection() as connection:
            rolled_back = connection.transaction()
            await rolled_back.start()
            await enqueue(connection, "greet", Greeting("nobody"))
            await rolled_back.rollback()
        async with database.transaction() as connection:
            await enqueue(connection, "greet", Greeting("Ada"))
            await asyncio.sleep(0.2)
            assert greeter.greeted == []
        await until(lambda: bool(greeter.greeted))
    assert greeter.greeted == ["Ada"]
    assert await stats(database) == []


async def test_a_delayed_job_waits(database: Database) -> None:
    greeter = Recorder()
    async with running(runner_of(database, greeter.job())):
        async with database.connection() as connection:
            await enqueue(connection, "greet", Greeting("later"), after=timedelta(milliseconds=600))
            await enqueue(connection, "greet", Greeting("now"))
        await until(lambda: len(greeter.greeted) == 2)
    assert greeter.greeted == ["now", "later"]


async def test_wake_makes_a_runner_look_at_once(database: Database) -> None:
    greeter = Recorder()
    context = JobContext(database, Settings(), structlog.get_logger("jobs"))
    runner = JobRunner(database.dsn, [greeter.job()], context, look=60)
    async with running(runner):
        await asyncio.sleep(0.5)
        async with database.connection() as connection:
            await enqueue(connection, "greet", Greeting("Ada"))
        runner.wake()
        async with asyncio.timeout(5):
            await until(lambda: bool(greeter.greeted))


async def test_what_fails_is_tried_again(database: Database) -> None:
    greeter = Recorder(failures=2)
    runner = runner_of(database, greeter.job())
    async with running(runner):
        async with database.connection() as connection:
            await enqueue(connection, "greet", Greeting("Ada"))
        await until(lambda: bool(greeter.greeted))
    assert greeter.attempts == 3
    assert runner.processed == {("greet", "retried"): 2, ("greet", "succeeded"): 1}


async def test_what_has_failed_for_good_is_kept_until_it_is_retried(database: Database) -> None:
    greeter = Recorder(failures=2)
    runner = runner_of(database, greeter.job(attempts=2))
    async with running(runner):
        async with database.connection() as connection:
            await enqueue(connection, "greet", Greeting("Ada"))
        await until(lambda: runner.processed["greet", "failed"] == 1)
    assert await stats(database) == [JobStat("greet", queued=0, running=0, failed=1, oldest_seconds=0)]
    [failed] = await list_jobs(database, state="failed")
    assert (failed.name, failed.attempts, failed.error) == ("greet", 2, "RuntimeError")
    assert failed.message == "the greeter is hoarse"
    details = await show_job(database, failed.id)
    assert details is not None
    assert "test_jobs.py" in details.traceback

    with pytest.raises(NotFailedError):
        await retry_failed(database, [failed.id, failed.id + 1])
    assert await retry_failed(database) == 1
    async with running(runner_of(database, greeter.job())):
        await until(lambda: bool(greeter.greeted))
    assert await list_jobs(database, state="failed") == []


async def test_a_payload_of_another_shape_fails_at_once(database: Database) -> None:
    greeter = Recorder()
    runner = runner_of(database, greeter.job())
    async with running(runner):
        async with database.connection() as connection:
            await enqueue(connection, "greet", Nothing())
        await until(lambda: runner.processed["greet", "failed"] == 1)
    assert [failed.error for failed in await list_jobs(database, state="failed")] == ["ValidationError"]


async def test_a_job_may_ask_to_be_run_again(database: Database) -> None:
    greeted: list[str] = []

    async def run(_: JobContext, greeting: Greeting) -> None:
        greeted.append(greeting.name)
        if len(greeted) == 1:
            raise TryAgain(SOON, "not yet")

    async with running(runner_of(database, Job("greet", Greeting, run))):
        async with database.connection() as connection:
            await enqueue(connection, "greet", Greeting("Ada"))
        await until(lambda: len(greeted) == 2)


async def test_a_job_that_takes_too_long_is_ended(database: Database) -> None:
    async def run(_: JobContext, __: Nothing) -> None:
        await asyncio.sleep(60)

    runner = runner_of(database, Job("nap", Nothing, run, timeout=timedelta(milliseconds=100), attempts=1))
    async with running(runner):
        async with database.connection() as connection:
            await enqueue(connection, "nap", Nothing())
        await until(lambda: runner.processed["nap", "failed"] == 1)
    assert [failed.error for failed in await list_jobs(database, state="failed")] == ["TimeoutError"]


async def test_several_runners_take_each_job_once(database: Database) -> None:
    greeter = Recorder()
    names = [f"person {number}" for number in range(100)]
    async with database.transaction() as connection:
        for name in names:
            await enqueue(connection, "greet", Greeting(name))
    runners = [runner_of(database, greeter.job()) for _ in range(3)]
    async with running(*runners):
        await until(lambda: len(greeter.greeted) >= len(names))
    assert sorted(greeter.greeted) == sorted(names)
    assert await stats(database) == []


async def test_a_periodic_job_runs_once_in_each_period_across_processes(database: Database) -> None:
    runs: list[int] = []

    def tick(number: int) -> Job:
        async def run(_: JobContext, __: Nothing) -> None:
            runs.append(number)

        return Job("tick", Nothing, run, every=timedelta(days=1))

    runners = [runner_of(database, tick(number)) for number in range(3)]
    async with running(*runners):
        await until(lambda: len(runs) == 1)  # the first period begins at once
        await asyncio.sleep(0.5)
        assert len(runs) == 1
        await database.execute("UPDATE periodic_jobs SET next_run = next_run - interval '3 days 1 hour'")
        await until(lambda: len(runs) == 2)
        await asyncio.sleep(0.5)
    assert len(runs) == 2
    due = await database.fetchval("SELECT next_run BETWEEN now() AND now() + interval '1 day' FROM periodic_jobs")
    assert due is True


async def test_of_two_processes_that_find_a_job_due_one_takes_it(database: Database) -> None:
    await database.execute(REGISTER, ["tick"], [timedelta(days=1)])
    async with database.connection() as first, database.connection() as second:
        async with first.transaction():
            assert len(await first.fetch(TAKE_DUE, ["tick"])) == 1
            waiting = asyncio.create_task(second.fetch(TAKE_DUE, ["tick"]))
            await asyncio.wait({waiting}, timeout=0.2)
            assert not waiting.done()
        assert await waiting == []


async def test_a_changed_period_counts_from_now(database: Database) -> None:
    runs: list[None] = []

    async def run(_: JobContext, __: Nothing) -> None:
        runs.append(None)

    async with running(runner_of(database, Job("tick", Nothing, run, every=timedelta(days=1)))):
        await until(lambda: len(runs) == 1)
    async with running(runner_of(database, Job("tick", Nothing, run, every=timedelta(milliseconds=300)))):
        await until(lambda: len(runs) == 3)


async def test_a_stop_waits_for_what_runs(database: Database) -> None:
    started, go, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def run(_: JobContext, __: Nothing) -> None:
        started.set()
        await go.wait()
        ended.set()

    runner = runner_of(database, Job("work", Nothing, run))
    task = asyncio.create_task(runner.run())
    async with database.connection() as connection:
        await enqueue(connection, "work", Nothing())
    async with asyncio.timeout(10):
        await started.wait()
        task.cancel()  # what a lifespan does
        await asyncio.sleep(0.2)
        assert not task.done()
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert ended.is_set()
    assert await stats(database) == []


async def test_what_outlasts_a_stop_goes_back_into_the_queue(database: Database) -> None:
    started = asyncio.Event()

    async def run(_: JobContext, __: Nothing) -> None:
        started.set()
        await asyncio.sleep(60)

    runner = runner_of(database, Job("work", Nothing, run), grace=0.1)
    async with running(runner):
        async with database.connection() as connection:
            await enqueue(connection, "work", Nothing())
        await started.wait()
    [stat] = await stats(database)
    assert (stat.queued, stat.running, stat.failed) == (1, 0, 0)


DOOMED = """
import asyncio, sys
import structlog
from msgspec import Struct
from townsquare.kit.database import Database
from townsquare.kit.job_runner import REGISTER, TAKE_DUE, JobRunner
from townsquare.kit.jobs import Job, JobContext
from townsquare.settings import Settings

class Greeting(Struct):
    name: str

async def run(context, greeting):
    print("started", flush=True)
    await asyncio.sleep(60)

async def main():
    context = JobContext(Database(sys.argv[1], size=1), Settings(), structlog.get_logger())
    await JobRunner(sys.argv[1], [Job("greet", Greeting, run)], context, look=0.05).run()

asyncio.run(main())
"""


async def test_a_job_whose_process_is_killed_is_taken_again(database: Database) -> None:
    async with database.connection() as connection:
        await enqueue(connection, "greet", Greeting("Ada"))
    process = subprocess.Popen([sys.executable, "-c", DOOMED, database.dsn], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert await asyncio.to_thread(process.stdout.readline) == b"started\n"
    finally:
        process.kill()
        process.communicate()
    greeter = Recorder()
    async with running(runner_of(database, greeter.job())):
        await until(lambda: bool(greeter.greeted))
    assert greeter.greeted == ["Ada"]
    assert await stats(database) == []


async def test_a_job_that_lives_longer_than_the_heartbeat_is_not_taken_again(database: Database) -> None:
    started: list[None] = []
    ended = asyncio.Event()

    async def run(_: JobContext, __: Nothing) -> None:
        started.append(None)
        await asyncio.sleep(2.5 * HEARTBEAT.total_seconds())
        ended.set()

    job = Job("work", Nothing, run)
    async with running(runner_of(database, job), runner_of(database, job)):
        async with database.connection() as connection:
            await enqueue(connection, "work", Nothing())
        await ended.wait()
    assert len(started) == 1


async def test_a_job_that_kills_its_process_each_time_is_given_up(database: Database) -> None:
    greeter = Recorder()
    async with database.connection() as connection:
        await enqueue(connection, "greet", Greeting("Ada"))
        await connection.execute("""
            UPDATE pgqueuer SET status = 'picked', execute_after = now() - interval '1 hour',
                                heartbeat = now() - interval '1 hour'
        """)
        await connection.execute("""
            INSERT INTO pgqueuer_log (job_id, status, priority, entrypoint)
            SELECT id, 'picked', 0, entrypoint FROM pgqueuer, generate_series(1, 3)
        """)
    runner = runner_of(database, greeter.job(attempts=3))
    async with running(runner):
        await until(lambda: runner.processed["greet", "failed"] == 1)
    assert greeter.attempts == 0
    assert [failed.error for failed in await list_jobs(database, state="failed")] == ["LostJobError"]


async def test_a_killed_postgresql_is_outlasted_and_no_outcome_is_lost(tmp_path_factory: pytest.TempPathFactory) -> None:
    # Commits synchronously, unlike the other tests' server: what is committed must be there after the kill.
    server = EmbeddedPostgres(tmp_path_factory.mktemp("own"), find_programs(None), extra={"fsync": "off"})
    await server.start()
    await server.ensure_databases(["jobs"])
    started, go = asyncio.Event(), asyncio.Event()
    runs: list[str] = []

    async def run(_: JobContext, greeting: Greeting) -> None:
        started.set()
        await go.wait()
        runs.append(greeting.name)

    try:
        async with opened(server.url("jobs")) as database:
            async with running(runner_of(database, Job("greet", Greeting, run), heartbeat=timedelta(minutes=1))):
                async with database.connection() as connection:
                    await enqueue(connection, "greet", Greeting("Ada"))
                await started.wait()
                assert server.pid is not None
                os.kill(server.pid, signal.SIGKILL)
                await asyncio.sleep(0.3)
                go.set()
                await server.start()
                await _enqueue_when_back(database, Greeting("Grace"))
                await until(lambda: len(runs) == 2)
            assert runs == ["Ada", "Grace"]
            assert await stats(database) == []
    finally:
        await server.stop()


async def test_a_stop_does_not_wait_for_a_database_that_is_away(tmp_path_factory: pytest.TempPathFactory) -> None:
    server = await start_test_postgres(tmp_path_factory.mktemp("own"))
    await server.ensure_databases(["jobs"])
    started, go = asyncio.Event(), asyncio.Event()

    async def run(_: JobContext, __: Nothing) -> None:
        started.set()
        await go.wait()

    async with opened(server.url("jobs")) as database:
        runner = runner_of(database, Job("work", Nothing, run))
        async with database.connection() as connection:
            await enqueue(connection, "work", Nothing())
        work = asyncio.create_task(runner.run())
        await started.wait()
        await server.stop()
        go.set()
        async with asyncio.timeout(10):
            await runner.stop()
            await work


async def _enqueue_when_back(database: Database, greeting: Greeting) -> None:
    while True:
        try:
            connection = await asyncpg.connect(database.dsn)
        except (OSError, asyncpg.PostgresError):
            await asyncio.sleep(0.05)
        else:
            await enqueue(connection, "greet", greeting)
            await connection.close()
            return


async def test_the_log_of_jobs_that_are_gone_is_forgotten_after_a_week(database: Database) -> None:
    greeter = Recorder(failures=1)
    runner = runner_of(database, greeter.job(attempts=1))
    async with running(runner):
        async with database.connection() as connection:
            await enqueue(connection, "greet", Greeting("Ada"))
            await enqueue(connection, "greet", Greeting("Grace"))
        await until(lambda: runner.processed.total() == 2)
    await database.execute("UPDATE pgqueuer_log SET created = created - interval '8 days'")
    await database.execute(FORGET_JOB_LOG)
    assert await database.fetchval("SELECT count(DISTINCT job_id) FROM pgqueuer_log") == 1
    assert [failed.error for failed in await list_jobs(database, state="failed")] == ["RuntimeError"]


def test_no_variable_of_the_environment_renames_the_tables() -> None:
    names = {"CHANNEL": "x", "QUEUE_TABLE": "y", "PGQUEUER_PREFIX": "z", "PGQUEUER_SCHEMA": "s", "DURABILITY": "volatile"}
    code = "from townsquare.kit.job_queue import NAMES; print(NAMES.qualified.queue_table, NAMES.channel)"
    said = subprocess.run([sys.executable, "-c", code], env=os.environ | names, capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["pgqueuer", "ch_pgqueuer"]
