"""What the system holds a worker to, whatever a picture makes it do. The limits are the kernel's own."""

import contextlib
import ctypes
import math
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Final

FILE_BYTES: Final = 256 << 20
"""The largest file that a worker writes: a lossless `large` of the tallest shape stays below."""

OPEN_FILES: Final = 128
NICENESS: Final = 5
"""Requests go first: pictures take what they leave."""

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NO_NEW_PRIVS: Final = 38


def confine() -> None:
    """Hold this process to its files and its place. It ends with the one that started it, even when that is killed."""
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_FSIZE, FILE_BYTES)
    _lower(resource.RLIMIT_NOFILE, OPEN_FILES)
    os.nice(NICENESS)
    if sys.platform == "linux":
        prctl = ctypes.CDLL(None).prctl
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def confine_memory(memory: int) -> None:
    """Hold this process to `memory` bytes more than it has now: call it when everything is loaded."""
    with contextlib.suppress(OSError):  # not Linux: there the limit on time and the pool's on pixels have to do
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        _lower(resource.RLIMIT_AS, pages * resource.getpagesize() + memory)


def confine_time(seconds: float) -> None:
    """End this process when its next job uses more than all processors for `seconds`, should nobody be there to end it."""
    used = sum(os.times()[:2])
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(used + seconds * (os.cpu_count() or 1)) + 1, hard))


def _lower(limit: int, value: int) -> None:
    _, hard = resource.getrlimit(limit)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(limit, (value, value))
