"""Hypothesis plays with the simulated world: every message may arrive late, out of order or never, at every moment.

Where the storms of `test_simulator.py` have a network with plausible delays, here nothing arrives until a rule says so. A
wrong read raises inside the world; the machine then shrinks what led to it.
"""

from collections import Counter
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from testbed.broken_cache import broken
from testbed.cache_books import check_books
from townsquare.cache.simulator.database import Transaction
from townsquare.cache.simulator.judge import WrongRead
from townsquare.cache.simulator.world import World

PROCESSES = st.integers(0, 1)
READERS = st.integers(0, 1)
THINGS = st.sampled_from(["thing:a", "thing:a", "thing:b", "follows:ann"])
PATHS = st.sampled_from(["thing:a", "things", "feed", "own thing:a"])
DISASTERS = [
    "process frozen",
    "process frozen",
    "process restarted",
    "database crashed",
    "database restored",
    "second level restored",
    "second level flushed",
    "second level foreign",
    "an hour ahead",
    "an hour behind",
]
EXAMPLES = 400
ROOM_FOR_FIVE = 8_000
"""Bytes: evictions are part of the game."""


class CacheMachine(RuleBasedStateMachine):
    """Two processes, one database, one second level, and a network in which every message waits for its rule."""

    counted: ClassVar[Counter[str]] = Counter()
    """What happened in all games."""
    transactions: Bundle[Transaction] = Bundle("transactions")

    def __init__(self) -> None:
        super().__init__()
        self.world = World(2, capacity=ROOM_FOR_FIVE)
        self.calm = 0
        self.database_copy = self.world.database.copy()
        self.shared_copy = self.world.shared.copy()
        for number in range(2):
            self.look_through(number)

    # --- one step at a time --------------------------------------------------------------------------------------

    @rule(process=PROCESSES, reader=READERS, path=PATHS, with_token=st.booleans())
    def read(self, process: int, reader: int, path: str, with_token: bool) -> None:
        self.world.processes[process].read(self.world.readers[reader], path, with_token=with_token)
        self.world.check()

    @rule(process=PROCESSES, reader=READERS, thing=THINGS)
    def write(self, process: int, reader: int, thing: str) -> None:
        self.world.processes[process].write(self.world.readers[reader], thing)

    @rule(process=PROCESSES)
    def look(self, process: int) -> None:
        self.world.processes[process].look()

    @precondition(lambda self: self.world.deliverable())
    @rule(place=st.integers(0, 7))
    def deliver(self, place: int) -> None:
        messages = self.world.deliverable()
        message = messages[place % len(messages)]
        self.world.deliver(message)

    @precondition(lambda self: self.world.pending and self.calm >= 3)
    @rule(place=st.integers(0, 7))
    def lose(self, place: int) -> None:
        self.world.lose(self.world.pending[place % len(self.world.pending)])

    @rule(seconds=st.sampled_from([0.02, 0.3, 0.7, 1.1, 5.0]))
    def pass_time(self, seconds: float) -> None:
        self.world.pass_time(seconds)

    @rule(times=st.integers(1, 4))
    def pass_time_in_touch(self, times: int) -> None:
        for _ in range(times):
            self.world.pass_time(0.4)
            self.look_through(0)
            self.look_through(1)

    # --- several steps at once, so that deep situations are reached: what was under way before stays so --------------

    @rule(process=PROCESSES, reader=READERS, path=PATHS, with_token=st.booleans())
    def read_through(self, process: int, reader: int, path: str, with_token: bool) -> None:
        before = self.world.sent
        self.read(process, reader, path, with_token)
        self.deliver_later_than(before)

    @rule(process=PROCESSES, reader=READERS, path=PATHS)
    def read_without_coming_to_an_end(self, process: int, reader: int, path: str) -> None:
        before = self.world.sent
        self.read(process, reader, path, with_token=False)
        self.deliver_later_than(before, but="query answered")

    @rule(process=PROCESSES, reader=READERS, thing=THINGS)
    def write_through(self, process: int, reader: int, thing: str) -> None:
        before = self.world.sent
        self.write(process, reader, thing)
        self.deliver_later_than(before)

    @rule(process=PROCESSES)
    def look_through(self, process: int) -> None:
        before = self.world.sent
        self.look(process)
        self.deliver_later_than(before)

    @rule()
    def deliver_everything(self) -> None:
        self.deliver_later_than(0)

    def deliver_later_than(self, number: int, but: str = "") -> None:
        for _ in range(100):
            messages = [it for it in self.world.deliverable() if it.number > number and it.what != but]
            if not messages:
                return
            self.world.deliver(messages[0])

    @rule(thing=THINGS)
    def somebody_else_writes(self, thing: str) -> None:
        self.world.database.commit(self.world.database.changing(thing))

    # --- transactions that take their time -----------------------------------------------------------------------

    @rule(target=transactions, thing=THINGS)
    def open(self, thing: str) -> Transaction:
        return self.world.database.changing(thing)

    @rule(transaction=consumes(transactions), commits=st.booleans())
    def end(self, transaction: Transaction, commits: bool) -> None:
        if not commits:
            self.world.database.roll_back(transaction)
        elif self.world.database.runs(transaction):
            self.world.database.commit(transaction)

    # --- what goes wrong, with time in between to build up something that can be wrong -------------------------------

    @precondition(lambda self: self.calm >= 6)
    @rule(process=PROCESSES, what=st.sampled_from(DISASTERS))
    def disaster(self, process: int, what: str) -> None:
        self.calm = 0
        self.counted[what] += 1
        world, shared = self.world, self.world.shared
        match what:
            case "process frozen":
                world.processes[process].frozen = True
            case "process restarted":
                world.restart(process)
                self.look_through(process)
            case "database crashed":
                world.crash()
            case "database restored":
                world.restore(self.database_copy)
            case "second level restored":
                shared.restore(self.shared_copy)
            case "second level flushed":
                shared.flush()
            case "second level foreign":
                shared.replace_with_foreign()
            case _:
                shared.skew += 3600 if what == "an hour ahead" else -3600

    @precondition(lambda self: any(process.frozen for process in self.world.processes))
    @rule()
    def thaw(self) -> None:
        for process in self.world.processes:
            process.frozen = False
        self.world.run_processes()

    @rule()
    def copy(self) -> None:
        self.database_copy, self.shared_copy = self.world.database.copy(), self.world.shared.copy()

    # --- what must hold ------------------------------------------------------------------------------------------

    @invariant()
    def bytes_are_counted_right(self) -> None:
        self.calm += 1
        for process in self.world.processes:
            check_books(process.cache.store)

    def teardown(self) -> None:
        counted = self.counted
        counted["games"] += 1
        counted["messages"] += self.world.sent
        counted["commits"] += self.world.database.commits
        for process in self.world.everybody:
            counted["reads"] += process.tally.reads
            for counts in process.cache.statistics.by_strategy().values():
                counted.update(counts.as_dict())
        self.world.close()


