"""What a cache tells whoever listens: everything that is rare enough to be told. Hits are only counted.

A listener is called at once, in the middle of the work: it must be quick, and must not touch the cache.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class EntryKept:
    """A fill brought a value, and it was kept. `seconds` is how long the fill took."""

    strategy: str
    key: str
    seconds: float


@dataclass(frozen=True, slots=True)
class EntryRefused:
    """A value was not kept: what it depends on had changed meanwhile, or it is too large."""

    strategy: str
    key: str


@dataclass(frozen=True, slots=True)
class EntryInvalidated:
    """Transaction `xid` changed `tag`, and the entry had not seen it; None for watched tags, where nobody knows which."""

    strategy: str
    key: str
    tag: str | None
    xid: int | None


@dataclass(frozen=True, slots=True)
class EntryEvicted:
    """The entry was thrown out to make room."""

    strategy: str
    key: str


@dataclass(frozen=True, slots=True)
class ServedStale:
    """An entry was served in its grace: a newer one took long, or the origin failed."""

    strategy: str
    key: str
    because: Literal["slow", "failed"]


@dataclass(frozen=True, slots=True)
class OriginFailed:
    """A fill failed, or took longer than its hard deadline."""

    strategy: str
    key: str


@dataclass(frozen=True, slots=True)
class TouchLost:
    """Somebody asked, and contact with the source had been lost: nothing is served as fresh."""


@dataclass(frozen=True, slots=True)
class TouchRegained:
    """A look has succeeded again."""


@dataclass(frozen=True, slots=True)
class Begun:
    """The source is a new one, or another than before: everything was dropped."""


Event = (
    EntryKept
    | EntryRefused
    | EntryInvalidated
    | EntryEvicted
    | ServedStale
    | OriginFailed
    | TouchLost
    | TouchRegained
    | Begun
)
