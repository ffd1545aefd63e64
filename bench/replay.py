"""Hit rates when a community is at it: skewed popularity, real writes, 64 MB a service, no Redis.

The workloads were chosen before anything was measured:

- 50,000 people are known (the large community, with its follows and a million posts); 3,000 of them, spread evenly over
  them, are reading, each once in 7 s, which is the mean of TPC-W's think time (clause 5.3.2.1): 429 requests a second.
- Five requests in a hundred are writes, as in YCSB's workload B. What is read, and who reads, is drawn by Zipf's law with
  the exponent 0.99, the constant of YCSB's generator; who reads how much has nothing to do with how popular they are.
- Two home feeds are read for each profile, as in DeathStarBench's social network (`mixed-workload.lua`: 60 % home
  timelines, 30 % people's own), and the writes are divided alike: two posts for each change of a profile. A post also
  changes its author's profile, which counts posts.

They differ in who writes. No source has both skewed reads and even writes, so each is a choice between two of them:

- *writers drawn evenly*, of all people, as DeathStarBench draws them (it draws its readers evenly too);
- *writers drawn by popularity*, by the very law of the reads, as YCSB draws what it updates. Person 1 is looked at, is
  followed, and writes the most, and so on: the ranks agree, and each write hits what is read the most.

Before anything is counted, the requests of one lifetime of a profile (10 minutes at the rate) are played, reads and
writes, as fast as they go, over four connections. The reads of feeds among them are sent for the last lifetime of a feed
(2 minutes) alone: what the earlier ones left would have ended. Then the requests come at their rate over one connection,
5 s a round; what was a hit is read from `Cache-Status`. As all that takes less than the lifetimes, hardly an entry ends
while hits are counted. So two ceilings stand beside them, both of a cache without a bound that drops exactly what has
changed, and that has seen every request of the warm-up:

- *at most possible* never ends an entry: each read is a hit but the first of its kind, the first of a feed after a post
  by somebody whom its reader follows or by the reader, and the first of a profile after its change or its owner's post;
- *at most in the long run* ends entries after their lifetime at the rate, unless somebody reads them in its last tenth
  (early refresh), and has been at it for two lifetimes of a profile more.

The posts are deleted again at the end; profiles keep their last change of place.
"""

import asyncio
import json
import math
import random
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate
from typing import TypeVar

import asyncpg

from bench.cluster import SIZE, Cluster, large_community
from bench.harness import Report, Row, Spread
from bench.line import Line, Reply, request
from bench.load import metric, platform, platform_versions
from bench.seed import person_id
from townsquare.strategies import POST_FEED, USER_PROFILE

PORT = 18_380
READERS = range(7, 7 + 16 * 3_000, 16)
SECONDS_BETWEEN = 7.0
RATE = len(READERS) / SECONDS_BETWEEN
EXPONENT = 0.99
WRITES = 0.05
FEEDS = 2 / 3
"""The part of the reads that are feeds, and of the writes that are posts."""
LIFETIMES = {"profile": USER_PROFILE.lifetime, "feed": POST_FEED.lifetime}
FOR_EVER = dict.fromkeys(LIFETIMES, math.inf)
EAGER = USER_PROFILE.eager
WARM = int(RATE * LIFETIMES["profile"])
WARM_WITHOUT_FEEDS = WARM - int(RATE * LIFETIMES["feed"])
LONG_RUN = 2 * WARM
CONNECTIONS = 4
ROUND_SECONDS = 5.0
MEGABYTES = 64
TOKEN_SECONDS = 200
"""Less than a token's life."""
GOALS = {"profile": 90.0, "feed": 85.0}

T = TypeVar("T")

FIND_FOLLOWS = "SELECT follower::text, followee::text FROM follows WHERE follower = ANY ($1::uuid[]) AND active"


def run(count: int) -> Report:
    """Count each workload in `count` rounds."""
    with large_community() as cluster:
        rows = [*_workload(cluster, count, evenly=True), *_workload(cluster, count, evenly=False)]
        return Report("replay", rows, platform_versions(cluster))


