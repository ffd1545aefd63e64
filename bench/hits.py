"""What a hit saves: each read that the founding specification names, from the cache and without one, one client.

Two platforms (`serve all`) on one database, one with its cache, one with `TOWNSQUARE_CACHE=off`, asked in turn by wrk over
one kept connection for one and the same address, another in each round: a random person's profile and skills, their home
feed with their token, the beginning of a name to search for, the comments on a post. The rows are in PostgreSQL's memory,
which is in favour of the one without a cache. The figure is how much less time the median answer takes.
"""

import sys
from collections.abc import Callable

from bench.cluster import Cluster, large_community
from bench.harness import Report, Row, Spread, rounds, version_of
from bench.line import Line
from bench.load import Target, both_platforms, platform_versions, wrk
from bench.seed_routes import SeedRoute, seed_routes

PORT = 18_340
SECONDS = 1.0
GOAL = 60.0
"""Per cent: the lower end of what the specification expects, 60 to 90."""


def run(count: int) -> Report:
    """Measure every route in `count` rounds."""
    with large_community() as cluster, both_platforms(cluster, PORT) as (kept, bare):
        rows = [_compared(cluster, route, kept, bare, count) for route in seed_routes(cluster, count)]
        versions = platform_versions(cluster) | {"wrk": version_of("wrk", "--version").split(" ")[1]}
    return Report("hits", rows, versions)


def _compared(cluster: Cluster, route: SeedRoute, kept: int, bare: int, count: int) -> Row:
    """`kept` and `bare` are the platforms' ports."""
    print(f"  {route.name}", flush=True)
    ways = {"hit": _turns(cluster, route, kept, hits=True), "without cache": _turns(cluster, route, bare, hits=False)}
    series = rounds(ways, count)
    saved = Spread.of([100 * (1 - hit / read) for hit, read in zip(*series.values(), strict=True)])
    figures = {name: Spread.of([1000 * value for value in values]).text("µs") for name, values in series.items()}
    what = f"{route.name}: latency of a hit, one client, against the same without cache"
    goal = f"at least {GOAL:.0f} to 90 % less"
    return Row(what, figures, f"{saved.text('%')} less", goal, saved.median >= GOAL)


def _turns(cluster: Cluster, route: SeedRoute, port: int, *, hits: bool) -> Callable[[], float]:
    """Return what takes a turn, with the route's next address, and returns the median latency in milliseconds."""
    addresses = iter(route.asked)

    def take() -> float:
        asked = next(addresses)
        token = None if asked.person is None else cluster.token(asked.person)
        with Line(port) as line:
            line.get(asked.path, token)
            if line.get(asked.path, token).hit != hits:
                sys.exit(f"bench: {asked.path} is {'no' if hits else 'a'} hit")
        return wrk(Target(f"http://127.0.0.1:{port}", asked.path, token=token), connections=1, seconds=SECONDS).median

    return take
