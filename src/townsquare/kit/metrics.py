"""Metrics in Prometheus' text format.

Counting a request costs about a microsecond: a dictionary look-up and two additions. Names, labels and text are made when
somebody scrapes. Where a platform is several processes, the one that is scraped asks its siblings for their snapshots
and answers the sum; what belongs to one process is labelled with its name instead.
"""

import asyncio
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, TypeAlias

import msgspec
from msgspec import Struct

from townsquare.kit.process_metrics import LoopLag, ProcessGauges

BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds in seconds."""
ASK_SECONDS: Final = 1.5
"""For a sibling's answer; longer than LOOK_SECONDS, or a silent database would take the sibling's counts with it."""
LOOK_SECONDS: Final = 0.5
"""For what is read from a database when somebody scrapes; what does not come in time is left out."""


class RequestMetrics:
    """The requests of one service in this process."""

    def __init__(self, service: str) -> None:
        self.service = service
        self.in_flight = 0
        self.counts: dict[tuple[str, str, int], list[float]] = {}
        """By method, route and status: one number a bucket, the overflow, and the sum of seconds."""

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request; `route` is a template, never a path."""
        series = self.series(method, route, status)
        series[bisect_left(BUCKETS, seconds)] += 1
        series[-1] += seconds

    def series(self, method: str, route: str, status: int) -> list[float]:
        """Return the numbers of one series, for who counts many of its requests: the first is those under a millisecond."""
        key = (method, route, status)
        series = self.counts.get(key)
        if series is None:
            series = self.counts[key] = [0.0] * (len(BUCKETS) + 2)
        return series


class Gauge(Struct, frozen=True):
    """One value that was read when it was asked for; `name` and `help` are Prometheus'.

    A `shared` one is the same in every process that reads it, as what stands in a database: it is not added up.
    """

    name: str
    help: str
    labels: dict[str, str]
    value: float
    counter: bool = False
    shared: bool = False


class Snapshot(Struct):
    """What one process has counted."""

    requests: list[tuple[str, str, str, int, list[float]]]
    in_flight: dict[str, int]
    gauges: list[Gauge]
    process: list[Gauge]


Source: TypeAlias = Callable[[], Iterable[Gauge]]
Look: TypeAlias = Callable[[], Awaitable[Iterable[Gauge]]]
Sibling: TypeAlias = Callable[[], Awaitable[bytes]]


class Metrics:
    """The metrics of one process, called `name` among its siblings.

    `siblings` are the others of the platform: by name, what returns each one's encoded snapshot, or raises.
    """

    content_type: Final = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(self, name: str = "") -> None:
        self.siblings: dict[str, Sibling] = {}
        self.loop_lag = LoopLag()
        self._name = name
        self._services: dict[str, RequestMetrics] = {}
        self._sources: list[Source] = []
        self._looks: list[Look] = []
        self._process = ProcessGauges()

    def add_service(self, name: str) -> RequestMetrics:
        """Return the counters of a service, made at the first call."""
        return self._services.setdefault(name, RequestMetrics(name))

    def register(self, source: Source) -> None:
        """Have `source` asked for its gauges at each scrape."""
        self._sources.append(source)

    def register_look(self, look: Look) -> None:
        """Likewise, where the answer must be waited for; what fails or takes long is left out of that scrape."""
        self._looks.append(look)

    async def snapshot(self) -> Snapshot:
        """Read everything that this process has to tell."""
        looked = await asyncio.gather(*(_look(look) for look in self._looks))
        services = self._services.values()
        gauges = [gauge for source in self._sources for gauge in source()]
        return Snapshot(
            requests=[(s.service, *key, list(series)) for s in services for key, series in s.counts.items()],
            in_flight={s.service: s.in_flight for s in services},
            gauges=gauges + [gauge for found in looked for gauge in found],
            process=[Gauge(*told) for told in (*self._process.read(), self.loop_lag.read())],
        )

    async def encoded_snapshot(self) -> bytes:
        """Return the snapshot as siblings hand it to each other."""
        return msgspec.msgpack.encode(await self.snapshot())

    async def gathered(self) -> bytes:
        """Return the text of a scrape, over all processes of the platform."""
        from townsquare.kit.metrics_text import as_text

        asked = asyncio.gather(*(_ask(sibling) for sibling in self.siblings.values()))
        own, others = await asyncio.gather(self.snapshot(), asked)
        return as_text({self._name: own, **dict(zip(self.siblings, others, strict=True))})


async def _look(look: Look) -> list[Gauge]:
    try:
        async with asyncio.timeout(LOOK_SECONDS):
            return list(await look())
    except Exception:  # the database is away, which its own metrics and readiness tell
        return []


async def _ask(sibling: Sibling) -> Snapshot | None:
    """Return a sibling's snapshot, or None when it does not answer (it may be starting again)."""
    try:
        async with asyncio.timeout(ASK_SECONDS):
            return msgspec.msgpack.decode(await sibling(), type=Snapshot)
    except Exception:  # whatever is wrong with one process must not hide the others
        return None
