"""Sets of tags that several entries hold, as the pages of a feed do: each stands here once, and is counted once."""

from dataclasses import dataclass
from typing import Final

PER_TAG: Final = 140
"""Bytes of a tag in a set: its text and its place. Measured: tests/cache/test_store.py does it again."""


@dataclass(slots=True)
class _Held:
    tags: frozenset[str]
    holders: int = 0


class TagSets:
    """Counts who holds which set; `bytes` is what all of them take."""

    def __init__(self) -> None:
        self.bytes = 0
        self._held: dict[frozenset[str], _Held] = {}

    def __len__(self) -> int:
        return len(self._held)

    def cost(self, tags: frozenset[str]) -> int:
        """Return the bytes that one more holder of `tags` would add: none, if somebody holds them already."""
        return 0 if tags in self._held else PER_TAG * len(tags)

    def hold(self, tags: frozenset[str]) -> frozenset[str]:
        """Count one more holder; returns the set that all of them are to use, which is equal."""
        held = self._held.get(tags)
        if held is None:
            held = self._held[tags] = _Held(tags)
            self.bytes += PER_TAG * len(tags)
        held.holders += 1
        return held.tags

    def release(self, tags: frozenset[str]) -> None:
        """Count one holder less."""
        held = self._held[tags]
        held.holders -= 1
        if not held.holders:
            del self._held[tags]
            self.bytes -= PER_TAG * len(tags)
