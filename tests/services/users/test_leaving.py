"""Leaving: hidden at once everywhere, undone within thirty days, gone after them."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from testbed.accounts import cookie, make_token, refresh, sign_in, signed_in
from testbed.content import last_event, publish
from testbed.town import PASSWORD, Answer, Person, Town
from townsquare.kit.database import Connection, DatabaseUnavailable
from townsquare.kit.jobs import JobContext
from townsquare.kit.logs import get_logger
from townsquare.kit.retention import Nothing
from townsquare.services.users import accounts
from townsquare.services.users.accounts import purge_deleted


async def leave(town: Town, person: Person, password: str = PASSWORD) -> Answer:
    return await town.users.delete("/account", as_=person, json={"password": password})


async def left(town: Town, person: Person) -> None:
    assert (await leave(town, person)).status == 202
    await town.settle()


async def purge(town: Town, *people: Person) -> None:
    """Let thirty days pass for these people, and have the hourly job run."""
    users = town.database("users")
    await users.execute(
        "UPDATE accounts SET delete_after = now() - interval '1 second' WHERE person_id = ANY($1)",
        [person.id for person in people],
    )
    await purge_deleted(JobContext(users, town.settings, get_logger("test")), Nothing())


async def count(town: Town, table: str, column: str, person: Person) -> object:
    return await town.database("users").fetchval(f"SELECT count(*) FROM {table} WHERE {column} = $1", person.id)


async def test_who_leaves_is_told_until_when_it_can_be_undone(town: Town) -> None:
    ada = await town.register("ada")
    answer = await leave(town, ada)
    until = datetime.fromisoformat(answer.json["delete_after"])
    assert timedelta(days=29, hours=23) < until - datetime.now(UTC) <= timedelta(days=30)
    again = await leave(town, ada)
    assert again.json == answer.json, "leaving twice does not put it off"


async def test_nobody_leaves_without_the_password(town: Town) -> None:
    ada = await town.register("ada")
    answer = await leave(town, ada, "not the password")
    assert (answer.status, answer.json["errors"][0]["pointer"]) == (422, "/password")
    assert (await town.users.delete("/account", as_=ada)).status in (400, 422)
    assert (await town.users.get(f"/profile/{ada.id}")).status == 200


async def test_who_leaves_is_hidden_at_once_everywhere(town: Town) -> None:
    ada, grace = await town.register("ada"), await town.register("grace")
    await town.befriend(ada, grace)
    await town.befriend(grace, ada)
    skill = await town.users.post(f"/users/{ada.id}/skills", as_=ada, json={"name": "Poetry", "level": "expert"})
    word = town.handle("zeugma").replace("_", "")
    post = await publish(town, ada, f"A {word} for all to see")
    await left(town, ada)
    for viewer in (None, grace):
        for path in (
            f"/profile/{ada.id}",
            f"/profile/@{ada.handle}",
            f"/users/{ada.id}/skills",
            f"/users/{ada.id}/skills/{skill.json['id']}",
            f"/users/{ada.id}/followers",
            f"/users/{ada.id}/following",
        ):
            assert (await town.users.get(path, as_=viewer)).status == 404, path
        for path in (f"/posts/{post['id']}", f"/users/{ada.id}/posts"):
            assert (await town.content.get(path, as_=viewer)).status == 404, path
        for path in ("/public/posts", f"/search?q={word}"):
            assert word.encode() not in (await town.content.get(path, as_=viewer)).body
        for path in (f"/search?q={ada.handle}", f"/users/{grace.id}/followers", f"/users/{grace.id}/following"):
            assert str(ada.id).encode() not in (await town.users.get(path, as_=viewer)).body, path
    assert (await town.users.put(f"/users/{ada.id}/follow", as_=grace)).status == 404
    assert (await town.content.post("/posts", as_=ada, json={"text": "Still here?"})).status == 403


async def test_who_leaves_is_signed_out_everywhere(town: Town) -> None:
    ada = await town.register("ada")
    elsewhere = await sign_in(town, ada.handle)
    token = (await make_token(town, ada, "read"))["token"]
    await left(town, ada)
    assert (await refresh(town, cookie(elsewhere))).status == 401
    assert (await town.users.get("/skills", as_=token)).status == 401


async def test_coming_back_brings_all_back(town: Town) -> None:
    ada, grace = await town.register("ada"), await town.register("grace")
    await town.befriend(grace, ada)
    post = await publish(town, ada)
    token = (await make_token(town, ada, "read"))["token"]
    before = (await town.users.get(f"/profile/{ada.id}")).json
    await left(town, ada)
    back = await signed_in(town, ada.handle)
    assert "delete_after" in (await town.users.get("/account", as_=back)).json
    answer = await town.users.post("/account/restore", as_=back)
    assert answer.status == 200
    assert "delete_after" not in answer.json
    await town.settle()
    after = (await town.users.get(f"/profile/{ada.id}")).json
    assert after == before | {"counts": after["counts"]}
    assert after["counts"]["followers"] == 1
    assert (await town.content.get(f"/posts/{post['id']}")).status == 200
    assert (await town.users.get(f"/search?q={ada.handle}")).items[0]["id"] == str(ada.id)
    assert (await town.users.get("/skills", as_=token)).status == 200
    again = await town.users.post("/account/restore", as_=back)
    assert (again.status, again.code) == (409, "conflict")


async def test_signing_in_alone_does_not_bring_back(town: Town) -> None:
    ada = await town.register("ada")
    await left(town, ada)
    await signed_in(town, ada.handle)
    assert (await town.users.get(f"/profile/{ada.id}")).status == 404


async def test_who_is_suspended_does_not_come_back(town: Town) -> None:
    ada = await town.register("ada")
    await left(town, ada)
    token = await signed_in(town, ada.handle)
    await town.database("users").execute("UPDATE accounts SET suspended_at = now() WHERE person_id = $1", ada.id)
    assert (await town.users.post("/account/restore", as_=token)).status == 403
    assert (await town.users.get(f"/profile/{ada.id}")).status == 404


async def test_after_thirty_days_nothing_is_left(town: Town) -> None:
    ada = await town.register("ada")
    other = await town.register("other")
    await make_token(town, ada, "read")
    await town.users.post(f"/users/{ada.id}/skills", as_=ada, json={"name": "Poetry", "level": "expert"})
    await town.befriend(ada, other)
    await left(town, ada)
    await purge(town, ada)
    for table, column in (
        ("people", "id"),
        ("accounts", "person_id"),
        ("sessions", "person_id"),
        ("personal_tokens", "person_id"),
        ("mailed_tokens", "person_id"),
        ("recovery_codes", "person_id"),
        ("skills", "person"),
        ("people_names", "person"),
        ("follows", "follower"),
    ):
        assert await count(town, table, column, ada) == 0, table
    assert (await sign_in(town, ada.handle)).status == 401
    assert (await town.users.get("/account", as_=ada)).status == 404


async def test_a_handle_is_never_given_to_somebody_else_and_an_address_is_free(town: Town) -> None:
    ada = await town.register("ada")
    await left(town, ada)
    await purge(town, ada)
    body = {"handle": ada.handle, "email": ada.email, "password": PASSWORD}
    refused = await town.users.post("/register", json=body)
    assert (refused.status, refused.code) == (409, "taken")
    assert [error["pointer"] for error in refused.json["errors"]] == ["/handle"]
    assert (await town.users.post("/register", json=body | {"handle": town.handle("ada")})).status == 201


async def test_others_are_counted_without_the_one_who_is_gone(town: Town) -> None:
    ada, grace, joan = [await town.register(name) for name in ("ada", "grace", "joan")]
    await town.befriend(ada, grace, joan)
    await town.befriend(grace, ada)
    word = town.handle("lute")
    skill = await town.users.post(f"/users/{grace.id}/skills", as_=grace, json={"name": word, "level": "expert"})
    await town.users.post(f"/users/{ada.id}/skills", as_=ada, json={"name": word, "level": "expert"})
    await town.users.put(f"/skills/{skill.json['id']}/endorsement", as_=ada)
    await left(town, ada)
    await purge(town, ada)
    counts = [(await town.users.get(f"/profile/{person.id}")).json["counts"] for person in (grace, joan)]
    assert [(each["followers"], each["following"]) for each in counts] == [(0, 0), (0, 0)]
    assert (await town.users.get(f"/users/{grace.id}/skills")).items[0]["endorsements"] == 0
    assert [(item["name"], item["people"]) for item in (await town.users.get(f"/skills?q={word}")).items] == [(word, 1)]


async def test_every_relation_that_ends_is_told(town: Town) -> None:
    ada, grace, joan = [await town.register(name) for name in ("ada", "grace", "joan")]
    await town.befriend(ada, grace)
    await town.users.put(f"/users/{joan.id}/block", as_=ada)
    await town.users.put(f"/users/{ada.id}/mute", as_=grace)
    await left(town, ada)
    await purge(town, ada)
    for topic, key in (
        ("follow", f"{ada.id}:{grace.id}"),
        ("block", f"{ada.id}:{joan.id}"),
        ("mute", f"{grace.id}:{ada.id}"),
    ):
        row = await town.database("users").fetchrow(
            "SELECT payload->>'deleted' AS deleted, tags FROM outbox WHERE topic = $1 AND key = $2 ORDER BY id DESC LIMIT 1",
            topic,
            key,
        )
        assert row is not None
        assert row["deleted"] == "true", topic
        assert row["tags"], topic
    gone = await town.database("users").fetchrow(
        "SELECT payload::text, tags FROM outbox WHERE topic = 'person' AND key = $1 ORDER BY id DESC LIMIT 1", str(ada.id)
    )
    assert gone is not None
    assert '"purged": true' in gone["payload"]
    assert set(gone["tags"]) == {f"profile:{ada.id}", f"person:{ada.id}", f"left:{ada.id}", "people"}
    await town.settle()
    _, tags = await last_event(town, "person_seen", ada.id)
    assert tags == {f"author:{ada.id}"}


async def test_who_comes_back_in_the_last_moment_stays(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """The purge has listed them already when they come back."""
    ada = await town.register("ada")
    await left(town, ada)
    token = await signed_in(town, ada.handle)
    purging, restored = asyncio.Event(), asyncio.Event()
    purge_one = accounts.purge_account

    async def held(*arguments: object) -> None:
        purging.set()
        await restored.wait()
        await purge_one(*arguments)

    monkeypatch.setattr(accounts, "purge_account", held)
    job = asyncio.create_task(purge(town, ada))
    await purging.wait()
    assert (await town.users.post("/account/restore", as_=token)).status == 200
    restored.set()
    await job
    assert (await town.users.get(f"/profile/{ada.id}")).status == 200


async def test_one_who_cannot_be_deleted_does_not_keep_the_others(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    stuck, ada = await town.register("stuck"), await town.register("ada")
    for person in (stuck, ada):
        await left(town, person)
    purge_one = accounts.purge_account

    async def failing(connection: Connection, person: object) -> None:
        await purge_one(connection, person)
        if person == stuck.id:
            await connection.execute("DO $$ BEGIN RAISE SQLSTATE '40P01'; END $$")

    monkeypatch.setattr(accounts, "purge_account", failing)
    with pytest.raises(DatabaseUnavailable):
        await purge(town, stuck, ada)
    assert await count(town, "people", "id", ada) == 0
    assert await count(town, "people", "id", stuck) == 1
    monkeypatch.undo()
    await purge(town, stuck)
    assert await count(town, "people", "id", stuck) == 0


async def test_nobody_is_deleted_before_their_time(town: Town) -> None:
    ada = await town.register("ada")
    await left(town, ada)
    await purge(town)
    assert await count(town, "people", "id", ada) == 1


async def test_a_token_that_outlives_its_account_changes_nothing(town: Town) -> None:
    """An access token is good for five minutes, also when its account is deleted for good within them."""
    ada, grace = await town.register("ada"), await town.register("grace")
    skill = await town.users.post(f"/users/{grace.id}/skills", as_=grace, json={"name": "Lute", "level": "expert"})
    await left(town, ada)
    await purge(town, ada)
    for method, path, body in (
        ("PUT", f"/skills/{skill.json['id']}/endorsement", ...),
        ("PUT", f"/users/{grace.id}/follow", ...),
        ("PUT", f"/users/{grace.id}/block", ...),
        ("PUT", f"/users/{grace.id}/mute", ...),
        ("PUT", f"/profile/{ada.id}", {"display_name": "Ada"}),
        ("POST", f"/users/{ada.id}/skills", {"name": "Poetry", "level": "expert"}),
        ("POST", "/tokens", {"name": "A script", "scopes": ["read"]}),
        ("PUT", "/account/password", {"current": PASSWORD, "new": "quite another battery staple"}),
        ("POST", "/account/restore", ...),
        ("GET", "/account/export", ...),
    ):
        answer = await town.users.request(method, path, as_=ada, json=body)
        assert (answer.status, answer.code) == (404, "not_found"), (method, path)
    assert (await town.users.get(f"/users/{grace.id}/skills")).items[0]["endorsements"] == 0
