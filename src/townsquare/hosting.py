"""Hosting: which services run in this process, behind which port, on which PostgreSQL.

The code of a service cannot tell how it is hosted: all in one process behind the gateway, one process a service, or several
processes on one port.
"""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import uvicorn

from townsquare.cache.http.bounded_heads import BoundedHeads
from townsquare.cache.http.front import Front
from townsquare.cache.http.uvicorn_face import protocol_for
from townsquare.catalogue import BUILT, definition_of
from townsquare.gateway.counting import Counted
from townsquare.gateway.gateway import Destination, Gateway, RemoteService
from townsquare.gateway.pages import GatewayPages
from townsquare.kit import jobs, keys
from townsquare.kit.app import ServiceApp, create_app
from townsquare.kit.asgi import HTTPApp
from townsquare.kit.beside import beside
from townsquare.kit.database import dsn_for
from townsquare.kit.edge import OWN_HEADERS, SECURITY_HEADERS, Edge
from townsquare.kit.identity import Verifier
from townsquare.kit.metrics import Metrics, RequestMetrics
from townsquare.kit.metrics_sockets import SnapshotSockets
from townsquare.kit.migrations import migrate
from townsquare.kit.operations import SNAPSHOT_PATH
from townsquare.kit.personal_tokens import exchange_through
from townsquare.kit.postgres import EmbeddedPostgres, find_programs
from townsquare.kit.restored import settle_in
from townsquare.kit.upstream import LocalUpstream, RemoteUpstream, Upstream
from townsquare.settings import Settings, SettingsError
from townsquare.topology import GATEWAY_PORT, SERVICES

ALL = "all"
GATEWAY = "gateway"
LEAST_CONNECTIONS = 200
_BACKLOG = 2048
KEEP_ALIVE_SECONDS = 75
"""How long an idle connection is kept: longer than the gateway keeps its own to a service, so that the gateway never sends
a request into a connection that is being closed."""
_UPSTREAM_KEEP_ALIVE_SECONDS = 60


@asynccontextmanager
async def database_server(settings: Settings, *, supervise: bool = False) -> AsyncIterator[str]:
    """Lend the PostgreSQL server's address: the configured one, else the embedded one, found or started.

    With `supervise` an embedded server that dies is started again.
    """
    if settings.database_url is not None:
        yield settings.database_url
        return
    settings.data.mkdir(parents=True, exist_ok=True)
    extra = {"max_connections": str(max(LEAST_CONNECTIONS, _connections_of(settings)))}
    postgres = EmbeddedPostgres(settings.data, find_programs(settings.pg_bin), extra=extra)
    await postgres.start()
    try:
        async with beside(*([postgres.supervise()] if supervise else [])):
            await postgres.ensure_databases([service.database for service in SERVICES.values()])
            yield postgres.url("postgres")
    finally:
        await postgres.stop()


def _connections_of(settings: Settings) -> int:
    """Return how many connections all processes can open, with some to spare for commands and a second platform."""
    each = settings.pool_size + jobs.CONNECTIONS + 2  # one listens to the outbox, one looks at it for the cache
    return 50 + settings.workers * len(BUILT) * each


async def prepare(settings: Settings, server: str, services: Sequence[str] = BUILT) -> dict[str, list[str]]:
    """Make the keys and bring the databases up to this release; returns the migrations applied, by service."""
    keys.ensure_keys(settings.data)
    applied: dict[str, list[str]] = {}
    for name in services:
        applied[name] = await migrate(dsn_for(server, name), definition_of(name).schemas)
        await settle_in(dsn_for(server, name))
    return applied


