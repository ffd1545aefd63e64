"""Rounds, medians, spreads and the table.

Machines drift, so contenders take turns: A B C, A B C, ... A ratio is taken inside each round, and its median is the
figure to quote. Absolute figures are printed for orientation; they move with the machine.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Spread:
    """Median, least and greatest of a series."""

    median: float
    least: float
    greatest: float

    @classmethod
    def of(cls, values: list[float]) -> "Spread":
        """Summarise a series."""
        return cls(statistics.median(values), min(values), max(values))

    def text(self, unit: str = "", *, signed: bool = False) -> str:
        """Write it as `median (least to greatest) unit`."""
        median, least, greatest = (
            ("+" if signed and value >= 0 else "") + _figure(value) for value in (self.median, self.least, self.greatest)
        )
        return f"{median} ({least} to {greatest}){' ' + unit if unit else ''}"


@dataclass(frozen=True)
class Row:
    """One line of the table: what was measured, against what, the figures and the goal."""

    what: str
    figures: dict[str, str]
    ratio: str
    goal: str
    met: bool | None


@dataclass
class Report:
    """The outcome of one benchmark."""

    name: str
    rows: list[Row] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)

    def save(self) -> None:
        """Keep it as JSON and print it."""
        RESULTS.mkdir(exist_ok=True)
        document = asdict(self) | {"machine": machine(), "date": time.strftime("%Y-%m-%d")}
        (RESULTS / f"{self.name}.json").write_text(json.dumps(document, indent=1) + "\n", "utf-8")
        print("\n" + table(self), flush=True)


def rounds(contenders: Mapping[str, Callable[[], float]], count: int) -> dict[str, list[float]]:
    """Run all contenders in turn, `count` times; returns each one's series."""
    series: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(count):
        for name, measure in contenders.items():
            series[name].append(measure())
        print(f"  round {number + 1}/{count}: " + ", ".join(f"{n} {_figure(v[-1])}" for n, v in series.items()), flush=True)
    return series


def ratios(series: Mapping[str, list[float]], ours: str, peer: str) -> Spread:
    """Return ours / peer, taken inside each round."""
    return Spread.of([a / b for a, b in zip(series[ours], series[peer], strict=True)])


def differences(series: Mapping[str, list[float]], ours: str, peer: str) -> Spread:
    """Return ours - peer, taken inside each round."""
    return Spread.of([a - b for a, b in zip(series[ours], series[peer], strict=True)])


def table(report: Report) -> str:
    """Return the report as a Markdown table."""
    lines = [f"### {report.name}", "", "| what | figures | ratio or difference | goal | met |", "|---|---|---|---|---|"]
    for row in report.rows:
        figures = "<br>".join(f"{name}: {value}" for name, value in row.figures.items())
        met = {True: "yes", False: "**no**", None: ""}[row.met]
        lines.append(f"| {row.what} | {figures} | {row.ratio} | {row.goal} | {met} |")
    versions = ", ".join(f"{name} {version}" for name, version in sorted(report.versions.items()))
    return "\n".join([*lines, "", f"Versions: {versions}.", ""])


def machine() -> dict[str, str]:
    """Say what this was measured on, as far as it matters."""
    model = next(
        (line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "unknown"
    )
    memory = next((line.split()[1] for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), "0")
    return {
        "cpu": model,
        "cores": str(os.cpu_count()),
        "memory": f"{int(memory) // 1048576} GiB",
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": platform.python_version(),
    }


def version_of(*command: str) -> str:
    """Return the first line that a program prints of its version."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).strip().split("\n")[0]


def pinned(core: int, *command: str) -> list[str]:
    """Return the command bound to one core; on a machine with one core there is nothing to bind."""
    return ["taskset", "-c", str(core), *command] if (os.cpu_count() or 1) > 1 else list(command)


def need(program: str, package: str) -> str:
    """Return the program's name, or end with a sentence that says how to get it."""
    if subprocess.run(["which", program], capture_output=True, check=False).returncode:
        sys.exit(f"bench: {program} is not installed; on Debian: apt-get install {package}")
    return program


def _lines(path: str) -> list[str]:
    file = Path(path)
    return file.read_text("utf-8").split("\n") if file.exists() else []


def _figure(value: float) -> str:
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
