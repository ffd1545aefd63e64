"""An event loop that never waits: its time is the simulation's, and it says when it wants to be woken."""

import asyncio
import selectors
from collections.abc import Callable
from typing import Any

NEVER = float("inf")


class SimulatedLoop(asyncio.SelectorEventLoop):
    """The loop of one simulated process; that it is not run is all that freezing a process takes."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._now = clock
        self.wakes_at = NEVER
        """When its next timer is due, as of the last time it was run."""
        super().__init__(_NoWaiting(self._idle))

    def time(self) -> float:
        """Return the simulation's time."""
        return self._now()

    def run_until_idle(self) -> None:
        """Run whatever can run at this moment."""
        self.run_forever()

    def end(self) -> None:
        """Cancel what runs, and close."""
        self.set_exception_handler(_ignore)  # what a killed process had begun is nobody's fault
        while tasks := asyncio.all_tasks(self):  # again, for a fill whose caller has left takes off anew
            for task in tasks:
                task.cancel()
            self.run_until_idle()
        self.close()

    def _idle(self, seconds: float | None) -> None:
        self.wakes_at = NEVER if seconds is None else self._now() + seconds
        self.stop()


class _NoWaiting(selectors.SelectSelector):
    """Where a real selector would wait, the loop has nothing left to do."""

    def __init__(self, idle: Callable[[float | None], None]) -> None:
        super().__init__()
        self._idle = idle

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return nothing, at once: no simulated process has a socket."""
        if timeout is None or timeout > 0:
            self._idle(timeout)
        return []


def _ignore(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Report nothing."""
