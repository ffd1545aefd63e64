"""What one service tells of its cache at each scrape."""

from collections.abc import Iterator
from dataclasses import fields
from typing import Final

from townsquare.kit.metrics import Gauge
from townsquare.kit.service_cache import ServiceCache

RESULTS: Final = ("hit", "hit_shared", "stale", "joined", "miss", "bypass")
"""How a request for a cached route was answered: exactly one of these each."""
ASIDE: Final = ("refused", "refreshed", "failed", "invalidated")
"""What happened to entries meanwhile."""


def cache_gauges(service: str, kept: ServiceCache) -> Iterator[Gauge]:
    """Yield the counts of every strategy that was asked for, and how the cache stands in this process."""
    cache, own = kept.cache, {"service": service}
    for strategy, counts in cache.statistics.by_strategy().items():
        numbers, labels = counts.as_dict(), {**own, "strategy": strategy}
        for result in RESULTS:
            about = "Answers to requests for cached routes, by what the cache did."
            yield Gauge("cache_requests_total", about, {**labels, "result": result}, numbers[result], counter=True)
        for event in ASIDE:
            about = "What happened to entries beside the requests."
            yield Gauge("cache_events_total", about, {**labels, "event": event}, numbers[event], counter=True)
    yield Gauge("cache_entries", "Entries in memory.", own, len(cache.store))
    yield Gauge("cache_bytes", "Bytes that the entries in memory take.", own, cache.store.bytes)
    yield Gauge("cache_capacity_bytes", "Bytes that they may take.", own, cache.store.capacity)
    yield Gauge("cache_evictions_total", "Entries thrown out for room.", own, cache.store.evictions, counter=True)
    yield Gauge("cache_in_touch", "Processes that may serve what they keep as fresh.", own, float(cache.trusted))
    if (second := kept.second) is not None:
        yield Gauge("cache_second_level_up", "Processes that reach the second level.", own, float(second.breaker.closed))
        for event in fields(second.counts):
            about = "What happened between the process and the second level."
            number = getattr(second.counts, event.name)
            yield Gauge("cache_second_level_total", about, {**own, "event": event.name}, number, counter=True)
