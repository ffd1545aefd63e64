"""Pictures to upload, made by Pillow, whose code has nothing in common with what is tested; and a look at what came out."""

import io
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageCms

from townsquare.images.model import FORMATS, SIZES, Format, Processed, SizeName, Variant, wanted
from townsquare.images.pipeline import process

RED, GREEN, BLUE, YELLOW, WHITE = (230, 30, 30), (30, 200, 30), (30, 30, 230), (230, 230, 30), (255, 255, 255)
CORNERS = (RED, GREEN, BLUE, YELLOW)
"""The colours of the corners, clockwise from the upper left."""

EXTENSIONS = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "GIF": "gif", "AVIF": "avif", "TIFF": "tif"}
ORIENTATION = 0x0112
_BACK = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def corners(width: int, height: int) -> Image.Image:
    """Return a picture of four fields of different colours, so that its way up can be seen."""
    image = Image.new("RGB", (width, height))
    middle, half = width // 2, height // 2
    image.paste(RED, (0, 0, middle, half))
    image.paste(GREEN, (middle, 0, width, half))
    image.paste(BLUE, (middle, half, width, height))
    image.paste(YELLOW, (0, half, middle, height))
    return image


def lying(image: Image.Image, orientation: int) -> Image.Image:
    """Return a picture as a camera stores it that was held so: its EXIF orientation makes it upright again."""
    return image.transpose(_BACK[orientation]) if orientation != 1 else image


def noise(width: int, height: int) -> Image.Image:
    """Return a picture that does not compress to nothing, as a photo does not."""
    small = Image.effect_noise((max(1, width // 4), max(1, height // 4)), 80)
    return Image.merge("RGB", [small, small.rotate(90).resize(small.size), small.rotate(180)]).resize((width, height))


def saved(image: Image.Image, path: Path, kind: str = "PNG", **options: Any) -> Path:
    """Write a picture as one kind of file and return where."""
    image.save(path.with_suffix("." + EXTENSIONS[kind]), kind, **options)
    return path.with_suffix("." + EXTENSIONS[kind])


def png_header(width: int, height: int) -> bytes:
    """Return a PNG of a few bytes that says how large it is, and holds nothing of it."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


def profile(primaries: tuple[tuple[float, float], ...]) -> bytes:
    """Return an ICC profile of an RGB space with a gamma of 2.2, from the xy of its primaries (white: D65), by hand."""
    colorants = [_d50(column) for column in _columns(primaries)]
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(2.2 * 256)) + bytes(2)
    text = "made by a test".encode("utf-16-be")
    words = b"mluc" + bytes(4) + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(text), 28) + text
    white = _xyz((0.9642, 1.0, 0.8249))
    bodies = [(b"desc", words), (b"cprt", words), (b"wtpt", white)]
    bodies += [(name, _xyz(each)) for name, each in zip((b"rXYZ", b"gXYZ", b"bXYZ"), colorants, strict=True)]
    bodies += [(name, curve) for name in (b"rTRC", b"gTRC", b"bTRC")]
    table, data = struct.pack(">I", len(bodies)), b""
    for name, body in bodies:
        table += struct.pack(">4sII", name, 128 + 4 + 12 * len(bodies) + len(data), len(body))
        data += body + bytes(-len(body) % 4)
    head = struct.pack(">I4sI4s4s4s", 128 + len(table) + len(data), b"\0\0\0\0", 0x04300000, b"mntr", b"RGB ", b"XYZ ")
    head += bytes(12) + b"acsp" + bytes(28) + struct.pack(">iii", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + table + data


P3_PRIMARIES = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
ADOBE_PRIMARIES = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06))
SRGB_PRIMARIES = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))


def _xyz(value: tuple[float, float, float]) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">iii", *(round(part * 65536) for part in value))


def _columns(primaries: tuple[tuple[float, float], ...]) -> list[tuple[float, float, float]]:
    """Scale the primaries so that together they are D65 (Lindbloom, RGB/XYZ matrices), by Cramer's rule."""
    raw = [(x / y, 1.0, (1 - x - y) / y) for x, y in primaries]
    white = (0.95047, 1.0, 1.08883)
    whole = _determinant(raw)
    shares = [_determinant([white if other == each else raw[other] for other in range(3)]) / whole for each in range(3)]
    return [(x * share, y * share, z * share) for (x, y, z), share in zip(raw, shares, strict=True)]


def _determinant(columns: list[tuple[float, float, float]]) -> float:
    (a, d, g), (b, e, h), (c, f, i) = columns
    return a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)


def _d50(value: tuple[float, float, float]) -> tuple[float, float, float]:
    """Adapt from D65 to D50 (Bradford; ICC.1:2022, annex E)."""
    x, y, z = value
    return (
        1.0478112 * x + 0.0228866 * y - 0.0501270 * z,
        0.0295424 * x + 0.9904844 * y - 0.0170491 * z,
        -0.0092345 * x + 0.0150436 * y + 0.7521316 * z,
    )


@dataclass
class Made:
    """What came out of a picture."""

    processed: Processed
    folder: Path

    def bytes(self, size: SizeName, name: Format) -> bytes:
        """Return the file of a variant."""
        return (self.folder / f"{size}.{name}").read_bytes()

    def open(self, size: SizeName, name: Format) -> Image.Image:
        """Decode a variant whole by Pillow."""
        image = Image.open(self.folder / f"{size}.{name}")
        image.load()
        return image

    def variant(self, size: SizeName, name: Format) -> Variant:
        """Return what is said of a variant."""
        return next(each for each in self.processed.variants if (each.size, each.format) == (size, name))


def make(source: Path, **limits: Any) -> Made:
    """Have everything made of a picture, beside it."""
    folder = source.parent / f"made of {source.name}"
    folder.mkdir()
    return Made(process(source, folder, wanted(), **limits), folder)


def every() -> list[tuple[SizeName, Format]]:
    """Return all sixteen."""
    return [(size, name) for size in SIZES for name in FORMATS]


def near(seen: Any, meant: tuple[int, ...], within: int = 14) -> bool:
    """Whether two colours are the same to the eye: lossy formats are a few steps off."""
    return all(abs(one - other) <= within for one, other in zip(seen, meant, strict=False))


def seen_corners(image: Image.Image) -> list[Any]:
    """Return the colours in the middle of the four fields, clockwise from the upper left."""
    image = image.convert("RGB")
    left, right, top, bottom = image.width // 4, image.width * 3 // 4, image.height // 4, image.height * 3 // 4
    return [image.getpixel(place) for place in ((left, top), (right, top), (right, bottom), (left, bottom))]


def in_srgb(image: Image.Image) -> Image.Image:
    """Return a picture in sRGB by Pillow's own colour engine, from the profile that it carries."""
    carried = image.info.get("icc_profile")
    if not carried:
        return image.convert("RGB")
    return ImageCms.profileToProfile(image.convert("RGB"), io.BytesIO(carried), ImageCms.createProfile("sRGB")) or image
