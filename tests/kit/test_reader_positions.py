"""Where a reader goes on after a batch: never past what it has not read, and past all that it has."""

import msgspec

from townsquare.kit.outbox import Event, EventBatch, Position
from townsquare.kit.readers import BATCH, _after


def batch(horizon: int, *positions: str) -> EventBatch:
    return EventBatch([Event(1, at, "person", "x", msgspec.Raw(b"{}"), "") for at in positions], horizon)


def test_a_batch_that_is_not_full_ends_its_last_transaction():
    # The horizon is taken first: the transaction that it names may have ended before the events were read.
    assert _after(batch(70, "70-8")) == Position(71, 0)
    assert _after(batch(75, "70-8")) == Position(75, 0)


def test_a_full_batch_may_have_ended_within_a_transaction():
    assert _after(batch(90, *(f"70-{row}" for row in range(1, BATCH + 1)))) == Position(70, BATCH)
