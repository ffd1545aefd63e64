"""Bookmarks, which nobody but their owner knows of; and the marks that a viewer has left on posts."""

import asyncio
from uuid import UUID, uuid4

import pytest

from testbed.content import ids, last_event, publish, react, relate
from testbed.town import Person, Town


async def bookmark(town: Town, person: Person, *post_ids: str) -> None:
    for post_id in post_ids:
        answer = await town.content.put(f"/posts/{post_id}/bookmark", as_=person)
        assert (answer.status, answer.body) == (204, b"")


async def test_bookmarks_are_listed_last_bookmarked_first_in_pages(town: Town) -> None:
    ada, bob = await town.register("ada"), await town.register("bob")
    posts = [await publish(town, ada, str(number)) for number in range(5)]
    order = [posts[number] for number in (3, 0, 4, 1, 2)]
    await bookmark(town, bob, *(post["id"] for post in order))
    assert await town.content.all_items("/bookmarks", limit=2, as_=bob) == order[::-1]
    assert ids(await town.content.get("/bookmarks", as_=ada)) == []


async def test_bookmarking_twice_and_taking_it_away_twice_changes_nothing_more(town: Town) -> None:
    ada = await town.register("ada")
    one, two = [(await publish(town, ada))["id"] for _ in range(2)]
    await bookmark(town, ada, one, two, one)
    assert ids(await town.content.get("/bookmarks", as_=ada)) == [two, one]
    for _ in range(2):
        assert (await town.content.delete(f"/posts/{one}/bookmark", as_=ada)).status == 204
        assert ids(await town.content.get("/bookmarks", as_=ada)) == [two]
    rows = await town.database("content").fetch(
        "SELECT payload->>'deleted' AS deleted FROM outbox WHERE topic = 'bookmark' AND key = $1 ORDER BY id",
        f"{one}:{ada.id}",
    )
    assert [row["deleted"] for row in rows] == [None, "true"]
    tags = {f"bookmarks:{ada.id}", f"marks:{ada.id}"}
    assert await last_event(town, "bookmark", f"{two}:{ada.id}") == ({"post": two, "person": str(ada.id)}, tags)


async def test_the_same_bookmark_many_times_at_once_is_one(town: Town) -> None:
    ada = await town.register("ada")
    post = (await publish(town, ada))["id"]
    await asyncio.gather(*(bookmark(town, ada, post) for _ in range(8)))
    assert ids(await town.content.get("/bookmarks", as_=ada)) == [post]


async def test_what_one_may_not_see_cannot_be_bookmarked(town: Town) -> None:
    ada, bob = await town.register("ada"), await town.register("bob")
    private = (await publish(town, ada, visibility="private"))["id"]
    for method in (town.content.put, town.content.delete):
        for post in (private, uuid4(), "no-uuid"):
            answer = await method(f"/posts/{post}/bookmark", as_=bob)
            assert (answer.status, answer.code) == (404, "not_found")
        assert (await method(f"/posts/{private}/bookmark")).status == 401
    assert (await town.content.get("/bookmarks")).status == 401


async def test_posts_that_are_not_for_the_viewer_any_more_are_left_out_until_they_are(town: Town) -> None:
    ada, bob, joan = people = [await town.register(name) for name in ("ada", "bob", "joan")]
    narrowed, deleted, blocked, muted, stays = [(await publish(town, author))["id"] for author in (ada, ada, bob, joan, ada)]
    viewer = await town.register("viewer")
    people.append(viewer)
    await bookmark(town, viewer, narrowed, deleted, blocked, muted, stays)
    await town.content.patch(f"/posts/{narrowed}", as_=ada, json={"visibility": "followers"})
    await town.content.delete(f"/posts/{deleted}", as_=ada)
    await relate(town, people, {"block": {(3, 1)}, "mute": {(3, 2)}, "follow": set()})
    assert ids(await town.content.get("/bookmarks", as_=viewer)) == [stays, muted]
    await relate(town, people, {"block": set(), "follow": {(3, 0)}})
    assert ids(await town.content.get("/bookmarks", as_=viewer)) == [stays, muted, blocked, narrowed]
    await relate(town, people, {"block": {(0, 3)}})
    assert ids(await town.content.get("/bookmarks", as_=viewer)) == [muted, blocked]
    assert (await town.content.delete(f"/posts/{stays}/bookmark", as_=viewer)).status == 204
    assert (await town.content.delete(f"/posts/{stays}/bookmark", as_=viewer)).status == 404
    sql = "SELECT count(*) FROM bookmarks WHERE post_id = $1"
    assert await town.database("content").fetchval(sql, UUID(deleted)) == 0


async def test_a_viewer_s_marks_on_a_page_of_posts_come_in_one_call_and_in_its_order(town: Town) -> None:
    ada, bob = await town.register("ada"), await town.register("bob")
    none, liked, kept, both = posts = [(await publish(town, ada))["id"] for _ in range(4)]
    await react(town, bob, liked, "love")
    await react(town, bob, both, "haha")
    await bookmark(town, bob, kept, both)
    query = "&".join(f"post={post}" for post in [both, *posts, str(uuid4())])
    answer = await town.content.get(f"/marks?{query}", as_=bob)
    assert answer.json == {
        "items": [
            {"post_id": both, "reaction": "haha", "bookmarked": True},
            {"post_id": liked, "reaction": "love"},
            {"post_id": kept, "bookmarked": True},
        ],
        "next_cursor": None,
    }
    assert (await town.content.get(f"/marks?post={none}", as_=bob)).items == []
    assert (await town.content.get(f"/marks?{query}", as_=ada)).items == []
    assert (await town.content.get(f"/marks?{query}")).status == 401


@pytest.mark.parametrize(
    "query", ["", "?post=", "?post=no-uuid", "?" + "&".join(["post=0198c7a2-5f60-7000-8000-000000000000"] * 101)]
)
async def test_marks_are_asked_for_1_to_100_posts(town: Town, query: str) -> None:
    answer = await town.content.get(f"/marks{query}", as_=await town.register("ada"))
    assert (answer.status, answer.code) == (422, "invalid")
