"""Where the eye goes in a picture: what has to stay when a page cuts it to another shape."""

from typing import Final

from townsquare.images.pixels import Pixels
from townsquare.images.tiny import attention, shrunk

CENTRE: Final = (0.5, 0.5)

FLAT: Final = 12
"""Where no channel varies by more than this many levels of 256, nothing draws the eye."""


def focus(pixels: Pixels) -> tuple[float, float]:
    """Return the point that draws the eye, in parts of width and height from the upper left; of a flat one its centre."""
    if _flat(shrunk(pixels, 32)):
        return CENTRE
    x, y = attention(pixels)
    return _part(x, pixels.width), _part(y, pixels.height)


def _flat(pixels: Pixels) -> bool:
    bands = (pixels.rgba[band::4] for band in range(4))
    return all(max(band) - min(band) <= FLAT for band in bands)


def _part(pixel: int, length: int) -> float:
    return round(min(max((pixel + 0.5) / length, 0.0), 1.0), 4)
