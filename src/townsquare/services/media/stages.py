"""How long each stage of an upload takes, and how uploads end: counted here, told at each scrape."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import perf_counter
from typing import Final

from townsquare.kit.metrics import Gauge
from townsquare.kit.problems import Problem

STAGES: Final = ("receive", "wait", "read", "resize", "analyse", "encode", "store")
OUTCOMES: Final = ("ready", "processing", "refused", "failed")


class Stages:
    """The counts of this process; all are told from the start, so that what has not happened yet reads as 0."""

    def __init__(self) -> None:
        self.runs: Counter[str] = Counter(dict.fromkeys(STAGES, 0))
        self.seconds: dict[str, float] = dict.fromkeys(STAGES, 0.0)
        self.uploads: Counter[str] = Counter(dict.fromkeys(OUTCOMES, 0))

    def observe(self, stage: str, seconds: float) -> None:
        """Note how long a stage took."""
        self.runs[stage] += 1
        self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds

    def observe_all(self, seconds: Mapping[str, float]) -> None:
        """Note how long the stages took that a worker has timed."""
        for stage, taken in seconds.items():
            self.observe(stage, taken)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Note how long the block takes, however it ends."""
        started = perf_counter()
        try:
            yield
        finally:
            self.observe(stage, perf_counter() - started)

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count an upload that ends in an error; who makes the file counts the others."""
        try:
            yield
        except Problem:
            self.uploads["refused"] += 1
            raise
        except BaseException:
            self.uploads["failed"] += 1
            raise

    def gauges(self) -> Iterator[Gauge]:
        """Yield the counts."""
        for stage, runs in self.runs.items():
            labels = {"stage": stage}
            yield Gauge("media_stage_runs_total", "How often a stage of the uploads has run.", labels, runs, counter=True)
            seconds = self.seconds[stage]
            yield Gauge("media_stage_seconds_total", "Seconds that a stage has taken.", labels, seconds, counter=True)
        for outcome, number in self.uploads.items():
            labels = {"outcome": outcome}
            yield Gauge("media_uploads_total", "Uploads, by how they ended.", labels, number, counter=True)
