"""ThumbHash: a picture's colours, light and shape in about 25 bytes.

The algorithm and the layout of its bits are Evan Wallace's (https://github.com/evanw/thumbhash, MIT). The sums are taken
first along rows, then along columns: a tenth of the reference's multiplications, and the same bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import cos, pi
from operator import mul
from typing import Final, TypeAlias

from townsquare.images.pixels import Pixels

Channel: TypeAlias = list[float]

OPAQUE_TERMS: Final = 7
"""How many waves the longer side gets in the light of a picture; fewer where some of the bytes go to its alpha."""
ALPHA_TERMS: Final = 5


@dataclass(frozen=True, slots=True)
class _Waves:
    """A channel as its mean (`constant`), the greatest wave (`scale`) and all waves as parts of it, each 0 to 1."""

    constant: float
    scale: float
    varying: list[float]


def thumbhash(pixels: Pixels) -> bytes:
    """Return the ThumbHash of a picture."""
    width, height = pixels.width, pixels.height
    alpha = not pixels.opaque
    terms = ALPHA_TERMS if alpha else OPAQUE_TERMS
    longer = max(width, height)
    across, down = (max(1, _round(terms * side / longer)) for side in (width, height))
    light, yellow_blue, red_green, cover = _channels(pixels)
    l_waves = _waves(light, width, max(3, across), max(3, down))
    p_waves, q_waves = (_waves(channel, width, 3, 3) for channel in (yellow_blue, red_green))
    landscape = width > height
    header = (
        _round(63 * l_waves.constant)
        | _round(31.5 + 31.5 * p_waves.constant) << 6
        | _round(31.5 + 31.5 * q_waves.constant) << 12
        | _round(31 * l_waves.scale) << 18
        | alpha << 23
        | (down if landscape else across) << 24
        | _round(63 * p_waves.scale) << 27
        | _round(63 * q_waves.scale) << 33
        | landscape << 39
    )
    parts = [header.to_bytes(5, "little")]
    varying = l_waves.varying + p_waves.varying + q_waves.varying
    if alpha:
        a_waves = _waves(cover, width, 5, 5)
        parts.append(bytes([_round(15 * a_waves.constant) | _round(15 * a_waves.scale) << 4]))
        varying += a_waves.varying
    return b"".join([*parts, _nibbles(varying)])


def _channels(pixels: Pixels) -> tuple[Channel, Channel, Channel, Channel]:
    """Return light, yellow against blue, red against green, and alpha, laid on the picture's mean colour."""
    red, green, blue, alpha = (pixels.rgba[band::4] for band in range(4))
    if pixels.opaque:
        colours = [[value / 255 for value in band] for band in (red, green, blue)]
        cover: Channel = []
    else:
        cover = [value / 255 for value in alpha]
        colours = [_laid_on_mean(band, cover) for band in (red, green, blue)]
    together = list(zip(*colours, strict=True))
    return (
        [(r + g + b) / 3 for r, g, b in together],
        [(r + g) / 2 - b for r, g, b in together],
        [r - g for r, g, _ in together],
        cover,
    )


def _laid_on_mean(band: bytes, cover: Channel) -> Channel:
    shown = [value / 255 * part for value, part in zip(band, cover, strict=True)]
    mean = sum(shown) / (sum(cover) or 1.0)
    return [mean * (1 - part) + value for value, part in zip(shown, cover, strict=True)]


def _waves(channel: Channel, width: int, across: int, down: int) -> _Waves:
    """Return the lowest `across` by `down` waves, those of the upper left triangle."""
    height = len(channel) // width
    rows = [channel[start : start + width] for start in range(0, len(channel), width)]
    # by_row[x] is what each row has of wave x; only then are the columns summed.
    by_row = [[sum(map(mul, row, wave)) for row in rows] for wave in cosines(width, across)]
    found = [
        sum(map(mul, by_row[x], wave)) / (width * height)
        for y, wave in enumerate(cosines(height, down))
        for x in range(across)
        if x * down < across * (down - y)
    ]
    constant, varying = found[0], found[1:]
    scale = max(map(abs, varying))
    return _Waves(constant, scale, [0.5 + 0.5 / scale * value for value in varying] if scale else varying)


@cache
def cosines(length: int, count: int) -> tuple[tuple[float, ...], ...]:
    """Return the first `count` cosine waves over `length` samples."""
    return tuple(tuple(cos(pi / length * wave * (x + 0.5)) for x in range(length)) for wave in range(count))


def _nibbles(values: Sequence[float]) -> bytes:
    packed = bytearray((len(values) + 1) // 2)
    for index, value in enumerate(values):
        packed[index >> 1] |= _round(15 * value) << ((index & 1) << 2)
    return bytes(packed)


def _round(value: float) -> int:
    """Round as the reference does: halves upwards, where Python goes to the even neighbour. Nothing here is negative."""
    return int(value + 0.5)
