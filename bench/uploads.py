"""Uploads to the real platform, started as people start it, with nothing bound and its cache on.

A photo of 6.3 megapixels: from the first byte that is sent until the 201 with all its files but PNG, one client, over HTTP.
Then 20 clients upload photos at once (40 a round, of the eight in bench/photos.py), while another, a process of its own,
reads profiles, one each 20 ms. None may be lost: each is answered 201 and all is made of it in the end, which is at once or,
when more wait than can be done in some seconds, a little later. Memory is the greatest sum of the resident sizes of the
platform and its workers, PostgreSQL aside, looked at ten times a second; pages that processes share count in each.

Every photo is sent with a few bytes behind its end that nothing else has: what has been uploaded before is not made again.
"""

import asyncio
import http.client
import itertools
import multiprocessing
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import psutil

from bench.harness import Report, Row, Spread, version_of
from bench.load import townsquare, wait_for
from bench.photos import PHOTOS, SIX_MEGAPIXELS

PORT = 18_380
CLIENTS = 20
EACH_ROUND = 40
READ_EVERY = 0.02
LOOK_EVERY = 0.1
READY_SECONDS = 300
GOAL_SECONDS, GOAL_MEGABYTES, GOAL_MS = 0.8, 500, 100
PASSWORD = "correct horse battery staple"


@dataclass(frozen=True)
class Person:
    """Somebody who uploads."""

    id: str
    token: str


@dataclass(frozen=True)
class Loaded:
    """What came of many uploads at once."""

    seconds: float
    answers: list[float]
    later: int
    """How many were answered before all was made of them."""
    lost: int
    peak: float
    reads: list[float]


def run(count: int) -> Report:
    """Upload one photo `count` times, then `count` times 40 from 20 clients."""
    with _platform() as (base, pid):
        single, loaded = asyncio.run(_measure(base, pid, count))
    versions = {"PostgreSQL": "embedded wheel", "Python": version_of(sys.executable, "--version").split(" ")[-1]}
    return Report("uploads", [_single_row(single), *_loaded_rows(loaded)], versions)


async def _measure(base: str, pid: int, count: int) -> tuple[list[float], Loaded]:
    async with aiohttp.ClientSession() as session:
        people = [await _register(session, base, number) for number in range(CLIENTS)]
        photo = SIX_MEGAPIXELS.file.read_bytes()
        await _upload(session, base, people[0], photo)  # starts the workers
        single = [(await _upload(session, base, people[0], photo))[0] for _ in range(count)]
        print("  one at a time: " + ", ".join(f"{seconds:.2f}" for seconds in single) + " s", flush=True)
        return single, await _load(session, base, pid, people, count * EACH_ROUND)


# --- uploads ---------------------------------------------------------------------------------------------------------

_numbers = itertools.count()


async def _upload(session: aiohttp.ClientSession, base: str, person: Person, photo: bytes) -> tuple[float, str, bool]:
    """Upload a photo; returns the seconds until the answer, the file's id, and whether all is made of it."""
    form = aiohttp.FormData()
    form.add_field("file", photo + next(_numbers).to_bytes(8), filename="photo.jpg", content_type="image/jpeg")
    headers = {"Authorization": f"Bearer {person.token}"}
    started = time.perf_counter()
    async with session.post(f"{base}/api/media/upload", data=form, headers=headers) as answer:
        body = await answer.json()
        if answer.status != 201:
            raise LookupError(f"{answer.status}: {body}")
    return time.perf_counter() - started, body["id"], body["status"] == "ready"


async def _register(session: aiohttp.ClientSession, base: str, number: int) -> Person:
    body = {"handle": f"person_{number}", "email": f"person_{number}@example.org", "password": PASSWORD}
    async with session.post(f"{base}/api/users/register", json=body) as answer:
        answer.raise_for_status()
        given = await answer.json()
    return Person(given["user"]["id"], given["access_token"])


async def _renewed(session: aiohttp.ClientSession, base: str, number: int) -> Person:
    """Sign in again: a token is good for five minutes."""
    async with session.post(f"{base}/api/users/login", json={"login": f"person_{number}", "password": PASSWORD}) as answer:
        answer.raise_for_status()
        given = await answer.json()
    return Person(given["user"]["id"], given["access_token"])


# --- many at once ----------------------------------------------------------------------------------------------------


async def _load(session: aiohttp.ClientSession, base: str, pid: int, people: list[Person], many: int) -> Loaded:
    photos = [photo.file.read_bytes() for photo in PHOTOS]
    turns = iter(range(many))
    answers: list[float] = []
    waiting: list[str] = []
    lost = 0

    async def client(number: int) -> None:
        nonlocal lost
        for turn in turns:
            person = await _renewed(session, base, number)
            try:
                seconds, file_id, made = await _upload(session, base, person, photos[turn % len(photos)])
            except (LookupError, aiohttp.ClientError) as error:
                lost += 1
                print(f"  lost: {error}", flush=True)
                continue
            answers.append(seconds)
            if not made:
                waiting.append(file_id)

    async with _reading(base, people) as reads, _watching(pid) as sizes:
        started = time.perf_counter()
        await asyncio.gather(*(client(number) for number in range(len(people))))
        print(f"  {len(answers)} of {many} answered, {len(waiting)} of them to be made later", flush=True)
        lost += await _not_made(session, base, waiting)
        seconds = time.perf_counter() - started
    return Loaded(seconds, answers, len(waiting), lost, max(sizes) / 1e6, reads)


