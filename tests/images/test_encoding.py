"""What is written says nothing of who made it, and looks as the original does; an independent decoder is asked."""

from pathlib import Path

import pytest
import pyvips
from PIL import Image, ImageDraw, PngImagePlugin

from testbed.pictures import (
    ADOBE_PRIMARIES,
    BLUE,
    CORNERS,
    GREEN,
    P3_PRIMARIES,
    RED,
    SRGB_PRIMARIES,
    WHITE,
    corners,
    every,
    in_srgb,
    make,
    near,
    noise,
    profile,
    saved,
    seen_corners,
)
from townsquare.images.encoding import encode
from townsquare.images.model import FORMATS, Format

SECRET = "Hidden-Lane-7"
GPS = 0x8825


def _telling() -> dict[str, object]:
    exif = Image.Exif()
    exif[0x010E], exif[0x013B] = SECRET, SECRET
    exif.get_ifd(GPS)[1], exif.get_ifd(GPS)[29] = "N", SECRET
    return {"exif": exif, "xmp": f"<x:xmpmeta xmlns:x='adobe:ns:meta/'>{SECRET}</x:xmpmeta>".encode()}


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF", "PNG", "TIFF", "GIF"])
def test_nothing_is_told_of_who_made_it(tmp_path: Path, kind: str) -> None:
    options = _telling()
    if kind in ("JPEG", "GIF"):
        options["comment"] = SECRET.encode()
    if kind == "PNG":
        texts = PngImagePlugin.PngInfo()
        texts.add_text("Comment", SECRET)
        texts.add_itxt("XML:com.adobe.xmp", SECRET)
        options = {"exif": options["exif"], "pnginfo": texts}
    path = saved(noise(200, 120), tmp_path / "a", kind, **options)
    assert SECRET.encode() in path.read_bytes()
    made = make(path)
    for size, name in every():
        data = made.bytes(size, name)
        assert SECRET.encode() not in data
        assert b"Exif" not in data
        image = made.open(size, name)
        assert not image.getexif()
        assert not {"exif", "xmp", "comment", "icc_profile", "photoshop"} & set(image.info)


@pytest.mark.parametrize(("size", "name"), every())
def test_every_format_looks_as_the_original(tmp_path: Path, size: str, name: str) -> None:
    made = make(saved(corners(400, 200), tmp_path / "a"))
    image = made.open(size, name)  # pyright: ignore
    assert image.format == name.upper()
    assert all(near(seen, meant) for seen, meant in zip(seen_corners(image), CORNERS, strict=True))


def test_png_is_lossless(tmp_path: Path) -> None:
    original = noise(150, 110)
    made = make(saved(original, tmp_path / "a"))
    assert made.open("large", "png").tobytes() == original.tobytes()


