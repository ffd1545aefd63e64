"""Hit rates when a community is at it: skewed popularity, real writes, lifetimes in real time, 64 MB a service, no Redis.

The workload was chosen before anything was measured:

- 50,000 people are known (the large community, with its follows and a million posts); 3,000 of them, spread evenly over
  them, are reading, each once in 7 s, which is TPC-W's mean time between two pages: 429 requests a second.
- Five requests in a hundred are writes, and what is read or written is drawn by Zipf's law with the exponent 0.99: YCSB's
  workload B and its constant (Cooper et al., *Benchmarking Cloud Serving Systems with YCSB*, 2010). So are those who read.
- Two home feeds are read for each profile, as in DeathStarBench's social network (Gan et al., 2019: 60 % home
  timelines, 30 % people's own), and the writes are divided alike: two posts for each change of a profile.
- Person 1 is looked at, followed, and writes the most, and so on: the ranks agree, and each write hits what is read the
  most. Who reads how much has nothing to do with how popular they are. A post also changes its author's profile, which
  counts posts.

Before anything is counted, as much is read as in one lifetime of each (profiles 10 minutes, feeds 2), without writes. Then
the requests come at their rate, for 24 s a round. One client asks `serve all` over one connection; what was a hit is read
from `Cache-Status`. Beside it stands what no cache can exceed: in one that never forgets, never ends an entry, and drops
exactly what has changed, each read is a hit but the first of its kind, the first of a feed after a post by somebody
whom its reader follows or by the reader, and the first of a profile after its change or its owner's post.

The posts are deleted again at the end; profiles keep their last change of place.
"""

import asyncio
import json
import random
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

import asyncpg

from bench.cluster import SIZE, Cluster, large_community
from bench.harness import Report, Row, Spread
from bench.line import Line, Reply, request
from bench.load import metric, platform, platform_versions
from bench.seed import person_id

PORT = 18_380
READERS = range(7, 7 + 16 * 3_000, 16)
SECONDS_BETWEEN = 7.0
RATE = len(READERS) / SECONDS_BETWEEN
EXPONENT = 0.99
WRITES = 0.05
FEEDS = 2 / 3
"""The part of the reads that are feeds, and of the writes that are posts."""
WARM = {"feed": int(RATE * (1 - WRITES) * FEEDS * 120), "profile": int(RATE * (1 - WRITES) * (1 - FEEDS) * 600)}
ROUND_SECONDS = 24.0
MEGABYTES = 64
TOKEN_SECONDS = 200
"""Less than a token's life."""
GOALS = {"profile": 90.0, "feed": 85.0}

FIND_FOLLOWS = "SELECT follower::text, followee::text FROM follows WHERE follower = ANY ($1::uuid[]) AND active"


def run(count: int) -> Report:
    """Count in `count` rounds."""
    with large_community() as cluster, platform(cluster, PORT, cache_mb=str(MEGABYTES)) as base, Line(PORT) as line:
        replay = Replay(cluster, line)
        replay.warm()
        counted = [replay.play(number) for number in range(1, count + 1)]
        kept = sum(metric(base, "cache_bytes")) / 1e6
        replay.tidy()
        return Report("replay", [_row(kind, counted, kept) for kind in GOALS], platform_versions(cluster))


@dataclass
class Tally:
    """Of one kind in one round: reads, hits, and hits of a cache that never forgets and is never wrong."""

    reads: int = 0
    hits: int = 0
    possible: int = 0


