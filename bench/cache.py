"""Cached reads: how near they come to a file server, and how far they are from the usual ways.

One worker on one core, wrk (one thread, 64 connections) and PostgreSQL on the other. The platform is `serve all`, all of it
in one process, with rate limits off; asked for is `GET /api/users/profile/@...`, 1 kB of JSON. nginx sends the very same
body from a file, with fewer headers of its own. Measured are plain requests and such with a browser's headers, but for
`Accept-Encoding`, with which they would no longer send the same bytes; each in two kinds: *remembered*, where all requests
are the same bytes, and *parsed*, where each has another number in a header that decides nothing, so that none can be
recognised as a whole. All contenders run all the time and take turns.

Express has its cache in a process of its own, which must have a core, so it is measured twice: with Valkey on the other
core, where it costs Express nothing (wrk leaves most of that core idle at Express's rate), and on Express's own, where one
core does all that a cached read takes, as with everybody else. The goal holds for both; its CPU is that of both processes.

10,000 keys: people by Zipf's law, and one request in a hundred for one of 40,000 others, most of which are misses that go to
the database; how many is read from the platform's own metrics.

`get`: one look into the cache from Python, without HTTP, in a loop of uvloop.

CPU is what the server's processes used, divided by the requests: it says more than the rate where the machine is shared.
*busy* is how much of a core that was: where it is well below 100 %, wrk or somebody else was the limit, and not the server.
"""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import contenders
from bench.cluster import Cluster, cache_folder, large_community
from bench.contenders import Contender, started
from bench.harness import Report, Row, Spread, need, pinned, ratios, rounds
from bench.load import LOAD_CORE, SERVER_CORE, answers, metric, settle
from bench.seed import person_id

PORT = 18_330
CONNECTIONS = 64
SECONDS = 3
BODY_BYTES = 1_000
PERSON = 17
PEOPLE_PATH = "/api/users/profile/"
BROWSER = (
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    "Accept-Language: en-US,en;q=0.9",
    "Sec-Fetch-Site: same-origin",
    "Sec-Fetch-Mode: cors",
    "Sec-Fetch-Dest: empty",
    'sec-ch-ua-platform: "Linux"',
)
WHO: dict[str, tuple[str, ...]] = {"plain": (), "with a browser's headers": BROWSER}
NGINX_GOALS = {"same": ("remembered", 1.1), "vary": ("parsed", 0.9)}
PEER_GOALS = {
    "Express + ioredis, Valkey on the other core": 12.0,
    "Express + ioredis, Valkey on the same core": 12.0,
    "FastAPI + fastapi-cache2": 6.0,
    "Starlette + cashews": 6.0,
}
KEYS = 10_000
KEYS_GOAL, GET_GOAL, TAIL_GOAL = 0.7, 3.0, 2.0
_SCRIPT = Path(__file__).parent / "cache.lua"


@dataclass(frozen=True)
class Outcome:
    """What one turn showed: requests a second, the 99th percentile in milliseconds, the server's CPU microseconds each."""

    rate: float
    tail: float
    cpu: float


class Turns:
    """Takes a contender's turns and keeps what each showed beside its rate."""

    def __init__(self, contender: Contender, what: str, path: str, headers: tuple[str, ...] = ()) -> None:
        self._contender = contender
        options = [part for header in headers for part in ("-H", header)]
        self._command = [need("wrk", "wrk"), "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "-s", str(_SCRIPT), *options,
                         contender.base, "--", what, path]  # fmt: skip
        self.outcomes: list[Outcome] = []

    def __call__(self) -> float:
        """Take one turn; returns its rate. Ends the benchmark when an answer is no 2xx."""
        before = self._contender.cpu_seconds
        done = subprocess.run(pinned(LOAD_CORE, *self._command), capture_output=True, text=True, check=True)
        used = self._contender.cpu_seconds - before
        said = json.loads(done.stdout.rstrip().rsplit("\n", 1)[-1])
        if said["failed"]:
            sys.exit(f"bench: {said['failed']} of {said['requests']} requests to {self._contender.base} failed")
        rate = said["requests"] / said["microseconds"] * 1e6
        self.outcomes.append(Outcome(rate, said["p99"] / 1000, used / said["requests"] * 1e6))
        return rate

    @property
    def text(self) -> str:
        """All that was seen."""
        rate, tail, cpu, busy = (Spread.of(list(values)) for values in zip(*map(_figures, self.outcomes), strict=True))
        return f"{rate.text('requests/s')}, p99 {tail.text('ms')}, CPU {cpu.text('µs')}, busy {busy.text('%')}"


