"""One service's cache in one process: the cache itself, what tells it of changes, and the second level if there is one."""

import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from townsquare import __version__
from townsquare.cache.cache import Cache, Change
from townsquare.cache.http.codec import ResponseCodec
from townsquare.cache.tracing import Tracer
from townsquare.kit.beside import beside
from townsquare.kit.caching import CacheLayer
from townsquare.kit.context import Context
from townsquare.kit.follower import Follower
from townsquare.kit.logs import get_logger

if TYPE_CHECKING:
    from townsquare.cache.redis_level import RedisLevel

MEGABYTE = 1 << 20


class ServiceCache:
    """`layer` is what answers from it; set by the service's app."""

    def __init__(self, watched: Iterable[str], context: Context) -> None:
        url, megabytes = context.settings.redis_url, context.settings.cache_mb
        self.second = None if url is None else self._second_at(url)
        self.cache = context.cache = Cache(megabytes * MEGABYTE, watched=watched, second=self.second, tracer=_tracer())
        self.follower = Follower(self.cache, context.database, context.outbox, self._identified)
        self.layer: CacheLayer | None = None
        self._context = context
        self._log = get_logger("cache")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Follow the service's outbox until the end."""
        self._context.outbox.tell_cache = lambda xid, tags: self.cache.changed(Change(xid, tags))
        await self.follower.look()
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(beside(self.follower.run()))
            if self.second is not None:
                stack.push_async_callback(self.second.close)
            stack.push_async_callback(self.cache.close)  # first of all: fills need the others, and the database after this
            yield

    def _second_at(self, url: str) -> "RedisLevel":
        from townsquare.cache.redis_level import RedisLevel  # its library takes 7 MB and 70 ms: only who uses it pays

        return RedisLevel(url, ResponseCodec(), given_up=self._given_up, regained=self._regained)

    def _given_up(self, error_type: str) -> None:
        self._log.warning("the shared cache does not answer", error_type=error_type)

    def _regained(self) -> None:
        self._log.info("the shared cache answers again")

    def _identified(self, identity: str) -> None:
        if self.second is not None:
            self.second.rename(f"townsquare:{__version__}:{self._context.name}:{identity}")


def _tracer() -> Tracer | None:
    """Return OpenTelemetry's tracer, if somebody has set it up in this process (`docs/cache/observing.md`)."""
    if "opentelemetry" not in sys.modules:  # who has set it up has imported it; nobody else pays for that
        return None
    from opentelemetry import trace

    provider = trace.get_tracer_provider()
    if isinstance(provider, trace.ProxyTracerProvider | trace.NoOpTracerProvider):
        return None  # its spans would cost their microseconds all the same
    return provider.get_tracer("townsquare.cache", __version__)
