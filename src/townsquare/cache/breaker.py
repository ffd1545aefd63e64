"""A circuit breaker: what has failed again and again is left alone for a while, and then tried once, by nobody who waits."""

import time
from collections.abc import Callable
from typing import Final, Literal

FAILURES: Final = 3
FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 10.0
MAKES_UP: Final = 0.2
"""The part of a failure that a success makes up for: where one call of five fails, as when one node of a cluster is gone,
it opens too."""

State = Literal["closed", "open", "half_open"]


class Breaker:
    """Closed as long as calls succeed; opens after `failures` that successes do not make up for; a good trial closes it.

    The pauses (seconds) before a trial double, up to `longest_pause`, as long as trials fail, and also when it opens again
    soon after it closed: what answers trials and fails in earnest is not tried every moment. `changed` is told of each
    opening (True) and closing (False).
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
        self.state: State = "closed"
        self.openings = 0
        self._failures = failures
        self._first_pause = first_pause
        self._longest_pause = longest_pause
        self._clock = clock
        self._changed = changed
        self._failed = 0.0
        self._pause = 0.0
        self._closed_at = float("-inf")
        self._try_at = 0.0

    @property
    def closed(self) -> bool:
        """True when calls may be made; their outcomes must then be told."""
        return self.state == "closed"

    def succeeded(self) -> None:
        """Say that a call was answered in time."""
        if self.closed:  # else it is one from before, which says nothing of now
            self._failed = max(0.0, self._failed - MAKES_UP)

    def failed(self) -> None:
        """Say that a call was not answered, or not in time."""
        if not self.closed:
            return
        self._failed += 1
        if self._failed >= self._failures:
            soon = self._clock() - self._closed_at < self._longest_pause
            self._open(self._pause * 2 if soon else self._first_pause)
            self.openings += 1
            self._changed(True)

    def trial_is_due(self) -> bool:
        """True for the one caller who is to make a trial now, and tell its outcome by `tried`."""
        if self.state != "open" or self._clock() < self._try_at:
            return False
        self.state = "half_open"
        return True

    def tried(self, *, good: bool) -> None:
        """Say how the trial ended."""
        if not good:
            self._open(self._pause * 2)
            return
        self.state = "closed"
        self._failed = 0.0
        self._closed_at = self._clock()
        self._changed(False)

    def _open(self, pause: float) -> None:
        self.state = "open"
        self._pause = min(pause, self._longest_pause)
        self._try_at = self._clock() + self._pause