@pytest.mark.parametrize("name", ["avif", "webp", "png"])
def test_alpha_is_kept(tmp_path: Path, name: Format) -> None:
    image = _veiled()
    made = make(saved(image, tmp_path / "a"))
    assert made.processed.facts.alpha
    for size in ("large", "small"):
        out = made.open(size, name)
        assert out.mode == "RGBA"
        width, height = out.size
        assert [out.getpixel((width * part // 6, height // 2))[3] for part in (1, 3, 5)] == [
            pytest.approx(0, abs=3), pytest.approx(128, abs=3), pytest.approx(255, abs=3),
        ]  # fmt: skip


def test_jpeg_stands_on_white(tmp_path: Path) -> None:
    out = make(saved(_veiled(), tmp_path / "a")).open("large", "jpeg")
    assert near(out.getpixel((out.width // 6, out.height // 2)), WHITE)
    assert near(out.getpixel((out.width * 3 // 6, out.height // 2)), tuple((part + 255) // 2 for part in RED))
    assert near(out.getpixel((out.width * 5 // 6, out.height // 2)), RED)


def _veiled() -> Image.Image:
    """Three columns: nothing, half of red, red. Where nothing is, black lies below, which must never be seen."""
    image = Image.new("RGBA", (900, 600), (0, 0, 0, 0))
    image.paste((*RED, 128), (300, 0, 600, 600))
    image.paste((*RED, 255), (600, 0, 900, 600))
    return image


def test_what_is_not_seen_tints_no_edge(tmp_path: Path) -> None:
    image = Image.new("RGBA", (1000, 1000), (0, 255, 0, 0))
    ImageDraw.Draw(image).ellipse((100, 100, 900, 900), fill=(90, 60, 160, 255))
    out = make(saved(image, tmp_path / "a")).open("thumbnail", "png")
    edge = [pixel for pixel in out.get_flattened_data() if 30 < pixel[3] < 225]
    assert len(edge) > 20
    assert all(near(pixel[:3], (90, 60, 160), 6) for pixel in edge)


def test_alpha_through_which_nothing_shines_is_dropped(tmp_path: Path) -> None:
    made = make(saved(corners(300, 200).convert("RGBA"), tmp_path / "a"))
    assert not made.processed.facts.alpha
    assert made.open("large", "png").mode == "RGB"


@pytest.mark.parametrize("primaries", [P3_PRIMARIES, ADOBE_PRIMARIES])
def test_a_wide_gamut_stays_wide(tmp_path: Path, primaries: tuple[tuple[float, float], ...]) -> None:
    source = saved(corners(400, 200), tmp_path / "a", icc_profile=profile(primaries))
    made = make(source)
    assert made.processed.facts.wide_gamut
    meant = seen_corners(in_srgb(Image.open(source)))
    assert not all(near(seen, plain, 20) for seen, plain in zip(meant, CORNERS, strict=True))
    for name in FORMATS:
        out = made.open("large", name)
        assert b"P3" in out.info["icc_profile"] or b"P\x003" in out.info["icc_profile"]
        assert len(out.info["icc_profile"]) < 1024
        assert all(near(seen, colour, 18) for seen, colour in zip(seen_corners(in_srgb(out)), meant, strict=True))


def test_green_beyond_srgb_is_not_clipped(tmp_path: Path) -> None:
    source = saved(Image.new("RGB", (64, 64), (0, 255, 0)), tmp_path / "a", icc_profile=profile(P3_PRIMARIES))
    made = make(source)
    for name in FORMATS:
        assert near(made.open("large", name).convert("RGB").getpixel((9, 9)), (0, 255, 0), 6)


def test_an_ordinary_profile_is_applied_and_gone(tmp_path: Path) -> None:
    source = saved(corners(400, 200), tmp_path / "a", icc_profile=profile(SRGB_PRIMARIES))
    meant = seen_corners(in_srgb(Image.open(source)))
    made = make(source)
    assert not made.processed.facts.wide_gamut
    for name in FORMATS:
        out = made.open("large", name)
        assert "icc_profile" not in out.info
        assert all(near(seen, colour) for seen, colour in zip(seen_corners(out), meant, strict=True))


def test_a_profile_that_is_rubbish_is_passed_over(tmp_path: Path) -> None:
    rubbish = bytearray(profile(SRGB_PRIMARIES))
    rubbish[140:] = b"\xff" * (len(rubbish) - 140)
    out = make(saved(corners(400, 200), tmp_path / "a", "JPEG", icc_profile=bytes(rubbish))).open("large", "png")
    assert all(near(seen, meant) for seen, meant in zip(seen_corners(out), CORNERS, strict=True))


def _grey16(path: Path) -> Path:
    pyvips.Image.black(90, 60).linear(1, 40_000).cast("ushort").copy(interpretation="grey16").pngsave(str(path))
    return path


@pytest.mark.parametrize("name", FORMATS)
def test_sixteen_bits_grey_and_palettes_become_ordinary(tmp_path: Path, name: Format) -> None:
    for number, source in enumerate((
        _grey16(tmp_path / "deep.png"),
        saved(Image.new("L", (90, 60), 156), tmp_path / "grey", "JPEG"),
        saved(Image.new("RGB", (90, 60), (156, 156, 156)).quantize(4), tmp_path / "palette"),
    )):  # fmt: skip
        out = make(source).open("large", name)
        assert near(out.convert("RGB").getpixel((40, 30)), (156, 156, 156), 4), number


def test_sixteen_bits_with_alpha_and_profile_keep_both(tmp_path: Path) -> None:
    bands = [pyvips.Image.black(90, 60).linear(1, value).cast("ushort") for value in (65_535, 0, 0, 32_768)]
    image = bands[0].bandjoin(bands[1:]).copy(interpretation="rgb16").copy_memory()
    image.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile(SRGB_PRIMARIES))
    image.pngsave(str(tmp_path / "a.png"), keep="icc")
    red, green, blue, alpha = make(tmp_path / "a.png").open("large", "png").getpixel((40, 30))
    assert near((red, green, blue, alpha), (255, 0, 0, 128), 4)


def test_cmyk_becomes_the_colours_that_were_printed(tmp_path: Path) -> None:
    image = Image.new("CMYK", (100, 60), (0, 255, 255, 0))
    image.paste((255, 255, 0, 0), (50, 0, 100, 60))
    out = make(saved(image, tmp_path / "a", "JPEG")).open("large", "png")
    red, blue = out.getpixel((20, 30)), out.getpixel((80, 30))
    assert out.mode == "RGB"
    assert red[0] > 180 > 90 > max(red[1:])
    assert blue[2] > 100 > 80 > blue[0]


def test_a_jpeg_is_progressive(tmp_path: Path) -> None:
    assert make(saved(noise(400, 300), tmp_path / "a", "JPEG")).open("large", "jpeg").info["progressive"]


def test_a_folder_that_cannot_be_written_to_is_no_fault_of_the_picture(tmp_path: Path) -> None:
    image = pyvips.Image.black(8, 8, bands=3).copy(interpretation="srgb")
    for name in FORMATS:
        with pytest.raises(OSError, match=f"large.{name} cannot be written"):
            encode(image, tmp_path / "nowhere" / f"large.{name}", name, profile=False)


def test_colours_stay_themselves_at_every_size(tmp_path: Path) -> None:
    image = Image.new("RGB", (2400, 300), GREEN)
    image.paste(BLUE, (1200, 0, 2400, 300))
    made = make(saved(image, tmp_path / "a", "JPEG", quality=95))
    for size, name in every():
        out = made.open(size, name).convert("RGB")
        assert near(out.getpixel((out.width // 4, out.height // 2)), GREEN)
        assert near(out.getpixel((out.width * 3 // 4, out.height // 2)), BLUE)
