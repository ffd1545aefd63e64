"""Whatever is sent, the answer is a problem that says what and where; never a 500, never a half-done write."""

import pytest

from testbed.notes import Notes

DEEP = b'{"text": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"null", 422),
        (b"[]", 422),
        (b"{}", 422),
        (b'{"text": 1}', 422),
        (b'{"text": "x", "extra": 1}', 422),
        (b'{"text": "nul \\u0000"}', 422),
        (b'{"text": "\\ud800"}', 400),
        (b'{"text": "\xff"}', 400),
        (DEEP, 400),
        (b'{"text": "' + b"x" * 10_000_000 + b'"}', 413),
    ],
    ids=["empty", "cut", "null", "list", "missing", "type", "unknown", "nul", "surrogate", "not-utf8", "deep", "10MB"],
)
async def test_a_bad_body_is_a_problem(notes: Notes, body: bytes, status: int) -> None:
    answer = await notes.client.post("/notes", data=body)
    assert answer.status == status, answer.body
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json["request_id"] == answer.headers["X-Request-Id"]
    assert answer.json["instance"] == "/notes"


async def test_a_wrong_field_is_named_by_its_pointer(notes: Notes) -> None:
    answer = await notes.client.post("/notes", json={"text": 1})
    assert answer.json["errors"][0]["pointer"] == "/text"


async def test_another_content_type_is_415(notes: Notes) -> None:
    answer = await notes.client.post("/notes", data=b"x", headers={"Content-Type": "text/plain"})
    assert (answer.status, answer.code) == (415, "unsupported_media_type")


@pytest.mark.parametrize("path", ["/nothing", "/notes/%00", "/notes/%ff", "/notes/" + "x" * 3000, "/notes/../notes/x", "//"])
async def test_a_path_that_is_not_there_is_404(notes: Notes, path: str) -> None:
    answer = await notes.client.get(path)
    assert (answer.status, answer.code) == (404, "not_found")


async def test_a_method_that_is_not_there_is_405(notes: Notes) -> None:
    answer = await notes.client.delete("/notes")
    assert (answer.status, answer.code) == (405, "method_not_allowed")


async def test_internal_paths_look_as_if_they_were_not_there(notes: Notes) -> None:
    assert (await notes.client.get("/events")).status == 404
    assert (await notes.client.get("/events", headers={"Townsquare-Internal": "guess"})).status == 404
