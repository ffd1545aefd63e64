"""`create_app`: one service as an ASGI app. How it is hosted is somebody else's choice (`townsquare.hosting`)."""

import socket
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from litestar import Litestar
from litestar.types import ControllerRouterHandler, HTTPScope, Receive, Send

from townsquare.kit import keys
from townsquare.kit.asgi import HTTPApp
from townsquare.kit.beside import beside
from townsquare.kit.cache_metrics import cache_gauges
from townsquare.kit.cache_operations import cache_routes
from townsquare.kit.cached_routes import CachedRoutes
from townsquare.kit.caching import CacheLayer
from townsquare.kit.context import Context
from townsquare.kit.database import Database, dsn_for
from townsquare.kit.dependencies import provided_by
from townsquare.kit.dispatch import Dispatch
from townsquare.kit.health import Probe
from townsquare.kit.identity import Verifier
from townsquare.kit.jobs import Job, JobContext
from townsquare.kit.logs import get_logger
from townsquare.kit.metrics import Gauge, Metrics
from townsquare.kit.operations import operation_routes
from townsquare.kit.outbox import Outbox
from townsquare.kit.personal_tokens import exchange_through
from townsquare.kit.readers import Reader, ReaderRunner
from townsquare.kit.requests import RequestLayer
from townsquare.kit.retention import RETENTION_JOBS
from townsquare.kit.service_cache import ServiceCache
from townsquare.kit.service_metrics import attempt_counters, pool_gauges, queue_gauges, reader_gauges
from townsquare.kit.streamed_routes import streamed_routes
from townsquare.kit.upstream import Upstream
from townsquare.settings import Settings

PLATFORM_SCHEMA = Path(__file__).parent / "schema"


@dataclass(frozen=True, slots=True)
class Definition:
    """What a service consists of; each service's `service.py` has one."""

    name: str
    schema: Path
    routes: Sequence[ControllerRouterHandler]
    jobs: Sequence[Job] = ()
    readers: Sequence[Reader] = ()
    signs_tokens: bool = False
    standing: str = "SELECT $1::uuid IS NOT NULL"
    """SQL that says of person `$1` whether nothing singles them out: then they may be given what is kept for everybody."""
    watched: frozenset[str] = frozenset()
    """Families of tags of which an answer may depend on very many; see `kit/depends.py`."""
    changes: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """What changes cached answers though no caller of a route does it (events of others, jobs, commands), and its tags."""
    resources: Callable[[Context], AbstractAsyncContextManager[object]] | None = None
    """Opens what the service holds besides its database; its handlers and jobs find it as `context.resources`."""
    probes: Callable[[Context], Mapping[str, Probe]] | None = None
    """The checks of what the service can do without, for its readiness."""
    gauges: Callable[[Context], Iterable[Gauge]] | None = None
    """What the service tells at each scrape, besides what every service does."""

    @property
    def schemas(self) -> tuple[Path, Path]:
        """The folders of migrations, in order: what every service has, then its own."""
        return PLATFORM_SCHEMA, self.schema


