"""The one clock."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

_told: ContextVar[datetime | None] = ContextVar("told", default=None)


def now() -> datetime:
    """Return the current time in UTC."""
    return _told.get() or datetime.now(UTC)


def told_moment() -> datetime | None:
    """Return the moment that `as_of` has set for this task; None where the time is the real one."""
    return _told.get()


@contextmanager
def as_of(moment: datetime) -> Iterator[None]:
    """Have what this task does meanwhile happen at a moment of the past, its times and its ids: for history told later."""
    token = _told.set(moment)
    try:
        yield
    finally:
        _told.reset(token)
