"""The export of one's own data: whole, for nobody else, or not at all."""

import io
import zipfile
from typing import Any

import msgspec
import pytest

from testbed.accounts import make_token
from testbed.content import publish
from testbed.town import Person, Town
from townsquare.kit.problems import Problem
from townsquare.kit.upstream import Reply


async def export(town: Town, person: Person) -> tuple[zipfile.ZipFile, bytes]:
    answer = await town.users.get("/account/export", as_=person)
    assert answer.status == 200, answer.body
    assert answer.headers["Content-Type"] == "application/zip"
    assert answer.headers["Content-Disposition"] == f'attachment; filename="townsquare-{person.handle}.zip"'
    assert answer.headers["Cache-Control"] == "no-store"
    archive = zipfile.ZipFile(io.BytesIO(answer.body))
    assert archive.testzip() is None
    return archive, b"".join(archive.read(name) for name in archive.namelist())


def part(archive: zipfile.ZipFile, name: str) -> Any:
    return msgspec.json.decode(archive.read(f"{name}.json"))


def lines(archive: zipfile.ZipFile, kind: str) -> list[Any]:
    return [msgspec.json.decode(line) for line in archive.read(f"content/{kind}.ndjson").splitlines()]


async def test_everything_of_ones_own_is_in_it(town: Town) -> None:
    ada, grace, joan = [await town.register(name) for name in ("ada", "grace", "joan")]
    await town.users.patch(
        f"/profile/{ada.id}", as_=ada, json={"bio": "Mathématiques.", "fields": [{"name": "Pronouns", "value": "she"}]}
    )
    await town.users.post(f"/users/{ada.id}/skills", as_=ada, json={"name": "Poetry", "level": "expert"})
    skill = await town.users.post(f"/users/{grace.id}/skills", as_=grace, json={"name": "COBOL", "level": "expert"})
    await town.users.put(f"/skills/{skill.json['id']}/endorsement", as_=ada)
    await town.befriend(ada, grace)
    await town.befriend(grace, ada)
    await town.users.put(f"/users/{joan.id}/block", as_=ada)
    await town.users.put(f"/users/{grace.id}/mute", as_=ada)
    await make_token(town, ada, "read", name="Backup")
    posts = [await publish(town, ada, f"Number {number}") for number in range(3)]
    archive, _ = await export(town, ada)
    account, profile = part(archive, "account"), part(archive, "profile")
    assert (account["id"], account["handle"], account["email"]) == (str(ada.id), ada.handle, ada.email)
    assert profile["bio"] == "Mathématiques."
    assert profile["fields"] == [{"name": "Pronouns", "value": "she"}]
    assert [item["name"] for item in part(archive, "skills")] == ["Poetry"]
    assert [(item["name"], item["handle"]) for item in part(archive, "endorsements")] == [("COBOL", grace.handle)]
    assert [item["handle"] for item in part(archive, "follows")] == [grace.handle]
    assert [item["handle"] for item in part(archive, "followers")] == [grace.handle]
    assert [item["handle"] for item in part(archive, "blocks")] == [joan.handle]
    assert [item["handle"] for item in part(archive, "mutes")] == [grace.handle]
    assert [item["name"] for item in part(archive, "tokens")] == ["Backup"]
    assert len(part(archive, "sessions")) == 1
    assert [item["id"] for item in lines(archive, "posts")] == [post["id"] for post in posts]
    for kind in ("drafts", "comments", "reactions", "bookmarks"):
        assert lines(archive, kind) == []


async def test_nothing_secret_and_nothing_of_others_is_in_it(town: Town) -> None:
    ada, grace = await town.register("ada"), await town.register("grace")
    await town.befriend(grace, ada)
    token = (await make_token(town, ada, "read"))["token"]
    await publish(town, grace, "Of somebody else")
    _, everything = await export(town, ada)
    for secret in (b"argon2", b"password", b"totp_secret", token.encode(), grace.email.encode(), b"Of somebody else"):
        assert secret not in everything, secret


async def test_who_is_hidden_is_not_in_it(town: Town) -> None:
    ada, gone = await town.register("ada"), await town.register("gone")
    await town.befriend(gone, ada)
    await town.befriend(ada, gone)
    await town.database("users").execute("UPDATE people SET hidden_at = now() WHERE id = $1", gone.id)
    _, everything = await export(town, ada)
    assert gone.handle.encode() not in everything


async def test_more_than_a_page_of_posts_is_whole(town: Town) -> None:
    ada = await town.register("ada")
    await publish(town, ada)
    await town.database("content").execute(
        """
        INSERT INTO posts (id, author_id, text, html, visibility, reply_policy, created_at)
        SELECT gen_random_uuid(), author_id, n::text, html, visibility, reply_policy, created_at
        FROM posts, generate_series(1, 1200) AS n
        WHERE author_id = $1
        """,
        ada.id,
    )
    archive, _ = await export(town, ada)
    found = lines(archive, "posts")
    assert len(found) == 1201
    assert len({post["id"] for post in found}) == 1201


@pytest.mark.parametrize("status", [404, 422, 500, 503])
async def test_what_cannot_be_whole_is_a_503(town: Town, monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    ada = await town.register("ada")

    class Broken:
        async def call(self, *arguments: object, **options: object) -> Reply:
            return Reply(status, [], b"{}")

    monkeypatch.setitem(town.host.services["users"].context.upstreams, "content", Broken())  # type: ignore[arg-type]
    answer = await town.users.get("/account/export", as_=ada)
    assert (answer.status, answer.code) == (503, "unavailable")
    assert "Retry-After" in answer.headers


async def test_a_service_that_is_away_is_a_503(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    ada = await town.register("ada")

    class Away:
        async def call(self, *arguments: object, **options: object) -> Reply:
            raise Problem("upstream_unavailable", headers={"Retry-After": "1"})

    monkeypatch.setitem(town.host.services["users"].context.upstreams, "content", Away())  # type: ignore[arg-type]
    assert (await town.users.get("/account/export", as_=ada)).status == 503
