"""Posts: writing, reading, changing and deleting them."""

import asyncio
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import pytest

from testbed.content import ids, last_event, publish, tell_file
from testbed.town import Person, Town
from townsquare.kit.ids import time_of
from townsquare.services.content.post_view import REACTION_KINDS


async def posts_count(town: Town, person: Person) -> object:
    return await town.database("content").fetchval("SELECT posts FROM people WHERE id = $1", person.id)


async def test_publishing_answers_the_whole_post_with_its_location(town: Town) -> None:
    ada = await town.register("ada")
    media = [await tell_file(town, ada, alt="A lantern"), await tell_file(town, ada, kind="document", width=None)]
    body = {"text": "  \nHello **#Café** friends \n", "media_ids": [*media, media[0]]}
    answer = await town.content.post("/posts", as_=ada, json=body)
    assert answer.status == 201
    post = answer.json
    assert answer.headers["Location"].endswith(f"/posts/{post['id']}")
    assert post["text"] == "Hello **#Café** friends"
    assert post["html"].startswith("<p>Hello <strong><a ")
    assert post["author"] == {"id": str(ada.id), "handle": ada.handle, "display_name": "Ada"}
    assert [shown["id"] for shown in post["media"]] == media
    assert post["tags"] == ["café"]
    assert post["counts"] == {"comments": 0, "reactions": 0}
    assert post["reactions"] == {}
    assert (post["visibility"], post["reply_policy"]) == ("public", "everyone")
    assert "edited_at" not in post
    assert "content_warning" not in post
    assert UUID(post["id"]).version == 7
    assert abs(time_of(UUID(post["id"])) - datetime.fromisoformat(post["created_at"])) < timedelta(seconds=1)
    read = await town.content.get(f"/posts/{post['id']}")
    assert read.status == 200
    assert read.json == post


async def test_somebody_just_registered_can_post_before_the_event_about_them_arrives(town: Town) -> None:
    newcomer = await town.register("newcomer")
    post = await publish(town, newcomer)
    assert post["author"]["handle"] == newcomer.handle
    await town.settle()
    assert (await town.content.get(f"/posts/{post['id']}")).json["author"] == post["author"]
    assert await posts_count(town, newcomer) == 1


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/text"),
        ({"text": ""}, "/text"),
        ({"text": " \n\t "}, "/text"),
        ({"text": "x" * 5001}, "/text"),
        ({"text": "a\0b"}, "/text"),
        ({"text": "a\u0007b"}, "/text"),
        ({"text": 3}, "/text"),
        ({"text": "x", "visibility": "friends"}, "/visibility"),
        ({"text": "x", "reply_policy": "some"}, "/reply_policy"),
        ({"text": "x", "content_warning": ""}, "/content_warning"),
        ({"text": "x", "content_warning": "two\nlines"}, "/content_warning"),
        ({"text": "x", "content_warning": "line\n"}, "/content_warning"),
        ({"text": "x", "media_ids": ["no-uuid"]}, "/media_ids"),
        ({"text": "x", "media_ids": [str(uuid4()) for _ in range(11)]}, "/media_ids"),
        ({"text": "x", "colour": "red"}, "/colour"),
    ],
)
async def test_what_cannot_be_a_post_is_refused_with_where_it_is_wrong(
    town: Town, body: dict[str, object], pointer: str
) -> None:
    ada = await town.register("ada")
    answer = await town.content.post("/posts", as_=ada, json=body)
    assert (answer.status, answer.code) == (422, "invalid")
    assert any(pointer[1:] in error["pointer"] + error["detail"] for error in answer.json["errors"]), answer.body


async def test_the_longest_text_is_taken_whole(town: Town) -> None:
    ada = await town.register("ada")
    text = "ö" * 5000
    post = await publish(town, ada, text)
    assert (await town.content.get(f"/posts/{post['id']}")).json["text"] == text


