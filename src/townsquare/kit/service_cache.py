"""One service's cache in one process: the cache itself, what tells it of changes, and the second level if there is one."""

from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager

from townsquare import __version__
from townsquare.cache.cache import Cache, Change
from townsquare.cache.http.codec import ResponseCodec
from townsquare.cache.redis_level import RedisLevel
from townsquare.kit.beside import beside
from townsquare.kit.caching import CacheLayer
from townsquare.kit.context import Context
from townsquare.kit.follower import Follower

MEGABYTE = 1 << 20


class ServiceCache:
    """`layer` is what answers from it; set by the service's app."""

    def __init__(self, watched: Iterable[str], context: Context) -> None:
        settings = context.settings
        self.second = None if settings.redis_url is None else RedisLevel(settings.redis_url, ResponseCodec())
        self.cache = context.cache = Cache(settings.cache_mb * MEGABYTE, watched=watched, second=self.second)
        self.follower = Follower(self.cache, context.database, context.outbox, self._identified)
        self.layer: CacheLayer | None = None
        self._context = context

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Follow the service's outbox, and write to the second level, until the end."""
        self._context.outbox.tell_cache = lambda xid, tags: self.cache.changed(Change(xid, tags))
        await self.follower.look()
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(beside(self.follower.run()))
            if self.second is not None:
                stack.push_async_callback(self.second.close)
                await stack.enter_async_context(beside(self.second.run()))
            yield

    def _identified(self, identity: str) -> None:
        if self.second is not None:
            self.second.rename(f"townsquare:{__version__}:{self._context.name}:{identity}")
