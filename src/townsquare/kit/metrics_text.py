"""The text of a scrape, from the snapshots of all processes. Imported at the first scrape."""

import os
from collections.abc import Iterable, Mapping
from typing import TypeVar

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from townsquare.kit.metrics import BUCKETS, Gauge, Snapshot

PROCESS_LABEL = "process"
CACHE_REQUESTS = "cache_requests_total"
FROM_CACHE = frozenset({"hit", "hit_shared", "stale", "joined"})

K = TypeVar("K")


def as_text(snapshots: Mapping[str, Snapshot | None]) -> bytes:
    """Write the snapshots, by process; None for one that did not answer. What several have counted is added up."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families(snapshots))
    return generate_latest(registry)


class _Families(Collector):
    """Makes Prometheus' families from the snapshots, once."""

    def __init__(self, snapshots: Mapping[str, Snapshot | None]) -> None:
        self._all = snapshots
        self._snapshots = {name: found for name, found in snapshots.items() if found is not None}
        self._labelled = len(snapshots) > 1

    def describe(self) -> Iterable[Metric]:
        """Promise nothing: the registry would else collect everything twice."""
        return ()

    def collect(self) -> Iterable[Metric]:
        yield from self._requests()
        yield from self._gauges()
        yield self._load()
        if self._labelled:
            yield self._up()

    def _load(self) -> Metric:
        load = GaugeMetricFamily("system_load_average", "Load of the machine.", labels=["window"])
        for window, value in zip(("1m", "5m", "15m"), os.getloadavg(), strict=True):
            load.add_metric([window], value)
        return load

    def _up(self) -> Metric:
        up = GaugeMetricFamily("process_up", "Whether the process has answered this scrape.", labels=[PROCESS_LABEL])
        for name, snapshot in self._all.items():
            up.add_metric([name], float(snapshot is not None))
        return up

    def _requests(self) -> Iterable[Metric]:
        totals: dict[tuple[str, str, str, int], list[float]] = {}
        in_flight: dict[str, float] = {}
        for snapshot in self._snapshots.values():
            for service, method, route, status, series in snapshot.requests:
                _add(totals, (service, method, route, status), series)
            for service, number in snapshot.in_flight.items():
                in_flight[service] = in_flight.get(service, 0.0) + number
        failed: dict[str, float] = dict.fromkeys(in_flight, 0.0)
        durations: dict[tuple[str, str, str], list[float]] = {}
        requests = CounterMetricFamily(
            "http_requests", "Requests answered.", labels=["service", "method", "route", "status"]
        )
        for (service, method, route, status), series in totals.items():
            number = sum(series[:-1])
            requests.add_metric([service, method, route, str(status)], number)
            _add(durations, (service, method, route), series)
            if status >= 500:
                failed[service] = failed.get(service, 0.0) + number
        yield requests
        yield _durations(durations)
        errors = CounterMetricFamily("http_request_errors", "Requests answered with 500 or above.", labels=["service"])
        flying = GaugeMetricFamily("http_requests_in_flight", "Requests under way.", labels=["service"])
        for family, values in ((errors, failed), (flying, in_flight)):
            for service, number in values.items():
                family.add_metric([service], number)
            yield family

    def _gauges(self) -> Iterable[Metric]:
        families: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
        about: dict[str, Gauge] = {}
        for process, snapshot in self._snapshots.items():
            own = {PROCESS_LABEL: process} if self._labelled else {}
            for gauge, extra in [*((g, own) for g in snapshot.process), *((g, {}) for g in snapshot.gauges)]:
                about.setdefault(gauge.name, gauge)
                labels = tuple(sorted({**gauge.labels, **extra}.items()))
                family = families.setdefault(gauge.name, {})
                known = family.get(labels, 0.0)
                family[labels] = max(known, gauge.value) if gauge.shared else known + gauge.value
        for name, values in families.items():
            names = [label for label, _ in next(iter(values))]
            kind = CounterMetricFamily if about[name].counter else GaugeMetricFamily
            family = kind(name, about[name].help, labels=names)
            for labels, value in values.items():
                family.add_metric([text for _, text in labels], value)
            yield family
        yield _hit_ratios(families.get(CACHE_REQUESTS, {}))


def _hit_ratios(requests: Mapping[tuple[tuple[str, str], ...], float]) -> Metric:
    """Ratios cannot be added up over processes, so they are made from what can."""
    family = GaugeMetricFamily(
        "cache_hit_ratio", "Share of requests for cached routes that cost no fill.", labels=["service", "strategy"]
    )
    asked: dict[tuple[str, str], list[float]] = {}
    for labels, number in requests.items():
        told = dict(labels)
        counts = asked.setdefault((told["service"], told["strategy"]), [0.0, 0.0])
        counts[0] += number if told["result"] in FROM_CACHE else 0.0
        counts[1] += number
    for key, (served, all_of_them) in asked.items():
        family.add_metric(list(key), served / all_of_them if all_of_them else 0.0)
    return family


def _durations(durations: Mapping[tuple[str, str, str], list[float]]) -> Metric:
    family = HistogramMetricFamily(
        "http_request_duration_seconds", "Seconds to the whole answer.", labels=["service", "method", "route"]
    )
    for labels, series in durations.items():
        family.add_metric(list(labels), _buckets(series), series[-1])
    return family


def _add(totals: dict[K, list[float]], key: K, series: list[float]) -> None:
    known = totals.get(key)
    totals[key] = list(series) if known is None else [a + b for a, b in zip(known, series, strict=True)]


def _buckets(series: list[float]) -> list[tuple[str, float]]:
    total = 0.0
    buckets: list[tuple[str, float]] = []
    for bound, number in zip((*map(str, BUCKETS), "+Inf"), series[:-1], strict=True):
        total += number
        buckets.append((bound, total))
    return buckets
