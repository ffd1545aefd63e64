"""`python -m bench [NAME ...]`: run the benchmarks, keep the results, write the table into the docs.

`--trial --rounds 1` shows in a fraction of the time that one of them runs, and keeps nothing.
"""

import argparse
import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from bench.harness import RESULTS, Report, Row, table

BENCHMARKS = (
    "startup",
    "reads",
    "cache",
    "hits",
    "misses",
    "replay",
    "invalidation",
    "stampede",
    "gateway",
    "indexes",
    "images",
    "uploads",
)
PAGE = Path(__file__).parent.parent / "docs" / "reference" / "benchmarks.md"


def main() -> None:
    """Run what was asked for, or everything."""
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument("names", nargs="*", choices=[[], *BENCHMARKS], default=[], help="benchmarks to run (all)")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (5)")
    parser.add_argument("--trial", action="store_true", help="print what comes out, and keep nothing")
    options = parser.parse_args()
    reports: list[Report] = []
    for name in options.names or BENCHMARKS:
        print(f"{name}:", flush=True)
        run: Callable[[int], Report] = import_module(f"bench.{name}").run
        reports.append(run(options.rounds))
        if options.trial:
            print("\n" + table(reports[-1]), flush=True)
        else:
            reports[-1].save()
    if not options.trial:
        write_page()
    say_where_we_stand(reports)


def say_where_we_stand(reports: list[Report]) -> None:
    """Print each figure that has a goal, those that fall short last."""
    rows = [row for report in reports for row in report.rows if row.met is not None]
    for row in sorted(rows, key=lambda row: not row.met):
        measured = row.ratio or ", ".join(row.figures.values())
        print(f"{'met  ' if row.met else 'SHORT'}  {row.what}: {measured}; goal {row.goal}")


def write_page() -> None:
    """Write every kept result as one page."""
    parts = [HEADER]
    for name in BENCHMARKS:
        file = RESULTS / f"{name}.json"
        if file.exists():
            parts.append(_section(json.loads(file.read_text("utf-8"))))
    PAGE.write_text("\n".join(parts), "utf-8")
    print(f"written: {PAGE.relative_to(Path.cwd()) if PAGE.is_relative_to(Path.cwd()) else PAGE}")


HEADER = """# Benchmarks

Made by `make bench`; do not edit. Each ratio or difference is taken inside one round, in which the contenders take turns;
its median is quoted with its least and greatest. Absolute figures move with the machine. How each is measured stands at the
top of its file in `bench/`.
"""


def _section(document: dict[str, object]) -> str:
    rows = [Row(**row) for row in document.pop("rows")]  # type: ignore[attr-defined]
    machine = document.pop("machine")
    date = document.pop("date")
    report = Report(rows=rows, **document)  # type: ignore[arg-type]
    where = ", ".join(f"{name} {value}" for name, value in machine.items())  # type: ignore[attr-defined]
    return table(report) + f"Measured {date} on: {where}.\n"


if __name__ == "__main__":
    main()
