"""What stands in until the picture has come; and that anything at all gets an analysis."""

import random
import re
from base64 import b64decode
from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from images.pictures import PHOTOS, flat, painted, photo
from images.thumbhash_decoder import decoded
from townsquare.images.analysis import analyse
from townsquare.images.model import Analysis
from townsquare.images.pixels import Pixels
from townsquare.images.placeholder import DATA_URI_LONGEST, data_uri, placeholder
from townsquare.images.thumbhash import thumbhash

# Made by the reference (evanw/thumbhash, js/thumbhash.js) of the pictures that `sample` paints: width, height, alpha, hash.
REFERENCE = [
    (100, 75, "opaque", "1ff8096d9a8087777077777878787778847f088778"),
    (75, 100, "opaque", "1ff8096d1a7077808777777778777778748f078887"),
    (32, 32, "opaque", "1ff8096f187087777088877876778578988747f787908807"),
    (1, 1, "opaque", "000802070000000000000000000000000000000000000000"),
    (3, 100, "opaque", "5ca709611871707777768776747f078788"),
    (100, 2, "opaque", "d9090a59966066a372777788737f088988"),
    (60, 40, "fading", "e32786338a27a087b07889946f068a8970777378887877"),
    (40, 60, "fading", "631786330c27a0b1a77788937f05897973777078877877"),
    (17, 17, "clear", "00088205000000000000000000000000000000000000000000"),
    (100, 100, "fading", "a32786350c27a087b0888a7788837f068a8970777077777777"),
]


def sample(width: int, height: int, alpha: str) -> Pixels:
    def colour(x: int, y: int) -> tuple[int, int, int, int]:
        cover = {"opaque": 255, "fading": (x + y) * 255 // (width + height), "clear": 0}[alpha]
        return (x * 255 // width, (x * 7 + y * 13) % 256, y * 255 // height, cover)

    return painted(width, height, colour)


def picture_of(address: str) -> Image.Image:
    kind, _, data = address.partition(",")
    assert kind == "data:image/webp;base64"
    return Image.open(BytesIO(b64decode(data, validate=True)))


@pytest.mark.parametrize(("width", "height", "alpha", "wanted"), REFERENCE)
def test_the_thumbhash_is_the_references(width, height, alpha, wanted):
    found = thumbhash(sample(width, height, alpha)).hex()
    assert len(found) == len(wanted)
    # Sums are taken in another order: where one lies on a half, its four bits may be the next ones.
    apart = [abs(int(a, 16) - int(b, 16)) for a, b in zip(found, wanted, strict=True)]
    assert max(apart) <= 1
    assert sum(apart) <= (0 if alpha == "opaque" else 2)


@pytest.mark.parametrize("path", PHOTOS, ids=lambda path: path.stem)
def test_a_thumbhash_decodes_to_the_photos_colour_and_shape(path):
    pixels = photo(path)
    shown = decoded(b64decode(placeholder(pixels).thumbhash))
    assert shown.alpha == 255
    assert abs(shown.ratio - pixels.width / pixels.height) < 0.25
    mean = [sum(pixels.rgba[band::4]) / (pixels.width * pixels.height) for band in range(3)]
    assert all(abs(a - b) < 14 for a, b in zip(shown.mean, mean, strict=True))


def test_a_thumbhash_knows_that_something_shines_through():
    shown = decoded(thumbhash(painted(60, 60, lambda x, y: (255, 0, 0, 255 if x < 30 else 0))))
    assert 100 < shown.alpha < 155
    assert decoded(thumbhash(flat((255, 0, 0, 255)))).alpha == 255


@pytest.mark.parametrize("path", PHOTOS, ids=lambda path: path.stem)
def test_the_tiny_picture_is_small_and_of_the_photos_shape_and_colour(path):
    pixels = photo(path)
    address = placeholder(pixels).data_uri
    assert len(address) < 400
    tiny = picture_of(address)
    assert max(tiny.size) == 20
    assert abs(tiny.width / tiny.height - pixels.width / pixels.height) < 0.1
    assert tiny.mode == "RGB"
    whole = (
        Image.frombytes("RGBA", (pixels.width, pixels.height), pixels.rgba)
        .convert("RGB")
        .resize((1, 1), Image.Resampling.BOX)
    )
    one = tiny.resize((1, 1), Image.Resampling.BOX)
    assert all(abs(a - b) < 12 for a, b in zip(one.getpixel((0, 0)), whole.getpixel((0, 0)), strict=True))


def test_the_tiny_picture_keeps_alpha_and_what_is_clear_does_not_bleed_in():
    tiny = picture_of(data_uri(painted(60, 60, lambda x, y: (20, 200, 40, 255) if x < 30 else (255, 0, 255, 0))))
    assert tiny.mode == "RGBA"
    red, green, _, alpha = tiny.getpixel((3, 10))
    assert alpha == 255
    assert green > 170
    assert red < 60
    assert tiny.getpixel((17, 10))[3] == 0


def test_noise_with_alpha_fits_too():
    noise = Pixels(100, 100, random.Random(3).randbytes(40_000))
    assert len(data_uri(noise)) <= DATA_URI_LONGEST


SIZES = st.tuples(st.integers(1, 100), st.integers(1, 100))


@st.composite
def any_pixels(draw: st.DrawFn) -> Pixels:
    width, height = draw(SIZES)
    if draw(st.booleans()):
        return Pixels(width, height, draw(st.binary(min_size=4, max_size=4)) * (width * height))
    few = draw(st.lists(st.binary(min_size=4, max_size=4), min_size=1, max_size=6))
    lots = random.Random(draw(st.integers(0, 1 << 32)))
    noise = draw(st.booleans())
    rgba = lots.randbytes(width * height * 4) if noise else b"".join(lots.choices(few, k=width * height))
    return Pixels(width, height, rgba)


@settings(max_examples=60, deadline=None)
@given(any_pixels())
def test_any_picture_has_an_analysis(pixels):
    found = analyse(pixels)
    valid(found)
    visible = max(pixels.rgba[3::4]) >= 16
    assert bool(found.dominant_colors) is visible
    assert len(found.placeholder.data_uri) <= DATA_URI_LONGEST
    width, height = picture_of(found.placeholder.data_uri).size
    assert max(width, height) <= 20
    decoded(b64decode(found.placeholder.thumbhash))


def valid(found: Analysis) -> None:
    assert len(set(found.dominant_colors)) == len(found.dominant_colors) <= 5
    assert all(re.fullmatch("#[0-9a-f]{6}", colour) for colour in found.dominant_colors)
    assert all(0 <= part <= 1 for part in found.focus)
    assert re.fullmatch("[0-9a-f]{16}", found.fingerprint)


@pytest.mark.parametrize(("width", "height", "length"), [(0, 5, 0), (101, 1, 404), (2, 2, 15)])
def test_what_is_no_small_picture_is_refused(width, height, length):
    with pytest.raises(ValueError, match=r"is not within|are not"):
        Pixels(width, height, bytes(length))
