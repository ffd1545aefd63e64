"""Opens a picture that anybody may have made: what it is and what it would cost is known before a pixel is decoded.

Only the loaders of the kinds that are named here can run; all others of libvips are blocked, also for one another.
"""
# pyvips comes without types; only this file and its neighbours that handle its pictures look away.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeAlias, cast

from townsquare.images.model import Facts, Limits, Reason, Rejected, Unavailable
from townsquare.images.profiles import is_wide
from townsquare.images.sniff import recognise

Image: TypeAlias = Any
"""A `pyvips.Image`."""

_LOADERS: Final[dict[str, str]] = {
    "image/jpeg": "jpegload",
    "image/png": "pngload",
    "image/gif": "gifload",
    "image/webp": "webpload",
    "image/avif": "heifload",
    "image/heic": "heifload",
    "image/tiff": "tiffload",
    "image/svg+xml": "svgload_buffer",
}
_CLASSES: Final = ("Jpeg", "Png", "Nsgif", "Webp", "Heif", "Tiff", "Svg")
"""The classes of these loaders in libvips, after `VipsForeignLoad`."""

_MOVING: Final = frozenset({"image/gif", "image/webp"})
_SVG_BYTES: Final = 4 << 20
"""An SVG is read whole and has no cheap header; the largest of Wikimedia's flags and maps stay below this."""

_JPEG_SHRINKS: Final = (8, 4, 2)
_MEMORY_WORDS: Final = ("out of memory", "unable to allocate", "too large", "too big", "limit")


@cache
def vips() -> Any:
    """Return pyvips, made safe; raises `Unavailable` where it is not installed."""
    try:
        import pyvips
    except (ImportError, OSError) as error:
        raise Unavailable("pyvips is not installed") from error
    # Each picture is worked on once: a cache of operations would only keep memory.
    pyvips.cache_set_max(0)
    # All loaders are blocked, then some let through: a new libvips may bring new ones.
    pyvips.block_untrusted_set(True)
    pyvips.operation_block_set("VipsForeignLoad", True)
    for name in _CLASSES:
        pyvips.operation_block_set(f"VipsForeignLoad{name}", False)
    return pyvips


@dataclass(frozen=True)
class Picture:
    """A picture whose header was read and found within the limits. Nothing of it is decoded yet."""

    source: Path
    facts: Facts
    orientation: int

    @property
    def lies(self) -> bool:
        """Whether width and height change places when its orientation is applied (EXIF 5 to 8)."""
        return self.orientation >= 5

    def load(self, width: int, *, moving: bool) -> Image:
        """Return a lazy image at least `width` wide (as people see it), shrunk while decoding where the format can.

        With `moving` all frames follow one another from top to bottom; else it is the first. Orientation is not applied.
        """
        return _load(self.source, self.facts.media_type, **self._options(width, moving))

    def _options(self, width: int, moving: bool) -> dict[str, Any]:
        shrink = self.facts.width / max(width, 1)
        media_type = self.facts.media_type
        if media_type == "image/jpeg":
            # Decoding an eighth of the coefficients is cheaper than throwing pixels away: 1/2 is 2.5 times as fast.
            return {"shrink": next((factor for factor in _JPEG_SHRINKS if factor <= shrink), 1)}
        if media_type == "image/webp" and shrink >= 2:
            return {"scale": 1 / int(shrink)} | ({"n": -1} if moving else {})
        if media_type == "image/svg+xml":
            return {"scale": min(1.0, 1 / shrink)}
        return {"n": -1} if moving else {}


def open_picture(source: Path, limits: Limits) -> Picture:
    """Read what a picture is from its header. Raises `Rejected`, or `Unavailable` without pyvips."""
    vips()
    media_type = recognise(source).media_type
    if media_type not in _LOADERS:
        raise Rejected(Reason.TYPE, "This is not a picture of a kind that is read here.")
    if media_type == "image/svg+xml" and source.stat().st_size > _SVG_BYTES:
        raise Rejected(Reason.SIZE, f"An SVG may have {_SVG_BYTES >> 20} MiB at most.")
    header = reading(lambda: _load(source, media_type))
    frames = _number(header, "n-pages", 1) if media_type in _MOVING else 1
    _check(header.width, header.height, frames, limits)
    orientation = _orientation(header)
    width, height = (header.height, header.width) if orientation >= 5 else (header.width, header.height)
    facts = Facts(media_type, width, height, frames, bool(header.hasalpha()), is_wide(profile_of(header)))
    return Picture(source, facts, orientation)


def _load(source: Path, media_type: str, **options: Any) -> Image:
    # "error": what is cut off or damaged is refused, what decodes whole but oddly (a warning) is not.
    options = {"access": "sequential", "fail_on": "error", **options}
    loader: Callable[..., Image] = getattr(vips().Image, _LOADERS[media_type])
    # From memory an SVG has no address, so that it can name no other file.
    return loader(source.read_bytes() if media_type == "image/svg+xml" else os.fspath(source), **options)


def _check(width: int, height: int, frames: int, limits: Limits) -> None:
    if max(width, height) > limits.side:
        raise Rejected(Reason.SIZE, f"A picture may be {limits.side} pixels wide and high at most.")
    if frames > limits.frames:
        raise Rejected(Reason.SIZE, f"A picture may have {limits.frames} frames at most.")
    if width * height * frames > limits.pixels:
        raise Rejected(
            Reason.SIZE, f"A picture may have {limits.pixels // 1_000_000} megapixels at most, all frames together."
        )


def reading(step: Callable[[], Image]) -> Image:
    """Do a step that reads from the picture; what libvips says against it becomes `Rejected`."""
    try:
        return step()
    except vips().Error as error:
        raise _rejected(str(error).lower()) from error
    except MemoryError as error:
        raise Rejected(Reason.SIZE, "This picture takes too much memory.") from error


def _rejected(message: str) -> Rejected:
    if any(word in message for word in _MEMORY_WORDS):
        return Rejected(Reason.SIZE, "This picture takes too much memory.")
    if "unsupported" in message or "not built" in message or "no decoding plugin" in message:
        return Rejected(Reason.TYPE, "This picture is compressed in a way that is not read here.")
    return Rejected(Reason.BROKEN, "This picture is damaged or cut off.")


def profile_of(image: Image) -> bytes | None:
    """Return the ICC profile that came with an image."""
    return cast("bytes", image.get("icc-profile-data")) if image.get_typeof("icc-profile-data") else None


def delays_of(image: Image) -> tuple[list[int], int]:
    """Return how long each frame stays (milliseconds), and how often all are shown (0: for ever)."""
    delays = cast("list[int]", image.get("delay")) if image.get_typeof("delay") else []
    return delays, _number(image, "loop", 0)


def _orientation(header: Image) -> int:
    found = _number(header, "orientation", 1)
    return found if 1 <= found <= 8 else 1


def _number(image: Image, name: str, otherwise: int) -> int:
    return int(image.get(name)) if image.get_typeof(name) else otherwise
