"""Conditional requests: `If-None-Match` spares a body, `If-Match` a lost change."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.town import Person, Town
from townsquare.kit.conditional import etag_of, matches

BODY = b'{"a":1}'
TAG = etag_of(BODY)


@given(st.binary(), st.binary())
def test_a_tag_is_the_bytes_own(one: bytes, other: bytes) -> None:
    assert (etag_of(one) == etag_of(other)) is (one == other)
    assert etag_of(one).startswith('"')
    assert etag_of(one).endswith('"')


@pytest.mark.parametrize(
    ("header", "weak", "strong"),
    [
        (TAG, True, True),
        (f'"other", {TAG}', True, True),
        (f'{TAG},"other"', True, True),
        (f"  {TAG}  ", True, True),
        ("*", True, True),
        (f"W/{TAG}", True, False),
        ('"other"', False, False),
        (TAG.strip('"'), False, False),
        ("", False, False),
        (",,", False, False),
        (TAG[:-2], False, False),
    ],
)
def test_lists_of_tags_are_compared_as_the_standard_says(header: str, weak: bool, strong: bool) -> None:
    assert matches(header, TAG, weak=True) is weak
    assert matches(header, TAG, weak=False) is strong


@given(st.text())
def test_no_header_is_an_error(header: str) -> None:
    assert matches(header, TAG, weak=True) in (True, False)


async def bio_of(town: Town, person: Person) -> tuple[Any, str]:
    answer = await town.users.get(f"/profile/{person.id}")
    return answer.json["bio"], answer.headers["ETag"]


async def test_a_change_made_on_an_old_copy_is_refused_and_changes_nothing(town: Town) -> None:
    person = await town.register("editor")
    path, body = f"/profile/{person.id}", {"bio": "First"}
    _, tag = await bio_of(town, person)
    assert (await town.users.patch(path, as_=person, json=body, headers={"If-Match": tag})).status == 200
    for stale in (tag, '"other"', "garbage", f"W/{(await bio_of(town, person))[1]}"):
        answer = await town.users.patch(path, as_=person, json={"bio": "Second"}, headers={"If-Match": stale})
        assert (answer.status, answer.code) == (412, "precondition_failed"), stale
    assert (await bio_of(town, person))[0] == "First"


async def test_with_the_newest_tag_or_a_star_or_nothing_a_change_is_made(town: Town) -> None:
    person = await town.register("editor")
    path = f"/profile/{person.id}"
    for number, choose in enumerate(("newest", "star", "nothing")):
        _, tag = await bio_of(town, person)
        headers = {"newest": {"If-Match": tag}, "star": {"If-Match": "*"}, "nothing": {}}[choose]
        answer = await town.users.patch(path, as_=person, json={"bio": str(number)}, headers=headers)
        assert answer.status == 200, choose
        assert (await bio_of(town, person))[0] == str(number)


async def test_what_has_changed_is_sent_anew(town: Town) -> None:
    person = await town.register("editor")
    path = f"/profile/{person.id}"
    _, tag = await bio_of(town, person)
    assert (await town.users.get(path, headers={"If-None-Match": tag})).status == 304
    written = await town.users.patch(path, as_=person, json={"bio": "New"})
    token = {"Consistency-Token": written.headers["Consistency-Token"]}
    again = await town.users.get(path, headers={"If-None-Match": tag, **token})
    assert (again.status, again.json["bio"]) == (200, "New")
