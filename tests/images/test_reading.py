"""Opening a picture: what is refused is refused by its header, and only what is named can be read at all."""

import subprocess
import sys
from pathlib import Path

import pytest
import pyvips
from PIL import Image

from testbed.pictures import (
    ADOBE_PRIMARIES,
    EXTENSIONS,
    ORIENTATION,
    P3_PRIMARIES,
    SRGB_PRIMARIES,
    corners,
    make,
    noise,
    png_header,
    profile,
    saved,
)
from townsquare.images.model import Facts, Limits, Reason, Rejected
from townsquare.images.profiles import is_wide
from townsquare.images.reading import open_picture, vips


def _refused(path: Path, **limits: int) -> Reason:
    with pytest.raises(Rejected) as refused:
        make(path, limits=Limits(**limits))
    assert str(refused.value).endswith(".")
    return refused.value.reason


@pytest.mark.parametrize(
    ("kind", "media_type"),
    [("JPEG", "image/jpeg"), ("PNG", "image/png"), ("WEBP", "image/webp"), ("GIF", "image/gif"), ("AVIF", "image/avif"),
     ("TIFF", "image/tiff")],
)  # fmt: skip
def test_a_header_tells_the_facts(tmp_path: Path, kind: str, media_type: str) -> None:
    picture = open_picture(saved(corners(60, 40), tmp_path / "a", kind), Limits())
    assert picture.facts == Facts(media_type, 60, 40)


def test_a_picture_that_lies_is_told_as_people_see_it(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    facts = open_picture(saved(corners(60, 40), tmp_path / "a", "JPEG", exif=exif), Limits()).facts
    assert (facts.width, facts.height) == (40, 60)


def test_its_content_decides_not_its_name(tmp_path: Path) -> None:
    path = saved(corners(60, 40), tmp_path / "a", "PNG").rename(tmp_path / "holiday.jpg")
    assert open_picture(path, Limits()).facts.media_type == "image/png"


_OPENING = """
import resource, sys
from pathlib import Path
from townsquare.images.model import Limits, Rejected
from townsquare.images.reading import open_picture, vips
def most() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
vips()
before = most()
try:
    open_picture(Path(sys.argv[1]), Limits(side=100_000))
except Rejected as refused:
    print(refused.reason.value, most() - before)
"""


def test_a_bomb_is_refused_by_its_header_with_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(60_000, 60_000))
    assert _refused(path) is Reason.SIZE
    said = subprocess.run([sys.executable, "-c", _OPENING, str(path)], capture_output=True, text=True, check=True).stdout
    reason, taken = said.split()
    assert reason == "size"
    assert int(taken) < 16 << 20


def test_too_wide_too_many_pixels_and_too_many_frames_are_refused(tmp_path: Path) -> None:
    path = saved(corners(300, 100), tmp_path / "a")
    assert _refused(path, side=299) is Reason.SIZE
    (tmp_path / "made of a.png").rmdir()
    assert _refused(path, pixels=29_999) is Reason.SIZE
    moving = saved(corners(40, 40), tmp_path / "b", "GIF", save_all=True, append_images=[noise(40, 40)] * 3)
    assert _refused(moving, frames=1) is Reason.SIZE
    (tmp_path / "made of b.gif").rmdir()
    assert _refused(moving, pixels=40 * 40 * 2 - 1) is Reason.SIZE


@pytest.mark.parametrize("kind", EXTENSIONS)
def test_what_is_cut_off_is_refused(tmp_path: Path, kind: str) -> None:
    path = saved(noise(320, 240), tmp_path / "a", kind)
    whole = path.read_bytes()
    for part in (0.02, 0.5, 0.9):
        cut = tmp_path / f"cut {part}"
        cut.write_bytes(whole[: int(len(whole) * part)])
        assert _refused(cut) in (Reason.BROKEN, Reason.TYPE), part


def test_a_jpeg_that_is_odd_but_whole_is_taken(tmp_path: Path) -> None:
    path = saved(noise(320, 240), tmp_path / "a", "JPEG")
    # libjpeg warns of bytes that belong to no marker, and of what follows the end.
    data = path.read_bytes()
    path.write_bytes(data[:2] + b"\xff\xff\xff" + data[2:] + b"and more")
    assert make(path).processed.facts.width == 320


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_text("<html><script>alert(1)</script>")
    assert _refused(path) is Reason.TYPE


@pytest.mark.parametrize("loader", ["rawload", "csvload", "vipsload", "matrixload"])
def test_no_other_loader_can_run(tmp_path: Path, loader: str) -> None:
    assert vips() is pyvips
    path = tmp_path / "a.csv"
    path.write_text("1 1\n2\n")
    arguments = (1, 1, 1) if loader == "rawload" else ()
    with pytest.raises(pyvips.Error, match="blocked"):
        getattr(pyvips.Image, loader)(str(path), *arguments)


def test_an_svg_is_drawn_without_what_it_names_elsewhere(tmp_path: Path) -> None:
    secret = saved(Image.new("RGB", (80, 80), (255, 0, 0)), tmp_path / "secret")
    path = tmp_path / "a.svg"
    image = f'<image href="{secret.name}" width="80" height="80"/><image href="file://{secret}" width="80" height="80"/>'
    path.write_text(f'<svg xmlns="http://www.w3.org/2000/svg" width="80" height="40"><script>alert(1)</script>{image}</svg>')
    made = make(path)
    assert (made.processed.facts.width, made.processed.facts.height) == (80, 40)
    assert made.open("large", "png").convert("RGBA").getextrema()[3] == (0, 0)


def test_an_svg_that_is_large_is_drawn_at_the_size_that_is_needed(tmp_path: Path) -> None:
    path = tmp_path / "a.svg"
    path.write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" width="4000" height="1000"><rect width="4000" height="1000"/></svg>'
    )
    made = make(path)
    assert made.processed.facts.width == 4000
    assert made.open("large", "jpeg").size == (1920, 480)


def test_a_wide_gamut_is_known_by_its_colorants() -> None:
    assert is_wide(profile(P3_PRIMARIES))
    assert is_wide(profile(ADOBE_PRIMARIES))
    assert not is_wide(profile(SRGB_PRIMARIES))
    assert not is_wide(None)


def test_a_profile_that_is_cut_off_anywhere_is_no_trouble() -> None:
    whole = profile(P3_PRIMARIES)
    assert {is_wide(whole[:length]) for length in range(len(whole))} == {False, True}
    assert not any(is_wide(whole[:length]) for length in range(200))


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_picture_is_never_shrunk_too_far_while_it_is_read(tmp_path: Path, kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    picture = open_picture(saved(corners(1000, 700), tmp_path / "a", kind, exif=exif), Limits())
    for width in (60, 125, 126, 160, 250, 251, 480, 501):
        loaded = picture.load(width, moving=False)
        assert width <= (loaded.height if picture.lies else loaded.width) <= max(4 * width, 125)
