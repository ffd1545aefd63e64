"""What was written and what was read, with times; and the judge who says afterwards which answers were too old.

Every subject (a bio, somebody's posts, a post's comments) carries a running number that its one writer raises. Times are
taken around the whole call: a read is judged by the moment before it was sent, a write counts from its answer on.
"""

from bisect import bisect_right
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final

OTHERS_SECONDS: Final = 1.0
"""How old anybody's answer may be, by the contract."""


@dataclass(frozen=True, slots=True)
class Wrote:
    """An acknowledged write: who made which number of what true, and through which process."""

    subject: str
    number: int
    writer: str
    process: str
    ended: float


@dataclass(frozen=True, slots=True)
class Read:
    """An answer: which number of what it showed to whom, and what the cache said that it did."""

    subject: str
    number: int
    reader: str
    process: str
    with_token: bool
    began: float
    seconds: float
    cache: str

    def __str__(self) -> str:
        how = "with the token" if self.with_token else "without a token"
        return f"{self.subject} was {self.number} to {self.reader} at {self.process} {how} ({self.cache})"


@dataclass
class History:
    """Everything that happened under one fault."""

    writes: list[Wrote] = field(default_factory=list[Wrote])
    reads: list[Read] = field(default_factory=list[Read])
    errors: list[str] = field(default_factory=list[str])
    """Answers of 500 and above, and whatever else no healthy database excuses."""
    strangers: list[str] = field(default_factory=list[str])
    """Answers that held what only another may see."""
    cut: int = 0
    """Calls whose connection broke: their process was killed."""

    def stale(self) -> list[str]:
        """Return the answers that were older than their reader had to be shown."""
        known = _Known(self.writes)
        return [f"{read}, at least {least} was due" for read in self.reads if read.number < (least := known.least(read))]

    def hits(self, detail: str = "") -> int:
        """Count the answers that came from a cache."""
        return sum(read.cache.startswith("townsquare; hit") and detail in read.cache for read in self.reads)


class _Known:
    """How far each subject was at any time, for everybody, and for its writer."""

    def __init__(self, writes: list[Wrote]) -> None:
        written = defaultdict[tuple[str, ...], list[tuple[float, int]]](list)
        self._writers = {write.subject: write.writer for write in writes}
        for write in sorted(writes, key=lambda write: write.ended):
            for line in ((write.subject,), (write.subject, write.process)):
                written[line].append((write.ended, write.number))
        self._ends = {line: [ended for ended, _ in told] for line, told in written.items()}
        self._numbers = {line: list(accumulate((number for _, number in told), max)) for line, told in written.items()}

    def least(self, read: Read) -> int:
        """Return the least number that this reader had to be shown then."""
        least = self._at((read.subject,), read.began - OTHERS_SECONDS)
        if self._writers.get(read.subject) != read.reader:
            return least
        own = (read.subject,) if read.with_token else (read.subject, read.process)
        return max(least, self._at(own, read.began))

    def _at(self, line: tuple[str, ...], when: float) -> int:
        before = bisect_right(self._ends.get(line, []), when)
        return self._numbers[line][before - 1] if before else 0


@dataclass(frozen=True, slots=True)
class Row:
    """One fault's line of the table."""

    scenario: str
    history: History

    TITLES = ("fault", "reads", "hits", "of Redis", "writes", "slowest", "stale", "5xx", "strangers")

    def cells(self) -> tuple[str, ...]:
        """Return the line's columns."""
        told = self.history
        slowest = max((read.seconds for read in told.reads), default=0.0)
        counts = (len(told.reads), told.hits(), told.hits("detail=l2"), len(told.writes))
        wrong = (len(told.stale()), len(told.errors), len(told.strangers))
        return (self.scenario, *map(str, counts), f"{slowest:.2f} s", *map(str, wrong))


def table(rows: list[Row]) -> str:
    """Lay out what was seen under each fault."""
    lines = [Row.TITLES, *(row.cells() for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    shown = [
        "  ".join([line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))])
        for line in lines
    ]
    return "\n".join(shown)


def summary(history: History) -> str:
    """Say what was read how, for a failure's message."""
    return str(Counter(read.cache.split(";")[1].strip() for read in history.reads if ";" in read.cache))
