"""What a miss costs: each read that the founding specification names, not yet kept, against the handler without a cache.

Two platforms (`serve all`) on one database, one with its cache, one with `TOWNSQUARE_CACHE=off`. One client asks both for
one and the same address, one right after the other, in turns in either order, and for no address twice: every answer of the
first is a miss that is kept (`Cache-Status` is looked at), and whatever else the machine does meets both alike. The rows of
a dozen addresses at a time are read beforehand, so that neither finds them in PostgreSQL's memory and the other does not; a
third platform does that, or one of the two would be warmer. Tokens have been verified before, for that is not the cache's
work. Each feed is another person's: its miss also finds out whom they follow.

The figure is the median of the differences within the pairs, divided by the median without cache.
"""

import statistics
import sys
from collections.abc import Sequence
from contextlib import ExitStack

from bench.cluster import Cluster, large_community
from bench.harness import Report, Row, Spread
from bench.line import Line, Reply, request
from bench.load import both_platforms, platform, platform_versions
from bench.seed_routes import Asked, SeedRoute, seed_routes

PORT = 18_350
PAIRS = 300
TOGETHER = 12
GOAL = 5.0
TOKEN_PATH = "/api/content/drafts"
"""Needs a token, and is not cached."""


def run(count: int) -> Report:
    """Measure every route in `count` rounds."""
    with large_community() as cluster, ExitStack() as stack:
        stack.enter_context(both_platforms(cluster, PORT))
        stack.enter_context(platform(cluster, PORT + 2, cache="off"))
        kept, bare, third = (stack.enter_context(Line(PORT + number)) for number in range(3))
        pairs = Pairs(cluster, kept, bare, third)
        rows = [_compared(pairs, route, count) for route in seed_routes(cluster, (count + 1) * PAIRS)]
        return Report("misses", rows, platform_versions(cluster))


class Pairs:
    """Asks two platforms for the same; `kept` leads to the one with a cache, `third` to the one that reads beforehand."""

    def __init__(self, cluster: Cluster, kept: Line, bare: Line, third: Line) -> None:
        self._cluster = cluster
        self._kept = kept
        self._bare = bare
        self._third = third

    def ask(self, addresses: Sequence[Asked]) -> list[tuple[float, float]]:
        """Return the microseconds of each miss, and of the same answer without a cache."""
        measured: list[tuple[float, float]] = []
        for at in range(0, len(addresses), TOGETHER):
            messages = [self._prepare(asked) for asked in addresses[at : at + TOGETHER]]
            measured += [self._pair(message, kept_first=number % 2 == 0) for number, message in enumerate(messages)]
        return measured

    def _prepare(self, asked: Asked) -> bytes:
        token = None if asked.person is None else self._cluster.token(asked.person)
        if token is not None:
            for line in (self._kept, self._bare):
                _require(line.get(TOKEN_PATH, token), "")
        message = request("GET", asked.path, token)
        _require(self._third.send(message), "")
        return message

    def _pair(self, message: bytes, *, kept_first: bool) -> tuple[float, float]:
        if kept_first:
            kept, bare = self._kept.send(message), self._bare.send(message)
        else:
            bare, kept = self._bare.send(message), self._kept.send(message)
        _require(kept, "townsquare; fwd=miss; stored")
        _require(bare, "")
        return kept.nanoseconds / 1000, bare.nanoseconds / 1000


def _require(reply: Reply, cache: str) -> None:
    if (reply.status, reply.cache) != (200, cache):
        sys.exit(f"bench: {reply.status} {reply.cache!r} instead of 200 {cache!r}: {reply.body[:200]!r}")


def _compared(pairs: Pairs, route: SeedRoute, count: int) -> Row:
    pairs.ask(route.asked[:PAIRS])  # for connections, statements and whatever else the first ones pay for
    misses: list[float] = []
    bares: list[float] = []
    added: list[float] = []
    for number in range(1, count + 1):
        measured = pairs.ask(route.asked[number * PAIRS : (number + 1) * PAIRS])
        misses.append(statistics.median(miss for miss, _ in measured))
        bares.append(statistics.median(bare for _, bare in measured))
        added.append(100 * statistics.median(miss - bare for miss, bare in measured) / bares[-1])
        print(f"  {route.name}, round {number}/{count}: {misses[-1]:.0f} and {bares[-1]:.0f} µs", flush=True)
    figures = {"miss": Spread.of(misses).text("µs"), "without cache": Spread.of(bares).text("µs")}
    more, what = Spread.of(added), f"{route.name}: latency of a miss, one client, against the handler without cache"
    return Row(what, figures, more.text("%", signed=True), f"under +{GOAL:.0f} %", more.median < GOAL)
