"""Nanoseconds of one `get` of a hit in memory, of cashews or aiocache: the median of five times many, in uvloop's loop."""

import statistics
import sys
import time

import uvloop

COUNT = 50_000
VALUE = b"x" * 1_000


async def cashews() -> float:
    from cashews import Cache

    cache = Cache()
    cache.setup("mem://")
    await cache.set("profile:1", VALUE, expire=600)
    return await measured(cache.get)


async def aiocache() -> float:
    from aiocache import SimpleMemoryCache

    cache = SimpleMemoryCache()
    await cache.set("profile:1", VALUE, ttl=600)
    return await measured(cache.get)


async def measured(get: object) -> float:
    assert await get("profile:1") == VALUE
    times = []
    for _ in range(5):
        begun = time.perf_counter_ns()
        for _ in range(COUNT):
            await get("profile:1")
        times.append((time.perf_counter_ns() - begun) / COUNT)
    return statistics.median(times)


if __name__ == "__main__":
    print(uvloop.run({"cashews": cashews, "aiocache": aiocache}[sys.argv[1]]()))
