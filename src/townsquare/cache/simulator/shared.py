"""The simulated second level: one store for all processes, with a clock of its own, forgetful, old or somebody else's."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from townsquare.cache.entries import Entry
from townsquare.cache.second_level import SharedEntry

if TYPE_CHECKING:
    from townsquare.cache.simulator.process import Process
    from townsquare.cache.simulator.world import World

DEADLINE: Final = 0.05
SIZE: Final = 500
"""Bytes of each value."""


@dataclass(frozen=True)
class _Kept:
    shared: SharedEntry
    grace: float
    gone_at: float


class SharedStore:
    """What stands behind the network. Its clock may jump; entries vanish by that clock."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.frozen = False
        self.down = False
        self.dead = False
        self.skew = 0.0
        self._clock = clock
        self._kept: dict[str, _Kept] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, name: str) -> SharedEntry | None:
        """Answer a look."""
        kept = self._kept.get(name)
        left = 0.0 if kept is None else kept.gone_at - self._clock() - self.skew
        if self.down or kept is None or left <= 0:
            return None
        entry = kept.shared
        fresh_for = left - kept.grace
        return SharedEntry(entry.value, SIZE, entry.snapshot, entry.tags, entry.watched, fresh_for)

    def put(self, name: str, shared: SharedEntry, usable_for: float) -> None:
        """Keep an entry."""
        if not self.down:
            grace = usable_for - shared.fresh_for
            self._kept[name] = _Kept(shared, grace, self._clock() + self.skew + usable_for)

    def flush(self) -> None:
        """Forget everything."""
        self._kept.clear()

    def copy(self) -> dict[str, _Kept]:
        """Make a backup."""
        return dict(self._kept)

    def restore(self, copy: dict[str, _Kept]) -> None:
        """Put a backup in the place of what is there."""
        self._kept = dict(copy)

    def replace_with_foreign(self) -> None:
        """Hold what belongs to another database instead, under the same keys."""
        self._kept = {f"foreign {name}": kept for name, kept in self._kept.items()}


class SharedLevel:
    """How one process reaches the shared store: in time, or not at all."""

    def __init__(self, world: "World", process: "Process") -> None:
        self.name = ""
        self._world = world
        self._process = process

    async def get(self, key: str) -> SharedEntry | None:
        """Return what is kept under `key`, if it comes in time."""
        store, name = self._world.shared, f"{self.name}/{key}"
        try:
            async with asyncio.timeout(DEADLINE):
                return await self._world.call(self._process, store, "get", lambda: store.get(name))
        except TimeoutError:
            return None

    def put(self, entry: Entry) -> None:
        """Send an entry off."""
        world, now, name = self._world, self._world.now, f"{self.name}/{entry.key}"
        fresh_for, usable_for = entry.fresh_until - now, entry.usable_until - now
        shared = SharedEntry(entry.value, SIZE, entry.snapshot, entry.tags, entry.watched, fresh_for)
        world.send(world.shared, "put", lambda: world.shared.put(name, shared, usable_for))
