"""Storms: the simulated world under load with faults that come and go. The storm of a seed is always the same."""

import json
import subprocess
import sys

import pytest

from testbed.broken_cache import RULES, broken
from testbed.cache_books import check_books
from townsquare.cache.simulator.faults import FAULTS
from townsquare.cache.simulator.storm import Storm, Summary


def weather(seed: int, seconds: float, *faults: str) -> Summary:
    """Run a storm to its end; only with the faults that are named, if any are."""
    storm = Storm(seed, faults=[fault for fault in FAULTS if fault.name in faults] if faults else None)
    try:
        for _ in storm.run(seconds):
            pass
        for process in storm.world.processes:
            check_books(process.cache.store)
    finally:
        storm.close()
    return storm.summary


@pytest.mark.parametrize("seed", range(8))
def test_nobody_gets_what_he_must_not_in_a_storm(seed: int):
    summary = weather(seed, 90)
    assert summary.wrong is None
    assert summary.oldest_read < 1.0
    assert summary.counts["hit"] > summary.counts["miss"]


@pytest.mark.parametrize("fault", [fault.name for fault in FAULTS])
def test_a_fault_is_survived_and_recovered_from(fault: str):
    summary = weather(7, 60, fault)
    record = summary.faults[fault]
    assert summary.wrong is None
    assert record.times
    assert record.recoveries
    assert record.longest_recovery < 3


def test_without_faults_nothing_is_lost_and_nearly_everything_is_a_hit():
    storm = Storm(1, faults=[])
    for _ in storm.run(30):
        pass
    storm.close()
    summary = storm.summary
    assert (summary.failed_reads, summary.failed_writes, summary.messages_lost, summary.wrong) == (0, 0, 0, None)


def test_a_shared_cache_that_is_away_costs_no_answer():
    summary = weather(3, 60, "shared cache down", "shared cache frozen", "shared cache flushed", "shared cache foreign")
    assert (summary.failed_reads, summary.wrong) == (0, None)


def test_a_storm_goes_the_same_way_every_time():
    command = [sys.executable, "-m", "townsquare.cache.simulator", "--seed", "5", "--seconds", "20", "--json"]
    first, second = (
        subprocess.run(command, env={"PYTHONHASHSEED": seed}, capture_output=True, check=True).stdout for seed in "12"
    )
    assert json.loads(first) == json.loads(second)


PROVOKING = {
    "what the ledger cannot tell any more is refused": ("power cut",),
    "of two transactions the larger may end first": ("transaction left open",),
    "trust is counted from before the look": ("looks answered late",),
    "a fill of another source is not kept": ("database restored", "database crashed", "fills slower than writes"),
    "another source is noticed": ("database restored",),
    "a fill that began before we came is checked": ("fills slower than writes",),
}
"""Faults that bring the rarer situations about."""


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_that_is_broken_on_purpose_is_missed(rule: str):
    with broken(rule):
        assert any(weather(seed, 60, *PROVOKING.get(rule, ())).wrong for seed in range(30))