@dataclass
class Counted:
    """One round."""

    tallies: dict[str, Tally]
    writes: int = 0
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Requests in a second."""
        return (self.writes + sum(tally.reads for tally in self.tallies.values())) / self.seconds


def _row(kind: str, counted: Sequence[Counted], kept: float) -> Row:
    tallies = [each.tallies[kind] for each in counted]
    hits = Spread.of([100 * tally.hits / tally.reads for tally in tallies])
    possible = Spread.of([100 * tally.possible / tally.reads for tally in tallies])
    figures = {
        "reads": f"{sum(tally.reads for tally in tallies):,} of {sum(each.rate * each.seconds for each in counted):,.0f}",
        "writes": f"{sum(each.writes for each in counted):,}",
        "requests a second": Spread.of([each.rate for each in counted]).text(),
        "at most possible": possible.text("%"),
        "kept in the end, both services": f"{kept:.0f} MB",
    }
    return Row(f"hit rate of a {kind}", figures, hits.text("%"), f"at least {GOALS[kind]:.0f} %", hits.median >= GOALS[kind])


class Replay:
    """Sends the requests, and knows what an ideal cache would have."""

    def __init__(self, cluster: Cluster, line: Line) -> None:
        self._cluster = cluster
        self._line = line
        self._random = random.Random(1)
        active = self._random.sample(READERS, len(READERS))
        self._reader = zipf(active, self._random)
        self._person = zipf([_visible(number) for number in range(1, SIZE.people + 1)], self._random)
        self._readers_of = asyncio.run(_readers_of(cluster.dsn("content"), active))
        self._known: dict[str, set[int]] = {kind: set() for kind in GOALS}
        self._tokens: dict[int, tuple[str, float]] = {}
        self._posts: list[tuple[int, str]] = []

    def warm(self) -> None:
        """Read as much as in one lifetime of each."""
        for kind, many in WARM.items():
            for _ in range(many):
                self._read(kind, Tally())
            print(f"  warm: {many:,} reads of a {kind}", flush=True)

    def play(self, number: int) -> Counted:
        """Send one round's requests, each when its time has come."""
        counted = Counted({kind: Tally() for kind in GOALS})
        begun = due = time.monotonic()
        while due < begun + ROUND_SECONDS:
            self._one(counted)
            due += self._random.expovariate(RATE)
            time.sleep(max(0.0, due - time.monotonic()))
        counted.seconds = time.monotonic() - begun
        said = ", ".join(f"{kind} {tally.hits}/{tally.reads} hits" for kind, tally in counted.tallies.items())
        print(f"  round {number}: {said}, {counted.writes} writes, {counted.rate:.0f}/s", flush=True)
        return counted

    def tidy(self) -> None:
        """Delete what was posted."""
        for author, post in self._posts:
            _require(self._line.send(request("DELETE", f"/api/content/posts/{post}", self._token(author))), 204)

    def _one(self, counted: Counted) -> None:
        about_feeds = self._random.random() < FEEDS
        if self._random.random() >= WRITES:
            kind = "feed" if about_feeds else "profile"
            self._read(kind, counted.tallies[kind])
            return
        counted.writes += 1
        if about_feeds:
            self._post(self._person())
        else:
            self._change_profile(self._person())

    def _read(self, kind: str, tally: Tally) -> None:
        if kind == "feed":
            whose = self._reader()
            reply = self._line.get(f"/api/content/feed/{person_id(whose)}", self._token(whose))
        else:
            whose = self._person()
            reply = self._line.get(f"/api/users/profile/{person_id(whose)}")
        _require(reply, 200)
        tally.reads += 1
        tally.hits += reply.hit
        tally.possible += whose in self._known[kind]
        self._known[kind].add(whose)

    def _post(self, author: int) -> None:
        text = f"Number {len(self._posts)} of today: " + "long walks and short programs, " * self._random.randint(1, 8)
        reply = self._line.send(request("POST", "/api/content/posts", self._token(author), {"text": text}))
        _require(reply, 201)
        self._posts.append((author, json.loads(reply.body)["id"]))
        self._known["profile"].discard(author)
        self._known["feed"] -= self._readers_of[author] | {author}

    def _change_profile(self, person: int) -> None:
        place = {"location": f"Somewhere {self._random.randint(0, 99)}"}
        _require(
            self._line.send(request("PATCH", f"/api/users/profile/{person_id(person)}", self._token(person), place)), 200
        )
        self._known["profile"].discard(person)

    def _token(self, number: int) -> str:
        token, made = self._tokens.get(number, ("", 0.0))
        if not token or made + TOKEN_SECONDS < time.monotonic():
            token = self._cluster.token(number)
            self._tokens[number] = token, time.monotonic()
        return token


def zipf(numbers: Sequence[int], of: random.Random) -> Callable[[], int]:
    """Return what draws one of the numbers by Zipf's law, the first the most often."""
    shares = list(accumulate(rank**-EXPONENT for rank in range(1, len(numbers) + 1)))
    return lambda: of.choices(numbers, cum_weights=shares)[0]


def _visible(number: int) -> int:
    return number if number % 1000 else number - 1  # the seed hides every thousandth


async def _readers_of(dsn: str, readers: Sequence[int]) -> dict[int, set[int]]:
    """Return who of the readers follows whom, by the one who is followed."""
    numbers = {str(person_id(number)): number for number in range(1, SIZE.people + 1)}
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch(FIND_FOLLOWS, [person_id(number) for number in readers])
    finally:
        await connection.close()
    followed: dict[int, set[int]] = defaultdict(set)
    for follower, followee in rows:
        followed[numbers[followee]].add(numbers[follower])
    return followed


def _require(reply: Reply, status: int) -> None:
    assert reply.status == status, f"{reply.status} instead of {status}: {reply.body[:200]!r}"
