"""A small origin behind either face of the front, on a real socket and in a loop like the platform's; and raw bytes."""

import asyncio
import itertools
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal

import uvicorn
import uvloop

from townsquare.cache.cache import Cache, Change, Filled
from townsquare.cache.http.asgi_face import FrontMiddleware, Receive, Scope, Send
from townsquare.cache.http.bounded_heads import HEAD_SECONDS, BoundedHeads
from townsquare.cache.http.front import Alias, Asked, Front, Limit, prepare
from townsquare.cache.http.responses import StoredResponse
from townsquare.cache.http.uvicorn_face import protocol_for
from townsquare.cache.snapshots import Snapshot
from townsquare.cache.strategies import Strategy

Face = Literal["uvicorn", "asgi"]
FACES: tuple[Face, ...] = ("uvicorn", "asgi")
KEPT = Strategy("KEPT", lifetime=3600, grace=0, jitter=0)
OWN = frozenset({b"townsquare-forwarded"})
ADDED = [(b"x-front", b"yes")]
OWN_HEADER = "Townsquare-Forwarded: x"
KEEP_ALIVE = 0.3
_numbers = itertools.count()
SECONDS = 10
"""How long anything may take on a busy machine before it counts as hung."""


class Origin:
    """ASGI app: `/kept/...` is kept and taught to the front, `/slow/...` waits, the rest is echoed, `/early` without a body.

    `asked` are the targets that came all the way here. A kept body is as long as its last segment says, or 300 bytes.
    """

    def __init__(self, limit: Limit | None = None) -> None:
        self.asked: list[str] = []
        self.cache = Cache()
        self.cache.begin(Snapshot(100, 100), 1)
        self.cache.looked(Snapshot(100, 100), [], float("inf"))
        self.front = Front(
            headers=ADDED,
            limit=limit,
            proxies=frozenset({"127.0.0.1"}),
            named=lambda forwarded: forwarded.rpartition(b",")[2].strip().decode(),
        )
        self.counted, self.counted_unchanged = [0.0], [0.0]
        self.until = float("inf")
        self.go_on = asyncio.Event()
        self.waiting = threading.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked.append(scope["path"])
        if scope["path"].startswith("/kept/") and scope["method"] in ("GET", "HEAD"):
            await self._kept(scope, send)
            return
        body = b"" if scope["path"] == "/early" else await _body(receive)
        if scope["path"].startswith("/slow/"):
            self.waiting.set()
            await self.go_on.wait()
        length = str(len(body) + len(scope["path"])).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
        await send({"type": "http.response.body", "body": scope["path"].encode() + body})

    async def _kept(self, scope: Scope, send: Send) -> None:
        async def fill() -> Filled:
            body = _text(scope["path"])
            headers = [(b"content-type", b"application/json"), (b"cache-control", b"public, max-age=0")]
            return Filled(StoredResponse(headers, b'"tag"', body), len(body), frozenset({f"tag:{scope['path']}"}))

        outcome = await self.cache.fetch(scope["path"], KEPT, fill)
        response, given = outcome.value, dict(scope["headers"])
        assert isinstance(response, StoredResponse)
        coding = response.coding_for(given.get(b"accept-encoding", b""))
        if outcome.entry is not None and scope["method"] == "GET":
            self._teach(scope, outcome.entry, coding)
        if outcome.entry is not None:
            prepare(self.cache, outcome.entry, coding)
        status, headers = 200, response.head(coding, [(b"cache-status", b"townsquare; fwd=miss"), *ADDED])
        body = b"" if scope["method"] == "HEAD" else response.body(coding)
        if (known := given.get(b"if-none-match")) is not None and response.matches(known):
            status, headers, body = 304, response.head_unchanged(coding, ADDED), b""
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _teach(self, scope: Scope, entry: Any, coding: Any) -> None:
        given = dict(scope["headers"]).get
        target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        alias = Alias(
            self.cache,
            entry,
            coding,
            until=self.until,
            who=None,
            counted=self.counted,
            counted_unchanged=self.counted_unchanged,
        )
        who = (given(b"authorization", b""), given(b"cookie", b""), given(b"accept-encoding", b""))
        self.front.learn(Asked(target, *who), alias)

    def change(self, path: str) -> None:
        """Have a commit change what is kept of a path."""
        self.cache.changed(Change(200, [f"tag:{path}"]))


def _text(path: str) -> bytes:
    length = path.rpartition("/")[2]
    return (path.encode() + b" ").ljust(int(length) if length.isdecimal() else 300, b".")


