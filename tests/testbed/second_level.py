"""What tests of the second level have in common: entries, a level on a server, and waiting until something is so."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

from townsquare.cache.entries import Entry
from townsquare.cache.redis_level import RedisLevel
from townsquare.cache.snapshots import Snapshot
from townsquare.cache.statistics import Counts
from townsquare.cache.strategies import Strategy

NAMES = itertools.count()
PATIENT = 10.0
RECOVERY_SECONDS = 30
"""More than the longest pause of the breaker, and the time that a failover takes on a busy machine."""


class TextCodec:
    """Values are texts."""

    def encode(self, value: object) -> bytes:
        assert isinstance(value, str)
        return value.encode()

    def decode(self, data: bytes) -> str:
        return data.decode()


def an_entry(
    key: str = "profile",
    value: str = "Ada",
    *,
    tags: Iterable[str] = ("profile:ada",),
    watched: Iterable[str] | None = None,
    snapshot: Snapshot | None = None,
    lifetime: float = 60.0,
    created: float | None = None,
) -> Entry:
    """An entry as a cache would hand it over."""
    return Entry(
        key,
        value,
        len(value),
        Strategy("PROFILE", lifetime, 10),
        snapshot or Snapshot(10, 12, frozenset({11})),
        frozenset(tags),
        watched=None if watched is None else frozenset(watched),
        counts=Counts(),
        created=time.monotonic() if created is None else created,
        lifetime=lifetime,
    )


@asynccontextmanager
async def running_level(url: str, name: str | None = None, **options: Any) -> AsyncIterator[RedisLevel]:
    """A level on a server, under a name that no other test has unless one is given.

    Its deadline is long unless one is given: on a busy machine a healthy server may take its time too.
    """
    level = RedisLevel(url, TextCodec(), **({"deadline": PATIENT} | options))
    level.rename(f"town{next(NAMES)}" if name is None else name)
    try:
        yield level
    finally:
        await level.close()


async def until(true: Callable[[], object | Awaitable[object]], seconds: float = RECOVERY_SECONDS) -> None:
    """Wait until `true` returns something true, or its awaited result is."""
    async with asyncio.timeout(seconds):
        while True:
            result = true()
            if isinstance(result, Awaitable):
                result = await result
            if result:
                return
            await asyncio.sleep(0.01)


async def written(level: RedisLevel, *entries: Entry) -> None:
    """Put entries, and wait until they are there."""
    before = level.counts.puts
    for entry in entries:
        level.put(entry)
    await until(lambda: level.counts.puts == before + len(entries))
