"""The focal point: where the eye goes."""

import pytest

from images.pictures import flat, painted
from townsquare.images.focus import focus
from townsquare.images.pixels import Pixels


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (200, 30, 30), (9, 9, 9, 0)])
def test_a_flat_picture_has_its_focus_in_the_centre(colour):
    assert focus(flat(colour)) == (0.5, 0.5)


def test_nearly_flat_is_flat():
    assert focus(painted(60, 60, lambda x, y: (100 + x % 5, 100 + y % 5, 100))) == (0.5, 0.5)


@pytest.mark.parametrize(("left", "top"), [(5, 5), (78, 8), (10, 50), (75, 48), (42, 28)])
def test_a_colourful_thing_on_grey_is_where_the_eye_goes(left, top):
    x, y = focus(
        painted(100, 66, lambda x, y: (230, 90, 60) if left <= x < left + 14 and top <= y < top + 12 else (110,) * 3)
    )
    assert left / 100 - 0.04 <= x <= (left + 14) / 100 + 0.04
    assert top / 66 - 0.04 <= y <= (top + 12) / 66 + 0.04


def test_a_face_draws_more_than_a_hedge():
    def scene(x: int, y: int) -> tuple[int, int, int]:
        if (x - 75) ** 2 + (y - 25) ** 2 < 144:
            return (224, 172, 140)
        return (40, 90, 40) if y > 45 else (150, 170, 190)

    x, y = focus(painted(100, 75, scene))
    assert 0.6 <= x <= 0.9
    assert 0.15 <= y <= 0.55


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 100), (100, 1), (2, 3)])
def test_the_smallest_pictures_have_one_too(width, height):
    x, y = focus(Pixels(width, height, bytes(range(256))[: width * height * 4].ljust(width * height * 4, b"\xff")))
    assert 0 <= x <= 1
    assert 0 <= y <= 1
