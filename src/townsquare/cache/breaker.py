"""A circuit breaker: what has failed again and again is left alone for a while, and then tried by one caller."""

import time
from collections.abc import Callable
from typing import Final, Literal

FAILURES: Final = 3
FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 10.0

State = Literal["closed", "open", "half_open"]


class Breaker:
    """Opens after `failures` in a row, for `first_pause` seconds, doubled each time the one attempt that follows fails."""

    def __init__(
        self,
        *,
        failures: int = FAILURES,
        first_pause: float = FIRST_PAUSE,
        longest_pause: float = LONGEST_PAUSE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.state: State = "closed"
        self.openings = 0
        self._failures = failures
        self._first_pause = first_pause
        self._longest_pause = longest_pause
        self._clock = clock
        self._failed = 0
        self._pause = first_pause
        self._try_at = 0.0

    def admits(self) -> bool:
        """True when the call may be made; its outcome must then be told."""
        if self.state == "closed":
            return True
        if self._clock() < self._try_at:
            return False
        # The pause begins anew for everybody else: one caller finds out, and if he never tells, another does.
        self._try_at = self._clock() + self._pause
        self.state = "half_open"
        return True

    def succeeded(self) -> None:
        """Say that a call was answered."""
        self.state = "closed"
        self._failed = 0
        self._pause = self._first_pause

    def failed(self) -> None:
        """Say that a call was not answered, or too late."""
        self._failed += 1
        if self.state == "half_open":
            self._pause = min(self._pause * 2, self._longest_pause)
        elif self._failed < self._failures:
            return
        if self.state != "open":
            self.openings += 1
        self.state = "open"
        self._try_at = self._clock() + self._pause
