"""A small picture as plain bytes: what everything that is worked out about a picture is worked out from."""

from dataclasses import dataclass
from typing import Final

SIDE: Final = 100
"""The longer side of what is analysed, at most. More would cost time and change nothing that can be seen."""


@dataclass(frozen=True, slots=True)
class Pixels:
    """A picture of at most `SIDE` pixels a side: sRGB and straight alpha, four bytes a pixel, row by row."""

    width: int
    height: int
    rgba: bytes

    def __post_init__(self) -> None:
        if not (1 <= self.width <= SIDE and 1 <= self.height <= SIDE):
            raise ValueError(f"{self.width} x {self.height} is not within 1 x 1 and {SIDE} x {SIDE}")
        if len(self.rgba) != self.width * self.height * 4:
            raise ValueError(f"{len(self.rgba)} bytes are not {self.width} x {self.height} pixels of four")

    @property
    def opaque(self) -> bool:
        """Whether nothing shines through anywhere."""
        alpha = self.rgba[3::4]
        return alpha.count(255) == len(alpha)
