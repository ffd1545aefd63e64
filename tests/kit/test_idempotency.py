"""`Idempotency-Key`: whose a key is, what it covers, and how long it is kept."""

from uuid import uuid4

from testbed.notes import Notes
from testbed.town import Answer
from townsquare.kit.idempotency import FORGET

AGE = "UPDATE idempotency_keys SET created_at = now() - interval '25 hours'"


def key() -> dict[str, str]:
    return {"Idempotency-Key": str(uuid4())}


def replayed(answer: Answer) -> bool:
    return answer.headers.get("Idempotency-Replayed") == "true"


async def test_a_key_is_its_owner_s_own(notes: Notes) -> None:
    ada, grace = (notes.signer.sign(uuid4(), name, name, uuid4()) for name in ("ada", "grace"))
    headers, body = key(), {"text": "mine"}
    first = await notes.client.post("/notes", json=body, headers=headers, as_=ada)
    for somebody in (grace, None):
        other = await notes.client.post("/notes", json=body, headers=headers, as_=somebody)
        assert other.status == 201
        assert not replayed(other)
        assert other.json["id"] != first.json["id"]
    again = await notes.client.post("/notes", json=body, headers=headers, as_=ada)
    assert replayed(again)
    assert again.json == first.json


async def test_the_query_is_a_part_of_the_request(notes: Notes) -> None:
    headers, body = key(), {"text": "asked"}
    await notes.client.post("/notes?a=1", json=body, headers=headers)
    answer = await notes.client.post("/notes?a=2", json=body, headers=headers)
    assert (answer.status, answer.code) == (422, "key_reused")


async def test_a_key_is_forgotten_after_a_day(notes: Notes) -> None:
    database, headers, body = notes.app.context.database, key(), {"text": "yesterday"}
    first = await notes.client.post("/notes", json=body, headers=headers)
    await database.execute(AGE)
    second = await notes.client.post("/notes", json=body, headers=headers)
    assert (second.status, replayed(second)) == (201, False)
    assert second.json["id"] != first.json["id"]
    third = await notes.client.post("/notes", json=body, headers=headers)
    assert (replayed(third), third.json) == (True, second.json)


async def test_what_is_forgotten_is_deleted(notes: Notes) -> None:
    database = notes.app.context.database
    await notes.client.post("/notes", json={"text": "old"}, headers=key())
    await database.execute(AGE)
    await notes.client.post("/notes", json={"text": "new"}, headers=key())
    await database.execute(FORGET)
    assert await database.fetchval("SELECT count(*) FROM idempotency_keys") == 1


async def test_a_refused_request_leaves_its_key_free(notes: Notes) -> None:
    headers = key()
    assert (await notes.client.post("/notes", json={"text": 1}, headers=headers)).status == 422
    answer = await notes.client.post("/notes", json={"text": "better"}, headers=headers)
    assert (answer.status, replayed(answer)) == (201, False)


async def test_reading_takes_no_notice_of_a_key(notes: Notes) -> None:
    headers = key()
    for _ in range(2):
        answer = await notes.client.get("/notes", headers=headers)
        assert (answer.status, replayed(answer)) == (200, False)
