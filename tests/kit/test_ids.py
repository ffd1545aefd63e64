"""Ids are UUID version 7, strictly increasing, and carry their time."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from townsquare.kit.ids import new_id, time_of

moments = st.datetimes(datetime(1971, 1, 1), datetime(2900, 1, 1), timezones=st.just(UTC))


def test_ids_increase_strictly_also_within_a_millisecond() -> None:
    ids = [new_id() for _ in range(20_000)]
    assert ids == sorted(set(ids))


def test_an_id_is_a_version_7_uuid() -> None:
    made = new_id()
    assert (made.version, made.variant) == (7, "specified in RFC 4122")


@given(moments)
def test_an_id_keeps_the_moment_it_was_made_for(moment: datetime) -> None:
    assert abs(time_of(new_id(moment)) - moment) < timedelta(milliseconds=1.001)


@given(moments, moments)
def test_ids_of_different_moments_sort_as_the_moments(one: datetime, other: datetime) -> None:
    if abs(one - other) > timedelta(milliseconds=2):
        assert (new_id(one) < new_id(other)) == (one < other)
