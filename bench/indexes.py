"""Every query with each index that it uses, and without it: time, and pages of 8 kB that were looked at.

On the large community of `cluster.py`, planned for any arguments and run with those of `samples.py`, in a transaction that
is rolled back. An index is taken away by marking it invalid there, so that the planner does not see it and nothing has to be
built anew. A query without its index gets five seconds. All pairs are printed; the table has for each index the query that
gains the most by it. The goal is the founding specification's, that queries are 50 % faster at least, for the median of
them. Where one gains little, the index stands for what this community lacks (`posts_public_idx`: one that rarely writes for
everybody; `posts_feed_idx`: somebody with a diary), for a rule (a key), or for a table that is small.
"""

import asyncio
import statistics
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import asyncpg

from bench.cluster import SIZE, large_community
from bench.harness import Report, Row, Spread
from bench.plans import Plan, explain, explain_here, rolled_back
from bench.queries import Query, named_queries
from bench.samples import SAMPLES
from townsquare.catalogue import BUILT

PATIENCE_MS: Final = 5_000
LONG_MS: Final = 250
"""What takes longer is run once: nothing about it is in doubt."""
GOAL: Final = 2.0
PLAN: Final = "force_generic_plan"

HIDE: Final = "UPDATE pg_index SET indisvalid = false WHERE indexrelid = $1::regclass"


@dataclass(frozen=True)
class Cost:
    """A query's time (milliseconds) and pages; no pages when it was given up."""

    milliseconds: float
    pages: int | None

    def __str__(self) -> str:
        if self.pages is None:
            return f"over {self.milliseconds:,.0f} ms"
        return f"{self.milliseconds:,.2f} ms, {self.pages:,} pages"


@dataclass(frozen=True)
class Pair:
    """One query with and without one index, in one service's database."""

    service: str
    index: str
    query: str
    with_index: Cost
    without: Cost

    @property
    def gain(self) -> float:
        """How many times as long it takes without."""
        return self.without.milliseconds / max(self.with_index.milliseconds, 0.001)

    def row(self) -> Row:
        """Write it as a line of the table."""
        figures = {"with": str(self.with_index), "without": str(self.without)}
        what = f"{self.service}: {self.index}, by {self.query}"
        return Row(what, figures, f"{self.gain:,.1f}x", "", None)


def run(count: int) -> Report:
    """Compare every query, each time the median of `count` runs."""
    with large_community() as cluster:
        pairs = [pair for service in BUILT for pair in asyncio.run(_pairs_of(service, cluster.dsn(service), count))]
        size = f"{SIZE.people:,} people, {SIZE.posts:,} posts"
        best = _best(pairs)
        rows = [_summary(best), *(pair.row() for pair in best)]
        return Report("indexes", rows, {"PostgreSQL": cluster.version, "community": size})


def _summary(best: list[Pair]) -> Row:
    gain = Spread.of([pair.gain for pair in best])
    what = f"{len(best)} indexes, each by the query that gains the most: time without over time with"
    return Row(what, {}, f"{gain.text()}x", f"at least {GOAL:.0f}x", gain.median >= GOAL)


def _best(pairs: Iterable[Pair]) -> list[Pair]:
    """For each index the query that gains the most by it."""
    best: dict[tuple[str, str], Pair] = {}
    for pair in sorted(pairs, key=lambda pair: pair.gain):
        best[pair.service, pair.index] = pair
    return [best[key] for key in sorted(best)]


async def _pairs_of(service: str, dsn: str, count: int) -> list[Pair]:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(f"SET statement_timeout = {PATIENCE_MS}")
        queries = [query for query in named_queries() if service in query.services]
        return [pair for query in queries for pair in await _compare(connection, service, query, count)]
    finally:
        await connection.close()


async def _compare(connection: asyncpg.Connection, service: str, query: Query, count: int) -> list[Pair]:
    pairs: list[Pair] = []
    for arguments in SAMPLES.get(query.name, []):
        try:
            plan = await explain(connection, query.sql, arguments, PLAN)
        except asyncpg.PostgresError:
            continue  # rows that are there already in this larger community; `tests/databases` runs them all
        indexes = sorted(set(_read_by(plan)))
        present = await _cost(connection, query, arguments, count, None) if indexes else None
        for index in indexes:
            absent = await _cost(connection, query, arguments, count, index)
            if present is not None and absent is not None:
                pairs.append(Pair(service, index, query.name, present, absent))
                print(f"  {query.name}: {index}: with {present}; without {absent}", flush=True)
    return pairs


def _read_by(plan: Plan) -> Iterator[str]:
    """Name the indexes by which it really looked something up."""
    for node in plan.root.walk():
        if "Index Name" in node.facts and node.facts["Actual Loops"] > 0:
            yield node.facts["Index Name"]


async def _cost(
    connection: asyncpg.Connection, query: Query, arguments: tuple[object, ...], count: int, hidden: str | None
) -> Cost | None:
    """Run a query `count` times without the index `hidden`; None when it cannot run so (`ON CONFLICT` needs its index)."""
    times: list[float] = []
    pages = 0
    try:
        async with rolled_back(connection):
            if hidden is not None:
                await connection.execute(HIDE, hidden)
            while len(times) < count and not (times and times[-1] > LONG_MS):
                async with rolled_back(connection):
                    plan = await explain_here(connection, query.sql, arguments, PLAN)
                times.append(plan.milliseconds)
                pages = plan.pages
    except asyncpg.QueryCanceledError:
        return Cost(PATIENCE_MS, None)
    except asyncpg.PostgresError:
        return None
    return Cost(statistics.median(times), pages)
