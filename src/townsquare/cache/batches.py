"""Work that is gathered while earlier work is under way: one caller waits for nobody, many cost little more than one."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Batches(Generic[T]):
    """Hands what is added to `work`, which must not raise: up to `most` items at once, by up to `lanes` tasks side by side.

    More than `room` items may not wait.
    """

    def __init__(self, work: Callable[[list[T]], Awaitable[None]], *, lanes: int, most: int, room: int) -> None:
        self._work = work
        self._lanes = lanes
        self._most = most
        self._room = room
        self._waiting: list[T] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._beginning = 0
        self._closed = False

    def add(self, item: T) -> bool:
        """Have `item` worked on soon; False when there is no room. Returns at once."""
        if self._closed or len(self._waiting) >= self._room:
            return False
        self._waiting.append(item)
        # A task begins when the loop turns, and takes what was added until then.
        if len(self._tasks) < self._lanes and len(self._waiting) > self._beginning * self._most:
            self._beginning += 1
            task = asyncio.create_task(self._lane(), name="cache batches")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return True

    async def close(self, *, within: float) -> None:
        """Take nothing more; let what waits be worked on for up to `within` seconds, then end it."""
        self._closed = True
        tasks = list(self._tasks)
        if tasks:
            await asyncio.wait(tasks, timeout=within)
        self._waiting.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _lane(self) -> None:
        self._beginning -= 1
        while self._waiting:
            items = self._waiting[: self._most]
            del self._waiting[: self._most]
            await self._work(items)
