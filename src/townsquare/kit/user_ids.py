"""`{userId}`: a UUID or `@handle`, and nothing else. One person has these two names and not a hundred spellings of them."""

import re
from typing import Final
from uuid import UUID

_HANDLE: Final = re.compile(r"@([A-Za-z0-9_]{2,30})")
_UUID: Final = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")


def read_user_id(text: str) -> UUID | str | None:
    """Return the id, or the handle in small letters, or None for what is neither.

    Python alone would read more: `UUID` also takes braces, `urn:uuid:` and hyphens anywhere, and `lower` makes a `k` of the
    Kelvin sign.
    """
    if (handle := _HANDLE.fullmatch(text)) is not None:
        return handle[1].lower()
    return UUID(text) if _UUID.fullmatch(text) else None
