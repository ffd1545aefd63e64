"""A thousand clients ask for one cold key at once: how often the database is asked.

A thousand connections are open when all of them ask for the profile of somebody for whom nobody has asked before. PostgreSQL
holds the table's lock until all have asked and half a second has passed, so that none is answered from what the first one
has brought. Then the lock goes, all must get their 200, and `pg_stat_statements` says how often the very query of that
read was run. Against one process (`up`) and against four on one port (`up --workers 4`), in turns; somebody else in each.
"""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import asyncpg
import uvloop

from bench.cluster import Cluster, large_community
from bench.harness import Report, Row, Spread, rounds
from bench.line import request
from bench.load import platform_versions, serving, settle, townsquare
from bench.seed import person_id
from bench.seed_routes import some_people
from townsquare.services.users.profile import READ_BY_ID

PORT = 18_370
WORKERS = 4
CLIENTS = 1_000
HELD_SECONDS = 0.5
PATIENCE = 30.0

KINDS = {"asked for it themselves": "fwd=miss", "waited for another's": "hit"}
"""Answers, and what `Cache-Status` says of them."""

LOCK = "LOCK TABLE people IN ACCESS EXCLUSIVE MODE"

# Of one query of that service, as it was sent.
RUNS = """
SELECT coalesce(sum(calls), 0)::int
FROM pg_stat_statements
WHERE dbid = (SELECT oid FROM pg_database WHERE datname = 'users') AND btrim(query, E' \\n') = $1
"""


@dataclass
class Outcome:
    """One stampede: runs of the query, and how many answers were which, by `Cache-Status`."""

    runs: int
    answers: dict[str, int]


def run(count: int) -> Report:
    """Have `count` stampedes against each."""
    with large_community() as cluster, _running(cluster, PORT, 1), _running(cluster, PORT + 1, WORKERS):
        people = iter(some_people(2 * count))
        one, several = Stampedes(cluster, PORT, people), Stampedes(cluster, PORT + 1, people)
        with _counting(cluster):
            rounds({"one process, runs": one, f"{WORKERS} workers, runs": several}, count)
        rows = [_row("one process", one.outcomes, 1), _row(f"{WORKERS} workers", several.outcomes, WORKERS)]
        return Report("stampede", rows, platform_versions(cluster))


@contextmanager
def _running(cluster: Cluster, port: int, workers: int) -> Iterator[None]:
    base = f"http://127.0.0.1:{port}"
    environment = {**cluster.environment(), "TOWNSQUARE_CACHE": "on"}
    command = townsquare("up", "--port", str(port), "--workers", str(workers))
    with serving(command, environment, f"{base}/health/ready"):
        settle(base)
        yield


@contextmanager
def _counting(cluster: Cluster) -> Iterator[None]:
    uvloop.run(_execute(cluster, "CREATE EXTENSION IF NOT EXISTS pg_stat_statements"))
    try:
        yield
    finally:
        uvloop.run(_execute(cluster, "DROP EXTENSION pg_stat_statements"))


async def _execute(cluster: Cluster, sql: str) -> None:
    connection = await asyncpg.connect(cluster.url)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()


def _row(what: str, outcomes: list[Outcome], processes: int) -> Row:
    runs = Spread.of([float(outcome.runs) for outcome in outcomes])
    answers = {kind: Spread.of([float(outcome.answers.get(kind, 0)) for outcome in outcomes]).text() for kind in KINDS}
    share = Spread.of([outcome.runs / processes for outcome in outcomes])
    name = f"{CLIENTS:,} clients ask for one cold key, {what}: queries of the database"
    figures = {"queries": runs.text(), **answers}
    return Row(name, figures, f"{share.text()} for each process", "1 for each process", share.greatest <= 1)


class Stampedes:
    """Takes turns against one platform; `people` are those for whom nobody has asked."""

    def __init__(self, cluster: Cluster, port: int, people: Iterator[int]) -> None:
        self.outcomes: list[Outcome] = []
        self._cluster = cluster
        self._port = port
        self._people = people

    def __call__(self) -> float:
        """Take one turn; returns how often the query was run."""
        path = f"/api/users/profile/{person_id(next(self._people))}"
        self.outcomes.append(uvloop.run(_stampede(self._cluster, self._port, request("GET", path))))
        return float(self.outcomes[-1].runs)


async def _stampede(cluster: Cluster, port: int, asking: bytes) -> Outcome:
    locking, counting = await asyncpg.connect(cluster.dsn("users")), await asyncpg.connect(cluster.url)
    try:
        clients = [await asyncio.open_connection("127.0.0.1", port) for _ in range(CLIENTS)]
        before = await counting.fetchval(RUNS, READ_BY_ID.strip())
        async with asyncio.timeout(PATIENCE), locking.transaction():
            await locking.execute(LOCK)
            for _, writer in clients:
                writer.write(asking)
            await asyncio.gather(*(writer.drain() for _, writer in clients))
            await asyncio.sleep(HELD_SECONDS)
        async with asyncio.timeout(PATIENCE):
            heads = await asyncio.gather(*(reader.readuntil(b"\r\n\r\n") for reader, _ in clients))
        runs = await counting.fetchval(RUNS, READ_BY_ID.strip()) - before
        for _, writer in clients:
            writer.close()
    finally:
        await locking.close()
        await counting.close()
    return Outcome(runs, _kinds(heads))


def _kinds(heads: list[bytes]) -> dict[str, int]:
    """Count the answers by what the cache did."""
    refused = [head for head in heads if not head.startswith(b"HTTP/1.1 200")]
    if refused:
        sys.exit(f"bench: {len(refused)} of {len(heads)} were refused: {refused[0].decode()}")
    return {kind: sum(f"townsquare; {said}".encode() in head for head in heads) for kind, said in KINDS.items()}
