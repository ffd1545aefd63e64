"""A storm: people who read and write all the time, and faults that come and go, all decided by one seed."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Final

from townsquare.cache.simulator.faults import FAULTS, End, Fault
from townsquare.cache.simulator.judge import WrongRead
from townsquare.cache.simulator.world import POSTS, READERS, World
from townsquare.cache.statistics import Counts

REQUESTS_A_SECOND: Final = 60.0
WRITES: Final = 0.06
"""The share of them that write."""
MEAN_DELAY: Final = 0.002
FAULTS_A_SECOND: Final = 0.4
MOST_AT_ONCE: Final = 3
STORMY, LULL = 24.0, 6.0
"""Seconds in turn: in the lull every fault is over, and everybody must recover."""
CAPACITY: Final = 10_000
"""Bytes of each process: not quite enough for all that is asked for, so that entries are thrown out too."""

PATHS: Final = [*POSTS, "things", "feed", "own thing:a"]
WRITTEN: Final = [*POSTS, *(f"follows:{name}" for name in READERS)]


@dataclass
class FaultRecord:
    """How often a fault happened, and how long it took, once none was left, until every process was in touch again."""

    times: int = 0
    recoveries: int = 0
    longest_recovery: float = 0.0


@dataclass
class Summary:
    """What a storm came to."""

    seed: int
    processes: int
    seconds: float = 0.0
    reads: int = 0
    failed_reads: int = 0
    writes: int = 0
    failed_writes: int = 0
    counts: dict[str, int] = field(default_factory=dict[str, int])
    """What became of the reads, and of the entries."""
    messages_lost: int = 0
    oldest_read: float = 0.0
    """Seconds: by how much the oldest answer had been overtaken when it was asked for."""
    wrong: str | None = None
    """The first wrong read, which ends the storm."""
    faults: dict[str, FaultRecord] = field(default_factory=dict[str, FaultRecord])

    def as_dict(self) -> dict[str, object]:
        """Return it for JSON."""
        return asdict(self)


@dataclass
class Trouble:
    """A fault that is under way, or over while others are not, or while somebody has not recovered yet."""

    fault: Fault
    until: float
    end: End
    ended: bool = False


class Storm:
    """`run` lets simulated seconds pass, and stops after each event so that one may look."""

    def __init__(self, seed: int, *, processes: int = 3, faults: list[Fault] | None = None) -> None:
        self.world = World(
            processes, seed=seed, capacity=CAPACITY, delay=lambda chance: chance.expovariate(1 / MEAN_DELAY), following=True
        )
        self.summary = Summary(seed, processes)
        self.troubles: list[Trouble] = []
        self._faults = FAULTS if faults is None else faults
        self._fault_at = self._soon(FAULTS_A_SECOND)
        self._lull_at = self.world.now + STORMY
        self._quiet_since = self.world.now

    def run(self, seconds: float) -> Iterator[None]:
        """Let `seconds` pass; a wrong read ends it before."""
        began = self.world.now
        try:
            while self.world.now < began + seconds and self.summary.wrong is None:
                self._step()
                self.summary.seconds = self.world.now - began
                yield
        except WrongRead as wrong:
            self.summary.wrong = str(wrong)
        finally:
            self.sum_up()

    def close(self) -> None:
        """End everything."""
        self.world.close()

    def sum_up(self) -> None:
        """Bring the summary up to date."""
        world, summary = self.world, self.summary
        tallies = [process.tally for process in world.everybody]
        summary.reads = sum(tally.reads for tally in tallies)
        summary.failed_reads = sum(tally.failed_reads for tally in tallies)
        summary.writes = sum(tally.writes for tally in tallies)
        summary.failed_writes = sum(tally.failed_writes for tally in tallies)
        summary.messages_lost, summary.oldest_read = world.lost, world.judge.oldest
        counts = [counts for process in world.everybody for counts in process.cache.statistics.by_strategy().values()]
        summary.counts = {name: sum(count.as_dict()[name] for count in counts) for name in Counts().as_dict()}

    # --- what happens --------------------------------------------------------------------------------------------

    def _step(self) -> None:
        world = self.world
        world.pass_time(world.random.expovariate(REQUESTS_A_SECOND))
        self._end_faults()
        if world.now >= self._lull_at + LULL:
            self._lull_at += LULL + STORMY
        if self._fault_at <= world.now < self._lull_at:
            self._fault_at = self._soon(FAULTS_A_SECOND)
            self._begin_fault()
        process, reader = world.random.choice(world.processes), world.random.choice(world.readers)
        if world.random.random() < WRITES:
            process.write(reader, world.random.choice(WRITTEN))
        else:
            process.read(reader, world.random.choice(PATHS), with_token=world.random.random() < 0.3)
        world.check()

    def _begin_fault(self) -> None:
        if not self._faults or len([trouble for trouble in self.troubles if not trouble.ended]) >= MOST_AT_ONCE:
            return
        world = self.world
        fault = world.random.choice(self._faults)
        until = min(world.now + fault.longest * world.random.random(), self._lull_at)
        self.troubles.append(Trouble(fault, until, fault.begin(world)))
        self.summary.faults.setdefault(fault.name, FaultRecord()).times += 1

    def _end_faults(self) -> None:
        """End what is over; once nothing is going on any more, note when everybody is well again."""
        for trouble in self.troubles:
            if not trouble.ended and self.world.now >= trouble.until:
                trouble.end()
                trouble.ended = True
                self._quiet_since = self.world.now
        if all(trouble.ended for trouble in self.troubles) and self._all_well():
            for trouble in self.troubles:
                record = self.summary.faults[trouble.fault.name]
                record.recoveries += 1
                record.longest_recovery = max(record.longest_recovery, self.world.now - self._quiet_since)
            self.troubles.clear()

    def _all_well(self) -> bool:
        return all(process.cache.trusted for process in self.world.processes)

    def _soon(self, rate: float) -> float:
        return self.world.now + self.world.random.expovariate(rate)
