"""A picture goes in, sixteen come out: upright, never enlarged, moving where they moved."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from testbed.pictures import BLUE, CORNERS, ORIENTATION, RED, corners, every, lying, make, near, noise, saved, seen_corners
from townsquare.images.model import FORMATS, SIZES, SizeName, wanted
from townsquare.images.pipeline import process
from townsquare.images.rendering import TALLEST, fitting


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "PNG", "TIFF"])
def test_it_stands_upright(tmp_path: Path, orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    options = {"tiffinfo": {ORIENTATION: orientation}} if kind == "TIFF" else {"exif": exif}
    made = make(saved(lying(corners(600, 400), orientation), tmp_path / "a", kind, **options))
    assert (made.processed.facts.width, made.processed.facts.height) == (600, 400)
    for size, shape in (("large", (600, 400)), ("thumbnail", (160, 107))):
        for name in FORMATS:
            out = made.open(size, name)
            assert out.size == shape
            assert all(near(seen, meant) for seen, meant in zip(seen_corners(out), CORNERS, strict=True)), (size, name)


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("factor", [2, 5, 9])
def test_a_photo_that_is_shrunk_while_it_is_read_is_right_too(tmp_path: Path, factor: int, orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    picture = lying(corners(160 * factor + 3, 110 * factor), orientation)
    source = saved(picture, tmp_path / "a", "JPEG", exif=exif)
    (tmp_path / "out").mkdir()
    process(source, tmp_path / "out", wanted(("thumbnail",), ("png",)))
    out = Image.open(tmp_path / "out" / "thumbnail.png")
    assert out.width == 160
    assert abs(out.height - 160 * 110 * factor / (160 * factor + 3)) <= 1
    assert all(near(seen, meant) for seen, meant in zip(seen_corners(out), CORNERS, strict=True))


def test_sixteen_files_are_there_and_are_what_is_said_of_them(tmp_path: Path) -> None:
    made = make(saved(noise(2000, 1361), tmp_path / "a", "JPEG"))
    assert [(each.size, each.format) for each in made.processed.variants] == every()
    assert sorted(path.name for path in made.folder.iterdir()) == sorted(f"{size}.{name}" for size, name in every())
    for size, name in every():
        told = made.variant(size, name)
        assert made.open(size, name).size == (told.width, told.height)
        assert len(made.bytes(size, name)) == told.bytes
        assert (told.width, told.height) == (SIZES[size], round(SIZES[size] * 1361 / 2000))
    assert set(made.processed.stages) == {"read", "resize", "analyse", "encode"}


def test_nothing_is_enlarged_and_every_size_is_there(tmp_path: Path) -> None:
    made = make(saved(noise(500, 300), tmp_path / "a"))
    widths = {size: made.variant(size, "webp").width for size in SIZES}
    assert widths == {"thumbnail": 160, "small": 480, "medium": 500, "large": 500}
    assert made.bytes("medium", "avif") == made.bytes("large", "avif")
    for size, name in every():
        assert made.open(size, name).width == widths[size]


def test_only_what_is_wanted_is_made(tmp_path: Path) -> None:
    source = saved(noise(1200, 800), tmp_path / "a", "JPEG")
    (tmp_path / "out").mkdir()
    made = process(source, tmp_path / "out", frozenset({("small", "png")}))
    assert [(each.size, each.format, each.width) for each in made.variants] == [("small", "png", 480)]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["small.png"]
    assert process(source, tmp_path / "out", frozenset()).variants == []


@pytest.mark.parametrize(("width", "height"), [(300, 20_000), (20_000, 500), (3, 17_000), (1, 1), (25_000, 2)])
def test_a_strip_stays_a_picture(tmp_path: Path, width: int, height: int) -> None:
    made = make(saved(Image.new("RGB", (width, height), RED), tmp_path / "a"))
    for size, name in every():
        out = made.open(size, name)
        assert out.width <= SIZES[size]
        assert out.height <= TALLEST
        assert near(out.convert("RGB").getpixel((out.width // 2, out.height // 2)), RED)


def _frames(count: int, size: tuple[int, int]) -> list[Image.Image]:
    """A bar that goes from left to right: no two frames are alike, nor could they be taken for one another."""
    frames = []
    for number in range(count):
        frame = Image.new("RGB", size, BLUE)
        frame.paste(RED, (size[0] * number // count, 0, size[0] * (number + 1) // count, size[1]))
        frames.append(frame)
    return frames


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_what_moves_goes_on_moving_as_webp(tmp_path: Path, kind: str) -> None:
    delays = [100, 50, 200, 70]
    first, *others = _frames(4, (640, 240))
    source = saved(first, tmp_path / "a", kind, save_all=True, append_images=others, duration=delays, loop=3)
    made = make(source)
    assert made.processed.facts.frames == 4
    for size, width in (("large", 640), ("thumbnail", 160)):
        out = Image.open(made.folder / f"{size}.webp")
        assert (out.n_frames, out.size) == (4, (width, width * 240 // 640))
        assert made.variant(size, "webp").height == width * 240 // 640
        for number in range(4):
            out.seek(number)
            seen = [near(out.convert("RGB").getpixel((width * (2 * bar + 1) // 8, 9)), RED, 40) for bar in range(4)]
            assert seen == [bar == number for bar in range(4)]
            assert out.info["duration"] == delays[number]
        # A GIF says how often again, a WebP how often.
        assert out.info["loop"] == (4 if kind == "GIF" else 3)
        for name in ("avif", "jpeg", "png"):
            still = Image.open(made.folder / f"{size}.{name}")
            assert getattr(still, "n_frames", 1) == 1
            assert still.size == out.size
            assert near(still.convert("RGB").getpixel((9, 9)), RED, 40)


def test_frames_do_not_bleed_into_one_another(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (500, 333), colour) for colour in (RED, BLUE, RED, BLUE)]
    source = saved(frames[0], tmp_path / "a", "GIF", save_all=True, append_images=frames[1:], duration=100)
    out = Image.open(make(source).folder / "thumbnail.webp")
    for number, colour in enumerate((RED, BLUE, RED, BLUE)):
        out.seek(number)
        image = out.convert("RGB")
        assert near(image.getpixel((80, 0)), colour)
        assert near(image.getpixel((80, image.height - 1)), colour)


def test_what_moves_for_long_is_smaller_in_all_formats_alike(tmp_path: Path) -> None:
    first, *others = _frames(60, (1000, 800))
    source = saved(first, tmp_path / "a", "GIF", save_all=True, append_images=others)
    (tmp_path / "out").mkdir()
    for name in FORMATS:
        (made,) = process(source, tmp_path / "out", frozenset({("large", name)})).variants
        assert (made.width, made.height) == fitting(1000, 800, 1920, 60)
        assert made.width * made.height * 60 < 25_000_000
    assert Image.open(tmp_path / "out" / "large.webp").n_frames == 60


def test_a_still_of_what_moves_needs_one_frame(tmp_path: Path) -> None:
    first, *others = _frames(4, (320, 240))
    source = saved(first, tmp_path / "a", "GIF", save_all=True, append_images=others)
    (tmp_path / "out").mkdir()
    made = process(source, tmp_path / "out", frozenset({("large", "png")}))
    assert made.facts.frames == 4
    assert near(Image.open(tmp_path / "out" / "large.png").convert("RGB").getpixel((9, 9)), RED)


def test_what_is_known_of_a_picture_is_told(tmp_path: Path) -> None:
    known = make(saved(Image.new("RGB", (300, 200), RED), tmp_path / "a")).processed.analysis
    assert near(bytes.fromhex(known.dominant_colors[0][1:]), RED, 3)
    assert known.placeholder.data_uri.startswith("data:image/")
    assert json.dumps(known.focus)


@given(st.integers(1, 30_000), st.integers(1, 30_000), st.sampled_from(tuple(SIZES)), st.sampled_from((1, 2, 50, 600)))
@settings(max_examples=400, deadline=None)
def test_no_size_is_larger_than_it_may_be_and_aspect_is_kept(width: int, height: int, size: SizeName, frames: int) -> None:
    widest = SIZES[size]
    made = fitting(width, height, widest, frames)
    assert 1 <= made[0] <= min(width, widest)
    assert 1 <= made[1] <= min(height, TALLEST)
    assert made[0] * made[1] <= 4 * widest * widest + made[0] + made[1]
    scale = made[0] / width if made[0] > made[1] else made[1] / height
    assert abs(made[0] - width * scale) <= 1
    assert abs(made[1] - height * scale) <= 1
    if height <= 4 * width and frames == 1:
        assert made[0] == min(width, widest)


@given(st.integers(1, 700), st.integers(1, 700))
@settings(max_examples=12, deadline=None)
def test_any_shape_comes_out_as_it_was_told(tmp_path_factory: pytest.TempPathFactory, width: int, height: int) -> None:
    made = make(saved(Image.new("RGB", (width, height), BLUE), tmp_path_factory.mktemp("any") / "a"))
    for size, name in every():
        assert made.open(size, name).size == fitting(width, height, SIZES[size])
