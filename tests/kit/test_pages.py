"""Lists in pages: cursors that cannot be misread, pages that are stable while rows are added."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.notes import Notes
from townsquare.kit.pages import decode_cursor, encode_cursor
from townsquare.kit.problems import Problem


@given(st.uuids(), st.integers(-(2**31), 2**31 - 1), st.text(st.characters(codec="utf-8", exclude_characters="\0")))
def test_a_cursor_comes_back_as_it_was(identifier: UUID, number: int, text: str) -> None:
    cursor = encode_cursor(identifier, number, text)
    assert decode_cursor(cursor, tuple[UUID, int, str]) == (identifier, number, text)


@given(st.text(max_size=400))
def test_a_cursor_that_was_not_made_here_is_a_problem_and_never_an_error(text: str) -> None:
    try:
        decode_cursor(text, tuple[UUID, int])
    except Problem as problem:
        assert problem.status == 422
        assert problem.errors[0].pointer == "?cursor"


async def test_a_list_is_stable_while_rows_are_added(notes: Notes) -> None:
    for number in range(5):
        assert (await notes.client.post("/notes", json={"text": f"stable {number}"})).status == 201
    first = await notes.client.get("/notes", params={"limit": 3})
    await notes.client.post("/notes", json={"text": "a later one"})
    second = await notes.client.get("/notes", params={"limit": 3, "cursor": first.json["next_cursor"]})
    shown = [item["text"] for item in first.items + second.items]
    assert shown[:5] == [f"stable {number}" for number in (4, 3, 2, 1, 0)]


async def test_the_next_page_is_in_the_link_header(notes: Notes) -> None:
    for _ in range(2):
        await notes.client.post("/notes", json={"text": "linked"})
    answer = await notes.client.get("/notes", params={"limit": 1})
    link = answer.headers["Link"]
    assert link.endswith('>; rel="next"')
    assert (await notes.client.get(link[1 : link.index(">")])).status == 200


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "cursor=%00", "cursor=AAAA", "cursor=" + "A" * 500])
async def test_a_bad_page_request_is_422(notes: Notes, query: str) -> None:
    answer = await notes.client.get(f"/notes?{query}")
    assert (answer.status, answer.code) == (422, "invalid")