def _figures(outcome: Outcome) -> tuple[float, float, float, float]:
    return outcome.rate, outcome.tail, outcome.cpu, outcome.rate * outcome.cpu / 1e4


def run(count: int) -> Report:
    """Measure everything in `count` rounds."""
    with large_community() as cluster, _platform(cluster) as platform:
        cluster.pin(LOAD_CORE)
        rows = [*_against_peers(platform, count), _many_keys(platform, count)]
    rows += _gets(count)
    return Report("cache", rows, contenders.versions() | {"PostgreSQL": cluster.version})


@contextmanager
def _platform(cluster: Cluster) -> Iterator[Contender]:
    """Run the platform, with somebody whose profile is a kilobyte."""
    command = [sys.executable, "-m", "townsquare", "serve", "all", "--port", str(PORT)]
    path = f"{PEOPLE_PATH}@person_{PERSON}"
    with started(command, cluster.environment() | {"TOWNSQUARE_CACHE": "on"}, PORT, path, ready="/health/ready") as platform:
        _lengthen(platform, cluster.token(PERSON))
        settle(platform.base)
        yield platform


def _lengthen(platform: Contender, token: str) -> None:
    """Write a biography that makes the profile as long as it must be."""
    address = f"{platform.base}{PEOPLE_PATH}{person_id(PERSON)}"
    profile = json.loads(answers(address))
    missing = BODY_BYTES - len(answers(address)) + len(profile["bio"])
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/merge-patch+json"}
    body = json.dumps({"bio": ("All of it is true. " * 60)[:missing].rstrip().ljust(missing, ".")}).encode()
    urllib.request.urlopen(urllib.request.Request(address, data=body, headers=headers, method="PATCH"), timeout=10).close()


# --- against others --------------------------------------------------------------------------------------------------


def _against_peers(platform: Contender, count: int) -> list[Row]:
    body = platform.answer()
    profile = cache_folder() / "profile.json"
    profile.write_bytes(body)
    with ExitStack() as stack:
        nginx = stack.enter_context(contenders.nginx(PORT + 1, body, platform.path))
        path = f"/profile/@person_{PERSON}"
        peers = (
            contenders.express(PORT + 2, profile, path, valkey_core=LOAD_CORE),
            contenders.express(PORT + 3, profile, path, valkey_core=SERVER_CORE),
            contenders.python_peer("fastapi_app", PORT + 4, profile, path),
            contenders.python_peer("starlette_app", PORT + 5, profile, path),
        )
        others = {name: stack.enter_context(peer) for name, peer in zip(PEER_GOALS, peers, strict=True)}
        for peer in (nginx, *others.values()):
            if json.loads(peer.answer()) != json.loads(body):
                sys.exit(f"bench: {peer.base} answers something else")
        rows = [row for kind in NGINX_GOALS for row in _against_nginx(platform, nginx, kind, count)]
        rows += _against_frameworks(platform, others, count)
    return rows


