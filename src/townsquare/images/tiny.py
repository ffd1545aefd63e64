"""What libvips does with small pictures: it shrinks them, encodes them and says where the eye goes."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from typing import Any, Final

import pyvips

from townsquare.images.pixels import Pixels

BLUR: Final = 0.8
"""The sigma of the placeholder's blur, in its own pixels: less shows them as squares, more shows nothing."""


def shrunk(pixels: Pixels, side: int) -> Pixels:
    """Return the picture within `side` pixels a side; one that fits already as it is."""
    if max(pixels.width, pixels.height) <= side:
        return pixels
    # thumbnail_image multiplies by alpha before it shrinks, so that what cannot be seen does not bleed into what can.
    small = _image(pixels).thumbnail_image(side, height=side, size="down")
    return Pixels(small.width, small.height, bytes(small.write_to_memory()))


def grey_square(pixels: Pixels, side: int) -> bytes:
    """Return the brightness of the picture, made to fit a square, one byte a pixel; what is clear lies on middle grey."""
    square = _image(pixels).flatten(background=[128]).thumbnail_image(side, height=side, size="force")
    return bytes(square.colourspace("b-w").write_to_memory())


def blurred_webp(pixels: Pixels, side: int, quality: int) -> bytes:
    """Return the picture blurred within `side` pixels a side, as WebP without any metadata."""
    small = shrunk(pixels, side)
    if small.opaque:
        blurred = _image(small).extract_band(0, n=3).gaussblur(BLUR)
    else:
        blurred = _image(small).premultiply().gaussblur(BLUR).unpremultiply().cast("uchar")
    return bytes(blurred.webpsave_buffer(Q=quality, alpha_q=quality, effort=4, smart_subsample=True, keep="none"))


def attention(pixels: Pixels) -> tuple[int, int]:
    """Return the pixel that libvips finds the most striking: by edges, by saturation, by likeness to skin."""
    _, found = _image(pixels).smartcrop(1, 1, interesting="attention", attention_x=True, attention_y=True)
    return int(found["attention_x"]), int(found["attention_y"])


def _image(pixels: Pixels) -> Any:
    image = pyvips.Image.new_from_memory(pixels.rgba, pixels.width, pixels.height, 4, "uchar")
    return image.copy(interpretation="srgb")
