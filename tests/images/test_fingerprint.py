"""Fingerprints: near for what looks the same, far for what does not."""

from itertools import combinations

import pytest
import pyvips

from images.pictures import PHOTOS, flat, painted, photo, small
from townsquare.images.fingerprint import ALIKE, distance, fingerprint


@pytest.mark.parametrize("path", PHOTOS, ids=lambda path: path.stem)
@pytest.mark.parametrize("change", [{"quality": 50}, {"width": 200}, {"width": 128, "quality": 70}, {"width": 600}], ids=str)
def test_a_photo_encoded_anew_or_resized_is_the_same(path, change):
    assert distance(fingerprint(photo(path)), fingerprint(photo(path, **change))) <= 6


@pytest.mark.parametrize("path", PHOTOS, ids=lambda path: path.stem)
def test_a_photo_in_grey_or_a_little_brighter_is_the_same(path):
    image = pyvips.Image.new_from_file(str(path))
    brighter = (image * 1.06 + 4).cast("uchar").copy(interpretation="srgb")
    grey = image.colourspace("b-w").colourspace("srgb")
    for changed in (brighter, grey):
        assert distance(fingerprint(photo(path)), fingerprint(small(changed))) <= ALIKE


def test_other_photos_are_others():
    found = {path.stem: fingerprint(photo(path)) for path in PHOTOS}
    apart = {(a, b): distance(found[a], found[b]) for a, b in combinations(found, 2)}
    assert min(apart.values()) >= 16, apart


def test_a_photo_upside_down_is_another():
    for path in PHOTOS:
        turned = small(pyvips.Image.new_from_file(str(path)).rot180())
        assert distance(fingerprint(photo(path)), fingerprint(turned)) >= 16


def test_a_flat_picture_has_no_fingerprint_of_chance():
    assert {fingerprint(flat((grey, grey, grey))) for grey in (0, 77, 255)} == {"0" * 16}


def test_a_gradient_and_its_opposite_are_others():
    one, other = (painted(64, 64, lambda x, y, turn=turn: (abs(turn - 4 * x), 2 * y, 0)) for turn in (0, 255))
    assert len(fingerprint(one)) == 16
    assert fingerprint(one) != fingerprint(other)


def test_what_is_clear_has_no_part_in_it():
    def mark(hidden):
        return painted(60, 60, lambda x, y: (250, 250, 250, 255) if (x // 12 + y // 20) % 2 else (*hidden, 0))

    assert fingerprint(mark((0, 0, 0))) == fingerprint(mark((255, 40, 9)))


def test_the_distance_counts_bits():
    assert distance("0" * 16, "f" * 16) == 64
    assert distance("0123456789abcdef", "0123456789abcdee") == 1
