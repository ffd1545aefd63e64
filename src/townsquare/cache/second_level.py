"""What a second level is: shared by processes, perhaps gone, perhaps slow, perhaps wrong, and therefore never trusted.

It answers quickly or not at all, and whatever it answers is admitted by the ledger or refused.
"""

from dataclasses import dataclass
from typing import Protocol

from townsquare.cache.entries import Entry
from townsquare.cache.snapshots import Snapshot


@dataclass(frozen=True, slots=True)
class SharedEntry:
    """An entry as another process left it; `fresh_for` is how many seconds of its lifetime are left."""

    value: object
    size: int
    snapshot: Snapshot
    tags: frozenset[str]
    watched: frozenset[str] | None
    fresh_for: float


class SecondLevel(Protocol):
    """A store that processes share."""

    async def get(self, key: str) -> SharedEntry | None:
        """Return what is kept under `key`, or None; never raises, never takes long."""
        ...

    def put(self, entry: Entry) -> None:
        """Keep an entry, some time soon or never; returns at once."""
        ...
