"""Metrics in Prometheus' text format.

Counting a request costs about a microsecond: a dictionary look-up and two additions. Names, labels and text are made when
somebody scrapes. Where several processes serve one port, the one that is scraped asks its siblings for their snapshots
over Unix sockets and answers the sum; what belongs to a process is labelled with its number instead.
"""

import asyncio
import ctypes
import gc
import os
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, TypeVar

import msgspec
import psutil
from msgspec import Struct
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric

BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds in seconds."""
GATHER_SECONDS: Final = 1.0
LAG_PERIOD: Final = 0.5

Key = tuple[str, str, int]
K = TypeVar("K")


class RequestMetrics:
    """The requests of one service in this process."""

    def __init__(self, service: str) -> None:
        self.service = service
        self.in_flight = 0
        self.counts: dict[Key, list[float]] = {}
        """By method, route and status: one number a bucket, the overflow, and the sum of seconds."""

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request; `route` is a template, never a path."""
        key = (method, route, status)
        series = self.counts.get(key)
        if series is None:
            series = self.counts[key] = [0.0] * (len(BUCKETS) + 2)
        series[bisect_left(BUCKETS, seconds)] += 1
        series[-1] += seconds


class Gauge(Struct, frozen=True):
    """One value that was read when it was asked for; `name` and `help` are Prometheus'."""

    name: str
    help: str
    labels: dict[str, str]
    value: float
    counter: bool = False


class Snapshot(Struct):
    """What one process has counted."""

    requests: list[tuple[str, str, str, int, list[float]]]
    in_flight: dict[str, int]
    gauges: list[Gauge]
    process: list[Gauge]


class Metrics:
    """The metrics of one process. `sockets` are those of its siblings on the same port, with its own at `worker`."""

    content_type: Final = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(self, *, sockets: tuple[Path, ...] = (), worker: int = 0) -> None:
        self._services: dict[str, RequestMetrics] = {}
        self._sources: list[Callable[[], Iterable[Gauge]]] = []
        self._sockets = sockets
        self._worker = worker
        self._process = psutil.Process()
        self._process.cpu_percent()
        self.loop_lag = LoopLag()

    def add_service(self, name: str) -> RequestMetrics:
        """Return the counters of a service, made at the first call."""
        return self._services.setdefault(name, RequestMetrics(name))

    def register(self, source: Callable[[], Iterable[Gauge]]) -> None:
        """Have `source` asked for its gauges at each scrape."""
        self._sources.append(source)

    def snapshot(self) -> Snapshot:
        """Read everything that this process has to tell."""
        services = self._services.values()
        return Snapshot(
            requests=[(s.service, *key, list(series)) for s in services for key, series in s.counts.items()],
            in_flight={s.service: s.in_flight for s in services},
            gauges=[gauge for source in self._sources for gauge in source()],
            process=list(self._process_gauges()),
        )

    async def gathered(self) -> bytes:
        """Return the text of a scrape, over all processes of the port."""
        others = [number for number in range(len(self._sockets)) if number != self._worker]
        answers = zip(others, await asyncio.gather(*(_ask(self._sockets[n]) for n in others)), strict=True)
        snapshots = {self._worker: self.snapshot(), **{number: found for number, found in answers if found is not None}}
        registry = CollectorRegistry()
        registry.register(_Families(snapshots, labelled=bool(self._sockets)))  # pyright: ignore[reportArgumentType]
        return generate_latest(registry)

    async def serve_snapshots(self) -> None:
        """Answer the siblings for as long as the process lives; returns at once when there are none."""
        if not self._sockets:
            return
        path = self._sockets[self._worker]
        path.unlink(missing_ok=True)

        async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(msgspec.msgpack.encode(self.snapshot()))
            await writer.drain()
            writer.close()

        async with await asyncio.start_unix_server(answer, path) as server:
            await server.serve_forever()

    def _process_gauges(self) -> Iterable[Gauge]:
        with self._process.oneshot():
            started = time.time() - self._process.create_time()
            memory, cpu = self._process.memory_info().rss, self._process.cpu_times()
            percent = self._process.cpu_percent()
        yield Gauge("process_uptime_seconds", "Seconds since the process started.", {}, started)
        yield Gauge("process_resident_memory_bytes", "Resident memory.", {}, memory)
        yield Gauge("python_heap_bytes", "Bytes in use on the C heap, from which Python allocates.", {}, heap_bytes())
        yield Gauge("process_cpu_seconds_total", "CPU seconds used.", {}, cpu.user + cpu.system, counter=True)
        yield Gauge("process_cpu_percent", "CPU used since the last scrape, in percent of a core.", {}, percent)
        yield Gauge(
            "event_loop_lag_seconds", "Longest delay of the event loop since the last scrape.", {}, self.loop_lag.take()
        )