async def test_nobody_posts_anonymously(town: Town) -> None:
    answer = await town.content.post("/posts", json={"text": "x"})
    assert (answer.status, answer.code) == (401, "unauthenticated")


@pytest.mark.parametrize("identifier", ["no-uuid", "0", "%00", "' OR 1=1", "00000000-0000-7000-8000-000000000000"])
@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
async def test_what_is_no_post_is_not_found(town: Town, identifier: str, method: str) -> None:
    ada = await town.register("ada")
    answer = await town.content.request(method, f"/posts/{identifier}", as_=ada, json={} if method == "PATCH" else ...)
    assert (answer.status, answer.code) == (404, "not_found")


async def test_a_change_touches_only_what_it_names_and_marks_the_post_as_edited(town: Town) -> None:
    ada = await town.register("ada")
    post = await publish(town, ada, "First #one", content_warning="Spoilers", reply_policy="nobody")
    changed = await town.content.patch(f"/posts/{post['id']}", as_=ada, json={"text": "Second #two"})
    assert changed.status == 200
    assert changed.json["tags"] == ["two"]
    assert changed.json["edited_at"] > post["created_at"]
    expected = post | {key: changed.json[key] for key in ("text", "html", "tags", "edited_at")}
    assert changed.json == expected
    assert (await town.content.get(f"/posts/{post['id']}")).json == expected


async def test_a_new_audience_is_no_edit(town: Town) -> None:
    ada = await town.register("ada")
    post = await publish(town, ada)
    changed = await town.content.patch(f"/posts/{post['id']}", as_=ada, json={"visibility": "private"})
    assert changed.json == post | {"visibility": "private"}
    assert (await town.content.get(f"/posts/{post['id']}/history", as_=ada)).items == []


async def test_a_content_warning_can_be_taken_away(town: Town) -> None:
    ada = await town.register("ada")
    post = await publish(town, ada, content_warning="Spiders")
    changed = await town.content.patch(f"/posts/{post['id']}", as_=ada, json={"content_warning": None})
    assert "content_warning" not in changed.json
    assert "edited_at" in changed.json


async def test_an_edit_of_what_has_changed_meanwhile_is_refused(town: Town) -> None:
    ada = await town.register("ada")
    path = f"/posts/{(await publish(town, ada))['id']}"
    tag = (await town.content.get(path)).headers["ETag"]
    first = await town.content.patch(path, as_=ada, json={"text": "Mine"}, headers={"If-Match": tag})
    late = await town.content.patch(path, as_=ada, json={"text": "Theirs"}, headers={"If-Match": tag})
    gone = await town.content.delete(path, as_=ada, headers={"If-Match": tag})
    assert (first.status, late.status, gone.status) == (200, 412, 412)
    assert (await town.content.get(path)).json["text"] == "Mine"


async def test_only_the_author_changes_or_deletes_a_post(town: Town) -> None:
    ada, bob = await town.register("ada"), await town.register("bob")
    post = await publish(town, ada)
    path = f"/posts/{post['id']}"
    assert (await town.content.patch(path, as_=bob, json={"text": "Mine now"})).status == 403
    assert (await town.content.delete(path, as_=bob)).status == 403
    assert (await town.content.delete(path)).status == 401
    private = f"/posts/{(await publish(town, ada, visibility='private'))['id']}"
    assert (await town.content.patch(private, as_=bob, json={"text": "x"})).status == 404
    assert (await town.content.delete(private, as_=bob)).status == 404
    assert (await town.content.get(path)).json == post


