"""How soon another process sees a write: two `serve users` on one database, one that is written to, one that is read from.

Somebody changes their profile at one process. From the moment that it has answered, the other, which has the profile in its
cache, is asked over a kept connection every 0.2 ms until it shows the change. Each figure is of all writes of all rounds.

With notifications: one write after another. With the notifications lost: the connections on which processes wait for them
are cut at the server every 20 ms, as in `tests/faults`; each is made anew half a second later, to be cut again, so that
what changes are found by is the look at the table. There, eight people write at a time (and ask every 2 ms), each after a
random pause, so that the writes come at every moment between two looks.
"""

import random
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import asyncpg
import uvloop

from bench.cluster import Cluster, large_community
from bench.harness import Report, Row, rounds
from bench.line import Line, Reply, request
from bench.load import platform_versions, serving, townsquare
from bench.seed import person_id
from bench.seed_routes import some_people

WRITER_PORT, READER_PORT = 18_360, 18_361
WRITES = 120
"""In a round, for each of the two."""
AT_ONCE = 8
ASK_SECONDS, ASK_SECONDS_AT_ONCE = 0.0002, 0.002
LONGEST_PAUSE = 0.4
"""Between two writes of a person while notifications are lost; about as long as the time between two looks."""
CUT_SECONDS = 0.02
PATIENCE = 10.0
GOAL_MS, GOAL_LOST_MS = 20.0, 1000.0

CUT = """
SELECT count(pg_terminate_backend(pid))
FROM pg_stat_activity
WHERE datname = current_database() AND query ILIKE 'LISTEN%'
"""


def run(count: int) -> Report:
    """Measure both in `count` rounds."""
    with large_community() as cluster, _two_processes(cluster):
        told, lost = Told(cluster), Lost(cluster)
        rounds({"with notifications, median ms": told, "notifications lost, median ms": lost}, count)
        rows = [
            _row("with notifications", told.seen, GOAL_MS),
            _row(f"notifications lost ({lost.cut} connections cut)", lost.seen, GOAL_LOST_MS),
        ]
        return Report("invalidation", rows, platform_versions(cluster))


@contextmanager
def _two_processes(cluster: Cluster) -> Iterator[None]:
    with ExitStack() as stack:
        for port in (WRITER_PORT, READER_PORT):
            command = townsquare("serve", "users", "--port", str(port))
            environment = {**cluster.environment(), "TOWNSQUARE_CACHE": "on"}
            stack.enter_context(serving(command, environment, f"http://127.0.0.1:{port}/health/ready"))
        yield


def _row(what: str, seen: list[float], goal: float) -> Row:
    p99 = statistics.quantiles(seen, n=100, method="inclusive")[98]
    figures = {f"{len(seen):,} writes": f"median {statistics.median(seen):.1f} ms, longest {max(seen):.1f} ms"}
    return Row(
        f"a write seen by another process, {what}: p99", figures, f"{p99:.1f} ms", f"under {goal:,.0f} ms", p99 < goal
    )


class Told:
    """One person writes; takes turns and keeps the milliseconds of each write."""

    def __init__(self, cluster: Cluster) -> None:
        self.seen: list[float] = []
        self._cluster = cluster

    def __call__(self) -> float:
        """Take one turn; returns its median."""
        with _Person(self._cluster, some_people(1)[0], ASK_SECONDS) as person:
            seen = [person.write() for _ in range(WRITES)]
        self.seen += seen
        return statistics.median(seen)


class Lost:
    """Several people write while no notification arrives; `cut` is how many connections that took."""

    def __init__(self, cluster: Cluster) -> None:
        self.seen: list[float] = []
        self.cut = 0
        self._cluster = cluster

    def __call__(self) -> float:
        """Take one turn; returns its median."""
        stop = threading.Event()
        with ThreadPoolExecutor(AT_ONCE + 1) as pool:
            cutting = pool.submit(lambda: uvloop.run(_cut(self._cluster.dsn("users"), stop)))
            try:
                seen = [each for many in pool.map(self._writes, some_people(AT_ONCE)) for each in many]
            finally:
                stop.set()
            self.cut += cutting.result()
        self.seen += seen
        return statistics.median(seen)

    def _writes(self, number: int) -> list[float]:
        seen: list[float] = []
        with _Person(self._cluster, number, ASK_SECONDS_AT_ONCE) as person:
            for _ in range(WRITES // AT_ONCE):
                time.sleep(random.uniform(0, LONGEST_PAUSE))
                seen.append(person.write())
        return seen


async def _cut(dsn: str, stop: threading.Event) -> int:
    """Cut whoever waits for notifications, until told to stop; returns how many connections that were."""
    connection, cut = await asyncpg.connect(dsn), 0
    try:
        while not stop.wait(CUT_SECONDS):
            cut += await connection.fetchval(CUT)
    finally:
        await connection.close()
    assert cut, "nobody was cut"
    return cut


class _Person:
    """Somebody who changes their profile at one process and looks at it at the other."""

    def __init__(self, cluster: Cluster, number: int, pause: float) -> None:
        self._path = f"/profile/{person_id(number)}"
        self._token = cluster.token(number)
        self._pause = pause
        self._writer, self._reader = Line(WRITER_PORT), Line(READER_PORT)

    def __enter__(self) -> "_Person":
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.__exit__(None, None, None)
        self._reader.__exit__(None, None, None)

    def write(self) -> float:
        """Write, and return how many milliseconds after the answer the other process shows it."""
        place = f"Somewhere {random.getrandbits(40)}"
        change = request("PATCH", self._path, self._token, {"location": place})
        self._ask_until(lambda reply: reply.hit)  # or there would be nothing to invalidate
        written = self._writer.send(change)
        assert written.status == 200, written.body
        return self._ask_until(lambda reply: place.encode() in reply.body)

    def _ask_until(self, condition: Callable[[Reply], bool]) -> float:
        began, asking = time.perf_counter(), request("GET", self._path)
        while not condition(self._reader.send(asking)):
            assert time.perf_counter() - began < PATIENCE, "it is never seen"
            time.sleep(self._pause)
        return (time.perf_counter() - began) * 1000