class LoopLag:
    """How late the event loop comes: a timer that looks at the clock."""

    def __init__(self) -> None:
        self._worst = 0.0

    async def run(self) -> None:
        """Watch until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_PERIOD
            await asyncio.sleep(LAG_PERIOD)
            self._worst = max(self._worst, loop.time() - due)

    def take(self) -> float:
        """Return the worst since the last call."""
        worst, self._worst = self._worst, 0.0
        return worst


class _Mallinfo2(ctypes.Structure):
    """glibc's `struct mallinfo2` (malloc(3)): ten size_t."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        )
    ]


def heap_bytes() -> float:
    """Return the bytes allocated from the C heap: glibc's `mallinfo2`, else the objects counted at 100 bytes each."""
    try:
        mallinfo2 = ctypes.CDLL(None).mallinfo2
    except (AttributeError, OSError):
        return float(len(gc.get_objects()) * 100)
    mallinfo2.restype = _Mallinfo2
    info = mallinfo2()
    return float(info.uordblks + info.hblkhd)


async def _ask(path: Path) -> Snapshot | None:
    """Return a sibling's snapshot, or None when it does not answer (it may be starting again)."""
    try:
        async with asyncio.timeout(GATHER_SECONDS):
            reader, writer = await asyncio.open_unix_connection(path)
            data = await reader.read()
            writer.close()
        return msgspec.msgpack.decode(data, type=Snapshot)
    except (OSError, TimeoutError, msgspec.DecodeError):
        return None


class _Families:
    """Makes Prometheus' families from the snapshots, once."""

    def __init__(self, snapshots: dict[int, Snapshot], *, labelled: bool) -> None:
        self._snapshots = snapshots
        self._labelled = labelled

    def collect(self) -> Iterable[Metric]:
        yield from self._requests()
        yield from self._gauges()
        one, five, fifteen = os.getloadavg()
        load = GaugeMetricFamily("system_load_average", "Load of the machine.", labels=["window"])
        for window, value in (("1m", one), ("5m", five), ("15m", fifteen)):
            load.add_metric([window], value)
        yield load

    def _requests(self) -> Iterable[Metric]:
        totals: dict[tuple[str, str, str, int], list[float]] = {}
        in_flight: dict[str, int] = {}
        for snapshot in self._snapshots.values():
            for service, method, route, status, series in snapshot.requests:
                _add(totals, (service, method, route, status), series)
            for service, number in snapshot.in_flight.items():
                in_flight[service] = in_flight.get(service, 0) + number
        requests = CounterMetricFamily(
            "http_requests", "Requests answered.", labels=["service", "method", "route", "status"]
        )
        errors = CounterMetricFamily("http_request_errors", "Requests answered with 500 or above.", labels=["service"])
        duration = HistogramMetricFamily(
            "http_request_duration_seconds", "Seconds to the whole answer.", labels=["service", "method", "route"]
        )
        failed: dict[str, float] = dict.fromkeys(in_flight, 0.0)
        durations: dict[tuple[str, str, str], list[float]] = {}
        for (service, method, route, status), series in totals.items():
            number = sum(series[:-1])
            requests.add_metric([service, method, route, str(status)], number)
            _add(durations, (service, method, route), series)
            if status >= 500:
                failed[service] = failed.get(service, 0.0) + number
        for service, number in failed.items():
            errors.add_metric([service], number)
        for labels, series in durations.items():
            duration.add_metric(list(labels), _buckets(series), series[-1])
        flying = GaugeMetricFamily("http_requests_in_flight", "Requests under way.", labels=["service"])
        for service, number in in_flight.items():
            flying.add_metric([service], number)
        yield from (requests, errors, duration, flying)

    def _gauges(self) -> Iterable[Metric]:
        families: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
        about: dict[str, Gauge] = {}
        for worker, snapshot in self._snapshots.items():
            own = {"worker": str(worker)} if self._labelled else {}
            for gauge, extra in [*((g, own) for g in snapshot.process), *((g, {}) for g in snapshot.gauges)]:
                about.setdefault(gauge.name, gauge)
                labels = tuple(sorted({**gauge.labels, **extra}.items()))
                family = families.setdefault(gauge.name, {})
                family[labels] = family.get(labels, 0.0) + gauge.value
        for name, values in families.items():
            names = [label for label, _ in next(iter(values))]
            kind = CounterMetricFamily if about[name].counter else GaugeMetricFamily
            family = kind(name, about[name].help, labels=names)
            for labels, value in values.items():
                family.add_metric([text for _, text in labels], value)
            yield family


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
