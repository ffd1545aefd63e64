"""Reactions: one for each person and post, counted by kind, and who left them."""

import asyncio
import random
from uuid import UUID, uuid4

import pytest

from testbed.content import last_event, publish, react, relate, tell
from testbed.town import Person, Town
from townsquare.services.content.post_view import REACTION_KINDS


async def reactions(town: Town, post_id: str) -> dict[str, int]:
    post = (await town.content.get(f"/posts/{post_id}")).json
    assert post["counts"]["reactions"] == sum(post["reactions"].values())
    return post["reactions"]


async def handles(town: Town, post_id: str, viewer: Person | None = None, kind: str = "") -> list[str]:
    path = f"/posts/{post_id}/reactions{kind and '?kind=' + kind}"
    return [item["person"]["handle"] for item in await town.content.all_items(path, limit=2, as_=viewer)]


async def told(town: Town, post_id: str, person: Person) -> list[str | None]:
    rows = await town.database("content").fetch(
        "SELECT payload->>'kind' AS kind FROM outbox WHERE topic = 'reaction' AND key = $1 ORDER BY id",
        f"{post_id}:{person.id}",
    )
    return [row["kind"] for row in rows]


@pytest.mark.parametrize("kind", REACTION_KINDS)
async def test_a_reaction_of_each_kind_is_counted_and_taken_back(town: Town, kind: str) -> None:
    ada, bob = await town.register("ada"), await town.register("bob")
    post = await publish(town, ada)
    answer = await town.content.put(f"/posts/{post['id']}/reactions/{kind}", as_=bob)
    assert (answer.status, answer.body) == (204, b"")
    assert await reactions(town, post["id"]) == {kind: 1}
    page = await town.content.get(f"/posts/{post['id']}/reactions")
    (item,) = page.items
    assert item.pop("created_at").endswith("Z")
    assert item == {"person": {"id": str(bob.id), "handle": bob.handle, "display_name": "Bob"}, "kind": kind}
    assert (await town.content.delete(f"/posts/{post['id']}/reactions/{kind}", as_=bob)).status == 204
    assert await reactions(town, post["id"]) == {}
    assert (await town.content.get(f"/posts/{post['id']}/reactions")).items == []


async def test_another_kind_replaces_and_the_same_changes_nothing(town: Town) -> None:
    ada = await town.register("ada")
    post = await publish(town, ada)
    for kind, expected in (("like", {"like": 1}), ("like", {"like": 1}), ("sad", {"sad": 1})):
        await react(town, ada, post["id"], kind)
        assert await reactions(town, post["id"]) == expected
    assert (await town.content.delete(f"/posts/{post['id']}/reactions/like", as_=ada)).status == 204
    assert await reactions(town, post["id"]) == {"sad": 1}, "only the kind that is named is taken back"
    for _ in range(2):
        assert (await town.content.delete(f"/posts/{post['id']}/reactions/sad", as_=ada)).status == 204
        assert await reactions(town, post["id"]) == {}
    assert await told(town, post["id"], ada) == ["like", "sad", None]


async def test_every_change_tells_what_it_changes(town: Town) -> None:
    ada, bob = await town.register("ada"), await town.register("bob")
    post = await publish(town, ada)
    key = f"{post['id']}:{bob.id}"
    tags = {f"reactions:{post['id']}", f"post:{post['id']}", f"marks:{bob.id}"}
    await react(town, bob, post["id"], "wow")
    assert await last_event(town, "reaction", key) == ({"post": post["id"], "person": str(bob.id), "kind": "wow"}, tags)
    await town.content.delete(f"/posts/{post['id']}/reactions/wow", as_=bob)
    assert await last_event(town, "reaction", key) == ({"post": post["id"], "person": str(bob.id), "deleted": True}, tags)


@pytest.mark.parametrize("path", ["{post}/reactions/dislike", "{post}/reactions/Like", "no-uuid/reactions/like"])
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_what_is_no_kind_or_no_post_is_not_found(town: Town, path: str, method: str) -> None:
    ada = await town.register("ada")
    post = await publish(town, ada)
    for tried in (path.format(post=post["id"]), f"{uuid4()}/reactions/like"):
        answer = await town.content.request(method, f"/posts/{tried}", as_=ada)
        assert (answer.status, answer.code) == (404, "not_found")
    assert (await town.content.request(method, f"/posts/{post['id']}/reactions/like")).status == 401