async def _body(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body", False):
            return body


@dataclass(frozen=True)
class Answer:
    """An answer as it came over the wire."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        """Return a header, which must not stand there twice."""
        found = [value for given, value in self.headers if given == name]
        assert len(found) <= 1, (name, found)
        return found[0] if found else None

    @property
    def by_front(self) -> bool:
        """Whether the front gave it."""
        return "hit" in (self.header("cache-status") or "")

    @property
    def comparable(self) -> tuple[int, list[tuple[str, str]], bytes]:
        """All that must be the same whoever answers: not the moment, nor the order of headers."""
        moment = ("date", "cache-status")
        return self.status, sorted(pair for pair in self.headers if pair[0] not in moment), self.body


class Wire:
    """One connection, spoken to in raw bytes."""

    def __init__(self, port: int, *, receive_buffer: int | None = None) -> None:
        self._socket = socket.socket()
        if receive_buffer is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._socket.settimeout(SECONDS)
        self._socket.connect(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._read = self._socket.makefile("rb")

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._socket.sendall(data)

    def send_what_goes(self, data: bytes) -> int:
        """Send without waiting for room; returns how many bytes went."""
        self._socket.setblocking(False)
        sent = 0
        with suppress(BlockingIOError):
            while sent < len(data):
                sent += self._socket.send(data[sent:])
        self._socket.settimeout(SECONDS)
        return sent

    def answer(self, *, to: str = "GET") -> Answer:
        """Read the next answer."""
        line = self._read.readline()
        assert line.startswith(b"HTTP/1.1 "), line
        headers: list[tuple[str, str]] = []
        while (text := self._read.readline()) != b"\r\n":
            name, _, value = text.decode("latin-1").rstrip("\r\n").partition(": ")
            headers.append((name.lower(), value))
        answer = Answer(int(line.split()[1]), headers, b"")
        if to == "HEAD" or answer.status in (100, 304):
            return answer
        body = self._read.read(int(answer.header("content-length") or 0))
        return Answer(answer.status, headers, body)

    def ask(self, data: bytes, *, to: str = "GET") -> Answer:
        """Send one request and read its answer."""
        self.send(data)
        return self.answer(to=to)

    def closed(self) -> bool:
        """Wait for the other side to close; False when it says something instead."""
        with suppress(ConnectionResetError):
            return self._read.read(1) == b""
        return True

    def close(self) -> None:
        """Hang up."""
        self._read.close()
        self._socket.close()


class Served:
    """The origin while it is served."""

    def __init__(self, origin: Origin, server: uvicorn.Server, loop: asyncio.AbstractEventLoop, port: int) -> None:
        self.origin = origin
        self.server = server
        self.port = port
        self._loop = loop
        self._wires: list[Wire] = []

    def wire(self, **options: Any) -> Wire:
        """Open a connection."""
        self._wires.append(Wire(self.port, **options))
        return self._wires[-1]

    def within(self, act: Callable[[], Any]) -> Any:
        """Run a function where the server runs."""

        async def acting() -> Any:
            return act()

        return self.awaiting(acting())

    def awaiting(self, what: Coroutine[Any, Any, Any]) -> Any:
        """Await something where the server runs."""
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(SECONDS)

    def teach(self, *requests: bytes) -> None:
        """Ask twice, so that the front knows the requests and their very bytes."""
        for request in requests:
            for _ in range(3):
                wire = Wire(self.port)
                wire.ask(request)
                wire.close()
        self.origin.asked.clear()

    def hang_up(self) -> None:
        """Close every connection."""
        for wire in self._wires:
            wire.close()


@contextmanager
def serving_origin(
    face: Face, *, limit: Limit | None = None, head_seconds: float = HEAD_SECONDS, **options: Any
) -> Iterator[Served]:
    """Serve an origin behind a face until the block ends."""
    started: list[Served] = []
    ready = threading.Event()

    async def serve() -> None:
        origin = Origin(limit)
        app: Any = origin if face == "uvicorn" else FrontMiddleware(origin, origin.front, not_plain=OWN)
        bounded = protocol_for(origin.front, not_plain=OWN) if face == "uvicorn" else BoundedHeads
        http: Any = type("Protocol", (bounded,), {"head_seconds": head_seconds})
        config = uvicorn.Config(
            app, http=http, lifespan="off", log_config=None, access_log=False, server_header=False, proxy_headers=False,
            ws="none", timeout_graceful_shutdown=2, **options,
        )  # fmt: skip
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
            listener.bind(("127.0.0.1", 0))
            server = uvicorn.Server(config)
            started.append(Served(origin, server, asyncio.get_running_loop(), listener.getsockname()[1]))
            serving = asyncio.create_task(server.serve([listener]))
            while not server.started:
                await asyncio.sleep(0.001)
            ready.set()
            await serving

    def run() -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve())

    thread = threading.Thread(target=run, name=f"origin behind {face}")
    thread.start()
    assert ready.wait(SECONDS)
    served = started[0]
    try:
        yield served
    finally:
        served.hang_up()
        served.within(served.origin.go_on.set)
        served.server.should_exit = True
        thread.join(SECONDS)
        assert not thread.is_alive()


def wait_for(condition: Callable[[], object]) -> None:
    """Wait until another thread has made something true."""
    until = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.002)


def path(length: int = 300) -> str:
    return f"/kept/{next(_numbers)}/{length}"


def get(target: str, *headers: str, version: str = "1.1") -> bytes:
    return "\r\n".join([f"GET {target} HTTP/{version}", "Host: test", *headers, "", ""]).encode("latin-1")


def post(target: str, body: str) -> bytes:
    return f"POST {target} HTTP/1.1\r\nHost: test\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


def known(served: Served, *headers: str, length: int = 300) -> tuple[str, bytes]:
    """Have the front learn a new path; returns it and the request."""
    target = path(length)
    request = get(target, *headers)
    served.teach(request)
    return target, request


def until_read(served: Served) -> None:
    """Two rounds of the server's loop: in the first it finds out what has come, before the second it has read it."""
    for _ in range(2):
        served.within(lambda: None)