async def _not_made(session: aiohttp.ClientSession, base: str, waiting: list[str]) -> int:
    """Wait until all is made of the files; returns of how many it never was."""
    left, until = set(waiting), time.monotonic() + READY_SECONDS
    while left and time.monotonic() < until:
        for file_id in list(left):
            async with session.get(f"{base}/api/media/files/{file_id}") as answer:
                file = await answer.json()
            if file["status"] == "ready" and len(file["sizes"]) == 4:
                left.remove(file_id)
        await asyncio.sleep(0.5)
    return len(left)


@asynccontextmanager
async def _reading(base: str, people: list[Person]) -> AsyncIterator[list[float]]:
    """Have a process read profiles; the list holds its times, in milliseconds, once the block has ended."""
    here, there = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    reader = context.Process(target=_read, args=(base, [person.id for person in people], there), daemon=True)
    reader.start()
    there.close()  # only the reader has that end now: when it fails, nobody waits for it
    times: list[float] = []
    await asyncio.to_thread(here.recv)
    yield times
    here.send("enough")
    times += await asyncio.to_thread(here.recv)
    reader.join()


def _read(base: str, people: list[str], told: Connection) -> None:
    place = urlsplit(base)
    connection = http.client.HTTPConnection(place.hostname or "", place.port or 80, timeout=30)
    times: list[float] = []
    told.send("ready")
    for person in itertools.cycle(people):
        if told.poll(READ_EVERY):
            break
        started = time.perf_counter()
        connection.request("GET", f"/api/users/profile/{person}")
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            sys.exit(f"bench: a profile was answered with {answer.status}")
        times.append((time.perf_counter() - started) * 1000)
    told.send(times)


@asynccontextmanager
async def _watching(pid: int) -> AsyncIterator[list[int]]:
    """Note what the platform and its workers hold of the memory, in bytes, as long as the block lasts."""
    sizes: list[int] = []

    async def look() -> None:
        while True:
            sizes.append(await asyncio.to_thread(_resident, pid))
            await asyncio.sleep(LOOK_EVERY)

    looking = asyncio.create_task(look())
    try:
        yield sizes
    finally:
        looking.cancel()


def _resident(pid: int) -> int:
    platform = psutil.Process(pid)
    size = platform.memory_info().rss
    for child in platform.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if child.name() != "postgres":
                size += child.memory_info().rss
    return size


# --- the platform and the table --------------------------------------------------------------------------------------


@contextmanager
def _platform() -> Iterator[tuple[str, int]]:
    base = f"http://127.0.0.1:{PORT}"
    folder = Path(tempfile.mkdtemp(prefix="townsquare-bench-"))
    folder.chmod(0o711)
    environment = {**os.environ, "TOWNSQUARE_RATE_LIMITS": "off", "TOWNSQUARE_LOG_LEVEL": "error"}
    command = townsquare("up", "--data", str(folder), "--port", str(PORT))
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
    try:
        wait_for(f"{base}/health/ready", process)
        yield base, process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        shutil.rmtree(folder, ignore_errors=True)


def _single_row(seconds: list[float]) -> Row:
    spread = Spread.of(seconds)
    what = "photo of 6.3 megapixels: from sending it to the 201 with its files, all but PNG"
    return Row(what, {"townsquare": spread.text("s")}, "", f"under {GOAL_SECONDS} s", spread.median < GOAL_SECONDS)


def _loaded_rows(loaded: Loaded) -> list[Row]:
    many = len(loaded.answers) + loaded.lost
    under = f"{many} uploads from {CLIENTS} clients"
    figures = {
        "answered": Spread.of(loaded.answers).text("s"),
        "all made": f"{loaded.seconds:.0f} s",
        "made after the answer": str(loaded.later),
    }
    slow = statistics.quantiles(loaded.reads, n=100)[98]
    reads = {
        "median": f"{statistics.median(loaded.reads):.1f} ms",
        "reads": str(len(loaded.reads)),
        "99 of 100": f"{slow:.1f} ms",
    }
    return [
        Row(f"{under}: none lost", figures | {"lost": str(loaded.lost)}, "", "0 lost", loaded.lost == 0),
        Row(
            f"{under}: most memory of platform and workers",
            {"resident": f"{loaded.peak:.0f} MB"},
            "",
            f"under {GOAL_MEGABYTES} MB",
            loaded.peak < GOAL_MEGABYTES,
        ),
        Row(f"{under}: a profile read meanwhile, 99 of 100", reads, "", f"under {GOAL_MS} ms", slow < GOAL_MS),
    ]
