"""Every problem that can be answered is provoked by a test somewhere, and is answered in one form."""

import re
from pathlib import Path

import msgspec
import pytest

from townsquare.kit.problems import PROBLEMS, FieldError, Problem

TESTS = Path(__file__).parent.parent
_SOURCES = {path: path.read_text("utf-8") for path in TESTS.rglob("test_*.py") if path != Path(__file__)}


@pytest.mark.parametrize("code", PROBLEMS)
def test_each_problem_is_provoked_somewhere(code: str) -> None:
    """The status beside the code, or `code ==`: what an assertion on an answer looks like in this house."""
    status = PROBLEMS[code][0]
    provoked = re.compile(rf'\b{status}, "{code}"|\.code == "{code}"')
    assert [path.name for path, text in _SOURCES.items() if provoked.search(text)]


def test_a_problem_is_encoded_in_one_form() -> None:
    problem = Problem("taken", errors=[FieldError("/handle", "Taken.")], headers={"Retry-After": "1"})
    headers, body = problem.encoded("/here", "abc")
    assert (b"content-type", b"application/problem+json") in headers
    assert (b"content-length", str(len(body)).encode()) in headers
    assert (b"retry-after", b"1") in headers
    assert msgspec.json.decode(body) == {
        "type": "/problems/taken",
        "title": "This is already taken",
        "status": 409,
        "code": "taken",
        "detail": "This is already taken.",
        "instance": "/here",
        "request_id": "abc",
        "errors": [{"pointer": "/handle", "detail": "Taken."}],
    }


def test_without_errors_the_field_is_left_out() -> None:
    assert b"errors" not in Problem("not_found").body("/here", "abc")
