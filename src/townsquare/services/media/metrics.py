"""What media tells of itself at each scrape, besides what every service does."""

from collections.abc import Iterator

from townsquare.kit.context import Context
from townsquare.kit.metrics import Gauge
from townsquare.services.media.resources import resources_of


def gauges(context: Context) -> Iterator[Gauge]:
    """Yield how uploads end and how long their stages take, and how the workers stand."""
    resources = resources_of(context)
    yield from resources.stages.gauges()
    pool = resources.pool
    yield Gauge("image_workers_busy", "Pictures that are worked on.", {}, pool.working)
    yield Gauge("image_workers_waiting", "Pictures that wait for a worker.", {}, pool.waiting)
    yield Gauge("image_worker_crashes_total", "Workers that a picture has ended.", {}, pool.crashes, counter=True)
