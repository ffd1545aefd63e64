"""Reads with the cache off: how much the platform adds to PostgreSQL's own time, and how many it serves beside Express.

Latency: `serve all`, the whole platform in one process, one client over a kept connection (wrk), against the same SQL from
pgbench (`-M prepared -c 1`) over the same Unix socket; in both a random person's profile, or the first 20 posts of the
home feed of somebody who follows 100, 300 or 3,000. The figure is the difference of the medians. pgbench makes the random id
in SQL, having no other way.

Throughput: `serve users`, one process bound to one core; wrk (64 connections) and PostgreSQL share the other. The Express
service beside it gives the same answers, which is checked, and has the same core in turn: on the Node that comes with the
platform's tools, and on the system's where that is another, because between two versions it gains half as much again.
"""

import asyncio
import json
import random
import re
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from bench.cluster import SIZE, Cluster, large_community
from bench.express import Express
from bench.harness import Report, Row, Spread, differences, ratios, rounds, version_of
from bench.load import LOAD_CORE, SERVER_CORE, Target, answers, pgbench, pgbench_program, serving, townsquare, wrk
from bench.seed import person_id
from townsquare.services.content.feed import MERGE_FEED, SCAN_FEED
from townsquare.services.content.post_view import NEWEST
from townsquare.services.users.profile import READ_BY_ID

PLATFORM_PORT, USERS_PORT, EXPRESS_PORT = 18_310, 18_311, 18_312
FEEDS = {1: 100, 2: 300, 3: 3_000}
"""Persons of the seed, and how many each follows."""
PAGE = 20
SECONDS = 3.0
WARM_SECONDS = 2.0
CONNECTIONS = 64
COMPARED = 200
PERSON_BY_NUMBER = "('01900000-0000-7000-8000-' || lpad(to_hex(:n::int), 12, '0'))::uuid"


def run(count: int) -> Report:
    """Measure latency, then throughput, in `count` rounds each."""
    express = Express()
    with large_community() as cluster:
        rows = _latency(cluster, count)
        cluster.pin(LOAD_CORE)
        rows += _throughput(cluster, express, count)
    versions = {
        "PostgreSQL": cluster.version,
        "pgbench": version_of(pgbench_program(), "--version").split(" ")[-1],
        "wrk": version_of("wrk", "--version").split(" ")[1],
        "Python": version_of(sys.executable, "--version").split(" ")[-1],
        **express.versions(),
    }
    return Report("reads", rows, versions)


def _latency(cluster: Cluster, count: int) -> list[Row]:
    base = f"http://127.0.0.1:{PLATFORM_PORT}"
    command = townsquare("serve", "all", "--port", str(PLATFORM_PORT))
    with serving(command, cluster.environment(), f"{base}/health/ready"):
        contenders: dict[str, Callable[[], float]] = {}
        for read in (_profile_read(cluster, base), *(_feed_read(cluster, base, person) for person in FEEDS)):
            contenders |= read
        series = rounds(contenders, count)
    feeds = [(f"feed of {PAGE} posts, {follows:,} follows", 0.6) for follows in FEEDS.values()]
    return [_added(series, what, goal) for what, goal in (("profile", 0.3), *feeds)]


def _profile_read(cluster: Cluster, base: str) -> dict[str, Callable[[], float]]:
    target = Target(base, "/api/users/profile/", people=SIZE.people)
    script = f"\\set n random(1, {SIZE.people})\n" + READ_BY_ID.replace("$1", PERSON_BY_NUMBER).rstrip() + ";\n"
    return {
        "profile": lambda: wrk(target, connections=1, seconds=SECONDS).median,
        "profile, pgbench": lambda: pgbench(cluster.dsn("users"), script, {}, seconds=SECONDS),
    }


