"""Passwords: argon2id, off the event loop, few at a time; the commonest are refused.

Memory and passes are the library's own (RFC 9106, the low-memory profile), in one lane: lanes are threads, and whoever
signs in must not take every core from those who read. A hash made with other parameters is made anew at the next sign-in.
"""

import asyncio
import base64
import secrets
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Annotated, Final, TypeAlias, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError
from msgspec import Meta

from townsquare.kit.problems import invalid, unavailable

T = TypeVar("T")

MIN_LENGTH: Final = 10
MAX_LENGTH: Final = 200
AT_A_TIME: Final = 2
"""Each takes 64 MiB and a core: more at once would only swell the process."""
MOST_WAITING: Final = 100
"""About what is done before a caller gives up; whoever comes on top is told to come back."""

Password: TypeAlias = Annotated[str, Meta(min_length=MIN_LENGTH, max_length=MAX_LENGTH)]
GivenPassword: TypeAlias = Annotated[str, Meta(min_length=1, max_length=MAX_LENGTH)]
"""A password that is compared: the rules for new ones may have been others when it was set."""


class _Workers:
    """Threads for what takes a core for a tenth of a second; the process has these few, as its memory and cores are one."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(AT_A_TIME, thread_name_prefix="argon2")
        self._waiting = 0

    async def run(self, work: Callable[[], T]) -> T:
        """Run `work` when a thread is free; raises the 503 when too many are waiting."""
        if self._waiting >= MOST_WAITING:
            raise unavailable("Too many people are signing in right now; try again in a moment.", retry_after=2)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._waiting -= 1


_HASHER: Final = PasswordHasher(parallelism=1)
_WORKERS: Final = _Workers()


async def hash_password(password: str) -> str:
    """Return the hash to keep."""
    return await _WORKERS.run(lambda: _HASHER.hash(_normal(password)))


async def password_matches(password: str, kept: str | None) -> bool:
    """True for the right password. Without a kept hash it takes the same time and is false."""
    return await _WORKERS.run(lambda: _verify(kept or _of_nobody(), password)) and kept is not None


def needs_rehash(kept: str) -> bool:
    """True when the hash was made with other parameters than today's."""
    return _HASHER.check_needs_rehash(kept)


async def refuse_weak(password: str, *own: str, pointer: str = "/password") -> None:
    """Refuse the commonest passwords, and one's own handle or address; raises the 422 for `pointer`."""
    plain = password.casefold()
    if plain in {word.casefold() for word in own} or plain in await asyncio.to_thread(_commonest):
        raise invalid(pointer, "This password is among the first that anybody would try.")


def _normal(password: str) -> str:
    """Keyboards differ in how they compose letters: é may be one character or two, and must be the same password."""
    return unicodedata.normalize("NFKC", password)


def _verify(kept: str, password: str) -> bool:
    try:
        return _HASHER.verify(kept, _normal(password))
    except (Argon2Error, InvalidHashError, UnicodeError):
        return False


def _of_nobody() -> str:
    """A hash in today's parameters that no password has. Computing one would take the first caller twice as long."""
    salt, digest = (
        base64.b64encode(secrets.token_bytes(length)).rstrip(b"=").decode()
        for length in (_HASHER.salt_len, _HASHER.hash_len)
    )
    return f"$argon2id$v=19$m={_HASHER.memory_cost},t={_HASHER.time_cost},p={_HASHER.parallelism}${salt}${digest}"


@cache
def _commonest() -> frozenset[str]:
    """The frequency list of zxcvbn; those too short to be passwords here are left out."""
    from zxcvbn.frequency_lists import FREQUENCY_LISTS  # pyright: ignore[reportMissingTypeStubs]

    return frozenset(word for word in FREQUENCY_LISTS["passwords"] if len(word) >= MIN_LENGTH)
