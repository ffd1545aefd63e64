"""Reads a ThumbHash back, after the reference (evanw/thumbhash, js/thumbhash.js): as far as tests ask."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Shown:
    """The mean colour and alpha (0 to 255) that a hash says, and its width by its height."""

    mean: tuple[float, float, float]
    alpha: float
    ratio: float


def decoded(hashed: bytes) -> Shown:
    """Return what the hash says; fails where it has too few bytes or too many."""
    header = int.from_bytes(hashed[:3], "little")
    shape = int.from_bytes(hashed[3:5], "little")
    light, yellow_blue = (header & 63) / 63, (header >> 6 & 63) / 31.5 - 1
    red_green, has_alpha, landscape = (header >> 12 & 63) / 31.5 - 1, bool(header >> 23), bool(shape >> 15)
    longer = 5 if has_alpha else 7
    across, down = (longer, shape & 7) if landscape else (shape & 7, longer)
    waves = _count(max(3, across), max(3, down)) + 2 * _count(3, 3) + (_count(5, 5) if has_alpha else 0)
    assert len(hashed) == (6 if has_alpha else 5) + (waves + 1) // 2
    blue = light - 2 / 3 * yellow_blue
    red = (3 * light - blue + red_green) / 2
    alpha = 255 * (hashed[5] & 15) / 15 if has_alpha else 255
    return Shown((255 * red, 255 * (red - red_green), 255 * blue), alpha, across / down)


def _count(across: int, down: int) -> int:
    return sum(1 for y in range(down) for x in range(across) if x * down < across * (down - y)) - 1