def _feed_read(cluster: Cluster, base: str, person: int) -> dict[str, Callable[[], float]]:
    """One person's feed; the SQL is what the handler runs for them: a scan, and a merge where that finds too little."""
    what = f"feed of {PAGE} posts, {FEEDS[person]:,} follows"
    path = f"/api/content/feed/{person_id(person)}"
    found = json.loads(answers(base + path, token=cluster.token(person)))["items"]
    if len(found) != PAGE:
        sys.exit(f"bench: the feed of person {person} has {len(found)} posts instead of {PAGE}")
    arguments = (person_id(person), NEWEST, PAGE + 1)
    enough = len(asyncio.run(_fetch(cluster.dsn("content"), SCAN_FEED, arguments))) == PAGE + 1
    script = "".join(_with_names(sql) for sql in ((SCAN_FEED,) if enough else (SCAN_FEED, MERGE_FEED)))
    variables = {f"a{number}": value for number, value in enumerate(arguments, 1)}
    return {
        what: lambda: wrk(Target(base, path, token=cluster.token(person)), connections=1, seconds=SECONDS).median,
        f"{what}, pgbench": lambda: pgbench(cluster.dsn("content"), script, variables, seconds=SECONDS),
    }


async def _fetch(dsn: str, sql: str, arguments: tuple[object, ...]) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetch(sql, *arguments)
    finally:
        await connection.close()


def _with_names(sql: str) -> str:
    """Write a query as pgbench takes it: a variable for each argument, with its type at each place."""
    types = {"1": "uuid", "2": "uuid", "3": "bigint"}
    bare = re.sub("--.*", "", sql)
    return re.sub(r"\$(\d)", lambda found: f":a{found[1]}::{types[found[1]]}", bare).rstrip() + ";\n"


def _added(series: dict[str, list[float]], what: str, goal: float) -> Row:
    sql = f"{what}, pgbench"
    added = differences(series, what, sql)
    figures = {"townsquare": Spread.of(series[what]).text("ms"), "pgbench": Spread.of(series[sql]).text("ms")}
    name, wanted = f"{what}: latency at one client", f"at most +{goal} ms"
    return Row(name, figures, added.text("ms", signed=True), wanted, added.median <= goal)


def _throughput(cluster: Cluster, express: Express, count: int) -> list[Row]:
    ours = Served(townsquare("serve", "users", "--port", str(USERS_PORT)), cluster.environment(), USERS_PORT)
    environment = express.environment(cluster, EXPRESS_PORT)
    peers = {
        f"Express + pg, Node {node.version}": Served(express.command(node), environment, EXPRESS_PORT)
        for node in express.nodes
    }
    for peer in peers.values():
        with ours.running(), peer.running():
            _require_same_answers(ours, peer)
    series = rounds({"townsquare": ours.rate, **{name: peer.rate for name, peer in peers.items()}}, count)
    return [_beside(series, name) for name in peers]


def _beside(series: dict[str, list[float]], peer: str) -> Row:
    ratio = ratios(series, "townsquare", peer)
    figures = {name: Spread.of(series[name]).text("requests/s") for name in ("townsquare", peer)}
    what = f"profile: throughput of one process on one core, {CONNECTIONS} connections"
    return Row(what, figures, f"{ratio.text()}x", "at least 1.5x", ratio.median >= 1.5)


@dataclass(frozen=True)
class Served:
    """One of the services compared; each is started anew for its turn, so that the others do nothing on their core."""

    command: list[str]
    environment: Mapping[str, str]
    port: int

    def running(self) -> AbstractContextManager[None]:
        """Run it."""
        return serving(self.command, self.environment, self.address(1), core=SERVER_CORE)

    def address(self, person: int) -> str:
        """Return where a person's profile is."""
        return f"http://127.0.0.1:{self.port}/profile/{person_id(person)}"

    def rate(self) -> float:
        """Return the requests a second, after a while of warming up."""
        target = Target(f"http://127.0.0.1:{self.port}", "/profile/", people=SIZE.people)
        with self.running():
            wrk(target, connections=CONNECTIONS, seconds=WARM_SECONDS, core=LOAD_CORE)
            return wrk(target, connections=CONNECTIONS, seconds=SECONDS, core=LOAD_CORE).rate


def _require_same_answers(ours: Served, peer: Served) -> None:
    for person in random.Random(1).sample(range(1, 1000), COMPARED):  # the seed hides the thousandth
        mine, other = (_comparable(answers(each.address(person))) for each in (ours, peer))
        if mine != other:
            sys.exit(f"bench: the peer answers something else about person {person}: {other} instead of {mine}")


def _comparable(body: bytes) -> object:
    """Read an answer; JavaScript's times have milliseconds, ours what PostgreSQL has."""
    profile = json.loads(body)
    return profile | {"created_at": datetime.fromisoformat(profile["created_at"]).isoformat(timespec="milliseconds")}
