"""The side of the jobs that knows pgqueuer: its queries, its manager, and a driver on our own pool.

Importing this imports pgqueuer with its command line and pydantic (0.2 s): `townsquare.kit.jobs` does it where it is used.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from logging import CRITICAL, getLogger
from typing import Self, TypeVar

from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver
from pgqueuer.adapters.persistence.qb import (
    QueryBuilderEnvironment,
    QueryQueueBuilder,
    QuerySchedulerBuilder,
)
from pgqueuer.adapters.persistence.queries import Queries
from pgqueuer.core.qm import QueueManager
from pgqueuer.core.tm import TaskManager
from pgqueuer.domain.errors import RetryRequested
from pgqueuer.domain.models import Job as QueuedJob
from pgqueuer.domain.models import TableChangedEvent, utc_now
from pgqueuer.domain.settings import DBSettings, Durability
from pgqueuer.domain.types import Channel
from pgqueuer.ports.driver import Driver, NotifyCallback

from townsquare.kit.database import Connection, Database, DatabaseUnavailable
from townsquare.kit.jobs import Attempt, TryAgain

BATCH = 10
"""Jobs that one look takes."""
CONCURRENT = 20
"""Jobs that one process runs at a time, for each service."""
SATURATED_PAUSE = timedelta(seconds=0.25)
"""Between looks while as many run as may."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0
LAST_SECONDS = 2.0

# Spelled out, because pgqueuer would take each of these from the environment, from names as common as CHANNEL.
NAMES = DBSettings(
    prefix="",
    db_schema=None,
    channel=Channel("ch_pgqueuer"),
    function="fn_pgqueuer_changed",
    statistics_table="pgqueuer_statistics",
    queue_status_type="pgqueuer_status",
    queue_table="pgqueuer",
    queue_table_log="pgqueuer_log",
    trigger="tg_pgqueuer_changed",
    schedules_table="pgqueuer_schedules",
    durability=Durability.durable,
)
_ENVIRONMENT = QueryBuilderEnvironment(NAMES)
_QUEUE = QueryQueueBuilder(NAMES)
_SCHEDULER = QuerySchedulerBuilder(NAMES)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Entrypoint:
    """What runs the jobs of one name; with `hold` those that have failed for good are kept."""

    perform: Callable[[Attempt], Awaitable[None]]
    hold: bool


def queries_on(connection: Connection) -> Queries:
    """Lend pgqueuer's queries on one connection, inside whatever transaction it is in."""
    return _queries(AsyncpgDriver(connection))


def _queries(driver: Driver) -> Queries:
    return Queries(driver, qbe=_ENVIRONMENT, qbq=_QUEUE, qbs=_SCHEDULER)


class PoolDriver(Driver):
    """pgqueuer's driver on our pool: outlasts a restart of PostgreSQL, and listens to this process alone.

    What cannot be reached is tried again until `shutdown`, so a finished job's outcome is not lost to a restart. pgqueuer's
    notifications (its own health check, its wake-ups) go round inside the process; see `wake`.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._shutdown = asyncio.Event()
        self._tasks = TaskManager()
        self._listeners: list[NotifyCallback] = []
        self._give_up_at: float | None = None

    @property
    def shutdown(self) -> asyncio.Event:
        """Once set, a database that stays away for two more seconds is an error."""
        return self._shutdown

    @property
    def tm(self) -> TaskManager:
        """The driver's own tasks: none."""
        return self._tasks

    async def fetch(self, query: str, *args: object) -> list[dict[str, object]]:
        """Return all rows."""
        rows = await self._patiently(lambda: self._database.fetch(query, *args))
        return [dict(row) for row in rows]

    async def execute(self, query: str, *args: object) -> str:
        """Run a statement."""
        return await self._patiently(lambda: self._database.execute(query, *args))

    async def add_listener(self, channel: str, callback: NotifyCallback) -> None:
        """Note who wants to be woken."""
        self._listeners.append(callback)

    async def notify(self, channel: str, payload: str) -> None:
        """Tell the listeners of this process."""
        for listener in self._listeners:
            listener(payload)

    async def wake(self) -> None:
        """Have the manager look for jobs now."""
        event = TableChangedEvent(
            channel=NAMES.channel,
            sent_at=utc_now(),
            type="table_changed_event",
            operation="insert",
            table=NAMES.queue_table,
        )
        await self.notify(NAMES.channel, event.model_dump_json())

    async def _patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        pause = FIRST_PAUSE
        while True:
            try:
                return await call()
            except DatabaseUnavailable:
                if self._given_up():
                    raise
            with suppress(TimeoutError):
                await asyncio.wait_for(self._shutdown.wait(), pause)
            if self._shutdown.is_set():
                await asyncio.sleep(FIRST_PAUSE)
            pause = min(pause * 2, LONGEST_PAUSE)

    def _given_up(self) -> bool:
        """Whether the shutdown has waited long enough for the database: an outcome is worth a moment."""
        if not self._shutdown.is_set():
            return False
        now = time.monotonic()
        self._give_up_at = self._give_up_at or now + LAST_SECONDS
        return now > self._give_up_at

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listeners.clear()


class Manager:
    """pgqueuer's manager, for one connection's life: takes jobs, keeps their heartbeat, writes their outcome."""

    def __init__(self, driver: PoolDriver, entrypoints: Mapping[str, Entrypoint]) -> None:
        # It would log what failed with the whole traceback, and we do already, in our own words.
        getLogger("pgqueuer").setLevel(CRITICAL)
        self._manager = QueueManager(_queries(driver), channel=NAMES.channel)
        self._manager.min_dequeue_poll_interval = SATURATED_PAUSE
        for name, entrypoint in entrypoints.items():
            register = self._manager.entrypoint(name, on_failure="hold" if entrypoint.hold else "delete")
            register(partial(_perform, entrypoint))

    async def run(self, heartbeat: timedelta) -> None:
        """Run jobs until `stop`, then wait for those that run; a job silent for `heartbeat` is taken again."""
        await self._manager.run(
            batch_size=BATCH,
            max_concurrent_tasks=CONCURRENT,
            heartbeat_timeout=heartbeat,
            log_aggregation_interval=timedelta(0),
        )

    def stop(self) -> None:
        """Take no more jobs."""
        self._manager.shutdown.set()


async def _perform(entrypoint: Entrypoint, queued: QueuedJob) -> None:
    attempt = Attempt(
        job_id=queued.id,
        payload=queued.payload or b"{}",
        failures=queued.attempts,
        waited=queued.updated - queued.execute_after,
    )
    try:
        await entrypoint.perform(attempt)
    except TryAgain as again:
        raise RetryRequested(again.after, str(again)) from again
