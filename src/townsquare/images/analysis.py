"""All that is known about a picture besides its bytes, from a small copy of it."""

from townsquare.images.fingerprint import fingerprint
from townsquare.images.focus import focus
from townsquare.images.model import Analysis
from townsquare.images.palette import dominant_colors
from townsquare.images.pixels import Pixels
from townsquare.images.placeholder import placeholder


def analyse(pixels: Pixels) -> Analysis:
    """Return a picture's placeholder, colours, focal point and fingerprint."""
    return Analysis(
        placeholder=placeholder(pixels),
        dominant_colors=dominant_colors(pixels),
        focus=focus(pixels),
        fingerprint=fingerprint(pixels),
    )
