"""A perceptual fingerprint: pictures that look the same have nearly the same one.

pHash (http://www.phash.org, as also in ImageHash): the picture's brightness on 32 by 32 pixels, its 64 lowest waves without
the row and column of the constant one, and for each whether it is above their median. What re-encoding, resizing and small
changes of light alter lies in other waves. Colours do not count.
"""

from operator import mul
from statistics import median
from typing import Final

from townsquare.images.pixels import Pixels
from townsquare.images.thumbhash import cosines
from townsquare.images.tiny import grey_square

SIDE: Final = 32
WAVES: Final = 8

ALIKE: Final = 8
"""Pictures at most this far apart are taken for the same one; strangers differ in 32 of the 64 bits, give or take 4."""

STILL: Final = 16.0
"""A wave weaker than this is rounding, not picture: that of 1,024 whole greys has a standard deviation of 4.6. Without it a
flat picture would have a fingerprint of chance."""


def fingerprint(pixels: Pixels) -> str:
    """Return the picture's fingerprint: 64 bits as 16 hexadecimal digits."""
    grey = grey_square(pixels, SIDE)
    rows = [grey[start : start + SIDE] for start in range(0, len(grey), SIDE)]
    basis = cosines(SIDE, WAVES + 1)[1:]
    by_row = [[sum(map(mul, row, wave)) for row in rows] for wave in basis]
    waves = [sum(map(mul, values, wave)) for wave in basis for values in by_row]
    middle = median(waves)
    bits = 0
    for wave in waves:
        bits = bits << 1 | (wave > middle + STILL)
    return f"{bits:016x}"


def distance(one: str, other: str) -> int:
    """Return in how many of their 64 bits two fingerprints differ."""
    return (int(one, 16) ^ int(other, 16)).bit_count()