def play(examples: int, *, to_find_something: bool = False) -> None:
    """Let the machine loose. When something is to be found it plays the same games each time, and does not shrink it."""
    run_state_machine_as_test(
        CacheMachine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=50,
            deadline=None,
            phases=[Phase.generate] if to_find_something else [Phase.generate, Phase.shrink],
            derandomize=to_find_something,
            database=None,
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
        ),
    )


def test_nobody_gets_what_he_must_not_whatever_the_order_of_events(capsys: pytest.CaptureFixture[str]):
    counted: Counter[str] = Counter()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CacheMachine, "counted", counted)
        play(EXAMPLES)
    with capsys.disabled():
        print(f"\n{dict(sorted(counted.items()))}")
    assert counted["reads"] > EXAMPLES  # it did play
    assert all(counted[result] for result in ("hit", "hit_shared", "miss", "joined", "bypass", "refused", "invalidated"))


@pytest.mark.parametrize(
    "rule",
    [
        "what a fill or a second level brings is checked against the ledger",
        "a commit removes what has not seen it",
        "out of touch, nothing is fresh",
    ],
)
def test_a_rule_that_is_broken_on_purpose_is_missed(rule: str):
    with broken(rule), pytest.raises(WrongRead):
        play(3_000, to_find_something=True)
