"""Drafts, which nobody but their author sees."""

import pytest

from testbed.content import PICTURE, ids, tell_file
from testbed.town import Person, Town


async def begin(town: Town, author: Person, **fields: object) -> dict[str, str]:
    answer = await town.content.post("/drafts", as_=author, json=fields)
    assert answer.status == 201, answer.body
    assert answer.headers["Location"].endswith(f"/drafts/{answer.json['id']}")
    return answer.json


async def test_a_draft_grows_and_becomes_a_post(town: Town) -> None:
    ada = await town.register("ada")
    media = await tell_file(town, ada)
    draft = await begin(town, ada, visibility="followers", reply_policy="mentioned")
    assert draft["text"] == ""
    change = {"text": "At **last**", "media_ids": [media], "content_warning": "Long"}
    changed = await town.content.patch(f"/drafts/{draft['id']}", as_=ada, json=change)
    assert changed.json["updated_at"] > draft["updated_at"]
    assert (await town.content.get(f"/drafts/{draft['id']}", as_=ada)).json == changed.json
    published = await town.content.post(f"/drafts/{draft['id']}/publish", as_=ada)
    assert published.status == 201, published.body
    post = published.json
    assert published.headers["Location"].endswith(f"/posts/{post['id']}")
    assert (post["text"], post["visibility"], post["reply_policy"]) == ("At **last**", "followers", "mentioned")
    picture = {name: PICTURE[name] for name in ("kind", "width", "height", "thumbhash")}
    assert (post["media"], post["content_warning"]) == ([{"id": media, **picture}], "Long")
    assert post["created_at"] > changed.json["updated_at"]
    assert (await town.content.get(f"/drafts/{draft['id']}", as_=ada)).status == 404
    assert ids(await town.content.get("/drafts", as_=ada)) == []
    assert (await town.content.post(f"/drafts/{draft['id']}/publish", as_=ada)).status == 404
    assert ids(await town.content.get(f"/users/{ada.id}/posts", as_=ada)) == [post["id"]]


async def test_an_empty_draft_is_not_published_and_stays(town: Town) -> None:
    ada = await town.register("ada")
    draft = await begin(town, ada, text=" \n")
    answer = await town.content.post(f"/drafts/{draft['id']}/publish", as_=ada)
    assert (answer.status, answer.json["errors"][0]["pointer"]) == (422, "/text")
    assert (await town.content.get(f"/drafts/{draft['id']}", as_=ada)).json == draft


async def test_drafts_are_listed_newest_first_in_pages(town: Town) -> None:
    ada = await town.register("ada")
    drafts = [await begin(town, ada, text=str(number)) for number in range(5)]
    assert await town.content.all_items("/drafts", limit=2, as_=ada) == drafts[::-1]


@pytest.mark.parametrize(("method", "end"), [("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/publish")])
async def test_another_s_draft_is_not_found(town: Town, method: str, end: str) -> None:
    ada, bob = await town.register("ada"), await town.register("bob")
    draft = await begin(town, ada, text="Mine")
    path, body = f"/drafts/{draft['id']}{end}", {} if method == "PATCH" else ...
    assert (await town.content.request(method, path, as_=bob, json=body)).status == 404
    assert (await town.content.request(method, path, json=body)).status == 401
    assert ids(await town.content.get("/drafts", as_=bob)) == []
    assert (await town.content.get(f"/posts/{draft['id']}", as_=ada)).status == 404
    assert (await town.content.get(f"/drafts/{draft['id']}", as_=ada)).json == draft


async def test_a_draft_that_has_changed_meanwhile_is_neither_changed_nor_published_nor_deleted(town: Town) -> None:
    ada = await town.register("ada")
    path = f"/drafts/{(await begin(town, ada, text='One'))['id']}"
    seen = {"If-Match": (await town.content.get(path, as_=ada)).headers["ETag"]}
    assert (await town.content.patch(path, as_=ada, json={"text": "Two"}, headers=seen)).status == 200
    assert (await town.content.patch(path, as_=ada, json={"text": "Three"}, headers=seen)).status == 412
    assert (await town.content.post(f"{path}/publish", as_=ada, headers=seen)).status == 412
    assert (await town.content.delete(path, as_=ada, headers=seen)).status == 412
    assert (await town.content.delete(path, as_=ada)).status == 204
    assert (await town.content.get(path, as_=ada)).status == 404
