"""What a colour profile (ICC.1:2022) says about the gamut, without a colour engine: a few numbers of its tags."""

import struct
from typing import Final

_HEADER: Final = 128
_TAGS: Final = 100
"""More tags than any profile in use has; a lying count ends here."""

_SRGB_AREA: Final = 0.1119
"""The triangle of sRGB in the xy plane, its colorants adapted to D50 as a profile holds them, is near this; see `_area`."""

_WIDER: Final = 1.1
"""Display P3 and Adobe RGB have 1.36 times sRGB's triangle; a monitor's own profile of about sRGB stays below 1.1."""


def is_wide(profile: bytes | None) -> bool:
    """Return whether an RGB profile reaches visibly beyond sRGB. One without colorants (by tables, CMYK, grey) does not."""
    if profile is None or profile[16:20] != b"RGB ":
        return False
    tags = _tags(profile)
    corners = [_colorant(profile, tags.get(name)) for name in (b"rXYZ", b"gXYZ", b"bXYZ")]
    known = [corner for corner in corners if corner is not None]
    return len(known) == 3 and _area(known) > _WIDER * _SRGB_AREA


def _tags(profile: bytes) -> dict[bytes, int]:
    if len(profile) < _HEADER + 4:
        return {}
    (count,) = struct.unpack_from(">I", profile, _HEADER)
    places = range(_HEADER + 4, min(_HEADER + 4 + 12 * min(count, _TAGS), len(profile) - 11), 12)
    return {profile[at : at + 4]: struct.unpack_from(">I", profile, at + 4)[0] for at in places}


def _colorant(profile: bytes, offset: int | None) -> tuple[float, float] | None:
    """Return x and y of a tag of the type `XYZ `: three numbers of 16.16 bits after eight bytes."""
    if offset is None or profile[offset : offset + 4] != b"XYZ " or len(profile) < offset + 20:
        return None
    x, y, z = struct.unpack_from(">iii", profile, offset + 8)
    total = x + y + z
    return (x / total, y / total) if total > 0 else None


def _area(corners: list[tuple[float, float]]) -> float:
    (ax, ay), (bx, by), (cx, cy) = corners
    return abs((bx - ax) * (cy - ay) - (cx - ax) * (by - ay)) / 2
