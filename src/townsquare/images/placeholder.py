"""What stands in until a picture has come."""

from base64 import b64encode
from typing import Final

from townsquare.images.model import Placeholder
from townsquare.images.pixels import Pixels
from townsquare.images.thumbhash import thumbhash
from townsquare.images.tiny import blurred_webp, shrunk

THUMBHASH_SIDE: Final = 50
"""ThumbHash keeps seven waves a side: what 50 pixels do not show, it cannot tell; 100 cost four times as much."""

DATA_URI_LONGEST: Final = 700
"""Characters. It travels with every picture of every list, so it must stay a small part of the answer."""

# Sides and qualities, the best first. An ordinary picture takes the first; only noise with alpha needs another.
ATTEMPTS: Final = ((20, 50), (16, 30), (12, 20), (8, 10))


def placeholder(pixels: Pixels) -> Placeholder:
    """Return a picture's ThumbHash, in base64, and the picture itself, tiny and blurred, as a `data:` address."""
    hashed = thumbhash(shrunk(pixels, THUMBHASH_SIDE))
    return Placeholder(thumbhash=b64encode(hashed).decode(), data_uri=data_uri(pixels))


def data_uri(pixels: Pixels) -> str:
    """Return the picture as a `data:` address of at most `DATA_URI_LONGEST` characters."""
    address = ""
    for side, quality in ATTEMPTS:
        address = "data:image/webp;base64," + b64encode(blurred_webp(pixels, side, quality)).decode()
        if len(address) <= DATA_URI_LONGEST:
            break
    return address
