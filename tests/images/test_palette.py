"""The dominant colours of pictures whose colours are known."""

import random
import re

import pytest

from images.pictures import PHOTOS, flat, painted, photo
from townsquare.images.palette import dominant_colors
from townsquare.images.pixels import Pixels

FRANCE = ((0, 85, 164), (255, 255, 255), (239, 65, 53))
GERMANY = ((0, 0, 0), (221, 0, 0), (255, 206, 0))


def bytes_of(colour: str) -> tuple[int, ...]:
    assert re.fullmatch("#[0-9a-f]{6}", colour)
    return tuple(bytes.fromhex(colour[1:]))


def near(colour: str, wanted: tuple[int, ...], within: int = 3) -> bool:
    return all(abs(a - b) <= within for a, b in zip(bytes_of(colour), wanted, strict=True))


def same_colours(found: list[str], wanted: tuple[tuple[int, ...], ...], within: int = 3) -> bool:
    return len(found) == len(wanted) and all(any(near(colour, one, within) for colour in found) for one in wanted)


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (128, 128, 128), (255, 0, 0), (1, 2, 3), (18, 200, 77)])
def test_a_picture_of_one_colour_has_that_colour_alone(colour):
    assert same_colours(dominant_colors(flat(colour)), (colour,), within=1)


def test_two_colours_are_told_by_their_share():
    found = dominant_colors(painted(100, 50, lambda x, y: (30, 60, 200) if x < 80 else (250, 220, 40)))
    assert len(found) == 2
    assert near(found[0], (30, 60, 200))
    assert near(found[1], (250, 220, 40))


def test_the_bands_of_a_flag_are_its_colours():
    tricolour = painted(90, 60, lambda x, y: FRANCE[x // 30])
    assert same_colours(dominant_colors(tricolour), FRANCE)
    assert same_colours(dominant_colors(painted(100, 60, lambda x, y: GERMANY[y // 20])), GERMANY)


def test_the_blends_along_an_edge_are_no_colours_of_the_picture():
    def blurred(x: int, _: int) -> tuple[int, int, int]:
        part = min(max((x - 48) / 4, 0.0), 1.0)
        return (round(255 * part), 0, round(255 * (1 - part)))

    assert same_colours(dominant_colors(painted(100, 60, blurred)), ((0, 0, 255), (255, 0, 0)), within=8)


def test_noise_does_not_hide_the_colours():
    lots = random.Random(7)
    colours = ((200, 40, 40), (40, 160, 60), (50, 60, 180))
    noisy = painted(90, 60, lambda x, y: tuple(value + lots.randint(-6, 6) for value in colours[x // 30]))
    assert same_colours(dominant_colors(noisy), colours, within=4)


def test_greys_stay_grey():
    for colour in dominant_colors(painted(100, 20, lambda x, y: (x * 255 // 99,) * 3)):
        red, green, blue = bytes_of(colour)
        assert max(red, green, blue) - min(red, green, blue) <= 1


def test_a_gradient_is_told_by_colours_along_it():
    found = dominant_colors(painted(100, 20, lambda x, y: (255 - x * 255 // 99, 0, x * 255 // 99)))
    assert len(found) == 5
    for red, green, blue in map(bytes_of, found):
        assert green <= 4
        assert abs(red + blue - 255) <= 12


def test_what_is_clear_does_not_count():
    mark = painted(60, 60, lambda x, y: (240, 120, 10, 255) if x < 15 else (0, 255, 255, 0))
    assert same_colours(dominant_colors(mark), ((240, 120, 10),))


def test_a_picture_that_is_all_clear_has_no_colours():
    assert dominant_colors(flat((10, 20, 30, 0))) == []


def test_few_pixels_are_enough():
    assert same_colours(dominant_colors(Pixels(1, 1, bytes([9, 8, 7, 255]))), ((9, 8, 7),), within=1)
    assert same_colours(dominant_colors(painted(2, 1, lambda x, y: (255 * x, 0, 0))), ((0, 0, 0), (255, 0, 0)))


@pytest.mark.parametrize("path", PHOTOS, ids=lambda path: path.stem)
def test_a_photo_keeps_its_colours_when_it_is_encoded_anew(path):
    colours, again = dominant_colors(photo(path)), dominant_colors(photo(path, quality=60))
    assert 2 <= len(colours) <= 5
    assert any(near(colour, bytes_of(colours[0]), within=30) for colour in again)
    assert dominant_colors(photo(path)) == colours