class ServiceApp:
    """A service's ASGI app; `running()` is its lifespan: database, outbox, jobs and readers."""

    def __init__(self, definition: Definition, context: Context, metrics: Metrics, *, background: bool) -> None:
        self.definition = definition
        self.context = context
        self.readers: list[ReaderRunner] = []
        self._metrics = metrics
        self._background = background
        self.cache = ServiceCache(definition.watched, context) if background and context.settings.cache else None
        cached_routes = CachedRoutes(definition.routes)
        self.framework = Litestar(
            [
                *definition.routes,
                *operation_routes(context, definition.schemas, metrics, definition.routes, self._optional()),
                *([] if self.cache is None else cache_routes(self.cache, cached_routes)),
            ],
            dependencies=provided_by(context),
            openapi_config=None,
            request_max_body_size=context.settings.max_body,
            logging_config=None,
        )
        requests = RequestLayer(Dispatch(self.framework), context, streamed_routes(definition.routes))
        self._app: HTTPApp = requests
        if self.cache is not None:
            layer = CacheLayer(requests, cached_routes, self.cache.cache, context, definition.standing)
            self._app = self.cache.layer = layer

    async def __call__(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        """Answer one request; the edge has already said who asks."""
        await self._app(scope, receive, send)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Open what the service needs, run its background work, and close all in reverse."""
        context, name = self.context, self.definition.name
        async with AsyncExitStack() as stack:
            stack.push_async_callback(context.database.close)
            await context.database.open()
            stack.push_async_callback(context.outbox.close)
            await context.outbox.open()
            if (kept := self.cache) is not None:
                await stack.enter_async_context(kept.running())
                self._metrics.register(lambda: cache_gauges(name, kept))
            self._metrics.register(lambda: pool_gauges(name, context.database))
            await self._open_resources(stack)
            if self._background:  # only now: the upstreams are complete when the host has made all apps
                await stack.enter_async_context(self._reading())
                await stack.enter_async_context(self._working())
            yield

    async def _open_resources(self, stack: AsyncExitStack) -> None:
        context, definition = self.context, self.definition
        if definition.resources is not None:
            context.resources = await stack.enter_async_context(definition.resources(context))
        if (gauges := definition.gauges) is not None:
            self._metrics.register(lambda: gauges(context))

    def drain(self) -> None:
        """Answer those who wait for news at once: the process is about to stop."""
        self.context.outbox.drain()

    def _optional(self) -> dict[str, Probe]:
        """Return the checks of what the service can do without."""
        own = self.definition.probes
        probes = dict(own(self.context)) if own is not None else {}
        if self.cache is not None and self.cache.second is not None:
            probes["redis"] = Probe(self.cache.second.ping, required=False)
        return probes

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[None]:
        self.readers = [self._runner(reader) for reader in self.definition.readers]
        self._metrics.register(lambda: reader_gauges(self.definition.name, self.readers))
        try:
            async with beside(*(reader.run() for reader in self.readers)):
                yield
        finally:
            for reader in self.readers:
                await reader.release()

    @asynccontextmanager
    async def _working(self) -> AsyncIterator[None]:
        from townsquare.kit.job_runner import JobRunner  # with pgqueuer: a quarter second that the gateway need not spend

        context, name = self.context, self.definition.name
        runner = JobRunner(
            context.database.dsn,
            [*RETENTION_JOBS, *self.definition.jobs],
            JobContext(context.database, context.settings, get_logger(f"{name}.jobs"), context.resources),
        )
        context.outbox.wake_jobs = runner.wake
        self._metrics.register(lambda: attempt_counters(name, runner))
        self._metrics.register_look(lambda: queue_gauges(name, context.database, runner.names))
        async with beside(runner.run()):
            yield

    def _runner(self, reader: Reader) -> ReaderRunner:
        owner = f"{socket.gethostname()}/{self.context.worker}"
        context = self.context
        return ReaderRunner(reader, context.database, context.outbox, context.upstreams[reader.source], owner)


def create_app(
    definition: Definition,
    settings: Settings,
    *,
    server: str,
    upstreams: Mapping[str, Upstream],
    metrics: Metrics,
    worker: int = 0,
    background: bool = True,
) -> ServiceApp:
    """Make a service's app.

    `server` is the PostgreSQL server's address without a database, `upstreams` the other services by name (it may be
    filled until the app runs). With `background` the process also runs the service's jobs and readers.
    """
    database = Database(
        dsn_for(server, definition.name),
        size=settings.pool_size,
        pooler=settings.database_pooler,
        deadline=settings.request_deadline,
        name=f"townsquare-{definition.name}",
    )
    context = Context(
        name=definition.name,
        settings=settings,
        database=database,
        outbox=Outbox(database),
        verifier=Verifier(keys.public_keys(settings.data), exchange_through(upstreams)),
        request_metrics=metrics.add_service(definition.name),
        sources=frozenset(reader.source for reader in definition.readers),
        upstreams=upstreams,
        worker=worker,
        signing_key=keys.signing_key(settings.data) if definition.signs_tokens else None,
    )
    return ServiceApp(definition, context, metrics, background=background)
