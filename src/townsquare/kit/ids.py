"""The one maker of ids: UUID version 7 (RFC 9562, section 5.7), ordered by time, so that an id is also a page's cursor."""

import os
import threading
import time
from datetime import UTC, datetime
from uuid import UUID

from townsquare.kit.clock import told_moment

_MILLISECOND = 1_000_000
_RANDOM_62_BITS = (1 << 62) - 1


class _Sequence:
    """Keeps ids of one process strictly increasing, also when the clock steps back.

    The 12 bits of `rand_a` hold the sub-millisecond fraction (RFC 9562, section 6.2, method 3).
    """

    def __init__(self) -> None:
        self._last = 0
        self._lock = threading.Lock()

    def next(self) -> int:
        """Return a 60-bit timestamp: 48 bits of milliseconds, 12 bits of the fraction."""
        stamp = _stamp(time.time_ns())
        with self._lock:
            self._last = max(stamp, self._last + 1)
            return self._last


def _stamp(nanoseconds: int) -> int:
    milliseconds, rest = divmod(nanoseconds, _MILLISECOND)
    return (milliseconds << 12) | (rest * 4096 // _MILLISECOND)


_sequence = _Sequence()


def new_id(at: datetime | None = None) -> UUID:
    """Make an id for now, or for a past moment `at` (an imported post keeps its place in time)."""
    at = at or told_moment()
    stamp = _sequence.next() if at is None else _stamp(int(at.timestamp() * 1_000_000) * 1000)
    random = int.from_bytes(os.urandom(8)) & _RANDOM_62_BITS
    return UUID(int=(stamp >> 12 << 80) | (7 << 76) | ((stamp & 0xFFF) << 64) | (2 << 62) | random)


def time_of(identifier: UUID) -> datetime:
    """Return the moment (to the millisecond) that a version 7 id carries."""
    return datetime.fromtimestamp((identifier.int >> 80) / 1000, UTC)
