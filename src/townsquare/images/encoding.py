"""Writes a finished picture in each format: settings in one table, and nothing of what the original told about its maker."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from townsquare.images.model import Format
from townsquare.images.reading import Image, vips

_SETTINGS: Final[dict[Format, Mapping[str, Any]]] = {
    # All figures: photos and a scan of 1,920 pixels' width, libvips 8.18 with aom, one core.
    # Q 60 looks like WebP's 80. Effort 1 takes 1/10 to 1/20 of the time of the default, 4, for a tenth to a quarter more
    # bytes; effort 0 halves the time again, but on drawings and scans it is a third larger and visibly worse.
    "avif": {"compression": "av1", "Q": 60, "effort": 1},
    # Effort 2 takes half the time of 3 and 4, which are alike on photos, for 2 to 5 % more bytes.
    "webp": {"Q": 80, "effort": 2},
    # mozjpeg's ways: a fifth fewer bytes than plain, and shown progressively. `optimize_scans` adds 40 % time for 0.8 %.
    "jpeg": {
        "Q": 80,
        "optimize_coding": True,
        "interlace": True,
        "trellis_quant": True,
        "overshoot_deringing": True,
        "quant_table": 3,
    },
    # Filtered, a photo is a third smaller than not, in less time; `paeth` at 3 saves 8 % more for half as much time again.
    "png": {"compression": 2, "filter": "up"},
}
_SAVERS: Final[dict[Format, str]] = {"avif": "heifsave", "webp": "webpsave", "jpeg": "jpegsave", "png": "pngsave"}
_WHITE: Final = (255, 255, 255)


def encode(image: Image, path: Path, name: Format, *, profile: bool) -> int:
    """Write an image of 8 bits (RGB, or RGB and straight alpha) and return how many bytes it took.

    Nothing but the pixels is kept, or with `profile` the colour profile too. The image's frames, if it has several, are
    written by WebP alone. Raises `OSError` when the file cannot be written.
    """
    if name == "jpeg" and image.hasalpha():
        image = image.flatten(background=_WHITE)
    try:
        getattr(image, _SAVERS[name])(str(path), keep="icc" if profile else "none", **_SETTINGS[name])
    except vips().Error as error:
        raise OSError(f"{path.name} cannot be written: {error}") from error
    return path.stat().st_size
