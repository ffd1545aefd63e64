"""Nanoseconds of one `get` of a hit of `townsquare.cache`, measured as its peers are (`bench/peers/python/get.py`)."""

import statistics
import time

import uvloop

from townsquare.cache.cache import Cache, Filled
from townsquare.cache.snapshots import Snapshot
from townsquare.cache.strategies import Strategy

COUNT = 50_000
VALUE = b"x" * 1_000


async def measured() -> float:
    """Return the median of five times many."""
    cache = Cache()
    cache.begin(Snapshot(1, 1), 1)
    cache.looked(Snapshot(1, 1), [], float("inf"))

    async def fill() -> Filled:
        return Filled(VALUE, len(VALUE), frozenset({"profile:1"}))

    await cache.fetch("profile:1", Strategy("BENCH", lifetime=600, grace=60), fill)
    entry = cache.get("profile:1")
    assert entry is not None
    assert entry.value == VALUE
    get, times = cache.get, []
    for _ in range(5):
        begun = time.perf_counter_ns()
        for _ in range(COUNT):
            get("profile:1")
        times.append((time.perf_counter_ns() - begun) / COUNT)
    return statistics.median(times)


if __name__ == "__main__":
    print(uvloop.run(measured()))