async def test_a_deleted_post_is_gone_everywhere(town: Town) -> None:
    ada = await town.register("ada")
    tag, word = town.handle("tag"), town.handle("word").replace("_", "")
    post = await publish(town, ada, f"#{tag} {word}")
    await town.content.patch(f"/posts/{post['id']}", as_=ada, json={"text": f"#{tag} {word} again"})
    lists = [f"/users/{ada.id}/posts", f"/public/posts?tag={tag}", f"/search?q={word}", "/public/posts?limit=100"]
    assert [post["id"] in ids(await town.content.get(path)) for path in lists] == [True] * 4
    assert (await town.content.delete(f"/posts/{post['id']}", as_=ada)).status == 204
    assert [post["id"] in ids(await town.content.get(path)) for path in lists] == [False] * 4
    assert (await town.content.get(f"/posts/{post['id']}", as_=ada)).status == 404
    assert (await town.content.get(f"/posts/{post['id']}/history", as_=ada)).status == 404
    assert (await town.content.delete(f"/posts/{post['id']}", as_=ada)).status == 404


async def test_an_author_s_count_is_of_what_others_may_see_and_is_told(town: Town) -> None:
    ada = await town.register("ada")
    public = await publish(town, ada)
    await publish(town, ada, visibility="followers")
    await publish(town, ada, visibility="private")
    assert await posts_count(town, ada) == 2
    await town.content.patch(f"/posts/{public['id']}", as_=ada, json={"visibility": "private"})
    assert await posts_count(town, ada) == 1
    await town.content.patch(f"/posts/{public['id']}", as_=ada, json={"visibility": "public"})
    await town.content.delete(f"/posts/{public['id']}", as_=ada)
    assert await posts_count(town, ada) == 1
    payload, _ = await last_event(town, "post_count", ada.id)
    assert payload == {"person": str(ada.id), "posts": 1}


async def test_posts_at_the_same_moment_are_all_counted(town: Town) -> None:
    ada = await town.register("ada")
    await asyncio.gather(*(publish(town, ada, f"Post {number}") for number in range(12)))
    assert await posts_count(town, ada) == 12
    assert (await last_event(town, "post_count", ada.id))[0]["posts"] == 12


async def test_every_change_tells_what_it_changes(town: Town) -> None:
    ada = await town.register("ada")
    post = await publish(town, ada, "Hi #one")
    always = {f"post:{post['id']}", f"comments:{post['id']}", f"posts:{ada.id}"}
    payload, tags = await last_event(town, "post", post["id"])
    assert payload == {
        "id": post["id"],
        "author": str(ada.id),
        "visibility": "public",
        "media": [],
        "created_at": post["created_at"],
    }
    assert tags == always | {"public", "search", "trending", "tag:one"}
    change = {"text": "Hi #two", "visibility": "followers"}
    await town.content.patch(f"/posts/{post['id']}", as_=ada, json=change)
    payload, tags = await last_event(town, "post", post["id"])
    assert payload["visibility"] == "followers"
    assert tags == always | {"public", "search", "trending", "tag:one"}
    await town.content.delete(f"/posts/{post['id']}", as_=ada)
    payload, tags = await last_event(town, "post", post["id"])
    assert payload["deleted"] is True
    assert tags == always


async def test_the_same_call_twice_makes_one_post(town: Town) -> None:
    ada = await town.register("ada")
    headers = {"Idempotency-Key": town.handle("key")}
    first = await town.content.post("/posts", as_=ada, json={"text": "Once"}, headers=headers)
    again = await town.content.post("/posts", as_=ada, json={"text": "Once"}, headers=headers)
    assert (again.status, again.body) == (201, first.body)
    assert len((await town.content.get(f"/users/{ada.id}/posts")).items) == 1


async def test_reactions_are_summed_and_shown_by_kind(town: Town) -> None:
    ada = await town.register("ada")
    post = await publish(town, ada)
    columns = ", ".join(f"{kind}_count = {number}" for number, kind in enumerate(REACTION_KINDS))
    await town.database("content").execute(f"UPDATE posts SET comments = 7, {columns} WHERE id = $1", UUID(post["id"]))
    read = (await town.content.get(f"/posts/{post['id']}")).json
    assert read["counts"] == {"comments": 7, "reactions": 15}
    assert read["reactions"] == {"love": 1, "haha": 2, "wow": 3, "sad": 4, "angry": 5}
