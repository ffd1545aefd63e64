"""People who write and read at known processes of a platform at once, and remember what they did and saw."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from itertools import count, cycle
from typing import Any, Final
from uuid import UUID, uuid4

import aiohttp
import psutil

from testbed.freshness import History, Read, Wrote
from testbed.platforms import Platform, frozen, until
from testbed.town import PASSWORD, Answer, Client, Person

PATIENCE: Final = 60
"""For a load to come on, on a machine that is busy with everything else."""
PAUSE: Final = 0.005
MOST_COMMENTS: Final = 100
"""All that one page shows."""
TOKEN_SECONDS: Final = 200
NUMBER: Final = re.compile(r"number (\d+)$")


class Lane:
    """One connection: whatever goes through it is answered by one process, until that dies."""

    def __init__(self, process: str, bases: dict[str, str], *, steady: bool) -> None:
        self._process = process
        self._steady = steady
        self._bases = bases
        self._clients: dict[str, Client] = {}
        self._made = 0

    @property
    def process(self) -> str:
        """Name the process; another after each new connection, for that may lead to any."""
        return (
            self._process if self._steady or self._made <= 1 else f"{self._process}, then another ({id(self)}.{self._made})"
        )

    @asynccontextmanager
    async def open(self, hello: str) -> AsyncIterator["Lane"]:
        """Connect by asking for `hello`, an address that any process answers at once."""
        trace = aiohttp.TraceConfig()
        trace.on_connection_create_end.append(self._connected)
        connector = aiohttp.TCPConnector(limit=1, keepalive_timeout=60)
        cookies = aiohttp.DummyCookieJar()
        async with aiohttp.ClientSession(connector=connector, cookie_jar=cookies, trace_configs=[trace]) as session:
            self._clients = {service: Client(session, base) for service, base in self._bases.items()}
            async with session.get(hello) as answer:
                assert answer.status == 200
                await answer.read()  # whose answer is not read to its end, is hung up on
            yield self

    async def call(self, service: str, method: str, path: str, **options: Any) -> Answer:
        """Send one request."""
        return await self._clients[service].request(method, path, **options)

    async def _connected(self, *_: object) -> None:
        self._made += 1


def lane_to(process: str, bases: dict[str, str], hello: str, *, steady: bool = False) -> AbstractAsyncContextManager[Lane]:
    """Open a connection; it is `steady` where every other connection leads to the same process."""
    return Lane(process, bases, steady=steady).open(hello)


def workers_of(platform: Platform) -> dict[str, psutil.Process]:
    """Return the processes behind the one port, by their numbers."""
    found: dict[str, psutil.Process] = {}
    for process in platform.children("--worker"):
        line = process.cmdline()
        found[line[line.index("--worker") + 1]] = process
    return found


@contextmanager
def only(process: str, workers: dict[str, psutil.Process]) -> Iterator[None]:
    """Have nobody else take a connection."""
    with frozen([other for number, other in workers.items() if number != process]):
        yield


@dataclass
class Writer:
    """Somebody who raises three numbers: their bio's, their newest post's, and how many comments a post has."""

    person: Person
    follower: Person
    thread: str = ""
    numbers: Iterator[int] = field(default_factory=lambda: count(1))
    comments: int = 0
    token: dict[str, str] = field(default_factory=dict[str, str])
    """The newest `Consistency-Token` of each service."""

    @property
    def name(self) -> str:
        """The name by which the history knows them."""
        return self.person.handle

    def subject(self, kind: str) -> str:
        """Name one of the three, as the history does."""
        return f"{kind} of {self.name}" if kind != "comments" else f"comments on {self.thread}"

    def where(self, kind: str) -> tuple[str, str]:
        """Return the service and the address at which one of the three is read."""
        if kind == "bio":
            return "users", f"/profile/{self.person.id}"
        if kind == "posts":
            return "content", f"/users/{self.person.id}/posts?limit=3"
        return "content", f"/posts/{self.thread}/comments?limit={MOST_COMMENTS}"


KINDS: Final = ("bio", "posts", "comments")


@dataclass
class Cast:
    """The people of all scenarios: two writers, a follower of each, and one whom the first has blocked."""

    writers: Sequence[Writer]
    blocked: Person
    since: float


async def assemble(lane: Lane) -> Cast:
    """Register everybody, and have them follow and block."""
    people = [await _register(lane, name) for name in ("ada", "bob", "follower_of_ada", "follower_of_bob", "blocked")]
    ada, bob, of_ada, of_bob, blocked = people
    for follower, followed in ((of_ada, ada), (of_bob, bob)):
        await _done(lane, "PUT", f"/users/{followed.id}/follow", follower)
        await _until_fed(lane, follower, followed)
    await _done(lane, "PUT", f"/users/{blocked.id}/block", ada)
    return Cast([Writer(ada, of_ada), Writer(bob, of_bob)], blocked, time.monotonic())


async def _register(lane: Lane, name: str) -> Person:
    handle = f"{name}_{uuid4().hex[:6]}"
    body = {"handle": handle, "email": f"{handle}@example.org", "password": PASSWORD}
    answer = await lane.call("users", "POST", "/register", json=body)
    assert answer.status == 201, answer.body
    return Person(UUID(answer.json["user"]["id"]), handle, body["email"], answer.json["access_token"])


async def _done(lane: Lane, method: str, path: str, who: Person) -> None:
    answer = await lane.call("users", method, path, as_=who)
    assert answer.status == 204, answer.body


async def _until_fed(lane: Lane, follower: Person, followed: Person) -> None:
    """Wait until the other service knows who follows whom."""
    answer = await lane.call("content", "POST", "/posts", as_=followed, json={"text": "hello"})
    assert answer.status == 201, answer.body

    async def fed() -> bool:
        answer = await lane.call("content", "GET", f"/feed/{follower.id}", as_=follower)
        return answer.status == 200 and bool(answer.items)

    await until(fed)


async def renew(lane: Lane, cast: Cast) -> None:
    """Have everybody sign in again before their tokens end."""
    if time.monotonic() - cast.since < TOKEN_SECONDS:
        return
    for writer in cast.writers:
        writer.person = await _signed_in(lane, writer.person)
        writer.follower = await _signed_in(lane, writer.follower)
    cast.blocked = await _signed_in(lane, cast.blocked)
    cast.since = time.monotonic()


async def _signed_in(lane: Lane, person: Person) -> Person:
    answer = await lane.call("users", "POST", "/login", json={"login": person.email, "password": PASSWORD})
    assert answer.status == 200, answer.body
    return Person(person.id, person.handle, person.email, answer.json["access_token"])


class Witnesses:
    """The load of one scenario. `lanes` are two or more for each process; every one has a task of its own."""

    def __init__(self, cast: Cast, lanes: dict[str, list[Lane]]) -> None:
        self.cast = cast
        self.lanes = lanes
        self.history = History()
        self._stop = asyncio.Event()
        self._new = asyncio.Condition()

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Have everybody write and read while the block runs."""
        # One of each process in turn, so that whoever belongs together is at different ones.
        lanes = [lane for places in zip(*self.lanes.values(), strict=True) for lane in places]
        writers, free = self.cast.writers, lanes[2:-2]
        roles = [
            *(self._writing(writer, lanes[at], lanes[-1 - at]) for at, writer in enumerate(writers)),
            *map(self._following, writers, free),
            self._shut_out(free[2]),
            *map(self._passing_by, free[3:]),
        ]
        async with asyncio.TaskGroup() as group:
            for role in roles:
                group.create_task(role)
            try:
                yield
            finally:
                self._stop.set()

    async def go_on(self, writes: int) -> None:
        """Wait until so many more writes have been acknowledged."""
        goal = len(self.history.writes) + writes
        async with asyncio.timeout(PATIENCE), self._new:
            await self._new.wait_for(lambda: len(self.history.writes) >= goal)

    async def begin(self) -> None:
        """Have each writer open a thread for comments, and write each thing once."""
        lane = next(iter(self.lanes.values()))[0]
        for writer in self.cast.writers:
            answer = await lane.call("content", "POST", "/posts", as_=writer.person, json={"text": "say something"})
            assert answer.status == 201, answer.body
            writer.thread, writer.comments = answer.json["id"], 0
            for kind in KINDS:
                await self.write(writer, kind, lane)

    async def end(self) -> None:
        """When the last write is a second old, everybody looks at everything at every process."""
        await asyncio.sleep(1.01)
        for lane in (lanes[0] for lanes in self.lanes.values()):
            for writer in self.cast.writers:
                for kind in KINDS:
                    await self.read(writer, kind, lane)
                    await self.read(writer, kind, lane, writer.person)
                await self.read_feed(writer, lane)
                await self.look_in(lane)

    # --- what one person does ------------------------------------------------------------------------------------

    async def _writing(self, writer: Writer, lane: Lane, elsewhere: Lane) -> None:
        for kind in cycle(KINDS):
            if self._stop.is_set():
                return
            await self.write(writer, "bio" if kind == "comments" and writer.comments == MOST_COMMENTS else kind, lane)
            await self.read(writer, kind, lane, writer.person)
            await self.read(writer, kind, elsewhere, writer.person, token=writer.token)
            await asyncio.sleep(PAUSE)

    async def _passing_by(self, lane: Lane) -> None:
        for kind in cycle(KINDS):
            for writer in self.cast.writers:
                if self._stop.is_set():
                    return
                await self.read(writer, kind, lane)
                await asyncio.sleep(PAUSE)

    async def _following(self, writer: Writer, lane: Lane) -> None:
        while not self._stop.is_set():
            await self.read_feed(writer, lane)
            await self.read(writer, "bio", lane, writer.follower)
            await asyncio.sleep(PAUSE)

    async def _shut_out(self, lane: Lane) -> None:
        while not self._stop.is_set():
            await self.look_in(lane)
            await asyncio.sleep(PAUSE)

    # --- one call ------------------------------------------------------------------------------------------------

    async def write(self, writer: Writer, kind: str, lane: Lane) -> None:
        """Raise one of the three numbers by one call."""
        number = writer.comments + 1 if kind == "comments" else next(writer.numbers)
        service, method, path, body = {
            "bio": ("users", "PATCH", f"/profile/{writer.person.id}", {"bio": f"{writer.name} number {number}"}),
            "posts": ("content", "POST", "/posts", {"text": f"{writer.name} number {number}"}),
            "comments": ("content", "POST", f"/posts/{writer.thread}/comments", {"text": f"number {number}"}),
        }[kind]
        answer = await self._call(lane, service, method, path, as_=writer.person, json=body)
        if answer is None or answer.status >= 300:
            return
        if kind == "comments":
            writer.comments = number
        writer.token[service] = answer.headers["Consistency-Token"]
        told = Wrote(writer.subject(kind), number, writer.name, lane.process, time.monotonic())
        async with self._new:
            self.history.writes.append(told)
            self._new.notify_all()

    async def read(
        self, writer: Writer, kind: str, lane: Lane, who: Person | None = None, token: dict[str, str] | None = None
    ) -> Read | None:
        """Look at one of the three numbers; with `token` as somebody who has been told of the writer's newest write."""
        service, path = writer.where(kind)
        headers = {"Consistency-Token": token[service]} if token else {}
        subject, began = writer.subject(kind), time.monotonic()
        answer = await self._call(lane, service, "GET", path, as_=who, headers=headers)
        if answer is None or answer.status >= 300:
            return None
        return self._saw(subject, _number_in(answer, writer, kind), answer, lane, who, began, with_token=bool(token))

    async def read_feed(self, writer: Writer, lane: Lane) -> None:
        """Look at the follower's feed: it shows the writer's posts, and nobody else's."""
        who, began = writer.follower, time.monotonic()
        answer = await self._call(lane, "content", "GET", f"/feed/{who.id}?limit=5", as_=who)
        if answer is None or answer.status >= 300:
            return
        self._saw(
            writer.subject("posts"), _largest(_numbers(answer.json, writer)), answer, lane, who, began, with_token=False
        )

    async def look_in(self, lane: Lane) -> None:
        """Ask as somebody who is blocked: for them there is nobody."""
        path = f"/profile/{self.cast.writers[0].person.id}"
        answer = await self._call(lane, "users", "GET", path, as_=self.cast.blocked, expect=404)
        if answer is not None and answer.status == 200:
            self.history.strangers.append(f"one who is blocked was shown {answer.body!r}")

    async def wander(self, lane: Lane, number: int) -> None:
        """Ask for lists of a length that is seldom asked for, so that no process has them in its memory."""
        person = self.cast.writers[0].person.id
        for service, what in (("users", "followers"), ("content", "posts")):
            await self._call(lane, service, "GET", f"/users/{person}/{what}?limit={number}")

    def _saw(
        self,
        subject: str,
        number: int | None,
        answer: Answer,
        lane: Lane,
        who: Person | None,
        began: float,
        *,
        with_token: bool,
    ) -> Read | None:
        reader = "nobody" if who is None else who.handle
        cache = answer.headers["Cache-Status"]
        if number is None:
            self.history.strangers.append(f"{subject}, to {reader} at {lane.process} ({cache}): {answer.body[:300]!r}")
            return None
        took = time.monotonic() - began
        read = Read(subject, number, reader, lane.process, with_token, began, took, cache)
        self.history.reads.append(read)
        return read

    async def _call(
        self, lane: Lane, service: str, method: str, path: str, expect: int | None = None, **options: Any
    ) -> Answer | None:
        try:
            answer = await lane.call(service, method, path, **options)
        except (aiohttp.ClientError, OSError):
            self.history.cut += 1
            return None
        if answer.status >= 300 and answer.status != expect:
            self.history.errors.append(f"{method} {path}: {answer.status} {answer.body[:300]!r}")
        return answer