class Host:
    """The services of one process and what leads to them.

    `serves` is `all` (every service behind the gateway), `gateway` (all services on their own ports) or one service's
    name. `running()` is its lifespan and lends the ASGI app. Of several processes on one port this is number `worker`, and
    `siblings` is the folder through which they tell each other their metrics.
    """

    def __init__(
        self,
        serves: str,
        settings: Settings,
        server: str,
        *,
        worker: int = 0,
        background: bool = True,
        siblings: Path | None = None,
    ) -> None:
        self.metrics = Metrics(serves if siblings is None else str(worker))
        self._sockets = None if siblings is None else SnapshotSockets(siblings, settings.workers, worker)
        self._settings = settings
        self._secret = keys.internal_secret(settings)
        self.upstreams: dict[str, Upstream] = {}
        self._session: aiohttp.ClientSession | None = None
        local = BUILT if serves == ALL else () if serves == GATEWAY else (serves,)
        self.services: dict[str, ServiceApp] = {
            name: create_app(
                definition_of(name),
                settings,
                server=server,
                upstreams=self.upstreams,
                metrics=self.metrics,
                worker=worker,
                background=background,
            )
            for name in local
        }
        self._serves = serves
        self.front: Front | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[HTTPApp]:
        """Open everything, lend the app, close everything in reverse."""
        async with AsyncExitStack() as stack:
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_UPSTREAM_KEEP_ALIVE_SECONDS)
            session = aiohttp.ClientSession(connector=connector, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar())
            await stack.enter_async_context(session)
            self._connect(session)
            for service in self.services.values():
                await stack.enter_async_context(service.running())
            await stack.enter_async_context(beside(self.metrics.loop_lag.run(), *self._answering_siblings()))
            yield self._behind_the_edge(session)

    async def serve(self, app: HTTPApp, listener: socket.socket, stop: asyncio.Event) -> None:
        """Serve what `running()` lends until `stop` is set; no long poll holds up the end."""
        async with beside(self._drain_when(stop)):
            await serve(app, listener, stop, self.front)

    async def _drain_when(self, stop: asyncio.Event) -> None:
        await stop.wait()
        for service in self.services.values():
            service.drain()

    def _answering_siblings(self) -> list[Coroutine[Any, Any, None]]:
        if self._sockets is None:
            return []
        self._sockets.connect(self.metrics)
        return [self._sockets.serve(self.metrics)]

    def _connect(self, session: aiohttp.ClientSession) -> None:
        for name in BUILT:
            if (local := self.services.get(name)) is not None:
                self.upstreams[name] = LocalUpstream(Edge(local, *self._edge_of(name)), self._secret)
            else:
                base = base_of(name, self._settings)
                remote = RemoteUpstream(session, base, self._secret, SERVICES[name].timeout)
                self.upstreams[name] = remote
                if self._serves == GATEWAY:
                    self.metrics.siblings[name] = partial(_snapshot_of, remote)

    def _behind_the_edge(self, session: aiohttp.ClientSession) -> HTTPApp:
        if self._serves not in (ALL, GATEWAY):
            return self._with_front(Edge(self.services[self._serves], *self._edge_of(self._serves)))
        destinations: dict[str, Destination] = {}
        for name in BUILT:
            destinations[name] = self.services.get(name) or self._on_its_own_port(name, session)
        pages = GatewayPages(self.upstreams, self.metrics)
        counted = Counted(pages, pages.route_of, self.metrics.add_service(GATEWAY))
        return self._with_front(Edge(Gateway(destinations, counted), *self._edge_of(GATEWAY)))

    def _on_its_own_port(self, name: str, session: aiohttp.ClientSession) -> Destination:
        remote = RemoteService(SERVICES[name], base_of(name, self._settings), session, self._secret)
        return Counted(remote, lambda _: SERVICES[name].prefix, self.metrics.add_service(GATEWAY))

    def _with_front(self, edge: Edge) -> Edge:
        """Have what this process's caches hold answered before the edge is reached, unless each request is to be logged."""
        if self._settings.log_requests == "all":
            return edge
        limit = edge.count_read if self._settings.rate_limits else None
        self.front = Front(headers=SECURITY_HEADERS, limit=limit, proxies=edge.proxies, named=edge.named_client)
        for service in self.services.values():
            if service.cache is not None and service.cache.layer is not None:
                service.cache.layer.front = self.front
        return edge

    def _edge_of(self, name: str) -> tuple[Settings, Verifier, str, RequestMetrics]:
        verifier = Verifier(keys.public_keys(self._settings.data), exchange_through(self.upstreams))
        return self._settings, verifier, self._secret, self.metrics.add_service(name)


