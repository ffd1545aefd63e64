"""The export of what one person wrote and left."""

import io
import zipfile

import msgspec
import pytest

from testbed.content import comment, publish, react
from testbed.town import Person, Town
from townsquare.kit.keys import internal_secret
from townsquare.kit.upstream import INTERNAL_HEADER


async def exported(town: Town, person: Person, kind: str) -> list[dict[str, object]]:
    headers = {INTERNAL_HEADER: internal_secret(town.settings)}
    return await town.content.all_items(f"/export/{person.id}?kind={kind}", limit=2, headers=headers)


async def test_all_posts_are_in_it_whatever_their_audience_with_their_versions(town: Town) -> None:
    ada, bob = await town.register("ada"), await town.register("bob")
    audiences = ("public", "followers", "private")
    posts = [await publish(town, ada, f"For {audience}", visibility=audience) for audience in audiences]
    await publish(town, bob)
    await town.content.patch(f"/posts/{posts[0]['id']}", as_=ada, json={"text": "Later"})
    items = await exported(town, ada, "posts")
    assert [item["id"] for item in items] == [post["id"] for post in posts]
    assert [item["visibility"] for item in items] == list(audiences)
    assert items[0]["text"] == "Later"
    assert [version["text"] for version in items[0]["versions"]] == ["For public"]


async def test_drafts_are_in_it(town: Town) -> None:
    ada = await town.register("ada")
    for text in ("One", "Two", "Three"):
        await town.content.post("/drafts", as_=ada, json={"text": text})
    assert [item["text"] for item in await exported(town, ada, "drafts")] == ["One", "Two", "Three"]


async def test_comments_are_in_it_wherever_they_stand_but_for_what_was_deleted(town: Town) -> None:
    ada, bob = await town.register("ada"), await town.register("bob")
    post = await publish(town, bob)
    first = await comment(town, ada, post["id"], "One")
    gone = await comment(town, ada, post["id"], "Two")
    reply = await comment(town, ada, post["id"], "Three", parent_id=gone["id"])
    await comment(town, bob, post["id"])
    await town.content.delete(f"/comments/{gone['id']}", as_=ada)
    await town.content.patch(f"/posts/{post['id']}", as_=bob, json={"visibility": "private"})
    items = await exported(town, ada, "comments")
    assert [item["text"] for item in items] == ["One", "Three"]
    assert [item["id"] for item in items] == [first["id"], reply["id"]]
    assert (items[0]["post_id"], items[1]["parent_id"]) == (post["id"], gone["id"])


async def test_reactions_and_bookmarks_are_in_it(town: Town) -> None:
    ada, bob = await town.register("ada"), await town.register("bob")
    posts = [(await publish(town, bob))["id"] for _ in range(3)]
    for post in posts:
        await react(town, ada, post, "wow")
        await town.content.put(f"/posts/{post}/bookmark", as_=ada)
    await react(town, bob, posts[0])
    reactions = await exported(town, ada, "reactions")
    assert [(item["post_id"], item["kind"]) for item in reactions] == [(post, "wow") for post in posts]
    assert [item["post_id"] for item in await exported(town, ada, "bookmarks")] == posts


async def test_the_account_s_export_has_all_of_it(town: Town) -> None:
    ada, bob = await town.register("ada"), await town.register("bob")
    post = await publish(town, ada, "Mine")
    await town.content.post("/drafts", as_=ada, json={"text": "Half"})
    for person in (ada, bob):
        await comment(town, person, post["id"], f"By {person.handle}")
        await react(town, person, post["id"])
        await town.content.put(f"/posts/{post['id']}/bookmark", as_=person)
    answer = await town.users.get("/account/export", as_=ada)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/zip")
    with zipfile.ZipFile(io.BytesIO(answer.body)) as archive:
        found = {
            kind: [msgspec.json.decode(line) for line in archive.read(f"content/{kind}.ndjson").splitlines()]
            for kind in ("posts", "drafts", "comments", "reactions", "bookmarks")
        }
    assert {kind: len(items) for kind, items in found.items()} == dict.fromkeys(found, 1)
    assert [found[kind][0]["text"] for kind in ("posts", "drafts", "comments")] == ["Mine", "Half", f"By {ada.handle}"]


@pytest.mark.parametrize("query", ["", "?kind=everything"])
async def test_what_is_no_kind_is_refused(town: Town, query: str) -> None:
    ada = await town.register("ada")
    headers = {INTERNAL_HEADER: internal_secret(town.settings)}
    answer = await town.content.get(f"/export/{ada.id}{query}", headers=headers)
    assert (answer.status, answer.code) == (422, "invalid")


async def test_nobody_from_outside_gets_it(town: Town) -> None:
    ada = await town.register("ada")
    for headers in ({}, {INTERNAL_HEADER: "guess"}):
        answer = await town.content.get(f"/export/{ada.id}?kind=posts", as_=ada, headers=headers)
        assert (answer.status, answer.code) == (404, "not_found")