def _number_in(answer: Answer, writer: Writer, kind: str) -> int | None:
    """Return the number that was shown; None when something else was, or somebody else."""
    told = answer.json
    if kind == "bio":
        return _number(told["bio"]) if told.get("handle") == writer.name else None
    numbers = _numbers(told, writer)
    return len(numbers) if kind == "comments" and numbers is not None else _largest(numbers)


def _numbers(told: Any, writer: Writer) -> list[int] | None:
    """Return the numbers of a list's items; None when not all of them are the writer's."""
    items = told.get("items")
    if items is None or any(item["author"]["handle"] != writer.name for item in items):
        return None
    return [_number(item["text"]) for item in items]


def _largest(numbers: list[int] | None) -> int | None:
    return None if numbers is None else max(numbers, default=0)


def _number(text: str) -> int:
    found = NUMBER.search(text)
    return int(found[1]) if found else 0


@asynccontextmanager
async def witnesses_of(platform: Platform, cast: Cast | None, each: int) -> AsyncIterator[Witnesses]:
    """Connect to every worker behind the port, so many times each."""
    bases = {service: f"{platform.base}/api/{service}" for service in ("users", "content")}
    async with AsyncExitStack() as stack:
        lanes: dict[str, list[Lane]] = {}
        workers = workers_of(platform)
        for number in sorted(workers):
            with only(number, workers):
                opened = [lane_to(f"worker {number}", bases, f"{platform.base}/health") for _ in range(each)]
                lanes[number] = [await stack.enter_async_context(lane) for lane in opened]
        yield await _introduced(cast, lanes)


@asynccontextmanager
async def witnesses_of_split(platform: Platform, cast: Cast | None, each: int) -> AsyncIterator[Witnesses]:
    """Connect to the services on their own ports, and to the gateway, which leads to the same processes."""
    ways = {
        "directly": {"users": f"http://127.0.0.1:{platform.port + 1}", "content": f"http://127.0.0.1:{platform.port + 2}"},
        "gateway": {service: f"{platform.base}/api/{service}" for service in ("users", "content")},
    }
    async with AsyncExitStack() as stack:
        lanes: dict[str, list[Lane]] = {}
        for way, bases in ways.items():
            hello = (bases["users"] if way == "directly" else platform.base) + "/health"
            opened = [lane_to("the service", bases, hello, steady=True) for _ in range(each)]
            lanes[way] = [await stack.enter_async_context(lane) for lane in opened]
        yield await _introduced(cast, lanes)


async def _introduced(cast: Cast | None, lanes: dict[str, list[Lane]]) -> Witnesses:
    lane = next(iter(lanes.values()))[0]
    if cast is None:
        cast = await assemble(lane)
    await renew(lane, cast)
    witnesses = Witnesses(cast, lanes)
    await witnesses.begin()
    return witnesses