def _against_nginx(platform: Contender, nginx: Contender, kind: str, count: int) -> Iterator[Row]:
    what, goal = NGINX_GOALS[kind]
    for who, headers in WHO.items():
        turns = {name: Turns(each, kind, each.path, headers) for name, each in (("townsquare", platform), ("nginx", nginx))}
        ratio = ratios(rounds(turns, count), "townsquare", "nginx")
        tails = Spread.of([a.tail / b.tail for a, b in zip(*(each.outcomes for each in turns.values()), strict=True)])
        figures = {name: each.text for name, each in turns.items()}
        name = f"cached 1 kB, {what}, {who}"
        yield Row(f"{name}: rate against nginx", figures, f"{ratio.text()}x", f"at least {goal}x", ratio.median >= goal)
        yield Row(f"{name}: p99 against nginx", {}, f"{tails.text()}x", f"at most {TAIL_GOAL}x", tails.median <= TAIL_GOAL)


def _against_frameworks(platform: Contender, others: dict[str, Contender], count: int) -> Iterator[Row]:
    for who, headers in WHO.items():
        turns = {name: Turns(each, "vary", each.path, headers) for name, each in {"townsquare": platform, **others}.items()}
        series = rounds(turns, count)
        for name, goal in PEER_GOALS.items():
            ratio = ratios(series, "townsquare", name)
            figures = {each: turns[each].text for each in ("townsquare", name)}
            what = f"cached 1 kB, parsed, {who}: rate against {name}"
            yield Row(what, figures, f"{ratio.text()}x", f"at least {goal:.0f}x", ratio.median >= goal)


# --- against itself --------------------------------------------------------------------------------------------------


def _many_keys(platform: Contender, count: int) -> Row:
    one, many = Turns(platform, "same", platform.path), Turns(platform, "skewed", PEOPLE_PATH)
    _warm(platform)
    before = _misses(platform)
    series = rounds({"one key": one, "10,000 keys": many}, count)
    share = (_misses(platform) - before) / sum(outcome.rate * SECONDS for outcome in many.outcomes)
    ratio = ratios(series, "10,000 keys", "one key")
    figures = {"one key": one.text, "10,000 keys": many.text, "misses": f"{share:.2%}"}
    what = "10,000 keys by Zipf's law, 1 % of the requests for others: rate against one key"
    return Row(what, figures, f"{ratio.text()}x", f"at least {KEYS_GOAL}x", ratio.median >= KEYS_GOAL)


def _warm(platform: Contender) -> None:
    """Ask for each of the many until all are kept, and known to the front."""
    each = Turns(platform, "each", PEOPLE_PATH)
    while sum(outcome.rate * SECONDS for outcome in each.outcomes) < 4 * KEYS:
        each()


def _misses(platform: Contender) -> float:
    """Return how many profiles were filled from the database so far, by the platform's own metrics."""
    return sum(metric(platform.base, "cache_requests_total", 'strategy="USER_PROFILE"', 'result="miss"'))


# --- without HTTP ----------------------------------------------------------------------------------------------------


def _gets(count: int) -> Iterator[Row]:
    script = str(contenders.PEERS / "python" / "get.py")
    theirs = contenders.python_of_peers()
    measured: dict[str, Callable[[], float]] = {
        "townsquare": lambda: _nanoseconds([sys.executable, "-m", "bench.get"]),
        "cashews": lambda: _nanoseconds([theirs, script, "cashews"]),
        "aiocache": lambda: _nanoseconds([theirs, script, "aiocache"]),
    }
    series = rounds(measured, count)
    for name in ("cashews", "aiocache"):
        ratio = ratios(series, name, "townsquare")
        figures = {each: Spread.of(series[each]).text("ns") for each in ("townsquare", name)}
        what = f"`get` of a hit: speed against {name}, in memory"
        yield Row(what, figures, f"{ratio.text()}x", f"at least {GET_GOAL:.0f}x", ratio.median >= GET_GOAL)


def _nanoseconds(command: list[str]) -> float:
    return float(subprocess.run(pinned(SERVER_CORE, *command), capture_output=True, text=True, check=True).stdout)
