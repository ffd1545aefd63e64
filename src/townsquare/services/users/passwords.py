"""Passwords: argon2id, off the event loop, few at a time; the commonest are refused.

The parameters are the library's own (RFC 9106, the low-memory profile). A hash made with older ones is made anew at the next
sign-in.
"""

import asyncio
from functools import cache
from typing import Annotated, Final, TypeAlias

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError
from msgspec import Meta

from townsquare.kit.problems import invalid

Password: TypeAlias = Annotated[str, Meta(min_length=10, max_length=200)]

_HASHER: Final = PasswordHasher()
_AT_A_TIME: Final = asyncio.Semaphore(2)
"""Each takes 64 MiB and a core: more at once would only swell the process."""


async def hash_password(password: str) -> str:
    """Return the hash to keep."""
    async with _AT_A_TIME:
        return await asyncio.to_thread(_HASHER.hash, password)


async def password_matches(password: str, kept: str | None) -> bool:
    """True for the right password. Without a kept hash it takes the same time and is false."""
    async with _AT_A_TIME:
        return await asyncio.to_thread(_verify, kept or _of_nobody(), password) and kept is not None


def needs_rehash(kept: str) -> bool:
    """True when the hash was made with other parameters than today's."""
    return _HASHER.check_needs_rehash(kept)


def refuse_weak(password: str, *own: str) -> None:
    """Refuse the commonest passwords, and one's own handle or address; raises the 422 for `/password`."""
    plain = password.casefold()
    if plain in {word.casefold() for word in own} or plain in _commonest():
        raise invalid("/password", "This password is among the first that anybody would try.")


def _verify(kept: str, password: str) -> bool:
    try:
        return _HASHER.verify(kept, password)
    except (Argon2Error, InvalidHashError, UnicodeError):
        return False


@cache
def _of_nobody() -> str:
    return _HASHER.hash("nobody has this password")


@cache
def _commonest() -> frozenset[str]:
    """The frequency list of zxcvbn; those too short to be passwords here are left out."""
    from zxcvbn.frequency_lists import FREQUENCY_LISTS  # pyright: ignore[reportMissingTypeStubs]

    return frozenset(word for word in FREQUENCY_LISTS["passwords"] if len(word) >= 10)
