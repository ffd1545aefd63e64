"""Room for so many pixels at a time, given in the order in which it is asked for."""

from asyncio import Future, get_running_loop
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Admission:
    """Whoever comes first is let in first, even when a later and lighter one would have room: nobody waits for ever."""

    def __init__(self, room: int) -> None:
        self._room = self._free = room
        self._waiting: deque[tuple[int, Future[None]]] = deque()

    @asynccontextmanager
    async def room_for(self, weight: int) -> AsyncIterator[None]:
        """Wait until there is room, and hold it. What is heavier than all the room there is gets all of it."""
        weight = min(weight, self._room)
        await self._take(weight)
        try:
            yield
        finally:
            self._give_back(weight)

    async def _take(self, weight: int) -> None:
        if not self._waiting and weight <= self._free:
            self._free -= weight
            return
        turn: Future[None] = get_running_loop().create_future()
        entry = (weight, turn)
        self._waiting.append(entry)
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                self._give_back(weight)  # let in and cancelled in the same moment
            else:
                self._waiting.remove(entry)
                self._let_in()
            raise

    def _give_back(self, weight: int) -> None:
        self._free += weight
        self._let_in()

    def _let_in(self) -> None:
        while self._waiting and self._waiting[0][0] <= self._free:
            weight, turn = self._waiting.popleft()
            if turn.cancelled():
                continue
            self._free -= weight
            turn.set_result(None)
