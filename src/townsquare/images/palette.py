"""A picture's dominant colours: k-means in OKLab, where equal distances look equally far.

OKLab is Björn Ottosson's (https://bottosson.github.io/posts/oklab/). At most `SAMPLES` pixels are looked at, gathered first
into cells of equal colour to 4 bits: what is clustered is some hundred weighted points, whatever the picture.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from typing import Final, TypeAlias

from townsquare.images.pixels import Pixels

Lab: TypeAlias = tuple[float, float, float]

MOST: Final = 5
SAMPLES: Final = 2_500
CLUSTERS: Final = 8
"""More than are told: the blends along edges gather in some of their own and do not tint the colours beside them."""
STEPS: Final = 8
"""k-means rounds, at most. Shares and colours stop changing visibly after five."""
ALIKE: Final = 0.07
"""OKLab distance below which two colours are told as one; a just noticeable difference is about 0.02."""
LEAST_SHARE: Final = 0.015
"""A colour of a smaller part of the picture is not dominant."""

# What a byte of sRGB is as light.
LINEAR: Final = tuple(value / 255 / 12.92 if value <= 10 else ((value / 255 + 0.055) / 1.055) ** 2.4 for value in range(256))


@dataclass(slots=True)
class _Point:
    """A colour and how much of the picture has it."""

    lab: Lab
    weight: float


def dominant_colors(pixels: Pixels) -> list[str]:
    """Return up to five colours as `#rrggbb`, the one of most pixels first; none of a picture that is wholly clear."""
    points = _points(pixels)
    if not points:
        return []
    found = _merged(_clusters(points))
    least = LEAST_SHARE * sum(point.weight for point in found)
    # Distinct in OKLab may still be one as bytes; a dict keeps the first of each.
    return list(dict.fromkeys(_hex(point.lab) for point in found[:MOST] if point.weight >= least))


def _points(pixels: Pixels) -> list[_Point]:
    """Gather pixels into cells of 16 levels a channel; a pixel counts as much as it covers."""
    step = -(-pixels.width * pixels.height // SAMPLES)
    # A stride that shares a factor with the width would look at some columns only.
    while step > 1 and pixels.width % step == 0:
        step += 1
    cells: dict[int, list[int]] = {}
    red, green, blue, alpha = (pixels.rgba[band :: 4 * step] for band in range(4))
    for r, g, b, a in zip(red, green, blue, alpha, strict=True):
        if a < 16:
            continue
        cell = cells.setdefault((r & 0xF0) << 4 | (g & 0xF0) | b >> 4, [0, 0, 0, 0])
        cell[0] += r * a
        cell[1] += g * a
        cell[2] += b * a
        cell[3] += a
    return [_Point(_lab(r / a, g / a, b / a), a) for r, g, b, a in cells.values()]


def _clusters(points: list[_Point]) -> list[_Point]:
    centres = _seeds(points)
    for _ in range(STEPS):
        moved = _moved(points, centres)
        if moved == centres:
            break
        centres = moved
    return centres


def _seeds(points: list[_Point]) -> list[_Point]:
    """Choose where to begin: the heaviest colour, then each time the one that is far from all of them for its weight.

    The same for the same picture, where k-means++ would draw lots.
    """
    seeds = [max(points, key=lambda point: point.weight)]
    far = [_squared(point.lab, seeds[0].lab) for point in points]
    while len(seeds) < min(CLUSTERS, len(points)):
        index = max(range(len(points)), key=lambda i: far[i] * points[i].weight)
        if far[index] == 0:
            break
        seeds.append(points[index])
        far = [min(old, _squared(point.lab, points[index].lab)) for old, point in zip(far, points, strict=True)]
    return seeds


def _moved(points: list[_Point], centres: list[_Point]) -> list[_Point]:
    """Return the centres of what is nearest to each; one that nothing is nearest to is gone."""
    labs = [centre.lab for centre in centres]
    members: list[list[_Point]] = [[] for _ in labs]
    for point in points:
        lightness, a, b = point.lab
        gaps = [(lightness - lab[0]) ** 2 + (a - lab[1]) ** 2 + (b - lab[2]) ** 2 for lab in labs]
        members[gaps.index(min(gaps))].append(point)
    return [_mean(group) for group in members if group]


def _merged(centres: list[_Point]) -> list[_Point]:
    """Join the two nearest until none are alike; the heaviest first."""
    while len(centres) > 1:
        one, other = min(combinations(centres, 2), key=lambda pair: _squared(pair[0].lab, pair[1].lab))
        if _squared(one.lab, other.lab) > ALIKE**2:
            break
        centres = [centre for centre in centres if centre is not one and centre is not other]
        centres.append(_mean([one, other]))
    return sorted(centres, key=lambda centre: (-centre.weight, centre.lab))


def _mean(points: Iterable[_Point]) -> _Point:
    weight = lightness = a = b = 0.0
    for point in points:
        weight += point.weight
        lightness += point.lab[0] * point.weight
        a += point.lab[1] * point.weight
        b += point.lab[2] * point.weight
    return _Point((lightness / weight, a / weight, b / weight), weight)


def _squared(one: Lab, other: Lab) -> float:
    return (one[0] - other[0]) ** 2 + (one[1] - other[1]) ** 2 + (one[2] - other[2]) ** 2


def _lab(red: float, green: float, blue: float) -> Lab:
    r, g, b = (LINEAR[int(value + 0.5)] for value in (red, green, blue))
    long = (0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b) ** (1 / 3)
    middle = (0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b) ** (1 / 3)
    short = (0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b) ** (1 / 3)
    return (
        0.2104542553 * long + 0.7936177850 * middle - 0.0040720468 * short,
        1.9779984951 * long - 2.4285922050 * middle + 0.4505937099 * short,
        0.0259040371 * long + 0.7827717662 * middle - 0.8086757660 * short,
    )


def _hex(lab: Lab) -> str:
    lightness, a, b = lab
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    middle = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    light = (
        4.0767416621 * long - 3.3077115913 * middle + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * middle - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * middle + 1.7076147010 * short,
    )
    return "#" + "".join(f"{_byte(value):02x}" for value in light)


def _byte(light: float) -> int:
    value = min(max(light, 0.0), 1.0)
    return round(255 * (value * 12.92 if value <= 0.0031308 else 1.055 * value ** (1 / 2.4) - 0.055))
