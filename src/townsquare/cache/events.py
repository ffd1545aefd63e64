"""What a cache tells whoever listens: everything that is rare enough to be told. Hits are only counted.

A listener is called at once, in the middle of the work: it must be quick, and must not touch the cache.
"""

from typing import Literal

from msgspec import Struct


class EntryKept(Struct, frozen=True):
    """A fill brought a value, and it was kept. `seconds` is how long the fill took."""

    strategy: str
    key: str
    seconds: float


class EntryRefused(Struct, frozen=True):
    """A value was not kept: what it depends on had changed meanwhile, or it is too large."""

    strategy: str
    key: str


class EntryInvalidated(Struct, frozen=True):
    """Transaction `xid` changed `tag`, and the entry had not seen it; None for watched tags, where nobody knows which."""

    strategy: str
    key: str
    tag: str | None
    xid: int | None


class EntryEvicted(Struct, frozen=True):
    """The entry was thrown out to make room."""

    strategy: str
    key: str


class ServedStale(Struct, frozen=True):
    """An entry was served in its grace: a newer one took long, or the origin failed."""

    strategy: str
    key: str
    because: Literal["slow", "failed"]


class OriginFailed(Struct, frozen=True):
    """A fill failed, or took longer than its hard deadline."""

    strategy: str
    key: str


class TouchLost(Struct, frozen=True):
    """Somebody asked, and contact with the source had been lost: nothing is served as fresh."""


class TouchRegained(Struct, frozen=True):
    """A look has succeeded again."""


class Begun(Struct, frozen=True):
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
