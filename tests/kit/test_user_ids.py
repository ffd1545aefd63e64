"""`{userId}` is a UUID or `@handle`; anything else is nobody."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.town import Town
from townsquare.kit.user_ids import read_user_id

NOBODY = [
    "nobody",
    "@",
    "@a",
    "@" + "a" * 31,
    "@a b",
    "@ada\n",
    "@@ada",
    "@\u212aate",  # the Kelvin sign, whose small letter is a plain k
    "@ad\u0430",  # a Cyrillic a
    "@ad\u0061\u0301",
    "\uff20ada",  # a wide @
    "@\u202eada",
    "@ada\u200b",
    "{01a20d1a-ecd9-734d-8a8f-418c706ae9e2}",
    "urn:uuid:01a20d1a-ecd9-734d-8a8f-418c706ae9e2",
    "01a20d1aecd9734d8a8f418c706ae9e2",
    "01a20d1aecd9734d8a8f418c706ae9e2----",
    "01a20d1a-ecd9-734d-8a8f-418c706ae9e",
    "\u0660\u0661a20d1a-ecd9-734d-8a8f-418c706ae9e2",  # Arabic digits
    "0",
    "-1",
    "null",
    "%2e%2e",
    "@ada'--",
    "@ada%00",
]


@given(st.uuids())
def test_a_uuid_is_read_whatever_its_case(identifier: UUID) -> None:
    assert read_user_id(str(identifier)) == read_user_id(str(identifier).upper()) == identifier


@given(st.from_regex(r"@[A-Za-z0-9_]{2,30}", fullmatch=True))
def test_a_handle_is_read_in_small_letters(text: str) -> None:
    assert read_user_id(text) == text[1:].lower()


@given(st.text())
def test_whatever_is_read_is_a_uuid_or_a_handle_as_they_are_written(text: str) -> None:
    read = read_user_id(text)
    assert read is None or text.lower() in (str(read), f"@{read}")


@pytest.mark.parametrize("text", NOBODY)
def test_nothing_else_is_read(text: str) -> None:
    assert read_user_id(text) is None


async def test_nobody_is_404_wherever_somebody_is_asked_for(town: Town) -> None:
    person = await town.register("asker")
    document = (await town.gateway.get("/openapi.json")).json
    asked = 0
    for path, item in document["paths"].items():
        if "{user_id}" not in path or "get" not in item:
            continue
        other = "01a20d1a-ecd9-734d-8a8f-418c706ae9e2"
        for text in NOBODY:
            place = path.replace("{user_id}", text.replace("%", "%25")).replace("{skill_id}", other)
            answer = await town.gateway.get(place, as_=person)
            assert (answer.status, answer.code) == (404, "not_found"), (path, text, answer.body)
            asked += 1
    assert asked >= 5 * len(NOBODY)
