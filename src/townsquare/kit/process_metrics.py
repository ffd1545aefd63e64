"""What a process tells of itself: its age, memory, CPU, and how late its event loop comes."""

import asyncio
import ctypes
import gc
import time
from collections.abc import Iterator
from typing import Final, TypeAlias

import psutil

LAG_PERIOD: Final = 0.5

Told: TypeAlias = tuple[str, str, dict[str, str], float, bool]
"""Name, help, labels, value, and whether it only ever grows."""


class ProcessGauges:
    """Reads the process' figures from the system."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._process.cpu_percent()  # the first call only begins the measuring

    def read(self) -> Iterator[Told]:
        """Yield each figure."""
        with self._process.oneshot():
            age = time.time() - self._process.create_time()
            memory, cpu = self._process.memory_info().rss, self._process.cpu_times()
            percent = self._process.cpu_percent()
        yield "process_uptime_seconds", "Seconds since the process started.", {}, age, False
        yield "process_resident_memory_bytes", "Resident memory.", {}, memory, False
        yield "python_heap_bytes", "Bytes in use on the C heap, from which Python allocates.", {}, heap_bytes(), False
        yield "process_cpu_seconds_total", "CPU seconds used.", {}, cpu.user + cpu.system, True
        yield "process_cpu_percent", "CPU used since the last scrape, in percent of a core.", {}, percent, False


class LoopLag:
    """How late the event loop comes: a timer that looks at the clock."""

    def __init__(self) -> None:
        self._worst = 0.0

    async def run(self) -> None:
        """Watch until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_PERIOD
            await asyncio.sleep(LAG_PERIOD)
            self._worst = max(self._worst, loop.time() - due)

    def read(self) -> Told:
        """Return the worst since the last call."""
        worst, self._worst = self._worst, 0.0
        return "event_loop_lag_seconds", "Longest delay of the event loop since the last scrape.", {}, worst, False


class _Mallinfo2(ctypes.Structure):
    """glibc's `struct mallinfo2` (malloc(3)): ten size_t."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        )
    ]


def heap_bytes() -> float:
    """Return the bytes allocated from the C heap: glibc's `mallinfo2`, else the objects counted at 100 bytes each."""
    try:
        mallinfo2 = ctypes.CDLL(None).mallinfo2
    except (AttributeError, OSError):
        return float(len(gc.get_objects()) * 100)
    mallinfo2.restype = _Mallinfo2
    info = mallinfo2()
    return float(info.uordblks + info.hblkhd)
