"""From a file to pixels as people see them: upright, in sRGB or Display P3, eight bits, alpha only where it matters."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from dataclasses import dataclass
from math import sqrt
from typing import Any, Final

from townsquare.images.pixels import SIDE, Pixels
from townsquare.images.reading import Image, Picture, delays_of, profile_of, reading, vips

TALLEST: Final = 16_383
"""WebP's limit (RFC 9649, section 2.6: 14 bits), kept in all formats, so that all files of a size are equally wide."""

_SQUARES: Final = 4
"""A size holds at most so many squares of its width: a strip of 500 x 20,000 is no thumbnail of 160 x 6,400."""

_MOVING_PIXELS: Final = 24_000_000
"""So many pixels have all frames of one size together at most. Encoding them takes about eight seconds of one core."""


def fitting(width: int, height: int, widest: int, frames: int = 1) -> tuple[int, int]:
    """Return how large a picture becomes: at most `widest` wide, never larger than it is, and never absurdly tall.

    One that moves is as large in the formats that show its first frame alone.
    """
    pixels = min(_SQUARES * widest * widest, _MOVING_PIXELS // frames if frames > 1 else _SQUARES * widest * widest)
    scale = min(1.0, widest / width, TALLEST / height, sqrt(pixels / (width * height)))
    return max(1, round(width * scale)), min(TALLEST, max(1, round(height * scale)))


@dataclass(frozen=True)
class Rendered:
    """A picture in memory. Its frames follow one another from top to bottom; `height` is that of one."""

    image: Image
    height: int
    frames: int = 1
    wide: bool = False

    @property
    def width(self) -> int:
        """The width of a frame, in pixels."""
        return int(self.image.width)

    @property
    def alpha(self) -> bool:
        """Whether something shines through."""
        return bool(self.image.hasalpha())

    @property
    def still(self) -> Image:
        """The first frame."""
        return self.image.crop(0, 0, self.width, self.height) if self.frames > 1 else self.image

    def shrunk(self, width: int, height: int) -> "Rendered":
        """Return it at another, smaller size."""
        if (width, height) == (self.width, self.height):
            return self
        frames = [
            _resized(self.image.crop(0, number * self.height, self.width, self.height), width, height).copy_memory()
            for number in range(self.frames)
        ]
        return Rendered(_joined(frames, self.image, height), height, self.frames, self.wide)


def decode(picture: Picture, widest: int, *, moving: bool) -> Rendered:
    """Decode a picture at the largest size that is needed. Raises `Rejected` when it is damaged or takes too much."""
    return reading(lambda: _decode(picture, widest, moving=moving))


def _decode(picture: Picture, widest: int, *, moving: bool) -> Rendered:
    facts = picture.facts
    frames = facts.frames if moving else 1
    width, height = fitting(facts.width, facts.height, widest, facts.frames)
    loaded = picture.load(width, moving=moving)
    tall = loaded.height // frames
    size = (height, width) if picture.lies else (width, height)
    # Each frame is decoded when its turn comes and kept shrunken: all of them at full size may be half a gigabyte.
    made = [
        _in_colours(_resized(loaded.crop(0, number * tall, loaded.width, tall), *size).copy_memory(), wide=facts.wide_gamut)
        for number in range(frames)
    ]
    image = _upright(_joined(made, loaded, size[1]), picture.orientation).copy_memory()
    del made
    image = _without_idle_alpha(image)
    return Rendered(image, height, frames, facts.wide_gamut)


def _resized(image: Image, width: int, height: int) -> Image:
    """Shrink to an exact size. The colour of what shines through counts as much as it is seen, so that no edge is tinted."""
    if (width, height) == (image.width, image.height):
        return image
    alpha, format_ = image.hasalpha(), image.format
    image = image.premultiply() if alpha else image
    image = image.resize(width / image.width, vscale=height / image.height)
    # Rounding may leave it a pixel off.
    image = image if (image.width, image.height) == (width, height) else _exactly(image, width, height)
    return image.unpremultiply().cast(format_) if alpha else image


def _exactly(image: Image, width: int, height: int) -> Image:
    return image.embed(0, 0, width, height, extend="copy")


def _joined(frames: list[Image], told_by: Image, height: int) -> Image:
    if len(frames) == 1:
        return frames[0]
    delays, loop = delays_of(told_by)
    image = vips().Image.arrayjoin(frames, across=1).copy_memory()
    image.set_type(vips().GValue.gint_type, "page-height", height)
    image.set_type(vips().GValue.gint_type, "loop", loop)
    if delays:
        image.set_type(vips().GValue.array_int_type, "delay", delays)
    return image


def _in_colours(image: Image, *, wide: bool) -> Image:
    """Return 8 bits of Display P3 with its profile when `wide`, else of sRGB without one."""
    image = _of_eight_bits(image)
    if profile_of(image) is None and image.interpretation != "cmyk":
        return image.colourspace("srgb")
    return _transformed(image, "p3" if wide else "srgb")


def _of_eight_bits(image: Image) -> Image:
    """Sixteen bits are cut, not converted: their profile still applies. What is neither (Lab, float) is converted."""
    if image.format == "ushort" and image.interpretation in ("rgb16", "grey16"):
        return (image >> 8).cast("uchar").copy(interpretation="srgb" if image.interpretation == "rgb16" else "b-w")
    if image.format == "uchar" and image.interpretation in ("srgb", "b-w", "cmyk", "rgb"):
        return image
    return image.colourspace("srgb")


def _transformed(image: Image, to: str) -> Image:
    options: dict[str, Any] = {"embedded": True, "intent": "relative", "black_point_compensation": True}
    # Stands in for a profile that is missing or does not fit.
    options["input_profile"] = "cmyk" if image.interpretation == "cmyk" else "srgb"
    try:
        return image.icc_transform(to, **options).copy_memory()
    except vips().Error:
        # A profile that nobody can use is as good as none.
        bare = image.copy()
        bare.remove("icc-profile-data")
        return bare.colourspace("srgb")


_TURNS: Final[dict[int, tuple[str, str | None]]] = {
    2: ("d0", "horizontal"),
    3: ("d180", None),
    4: ("d0", "vertical"),
    5: ("d90", "horizontal"),
    6: ("d90", None),
    7: ("d270", "horizontal"),
    8: ("d270", None),
}
"""How to turn and then flip what each EXIF orientation (CIPA DC-008, tag 274) describes; 1 is upright."""


def _upright(image: Image, orientation: int) -> Image:
    if orientation == 1:
        return image
    turn, flip = _TURNS[orientation]
    image = image.rot(turn) if turn != "d0" else image
    return image.flip(flip) if flip else image


def _without_idle_alpha(image: Image) -> Image:
    if not image.hasalpha() or image[image.bands - 1].min() < 255:
        return image
    return image.extract_band(0, n=image.bands - 1).copy_memory()


def pixels_of(rendered: Rendered) -> Pixels:
    """Return the first frame as the small copy that is analysed, in sRGB."""
    scale = min(1.0, SIDE / max(rendered.width, rendered.height))
    still = Rendered(rendered.still, rendered.height)
    size = max(1, round(still.width * scale)), max(1, round(still.height * scale))
    image = still.shrunk(*size).image
    image = _transformed(image, "srgb") if rendered.wide else image
    image = image if image.hasalpha() else image.addalpha()
    return Pixels(size[0], size[1], bytes(image.write_to_memory()))
