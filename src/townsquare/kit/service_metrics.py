"""What one service tells of its pool, its readers and its jobs at each scrape."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from townsquare.kit.database import Database
from townsquare.kit.jobs import OUTCOMES, JobStat, stats
from townsquare.kit.metrics import Gauge
from townsquare.kit.readers import ReaderRunner

if TYPE_CHECKING:
    from townsquare.kit.job_runner import JobRunner


def pool_gauges(service: str, database: Database) -> Iterator[Gauge]:
    """Yield how the pool stands in this process; several processes' pools are added up."""
    labels = {"service": service}
    yield Gauge("db_pool_size", "Most connections that may be open.", labels, database.size)
    yield Gauge("db_pool_idle", "Connections that nobody uses.", labels, database.idle)
    yield Gauge("db_pool_in_use", "Connections that somebody uses.", labels, database.in_use)
    yield Gauge("db_pool_waiting", "Requests and jobs that wait for a connection.", labels, database.waiting)


def reader_gauges(service: str, readers: Sequence[ReaderRunner]) -> Iterator[Gauge]:
    """Yield how far each reader is behind, where it is this process that reads."""
    about = "For how long something told by the source has not taken effect in the service."
    for reader in readers:
        if (lag := reader.lag_seconds) is not None:
            yield Gauge("outbox_lag_seconds", about, {"service": service, "source": reader.source}, lag, shared=True)


def attempt_counters(service: str, runner: "JobRunner") -> Iterator[Gauge]:
    """Yield how often this process has run each job, by outcome."""
    for job in runner.names:
        for outcome in OUTCOMES:
            labels = {"service": service, "job": job, "outcome": outcome}
            number = runner.processed[job, outcome]
            yield Gauge("jobs_processed_total", "Attempts at jobs, by how they ended.", labels, number, counter=True)


async def queue_gauges(service: str, database: Database, jobs: Sequence[str]) -> list[Gauge]:
    """Return how the queue stands; the same in every process of the service."""
    found = {stat.name: stat for stat in await stats(database)}
    queue = [found.get(name, JobStat(name, 0, 0, 0, 0.0)) for name in dict.fromkeys((*jobs, *found))]
    return [
        Gauge(name, about, {"service": service, "job": stat.name}, read(stat), shared=True)
        for name, about, read in _QUEUE
        for stat in queue
    ]


_QUEUE: tuple[tuple[str, str, Callable[[JobStat], float]], ...] = (
    ("jobs_queued", "Jobs that wait for their turn or their time.", lambda stat: stat.queued),
    ("jobs_running", "Jobs that run now.", lambda stat: stat.running),
    ("jobs_failed", "Jobs that have failed for good and wait for somebody to look.", lambda stat: stat.failed),
    ("jobs_oldest_seconds", "For how long the first job in the queue has been due.", lambda stat: stat.oldest_seconds),
)
