"""Personal tokens: made, shown once, used within their scopes, and ended."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from testbed.accounts import make_token
from testbed.town import Person, Town
from townsquare.kit.ids import new_id
from townsquare.kit.personal_tokens import EXCHANGE_PATH
from townsquare.services.users.personal_tokens import MOST


async def test_a_token_is_shown_once(town: Town) -> None:
    ada = await town.register("ada")
    body = {"name": "Backup", "scopes": ["write", "read"]}
    answer = await town.users.post("/tokens", as_=ada, json=body)
    assert (answer.status, answer.headers["Cache-Control"]) == (201, "no-store")
    made = answer.json
    token = made.pop("token")
    assert token.startswith("pat_")
    assert made == {"id": made["id"], "name": "Backup", "scopes": ["read", "write"], "created_at": made["created_at"]}
    assert answer.headers["Location"] == f"/api/users/tokens/{made['id']}"
    assert (await town.users.get(f"/tokens/{made['id']}", as_=ada)).json == made
    assert (await town.users.get("/tokens", as_=ada)).items == [made]
    kept = await town.database("users").fetchval("SELECT t::text FROM personal_tokens AS t WHERE id::text = $1", made["id"])
    assert token not in str(kept)
    assert token.removeprefix("pat_") not in str(kept)


async def test_tokens_are_listed_newest_first_page_by_page(town: Town) -> None:
    ada = await town.register("ada")
    for name in "abc":
        await make_token(town, ada, "read", name=name)
    listed = await town.users.all_items("/tokens", limit=2, as_=ada)
    assert [item["name"] for item in listed] == ["c", "b", "a"]


async def test_a_token_speaks_for_its_owner(town: Town) -> None:
    ada, grace = await town.register("ada"), await town.register("grace")
    token = (await make_token(town, ada, "read", "write"))["token"]
    assert (await town.users.patch(f"/profile/{ada.id}", as_=token, json={"bio": "By a script."})).status == 200
    assert (await town.users.patch(f"/profile/{grace.id}", as_=token, json={"bio": "x"})).status == 403
    post = await town.content.post("/posts", as_=token, json={"text": "By a script."})
    assert (post.status, post.json["author"]["id"]) == (201, str(ada.id))
    assert (await town.content.get(f"/posts/{post.json['id']}", as_=token)).status == 200


async def test_a_token_does_no_more_than_its_scopes_say(town: Town) -> None:
    ada, grace = await town.register("ada"), await town.register("grace")
    reading, writing = [(await make_token(town, ada, scope))["token"] for scope in ("read", "write")]
    refused = await town.users.put(f"/users/{grace.id}/follow", as_=reading)
    assert (refused.status, refused.code) == (403, "insufficient_scope")
    assert (await town.content.post("/posts", as_=reading, json={"text": "x"})).code == "insufficient_scope"
    assert (await town.users.get(f"/profile/{ada.id}", as_=reading)).status == 200
    assert (await town.users.put(f"/users/{grace.id}/follow", as_=writing)).status == 204
    assert (await town.users.get(f"/profile/{ada.id}", as_=writing)).code == "insufficient_scope"


async def test_a_deleted_token_is_not_exchanged_again(town: Town) -> None:
    ada = await town.register("ada")
    made = await make_token(town, ada, "read")
    assert (await town.users.delete(f"/tokens/{made['id']}", as_=ada)).status == 204
    assert (await town.users.get(f"/profile/{ada.id}", as_=made["token"])).code == "invalid_token"
    assert (await town.users.delete(f"/tokens/{made['id']}", as_=ada)).status == 404
    assert (await town.users.get(f"/tokens/{made['id']}", as_=ada)).status == 404


async def test_nobody_sees_or_deletes_anothers(town: Town) -> None:
    ada, eve = await town.register("ada"), await town.register("eve")
    made = await make_token(town, ada, "read")
    for token_id in (made["id"], new_id(), "x"):
        assert (await town.users.get(f"/tokens/{token_id}", as_=eve)).status == 404
        assert (await town.users.delete(f"/tokens/{token_id}", as_=eve)).status == 404
    assert (await town.users.get("/tokens", as_=eve)).items == []
    assert (await town.users.get(f"/profile/{ada.id}", as_=made["token"])).status == 200


async def test_an_expired_token_is_not_exchanged(town: Town) -> None:
    ada = await town.register("ada")
    soon = datetime.now(UTC) + timedelta(hours=1)
    made = await make_token(town, ada, "read", expires_at=soon)
    assert datetime.fromisoformat(made["expires_at"]) == soon
    await town.database("users").execute(
        "UPDATE personal_tokens SET expires_at = now() - interval '1 second' WHERE person_id = $1", ada.id
    )
    assert (await town.users.get(f"/profile/{ada.id}", as_=made["token"])).code == "invalid_token"


async def test_a_use_is_written_down(town: Town) -> None:
    ada = await town.register("ada")
    made = await make_token(town, ada, "read")
    for _ in range(3):
        await town.users.get(f"/profile/{ada.id}", as_=made["token"])
    used_at = datetime.fromisoformat((await town.users.get(f"/tokens/{made['id']}", as_=ada)).json["used_at"])
    assert abs(datetime.now(UTC) - used_at) < timedelta(minutes=1)


async def test_a_token_in_use_is_exchanged_once_and_remembered(town: Town) -> None:
    """`used_at` costs one write in five minutes, however often the token is used."""
    ada = await town.register("ada")
    made = await make_token(town, ada, "read")
    await town.users.get(f"/profile/{ada.id}", as_=made["token"])
    first = await town.database("users").fetchval("SELECT xmin::text FROM personal_tokens WHERE id::text = $1", made["id"])
    await asyncio.gather(*(town.users.get(f"/profile/{ada.id}", as_=made["token"]) for _ in range(20)))
    last = await town.database("users").fetchval("SELECT xmin::text FROM personal_tokens WHERE id::text = $1", made["id"])
    assert first == last


@pytest.mark.parametrize("change", ["UPDATE accounts SET suspended_at = now() WHERE person_id = $1",
                                    "UPDATE people SET hidden_at = now() WHERE id = $1"])  # fmt: skip
async def test_the_token_of_who_is_suspended_or_leaving_is_not_exchanged(town: Town, change: str) -> None:
    ada = await town.register("ada")
    made = await make_token(town, ada, "read")
    await town.database("users").execute(change, ada.id)
    assert (await town.users.get("/skills", as_=made["token"])).code == "invalid_token"


@pytest.mark.parametrize("token", ["pat_", "pat_x", "pat_" + "x" * 43, "pat_" + "x" * 5000])
async def test_a_forged_token_is_401(town: Town, token: str) -> None:
    answer = await town.users.get("/skills", as_=token)
    assert (answer.status, answer.code) == (401, "invalid_token")


async def test_the_exchange_is_not_there_for_anybody_outside(town: Town) -> None:
    ada = await town.register("ada")
    body = {"token": (await make_token(town, ada, "read"))["token"]}
    for person in (None, ada):
        assert (await town.users.post(EXCHANGE_PATH, as_=person, json=body)).status == 404


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"name": ""}, "/name"),
        ({"name": "x" * 101}, "/name"),
        ({"name": "two\nlines"}, "/name"),
        ({"scopes": []}, "/scopes"),
        ({"scopes": ["admin"]}, "/scopes/0"),
        ({"scopes": "read"}, "/scopes"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "/expires_at"),
        ({"expires_at": "2999-01-01T00:00:00"}, "/expires_at"),
        ({"expires_at": "tomorrow"}, "/expires_at"),
    ],
)
async def test_what_does_not_fit_is_422_and_says_where(town: Town, change: dict[str, object], pointer: str) -> None:
    ada = await town.register("ada")
    answer = await town.users.post("/tokens", as_=ada, json={"name": "n", "scopes": ["read"], **change})
    assert (answer.status, answer.code) == (422, "invalid")
    assert [error["pointer"] for error in answer.json["errors"]] == [pointer]


@pytest.mark.parametrize("moment", ["9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59.999999Z"])
async def test_the_ends_of_time_are_no_trouble(town: Town, moment: str) -> None:
    ada = await town.register("ada")
    answer = await town.users.post("/tokens", as_=ada, json={"name": "n", "scopes": ["read"], "expires_at": moment})
    assert answer.status in (201, 422), answer.body
    assert (await town.users.get("/tokens", as_=ada)).status == 200


async def test_nobody_has_more_than_the_most(town: Town) -> None:
    ada = await town.register("ada")
    await give(town, ada, MOST - 1)
    body = {"name": "one more", "scopes": ["read"]}
    answers = await asyncio.gather(*(town.users.post("/tokens", as_=ada, json=body) for _ in range(3)))
    assert sorted(answer.status for answer in answers) == [201, 409, 409]


async def give(town: Town, person: Person, count: int) -> None:
    await town.database("users").execute(
        """
        INSERT INTO personal_tokens (id, person_id, name, token_hash, scopes, created_at)
        SELECT gen_random_uuid(), $1, 'x', uuid_send(gen_random_uuid()), '{read}', now() FROM generate_series(1, $2)
        """,
        person.id,
        count,
    )
