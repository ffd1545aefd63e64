"""A circuit breaker: what fails again and again is left alone for a while, and then tried by nobody who waits for it."""

import time
from collections.abc import Callable
from typing import Final

FAILURES: Final = 3
FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 10.0
MAKES_UP: Final = 0.2
"""The part of a failure that a success makes up for: where one call of five fails, as when one node of a cluster is gone,
it opens too."""


class Breaker:
    """Closed as long as calls succeed; opens after `failures` that successes do not make up for; a good trial closes it.

    Whoever is told by `changed` that it has opened (True) makes a trial after each `pause` (seconds). Pauses double, up to
    `longest_pause`, as long as trials fail, and also when it opens again soon after it closed: what answers trials and
    fails in earnest is not tried every moment.
    """

    def __init__(
        self,
        *,
        failures: int = FAILURES,
        first_pause: float = FIRST_PAUSE,
        longest_pause: float = LONGEST_PAUSE,
        clock: Callable[[], float] = time.monotonic,
        changed: Callable[[bool], None] = lambda _: None,
    ) -> None:
        self.closed = True
        """True when calls may be made; their outcomes must then be told."""
        self.openings = 0
        self.pause = first_pause
        self._failures = failures
        self._first_pause = first_pause
        self._longest_pause = longest_pause
        self._clock = clock
        self._changed = changed
        self._failed = 0.0
        self._closed_at = float("-inf")

    def succeeded(self) -> None:
        """Say that a call was answered in time."""
        self._failed = max(0.0, self._failed - MAKES_UP)

    def failed(self) -> None:
        """Say that a call was not answered, or not in time."""
        if not self.closed:
            return  # it is one from before
        self._failed += 1
        if self._failed < self._failures:
            return
        soon = self._clock() - self._closed_at < self._longest_pause
        self.pause = min(self.pause * 2, self._longest_pause) if soon else self._first_pause
        self.closed = False
        self.openings += 1
        self._changed(True)

    def tried(self, *, good: bool) -> None:
        """Say how a trial ended."""
        if not good:
            self.pause = min(self.pause * 2, self._longest_pause)
            return
        self.closed = True
        self._failed = 0.0
        self._closed_at = self._clock()
        self._changed(False)
