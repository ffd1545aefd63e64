"""The words that the parts of the pipeline share. Needs no pyvips."""

from collections.abc import Iterable
from enum import Enum
from typing import Final, Literal, TypeAlias

from msgspec import Struct

SizeName: TypeAlias = Literal["thumbnail", "small", "medium", "large"]
Format: TypeAlias = Literal["avif", "webp", "jpeg", "png"]

SIZES: Final[dict[SizeName, int]] = {"thumbnail": 160, "small": 480, "medium": 1080, "large": 1920}
"""The widest that each size is, in pixels. Nothing is enlarged: a narrower picture keeps its width."""

FORMATS: Final[tuple[Format, ...]] = ("avif", "webp", "jpeg", "png")

MEDIA_TYPES: Final[dict[Format, str]] = {name: f"image/{name}" for name in FORMATS}

Wanted: TypeAlias = frozenset[tuple[SizeName, Format]]


def wanted(sizes: Iterable[SizeName] = tuple(SIZES), formats: Iterable[Format] = FORMATS) -> Wanted:
    """Return every size in every format, or in those that are given."""
    formats = tuple(formats)
    return frozenset((size, name) for size in sizes for name in formats)


class Limits(Struct, frozen=True):
    """What one picture may cost. `pixels` counts all frames; `memory` is bytes, `seconds` those of the clock."""

    pixels: int = 120_000_000
    side: int = 30_000
    frames: int = 600
    seconds: float = 30.0
    memory: int = 1 << 30


class Facts(Struct, frozen=True):
    """What a picture is, as people see it: after its orientation was applied. `frames` is 1 when nothing moves."""

    media_type: str
    width: int
    height: int
    frames: int = 1
    alpha: bool = False
    wide_gamut: bool = False


class Placeholder(Struct, frozen=True):
    """What stands in until the picture has come: a ThumbHash (base64) and a tiny blurred picture (a `data:` address)."""

    thumbhash: str
    data_uri: str


class Analysis(Struct, frozen=True):
    """What is known about a picture.

    `focus` is where the eye goes, in parts of width and height from the upper left; `fingerprint` is 64 bits in hex.
    """

    placeholder: Placeholder
    dominant_colors: list[str]
    focus: tuple[float, float]
    fingerprint: str


class Variant(Struct, frozen=True):
    """A picture that was made: its file is `{size}.{format}`."""

    size: SizeName
    format: Format
    width: int
    height: int
    bytes: int


class Processed(Struct, frozen=True):
    """All that was made of one picture. `stages` says how many seconds each stage took."""

    facts: Facts
    analysis: Analysis
    variants: list[Variant]
    stages: dict[str, float] = {}


class Reason(Enum):
    """Why a picture is refused."""

    TYPE = "type"
    """It is none of the kinds that are read."""
    SIZE = "size"
    """It has more pixels, frames or bytes than are allowed, or would take too much memory or time."""
    BROKEN = "broken"
    """It cannot be read: cut off, damaged, or not what it says."""


class Rejected(Exception):
    """The picture is refused. The message is one sentence for whoever sent it."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Unavailable(Exception):
    """Pictures cannot be worked on here now: pyvips is not installed, or its workers do not start."""
