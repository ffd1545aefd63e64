"""`townsquare up` to ready, cold and warm, and the memory of the one-process platform at rest."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import psutil

from bench.harness import Report, Row, Spread, version_of

PORT = 18_300


def run(count: int) -> Report:
    """Start the platform `count` times on an empty folder, and as often on a used one."""
    cold: list[float] = []
    warm: list[float] = []
    memory: list[float] = []
    for _ in range(count):
        folder = Path(tempfile.mkdtemp(prefix="townsquare-bench-"))
        try:
            cold.append(_start(folder, None))
            warm.append(_start(folder, memory))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        print(f"  cold {cold[-1]:.2f} s, warm {warm[-1]:.2f} s, memory {memory[-1]:.0f} MB", flush=True)
    report = Report("startup", versions={"PostgreSQL": "embedded wheel", "Python": version_of(sys.executable, "--version")})
    report.rows = [
        _row("`up` to ready, empty data folder", Spread.of(cold), "s", 10.0),
        _row("`up` to ready, used data folder", Spread.of(warm), "s", 3.0),
        _row("resident memory of the one process at rest, PostgreSQL aside", Spread.of(memory), "MB", 150.0),
    ]
    return report


def _start(folder: Path, memory: list[float] | None) -> float:
    """Start, wait until ready, look at the memory after a few requests, stop. Returns seconds to ready."""
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "townsquare", "up", "--data", str(folder), "--port", str(PORT)],
        stdout=subprocess.DEVNULL,
        env={**os.environ, "TOWNSQUARE_RATE_LIMITS": "off"},
    )
    try:
        _wait_until_ready(process)
        seconds = time.monotonic() - started
        if memory is not None:
            for _ in range(20):
                _ready()
            time.sleep(2)
            memory.append(psutil.Process(process.pid).memory_info().rss / 1e6)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    return seconds


def _wait_until_ready(process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 60
    while not _ready():
        if process.poll() is not None or time.monotonic() > until:
            sys.exit("bench: the platform did not become ready")
        time.sleep(0.02)


def _ready() -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/health/ready", timeout=5) as answer:
            return json.load(answer)["status"] == "ready"
    except (urllib.error.URLError, OSError):
        return False


def _row(what: str, spread: Spread, unit: str, most: float) -> Row:
    return Row(what, {"townsquare": spread.text(unit)}, "", f"under {most:.0f} {unit}", spread.median < most)