def _workload(cluster: Cluster, count: int, *, evenly: bool) -> list[Row]:
    name = f"writers drawn {'evenly' if evenly else 'by popularity'}"
    print(f"  {name}", flush=True)
    with platform(cluster, PORT, cache_mb=str(MEGABYTES)) as base:
        replay = Replay(cluster, evenly=evenly)
        replay.warm()
        counted = [replay.play(number) for number in range(1, count + 1)]
        kept = sum(metric(base, "cache_bytes")) / 1e6
        replay.tidy()
    return [_row(name, kind, counted, kept) for kind in GOALS]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request: of what kind, whether it writes, whose it is, and a number from 0 to 99 for what is written."""

    kind: str
    writes: bool
    whose: int
    text: int


@dataclass
class Tally:
    """Of one kind in one round: reads, hits, and the hits of the two ideal caches."""

    reads: int = 0
    hits: int = 0
    possible: int = 0
    long_run: int = 0


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


def _row(workload: str, kind: str, counted: Sequence[Counted], kept: float) -> Row:
    tallies = [each.tallies[kind] for each in counted]
    hits = Spread.of([100 * tally.hits / tally.reads for tally in tallies])
    possible = Spread.of([100 * tally.possible / tally.reads for tally in tallies])
    long_run = Spread.of([100 * tally.long_run / tally.reads for tally in tallies])
    figures = {
        "reads": f"{sum(tally.reads for tally in tallies):,} of {sum(each.rate * each.seconds for each in counted):,.0f}",
        "writes": f"{sum(each.writes for each in counted):,}",
        "requests a second": Spread.of([each.rate for each in counted]).text(),
        "at most possible": possible.text("%"),
        "at most in the long run": long_run.text("%"),
        "kept in the end, both services": f"{kept:.0f} MB",
    }
    what = f"hit rate of a {kind}, {workload}"
    return Row(what, figures, hits.text("%"), f"at least {GOALS[kind]:.0f} %", hits.median >= GOALS[kind])


class Ideal:
    """A cache without a bound that drops exactly what has changed."""

    def __init__(self, lifetimes: Mapping[str, float], readers_of: Mapping[int, set[int]]) -> None:
        self._lifetimes = lifetimes
        self._readers_of = readers_of
        self._made: dict[str, dict[int, float]] = {kind: {} for kind in lifetimes}

    def hit(self, asked: Asked, now: float) -> bool:
        """Take a request; return whether it is a hit."""
        if asked.writes:
            self._drop(asked)
            return False
        made, lifetime = self._made[asked.kind], self._lifetimes[asked.kind]
        age = now - made.get(asked.whose, -math.inf)
        if age >= EAGER * lifetime:
            made[asked.whose] = now
        return age < lifetime

    def _drop(self, asked: Asked) -> None:
        self._made["profile"].pop(asked.whose, None)
        if asked.kind == "feed":
            feeds = self._made["feed"]
            for reader in (asked.whose, *self._readers_of.get(asked.whose, ())):
                feeds.pop(reader, None)


class Replay:
    """Draws the requests, sends them, and tells them to the ideal caches."""

    def __init__(self, cluster: Cluster, *, evenly: bool) -> None:
        self._cluster = cluster
        self._random = random.Random(1)
        active = self._random.sample(READERS, len(READERS))
        people = [_visible(number) for number in range(1, SIZE.people + 1)]
        self._reader = zipf(active, self._random)
        self._person = zipf(people, self._random)
        self._writer = (lambda: self._random.choice(people)) if evenly else self._person
        readers_of = asyncio.run(_readers_of(cluster.dsn("content"), active))
        self._lasting = Ideal(FOR_EVER, readers_of)
        self._ending = Ideal(LIFETIMES, readers_of)
        self._now = 0.0
        self._tokens: dict[int, tuple[str, float]] = {}
        self._posts: list[tuple[int, str]] = []

    def warm(self) -> None:
        """Play one lifetime of a profile, as fast as it goes."""
        for _ in range(LONG_RUN):
            self._ending.hit(self._draw(), self._now)
        sent: list[Asked] = []
        for number in range(WARM):
            asked = self._draw()
            self._lasting.hit(asked, self._now)
            self._ending.hit(asked, self._now)
            if asked.writes or asked.kind == "profile" or number >= WARM_WITHOUT_FEEDS:
                sent.append(asked)
        begun = time.monotonic()
        self._together(sent, self._send)
        print(f"  warm: {WARM:,} requests, {len(sent):,} sent, in {time.monotonic() - begun:.0f} s", flush=True)

    def play(self, number: int) -> Counted:
        """Send one round's requests, each when its time has come."""
        counted = Counted({kind: Tally() for kind in GOALS})
        begun = due = time.monotonic()
        with Line(PORT) as line:
            while due < begun + ROUND_SECONDS:
                self._count(line, self._draw(), counted)
                due += self._random.expovariate(RATE)
                time.sleep(max(0.0, due - time.monotonic()))
        counted.seconds = time.monotonic() - begun
        said = ", ".join(f"{kind} {tally.hits}/{tally.reads} hits" for kind, tally in counted.tallies.items())
        print(f"  round {number}: {said}, {counted.writes} writes, {counted.rate:.0f}/s", flush=True)
        return counted

    def tidy(self) -> None:
        """Delete what was posted."""
        self._together(self._posts, self._delete)

    def _together(self, items: Sequence[T], send: Callable[[Line, T], object]) -> None:
        """Send over several connections, in order but for the few that are on their way at once."""
        waiting = iter(items)

        def send_some(_: int) -> None:
            with Line(PORT) as line:
                for item in waiting:
                    send(line, item)

        with ThreadPoolExecutor(CONNECTIONS) as pool:
            list(pool.map(send_some, range(CONNECTIONS)))

    def _draw(self) -> Asked:
        self._now += 1 / RATE
        kind = "feed" if self._random.random() < FEEDS else "profile"
        writes = self._random.random() < WRITES
        who = self._writer if writes else self._reader if kind == "feed" else self._person
        return Asked(kind, writes, who(), int(100 * self._random.random()))

    def _count(self, line: Line, asked: Asked, counted: Counted) -> None:
        possible, in_the_long_run = self._lasting.hit(asked, self._now), self._ending.hit(asked, self._now)
        hit = self._send(line, asked)
        if asked.writes:
            counted.writes += 1
            return
        tally = counted.tallies[asked.kind]
        tally.reads += 1
        tally.hits += hit
        tally.possible += possible
        tally.long_run += in_the_long_run

    def _send(self, line: Line, asked: Asked) -> bool:
        """Send a request; return whether the cache answered it."""
        if asked.writes:
            (self._post if asked.kind == "feed" else self._change_profile)(line, asked)
            return False
        if asked.kind == "feed":
            reply = line.get(f"/api/content/feed/{person_id(asked.whose)}", self._token(asked.whose))
        else:
            reply = line.get(f"/api/users/profile/{person_id(asked.whose)}")
        _require(reply, 200)
        return reply.hit

    def _post(self, line: Line, asked: Asked) -> None:
        text = {"text": f"Number {asked.text} of today: " + "long walks and short programs, " * (1 + asked.text % 8)}
        reply = line.send(request("POST", "/api/content/posts", self._token(asked.whose), text))
        _require(reply, 201)
        self._posts.append((asked.whose, json.loads(reply.body)["id"]))

    def _change_profile(self, line: Line, asked: Asked) -> None:
        path, place = f"/api/users/profile/{person_id(asked.whose)}", {"location": f"Somewhere {asked.text}"}
        _require(line.send(request("PATCH", path, self._token(asked.whose), place)), 200)

    def _delete(self, line: Line, posted: tuple[int, str]) -> None:
        author, post = posted
        _require(line.send(request("DELETE", f"/api/content/posts/{post}", self._token(author))), 204)

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