async def _snapshot_of(service: Upstream) -> bytes:
    reply = await service.call("GET", SNAPSHOT_PATH)
    return reply.body


def port_of(name: str, settings: Settings) -> int:
    """Return the port a service listens on: as far behind the gateway's as in the topology."""
    return settings.port + SERVICES[name].port - GATEWAY_PORT


def base_of(name: str, settings: Settings) -> str:
    """Return the address at which a service on its own port is reached."""
    return settings.upstream.format(service=name, port=port_of(name, settings))


class PortTakenError(SettingsError):
    """Somebody else listens there, or nobody may."""


def listen(host: str, port: int) -> socket.socket:
    """Open the listening socket; raises PortTakenError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sets TCP_NODELAY only where the protocol is named; without it every answer waits 40 ms for an ACK.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except (OSError, OverflowError, UnicodeError) as error:  # the latter two: a port or a name that there cannot be
        listener.close()
        said = getattr(error, "strerror", None) or str(error)
        raise PortTakenError(f"cannot listen on {host}:{port} ({said}); choose another with --port") from None
    return listener


def address_of(settings: Settings, listener: socket.socket | None = None) -> str:
    """Return where the gateway is reached, or whatever else listens on the socket."""
    return _http(settings.host, settings.port if listener is None else listener.getsockname()[1])


def local_address(host: str, port: int) -> str:
    """Return where this machine itself reaches what listens on a port: no request goes to an address that means all."""
    return _http({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port)  # noqa: S104  (nothing is bound)


def _http(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _Server(uvicorn.Server):
    """uvicorn without its own signal handling: ours also stops what stands beneath the server."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(app: HTTPApp, listener: socket.socket, stop: asyncio.Event, front: Front | None = None) -> None:
    """Serve `app` on the socket until `stop` is set; requests under way get five seconds to end.

    What `front` knows is answered inside the protocol.
    """
    config = uvicorn.Config(
        app,  # pyright: ignore[reportArgumentType]  (uvicorn and Litestar name the same protocol twice)
        loop="uvloop",
        http=BoundedHeads if front is None else protocol_for(front, not_plain=OWN_HEADERS),
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # whom to believe is the edge's to say (`trusted_proxies`); uvicorn would believe this machine
        timeout_graceful_shutdown=5,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        ws="none",
    )
    server = _Server(config)
    watch = asyncio.create_task(_stop_when(stop, server))
    try:
        await server.serve(sockets=[listener])
    finally:
        watch.cancel()


async def _stop_when(stop: asyncio.Event, server: uvicorn.Server) -> None:
    await stop.wait()
    server.should_exit = True


def stop_on_signals() -> asyncio.Event:
    """Return the event that SIGTERM and SIGINT set, and the end of the terminal."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    hang_up = [] if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else [signal.SIGHUP]  # ignored under nohup
    for number in (signal.SIGTERM, signal.SIGINT, *hang_up):
        loop.add_signal_handler(number, stop.set)
    return stop


async def wait_until_ready(settings: Settings, stop: asyncio.Event) -> None:
    """Return when the platform says that it is ready, or when `stop` is set."""
    url = local_address(settings.host, settings.port) + "/health/ready"
    timeout = aiohttp.ClientTimeout(total=5)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        while not stop.is_set():
            with suppress(aiohttp.ClientError, TimeoutError, OSError):
                async with session.get(url) as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(0.05)
