"""Small pictures of known content, and photos, as what the analysis takes."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pyvips

from townsquare.images.pixels import SIDE, Pixels

Colour: TypeAlias = tuple[int, int, int] | tuple[int, int, int, int]

PHOTOS = sorted((Path(__file__).parent / "photos").glob("*.jpg"))


def painted(width: int, height: int, colour: Callable[[int, int], Colour]) -> Pixels:
    """Paint a picture pixel by pixel."""
    rgba = bytearray()
    for y in range(height):
        for x in range(width):
            found = colour(x, y)
            rgba += bytes(found) if len(found) == 4 else bytes([*found, 255])
    return Pixels(width, height, bytes(rgba))


def flat(colour: Colour, width: int = 60, height: int = 40) -> Pixels:
    """Paint a picture of one colour."""
    return painted(width, height, lambda x, y: colour)


def photo(path: Path, *, width: int | None = None, quality: int | None = None) -> Pixels:
    """Read a photo as it is, or after it was resized and encoded anew."""
    image = pyvips.Image.new_from_file(str(path))
    if width is not None:
        image = image.resize(width / image.width)
    return small(image if quality is None else pyvips.Image.new_from_buffer(image.jpegsave_buffer(Q=quality), ""))


def small(image: pyvips.Image) -> Pixels:
    """Shrink a picture to what the analysis takes."""
    image = image.thumbnail_image(SIDE, height=SIDE, size="down").addalpha()
    return Pixels(image.width, image.height, bytes(image.write_to_memory()))
