"""The ledger: whatever the order in which transactions end and are told, nothing is admitted that has not seen them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from townsquare.cache.ledger import EVERYTHING, Ledger
from townsquare.cache.snapshots import NOTHING_SEEN, Snapshot

TAGS = ["a", "b", "posts:x"]


def ledger_from(xid: int = 0, **bounds: int) -> Ledger:
    ledger = Ledger(["posts"], **bounds)
    ledger.begin(Snapshot(xid, xid), xid)
    return ledger


def test_a_snapshot_reads_back_as_it_was_written():
    for text in ("5:5:", "5:9:5,7", "0:0:"):
        assert str(Snapshot.parse(text)) == text
    for text in ("", "5", "5:4:", "a:b:", "-1:2:"):
        with pytest.raises(ValueError):
            Snapshot.parse(text)


def test_a_snapshot_sees_what_had_ended():
    snapshot = Snapshot.parse("10:20:10,15")
    assert [xid for xid in range(8, 23) if not snapshot.sees(xid)] == [10, 15, 20, 21, 22]
    assert not NOTHING_SEEN.sees(0)


def test_who_has_not_seen_a_change_is_refused():
    ledger = ledger_from()
    ledger.record("a", 12)
    assert not ledger.admits(["a"], Snapshot(12, 12))
    assert not ledger.admits(["b", "a"], Snapshot(10, 13, frozenset({12})))
    assert ledger.admits(["a"], Snapshot(13, 13))
    assert ledger.admits(["b"], Snapshot(12, 12))


@pytest.mark.parametrize("order", [(10, 12), (12, 10)])
def test_of_two_transactions_the_larger_may_end_first(order: tuple[int, int]):
    ledger = ledger_from()
    for xid in order:
        ledger.record("a", xid)
    assert not ledger.admits(["a"], Snapshot(10, 13, frozenset({10})))
    assert ledger.admits(["a"], Snapshot(13, 13))


def test_very_many_changes_of_one_tag_at_once_do_not_harm_those_who_have_seen_them():
    ledger = ledger_from()
    for xid in range(11, 1_000):
        ledger.record("a", xid)
    assert ledger.admits(["a"], Snapshot(10, 1_000, frozenset({10})))
    assert not ledger.admits(["a"], Snapshot(10, 1_000, frozenset({10, 500})))
    assert not ledger.admits(["a"], Snapshot(999, 999))


def test_what_is_forgotten_is_refused():
    ledger = ledger_from(max_tags=2)
    for tag, xid in (("a", 10), ("b", 11), ("a", 12), ("c", 13)):
        ledger.record(tag, xid)
    assert len(ledger) == 2
    assert ledger.known_from == 12  # b's change at 11 is not known any more
    assert not ledger.admits(["b"], Snapshot(11, 11))
    assert ledger.admits(["b"], Snapshot(12, 12))


def test_whoever_ran_and_is_not_listed_any_more_may_have_changed_anything():
    ledger = ledger_from(max_listed=3)
    still_running = 5
    for xid in range(10, 20):
        ledger.record("a", xid)
        ledger.looked(Snapshot(still_running, xid + 1, frozenset({still_running})))
    assert len(ledger._listed) == 3
    assert not ledger.admits(["b"], Snapshot(12, 30, frozenset({12})))
    assert ledger.admits(["b"], Snapshot(18, 30, frozenset({18})))
    assert ledger.admits(["a"], Snapshot(still_running, 30, frozenset({still_running})))
    ledger.looked(Snapshot(20, 20))
    assert not ledger.admits(["b"], Snapshot(still_running, 30, frozenset({still_running})))


def test_what_was_forgotten_before_any_look_saw_it_is_refused():
    ledger = ledger_from(5, max_listed=1)
    ledger.record("a", 10)
    ledger.record("b", 11)
    assert not ledger.admits(["a"], Snapshot(10, 12, frozenset({10})))


def test_a_beginning_says_from_when_on_everything_is_known():
    ledger = ledger_from(50)
    assert not ledger.admits(["a"], Snapshot(49, 60, frozenset({49})))
    assert not ledger.admits(["a"], Snapshot(49, 49))
    assert ledger.admits(["a"], Snapshot(50, 60))


def test_a_change_of_everything_refuses_everything():
    ledger = ledger_from()
    ledger.record(EVERYTHING, 20)
    assert not ledger.admits([], Snapshot(20, 20))
    assert ledger.admits([], Snapshot(21, 21))


def test_watched_tags_are_compared_from_a_position_on():
    ledger = ledger_from()
    before = ledger.position
    ledger.record("posts:x", 10)
    ledger.record("a", 11)
    after = ledger.position
    assert ledger.changed_since(before, frozenset({"posts:x", "posts:y"}), Snapshot(10, 10))
    assert not ledger.changed_since(before, frozenset({"posts:x"}), Snapshot(11, 11))
    assert not ledger.changed_since(before, frozenset({"posts:y"}), Snapshot(10, 10))
    assert not ledger.changed_since(after, frozenset({"posts:x"}), Snapshot(10, 10))


@pytest.mark.parametrize("bound", [1, 2, 7])
def test_a_position_that_is_not_in_the_log_any_more_counts_as_changed(bound: int):
    ledger = ledger_from(max_log=bound)
    before = ledger.position
    for xid in range(10, 100):
        ledger.record("posts:x", xid)
        assert len(ledger._log_tags) <= bound
    assert ledger.changed_since(before, frozenset({"posts:y"}), Snapshot(10, 10))
    assert not ledger.changed_since(ledger.position, frozenset({"posts:x"}), Snapshot(10, 10))


def test_no_position_of_before_a_beginning_is_valid_after_it():
    ledger = ledger_from()
    before = ledger.position
    ledger.begin(Snapshot(5, 5), 5)
    assert ledger.changed_since(before, frozenset(), Snapshot(9, 9))


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[tuple[str, int]], list[Snapshot]]:
    """Transactions of one tag each that end in any order, and a snapshot after each end."""
    tags = draw(st.lists(st.sampled_from(TAGS), min_size=1, max_size=12))
    ends = draw(st.permutations(range(100, 100 + len(tags))))
    begun = 100 + len(tags)
    snapshots = [
        Snapshot(min(ends[number:], default=begun), begun, frozenset(ends[number:])) for number in range(len(ends) + 1)
    ]
    return [(tags[xid - 100], xid) for xid in ends], snapshots


@given(histories(), st.data())
def test_whatever_the_order_nothing_unseen_is_admitted(
    history: tuple[list[tuple[str, int]], list[Snapshot]], data: st.DataObject
):
    ended, snapshots = history
    ledger = ledger_from(100, max_tags=data.draw(st.integers(1, 4)), max_listed=data.draw(st.integers(1, 20)))
    told = 0
    while told < len(ended):
        # Own commits are told at once, in any order; then a look tells everything up to some end.
        until = data.draw(st.integers(told + 1, len(ended)))
        own = data.draw(st.lists(st.sampled_from(ended[told:until]), unique=True))
        for tag, xid in [*own, *data.draw(st.permutations(ended[told:until]))]:
            ledger.record(tag, xid)
        ledger.looked(snapshots[until])
        told = until
        for snapshot in snapshots:
            for tag in TAGS:
                unseen = any(tag == changed and not snapshot.sees(xid) for changed, xid in ended[:told])
                assert not (unseen and ledger.admits([tag], snapshot))
        assert ledger.admits(TAGS, snapshots[-1])
