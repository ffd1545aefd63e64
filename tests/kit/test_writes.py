"""One transaction for each unsafe request, its events, its idempotent repetition, its conditional reads."""

import asyncio
from uuid import uuid4

import pytest

from testbed.notes import Notes
from townsquare.kit.readers import wait_until_seen


async def count(notes: Notes, text: str) -> int:
    value = await notes.app.context.database.fetchval("SELECT count(*) FROM notes WHERE text = $1", text)
    assert isinstance(value, int)
    return value


async def test_a_write_is_committed_with_its_event(notes: Notes) -> None:
    answer = await notes.client.post("/notes", json={"text": "kept"})
    assert answer.status == 201
    assert answer.headers["Location"] == f"/notes/{answer.json['id']}"
    service, _, xid = answer.headers["Consistency-Token"].partition(".")
    assert service == "messages"
    database = notes.app.context.database
    await wait_until_seen(database, "messages", int(xid))
    row = await database.fetchrow("SELECT times FROM copies WHERE id::text = $1", answer.json["id"])
    assert row is not None
    assert row["times"] == 1


async def test_made_up_tokens_make_nobody_wait_more_than_once(notes: Notes, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[tuple[str, int]] = []

    async def note(_: object, source: str, xid: int) -> None:
        waits.append((source, xid))

    monkeypatch.setattr("townsquare.kit.context.wait_until_seen", note)
    tokens = "messages.7 messages.9, messages.8 elsewhere.1 messages.x"
    assert (await notes.client.get("/notes", headers={"Consistency-Token": tokens})).status == 200
    assert waits == [("messages", 9)]


@pytest.mark.parametrize(("text", "status"), [("refuse", 409), ("crash", 500)])
async def test_an_error_answer_leaves_nothing_behind(notes: Notes, text: str, status: int) -> None:
    answer = await notes.client.post("/notes", json={"text": text})
    assert answer.status == status
    assert b"secret" not in answer.body
    assert await count(notes, text) == 0


async def test_the_same_key_gives_the_same_answer_and_writes_once(notes: Notes) -> None:
    key = {"Idempotency-Key": str(uuid4())}
    text = f"once {uuid4()}"
    first = await notes.client.post("/notes", json={"text": text}, headers=key)
    again = await notes.client.post("/notes", json={"text": text}, headers=key)
    assert (first.status, first.body) == (again.status, again.body)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.headers["Location"] == first.headers["Location"]
    assert await count(notes, text) == 1


async def test_the_same_key_with_another_body_is_422(notes: Notes) -> None:
    key = {"Idempotency-Key": str(uuid4())}
    await notes.client.post("/notes", json={"text": "one"}, headers=key)
    answer = await notes.client.post("/notes", json={"text": "other"}, headers=key)
    assert (answer.status, answer.code) == (422, "key_reused")


async def test_the_same_key_while_the_first_still_runs_is_409(notes: Notes) -> None:
    key = {"Idempotency-Key": str(uuid4())}
    both = await asyncio.gather(*(notes.client.post("/notes", json={"text": "slow"}, headers=key) for _ in range(2)))
    assert sorted(answer.status for answer in both) == [201, 409]


async def test_a_failed_call_may_be_repeated_with_its_key(notes: Notes) -> None:
    key = {"Idempotency-Key": str(uuid4())}
    assert (await notes.client.post("/notes", json={"text": "refuse"}, headers=key)).status == 409
    assert (await notes.client.post("/notes", json={"text": "refuse"}, headers=key)).status == 409


@pytest.mark.parametrize("key", ["", "x" * 256])
async def test_a_bad_key_is_422(notes: Notes, key: str) -> None:
    answer = await notes.client.post("/notes", json={"text": "x"}, headers={"Idempotency-Key": key})
    assert answer.status == 422


async def test_what_is_stored_cannot_be_read_without_the_key(notes: Notes) -> None:
    text = f"private {uuid4()}"
    await notes.client.post("/notes", json={"text": text}, headers={"Idempotency-Key": str(uuid4())})
    rows = await notes.app.context.database.fetch("SELECT answer FROM idempotency_keys")
    assert rows
    assert all(text.encode() not in row["answer"] for row in rows)


async def test_a_read_has_a_strong_etag_and_becomes_304(notes: Notes) -> None:
    created = await notes.client.post("/notes", json={"text": "tagged"})
    path = created.headers["Location"]
    first = await notes.client.get(path)
    tag = first.headers["ETag"]
    assert tag.startswith('"')
    for sent in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = await notes.client.get(path, headers={"If-None-Match": sent})
        assert (again.status, again.body) == (304, b"")
        assert again.headers["ETag"] == tag
    assert (await notes.client.get(path, headers={"If-None-Match": '"other"'})).status == 200


async def test_head_is_get_without_a_body(notes: Notes) -> None:
    path = (await notes.client.post("/notes", json={"text": "headed"})).headers["Location"]
    full, head = await notes.client.get(path), await notes.client.request("HEAD", path)
    assert head.body == b""
    assert (head.status, head.headers["ETag"]) == (200, full.headers["ETag"])
    assert head.headers["Content-Length"] == str(len(full.body))
