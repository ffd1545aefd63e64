"""Files in posts: whose they must be, how a post describes them, and what becomes of it when they change or go."""

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from testbed.cached import was_hit
from testbed.content import PICTURE, ids, last_event, publish, tell_file
from testbed.town import Answer, Person, Town
from testbed.uploads import uploaded
from townsquare.kit.identity import Viewer
from townsquare.kit.problems import Problem
from townsquare.kit.transactions import transaction
from townsquare.kit.upstream import Reply
from townsquare.services.content.imported_media import ImportedMedia
from townsquare.services.content.imports import ImportedPost, import_posts

DESCRIBED = {name: PICTURE[name] for name in ("kind", "width", "height", "thumbhash")}


async def media_of(town: Town, post: Any, viewer: Person | None = None) -> Any:
    return (await town.content.get(f"/posts/{post['id']}", as_=viewer)).json["media"]


def refused(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.json["errors"][0]["pointer"]


async def test_a_post_describes_its_files_so_that_a_feed_need_not_ask(town: Town) -> None:
    ada = await town.register("ada")
    first, second = await tell_file(town, ada, alt="A lantern"), await tell_file(town, ada)
    post = await publish(town, ada, media_ids=[second, first, second])
    assert post["media"] == [{"id": second, **DESCRIBED}, {"id": first, "alt": "A lantern", **DESCRIBED}]
    assert (await town.content.get("/public/posts")).items[0]["media"] == post["media"]


async def test_only_one_s_own_files_that_are_there_can_be_shown(town: Town) -> None:
    ada, bob = await town.register("ada"), await town.register("bob")
    own, bobs = await tell_file(town, ada), await tell_file(town, bob)
    gone = await tell_file(town, ada)
    await tell_file(town, ada, gone, deleted=True)
    for other in (bobs, gone, str(uuid4())):
        answer = await town.content.post("/posts", as_=ada, json={"text": "Look", "media_ids": [own, other]})
        assert refused(answer) == (422, "/media_ids/1")
        draft = (await town.content.post("/drafts", as_=ada, json={"text": "Look", "media_ids": [other]})).json
        assert refused(await town.content.post(f"/drafts/{draft['id']}/publish", as_=ada)) == (422, "/media_ids/0")


async def test_a_private_file_is_shown_by_a_private_post_alone_and_not_given_away(town: Town) -> None:
    ada = await town.register("ada")
    diary = await tell_file(town, ada, visibility="private", alt="Secret")
    answer = await town.content.post("/posts", as_=ada, json={"text": "Look", "media_ids": [diary]})
    assert refused(answer) == (422, "/media_ids/0")
    post = await publish(town, ada, media_ids=[diary], visibility="private")
    assert post["media"] == [{"id": diary, "kind": "image"}]


async def test_a_file_that_changes_is_described_anew_wherever_it_stands(town: Town) -> None:
    ada = await town.register("ada")
    media, other = await tell_file(town, ada, width=None, height=None, thumbhash=None), await tell_file(town, ada)
    post, again = await publish(town, ada, media_ids=[media, other]), await publish(town, ada, media_ids=[media])
    paths = (f"/posts/{post['id']}", f"/users/{ada.id}/posts", "/public/posts")
    for path in paths * 2:
        kept = await town.content.get(path)
    assert was_hit(kept)
    await tell_file(town, ada, media, alt="A lantern")
    whole = {"id": media, "alt": "A lantern", **DESCRIBED}
    assert await media_of(town, post) == [whole, {"id": other, **DESCRIBED}]
    assert [item["media"][0] for item in (await town.content.get(f"/users/{ada.id}/posts")).items] == [whole, whole]
    assert await media_of(town, again) == [whole]
    assert (await last_event(town, "post", post["id"]))[1] == {f"post:{post['id']}"}
    await tell_file(town, ada, media, alt="A lantern", visibility="private")
    assert await media_of(town, again) == [{"id": media, "kind": "image"}]


async def test_a_post_that_stays_as_it_was_is_not_told_again(town: Town) -> None:
    ada = await town.register("ada")
    media = await tell_file(town, ada)
    post = await publish(town, ada, media_ids=[media])
    before = await town.database("content").fetchval("SELECT max(id) FROM outbox WHERE topic = 'post'")
    await tell_file(town, ada, media)
    assert await town.database("content").fetchval("SELECT max(id) FROM outbox WHERE topic = 'post'") == before
    assert await media_of(town, post) == [{"id": media, **DESCRIBED}]


async def test_a_deleted_file_leaves_the_post_without_it(town: Town) -> None:
    ada = await town.register("ada")
    media, stays = await tell_file(town, ada, alt="A lantern"), await tell_file(town, ada)
    post = await publish(town, ada, media_ids=[media, stays])
    assert await media_of(town, post) == post["media"]
    await tell_file(town, ada, media, deleted=True)
    assert await media_of(town, post) == [{"id": stays, **DESCRIBED}]
    assert (await last_event(town, "post", post["id"]))[0]["media"] == [stays]
    row = await town.database("content").fetchrow("SELECT alt, thumbhash FROM media_files WHERE id = $1", media)
    assert row is not None
    assert tuple(row) == (None, None)


async def test_a_deleted_post_takes_no_file_with_it(town: Town) -> None:
    ada = await town.register("ada")
    media = await tell_file(town, ada)
    post = await publish(town, ada, media_ids=[media])
    assert (await town.content.delete(f"/posts/{post['id']}", as_=ada)).status == 204
    assert (await publish(town, ada, media_ids=[media]))["media"] == [{"id": media, **DESCRIBED}]


async def test_what_came_in_an_archive_is_described_when_media_has_taken_it_up(town: Town) -> None:
    ada = await town.register("ada")
    viewer = Viewer(ada.id, ada.handle, ada.handle, None, None, 0)
    picture = ImportedMedia("lantern.png", "image/png", alt="A lantern")
    at = datetime(2020, 1, 1, tzinfo=UTC)
    async with transaction(town.host.services["content"].context) as write:
        await import_posts(write, viewer, [ImportedPost("https://x.example/1", at, "Look", "public", media=(picture,))])
    (post,) = (await town.content.get(f"/users/{ada.id}/posts", as_=ada)).items
    (media,) = post["media"]
    await tell_file(town, ada, media["id"], alt="A lantern")
    assert await media_of(town, post) == [{"id": media["id"], "alt": "A lantern", **DESCRIBED}]


@pytest.mark.parametrize("kind", ["video", "audio", "document"])
async def test_a_post_shows_whatever_media_has(town: Town, kind: str) -> None:
    ada = await town.register("ada")
    media = await tell_file(town, ada, kind=kind, width=None, height=None, thumbhash=None)
    assert (await publish(town, ada, media_ids=[media]))["media"] == [{"id": media, "kind": kind}]


async def test_deleting_a_file_while_it_is_posted_never_leaves_a_post_with_it(town: Town) -> None:
    ada = await town.register("ada")
    for _ in range(10):
        media = await tell_file(town, ada)
        body = {"text": "Look", "media_ids": [media]}
        answer, _ = await asyncio.gather(
            town.content.post("/posts", as_=ada, json=body), tell_file(town, ada, media, deleted=True)
        )
        assert answer.status in (201, 422), answer.body
    posts = (await town.content.get(f"/users/{ada.id}/posts", as_=ada)).items
    assert [post["media"] for post in posts if post["media"]] == []
    assert ids(await town.content.get("/drafts", as_=ada)) == []


async def test_a_file_can_be_posted_as_soon_as_its_upload_is_answered(town: Town) -> None:
    ada, bob = await town.register("ada"), await town.register("bob")
    file = await uploaded(town.media, ada, alt="A cup")
    post = await publish(town, ada, media_ids=[file["id"]])
    shown = {name: file[name] for name in ("id", "alt", "kind", "width", "height")}
    assert post["media"] == [shown | {"thumbhash": file["placeholder"]["thumbhash"]}]
    answer = await town.content.post("/posts", as_=bob, json={"text": "Mine", "media_ids": [file["id"]]})
    assert refused(answer) == (422, "/media_ids/0")
    await town.settle()
    assert await media_of(town, post) == post["media"]
    assert (await town.media.patch(f"/files/{file['id']}", as_=ada, json={"alt": "A cup of tea"})).status == 200
    await town.settle()
    assert (await media_of(town, post))[0]["alt"] == "A cup of tea"
    assert (await town.media.delete(f"/files/{file['id']}", as_=ada)).status == 204
    await town.settle()
    assert await media_of(town, post) == []
    assert (await town.content.get(f"/posts/{post['id']}")).json["text"] == post["text"]


async def test_where_media_does_not_answer_a_file_that_is_not_known_yet_is_not_refused_for_good(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = await town.register("ada")
    known = await tell_file(town, ada)

    class Away:
        async def call(self, *_: object, **__: object) -> Reply:
            raise Problem("upstream_unavailable")

    upstreams = town.host.services["content"].context.upstreams
    monkeypatch.setattr(town.host.services["content"].context, "upstreams", {**upstreams, "media": Away()})
    answer = await town.content.post("/posts", as_=ada, json={"text": "Look", "media_ids": [str(uuid4())]})
    assert answer.code == "upstream_unavailable"
    assert answer.status in (502, 503)
    await publish(town, ada, media_ids=[known])