async def test_who_reacted_is_listed_newest_first_also_by_kind(town: Town) -> None:
    ada, bob, joan, eve = people = [await town.register(name) for name in ("ada", "bob", "joan", "eve")]
    post = await publish(town, ada)
    for person, kind in zip(people, ("like", "love", "like", "like"), strict=True):
        await react(town, person, post["id"], kind)
    assert await handles(town, post["id"]) == [eve.handle, joan.handle, bob.handle, ada.handle]
    assert await handles(town, post["id"], kind="like") == [eve.handle, joan.handle, ada.handle]
    assert await handles(town, post["id"], kind="angry") == []
    await react(town, ada, post["id"], "love")
    assert await handles(town, post["id"], kind="love") == [ada.handle, bob.handle]
    refused = await town.content.get(f"/posts/{post['id']}/reactions?kind=dislike")
    assert (refused.status, refused.code) == (422, "invalid")


async def test_only_who_may_see_a_post_reacts_to_it_or_learns_who_did(town: Town) -> None:
    ada, follower, mentioned, _blocked, stranger = people = [
        await town.register(name) for name in ("ada", "follower", "mentioned", "blocked", "stranger")
    ]
    await town.settle()
    await relate(town, people, {"follow": {(1, 0), (3, 0)}, "block": {(0, 3)}})
    allowed = {
        "public": [ada, follower, mentioned, stranger],
        "followers": [ada, follower],
        "private": [ada, mentioned],
    }
    for visibility, those in allowed.items():
        post = await publish(town, ada, f"@{mentioned.handle}", visibility=visibility)
        for person in people:
            expected = (204, 204, 200) if person in those else (404, 404, 404)
            path = f"/posts/{post['id']}/reactions"
            put = await town.content.put(f"{path}/like", as_=person)
            undo = await town.content.delete(f"{path}/like", as_=person)
            read = await town.content.get(path, as_=person)
            assert (put.status, undo.status, read.status) == expected, (visibility, person.handle)
        assert (await town.content.get(path)).status == (200 if visibility == "public" else 404)


async def test_a_reaction_can_be_taken_back_where_one_may_not_look_any_more(town: Town) -> None:
    ada, bob = await town.register("ada"), await town.register("bob")
    post = await publish(town, ada)
    await react(town, bob, post["id"])
    await relate(town, [ada, bob], {"block": {(0, 1)}})
    assert (await town.content.delete(f"/posts/{post['id']}/reactions/like", as_=bob)).status == 204
    assert await reactions(town, post["id"]) == {}
    assert (await town.content.delete(f"/posts/{post['id']}/reactions/like", as_=bob)).status == 404


async def test_who_has_blocked_an_author_does_not_react_to_their_posts(town: Town) -> None:
    ada, bob = await town.register("ada"), await town.register("bob")
    post = await publish(town, ada)
    await relate(town, [bob, ada], {"block": {(0, 1)}})
    answer = await town.content.put(f"/posts/{post['id']}/reactions/like", as_=bob)
    assert (answer.status, answer.code) == (409, "conflict")


async def test_the_list_leaves_out_the_hidden_the_blocked_and_the_muted(town: Town) -> None:
    names = ("ada", "viewer", "blocker", "blocked", "muted", "gone")
    ada, viewer, blocker, blocked, muted, gone = people = [await town.register(name) for name in names]
    await town.settle()
    post = await publish(town, ada)
    for person in people:
        await react(town, person, post["id"])
    await relate(town, people, {"block": {(2, 1), (1, 3)}, "mute": {(1, 4)}})
    await tell(town, "person", gone.id, deleted=True)
    everybody = [person.handle for person in (muted, blocked, blocker, viewer, ada)]
    assert await handles(town, post["id"]) == everybody
    assert await handles(town, post["id"], viewer) == [viewer.handle, ada.handle]
    assert await reactions(town, post["id"]) == {"like": 6}
    refused = await town.content.put(f"/posts/{post['id']}/reactions/love", as_=gone)
    assert (refused.status, refused.code) == (403, "forbidden")


async def test_many_at_once_leave_counts_that_are_the_rows(town: Town) -> None:
    people = [await town.register("crowd") for _ in range(6)]
    posts = [(await publish(town, people[0]))["id"] for _ in range(2)]
    chance = random.Random(5)
    steps = [
        (
            chance.choice([town.content.put, town.content.put, town.content.delete]),
            person,
            post,
            chance.choice(REACTION_KINDS),
        )
        for person in people
        for post in posts
        for _ in range(25)
    ]
    chance.shuffle(steps)

    async def walk(mine: list[tuple]) -> None:
        for method, person, post, kind in mine:
            assert (await method(f"/posts/{post}/reactions/{kind}", as_=person)).status == 204

    async with asyncio.timeout(60):
        await asyncio.gather(*(walk(steps[at::12]) for at in range(12)))
    for post in posts:
        rows = await town.database("content").fetch(
            "SELECT kind, count(*) AS times FROM reactions WHERE post_id = $1 GROUP BY kind", UUID(post)
        )
        assert await reactions(town, post) == {row["kind"]: row["times"] for row in rows}
        listed = await town.content.all_items(f"/posts/{post}/reactions")
        assert len(listed) == sum(row["times"] for row in rows)
