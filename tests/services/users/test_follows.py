"""Follows over HTTP: who may follow whom, what both sides see of it, and that the counts are always the rows."""

import asyncio
import random

import pytest

from testbed.town import Person, Town
from townsquare.kit.ids import new_id
from townsquare.services.users.follows import MAX_FOLLOWS, end_all_follows


async def counts(town: Town, person: Person) -> tuple[int, int]:
    """Followers and following, as the profile says."""
    said = (await town.users.get(f"/profile/{person.id}")).json["counts"]
    return said["followers"], said["following"]


async def handles(town: Town, path: str, as_: Person | None = None) -> list[str]:
    return [item["handle"] for item in await town.users.all_items(path, limit=2, as_=as_)]


async def test_a_follow_is_seen_on_both_sides(town: Town) -> None:
    ada, grace = await town.register("ada"), await town.register("grace")
    answer = await town.users.put(f"/users/@{grace.handle}/follow", as_=ada)
    assert (answer.status, answer.body) == (204, b"")
    followers = await town.users.get(f"/users/{grace.id}/followers")
    assert followers.json == {
        "items": [{"id": str(ada.id), "handle": ada.handle, "display_name": "Ada"}],
        "next_cursor": None,
    }
    assert await handles(town, f"/users/@{ada.handle}/following") == [grace.handle]
    assert (await counts(town, ada), await counts(town, grace)) == ((0, 1), (1, 0))


async def test_following_twice_and_ending_it_twice_changes_nothing_more(town: Town) -> None:
    ada, grace = await town.register("ada"), await town.register("grace")
    for _ in range(2):
        assert (await town.users.put(f"/users/{grace.id}/follow", as_=ada)).status == 204
        assert await counts(town, grace) == (1, 0)
    for _ in range(2):
        assert (await town.users.delete(f"/users/{grace.id}/follow", as_=ada)).status == 204
        assert await counts(town, grace) == (0, 0)
    told = await town.database("users").fetch(
        "SELECT payload->>'deleted' AS deleted FROM outbox WHERE topic = 'follow' AND key = $1 ORDER BY id",
        f"{ada.id}:{grace.id}",
    )
    assert [row["deleted"] for row in told] == [None, "true"]


@pytest.mark.parametrize("relation", ["follow", "block", "mute"])
async def test_relations_need_somebody_else_who_is_there(town: Town, relation: str) -> None:
    ada = await town.register("ada")
    for method in (town.users.put, town.users.delete):
        oneself = await method(f"/users/{ada.id}/{relation}", as_=ada)
        assert (oneself.status, oneself.code) == (422, "invalid")
        for missing in (new_id(), "@nobody_at_all", "nobody"):
            assert (await method(f"/users/{missing}/{relation}", as_=ada)).status == 404
        anonymous = await method(f"/users/{ada.id}/{relation}")
        assert (anonymous.status, anonymous.code) == (401, "unauthenticated")


@pytest.mark.parametrize("relation", ["follow", "block", "mute"])
async def test_who_is_blocked_finds_nobody_to_relate_to(town: Town, relation: str) -> None:
    ada, mallory = await town.register("ada"), await town.register("mallory")
    await town.users.put(f"/users/{mallory.id}/block", as_=ada)
    for method in (town.users.put, town.users.delete):
        assert (await method(f"/users/{ada.id}/{relation}", as_=mallory)).status == 404
    assert (await town.users.get(f"/users/{ada.id}/followers", as_=mallory)).status == 404
    assert (await town.users.get(f"/users/{ada.id}/following", as_=mallory)).status == 404


async def test_who_blocks_somebody_cannot_follow_them(town: Town) -> None:
    ada, mallory = await town.register("ada"), await town.register("mallory")
    await town.users.put(f"/users/{mallory.id}/block", as_=ada)
    answer = await town.users.put(f"/users/{mallory.id}/follow", as_=ada)
    assert (answer.status, answer.code) == (409, "conflict")
    assert await counts(town, ada) == (0, 0)


async def test_nobody_follows_more_than_the_most(town: Town) -> None:
    ada, grace, joan = [await town.register(name) for name in ("ada", "grace", "joan")]
    await town.users.put(f"/users/{grace.id}/follow", as_=ada)
    await town.database("users").execute("UPDATE people SET following = $2 WHERE id = $1", ada.id, MAX_FOLLOWS)
    answer = await town.users.put(f"/users/{joan.id}/follow", as_=ada)
    assert (answer.status, answer.code) == (422, "invalid")
    assert "7,500" in answer.json["detail"]
    assert await handles(town, f"/users/{joan.id}/followers") == []
    assert (await town.users.put(f"/users/{grace.id}/follow", as_=ada)).status == 204, "an old follow is no new one"


async def test_lists_are_newest_first_in_stable_pages(town: Town) -> None:
    ada, *others = [await town.register(name) for name in ("ada", "one", "two", "three", "four")]
    for other in others:
        await town.users.put(f"/users/{ada.id}/follow", as_=other)
    first = await town.users.get(f"/users/{ada.id}/followers?limit=2")
    assert [item["handle"] for item in first.items] == [others[3].handle, others[2].handle]
    assert first.headers["Link"].endswith('>; rel="next"')
    late = await town.register("late")
    await town.users.put(f"/users/{ada.id}/follow", as_=late)
    second = await town.users.get(f"/users/{ada.id}/followers?limit=2&cursor={first.json['next_cursor']}")
    assert [item["handle"] for item in second.items] == [others[1].handle, others[0].handle]
    assert second.json["next_cursor"] is None


async def test_lists_leave_out_the_hidden_and_those_who_block_the_viewer(town: Town) -> None:
    ada, grace, joan, viewer = [await town.register(name) for name in ("ada", "grace", "joan", "viewer")]
    for other in (grace, joan):
        await town.users.put(f"/users/{ada.id}/follow", as_=other)
        await town.users.put(f"/users/{other.id}/follow", as_=ada)
    await town.users.put(f"/users/{viewer.id}/block", as_=joan)
    for path in (f"/users/{ada.id}/followers", f"/users/{ada.id}/following"):
        assert await handles(town, path) == [joan.handle, grace.handle]
        assert await handles(town, path, as_=viewer) == [grace.handle]
    await town.database("users").execute("UPDATE people SET hidden_at = now() WHERE id = $1", grace.id)
    town.forget("users")
    assert await handles(town, f"/users/{ada.id}/followers") == [joan.handle]
    assert (await town.users.get(f"/users/{grace.id}/followers")).status == 404


@pytest.mark.parametrize("cursor", ["x", "WzFd", "WyIyMDI2LTAxLTAxVDAwOjAwOjAwIiwiIl0", "=" * 9, "x" * 401])
async def test_a_cursor_of_another_making_is_422(town: Town, cursor: str) -> None:
    ada = await town.register("ada")
    for path in (f"/users/{ada.id}/followers", f"/users/{ada.id}/following"):
        answer = await town.users.get(path, params={"cursor": cursor})
        assert (answer.status, answer.code) == (422, "invalid")


async def test_many_at_once_leave_counts_that_are_the_rows(town: Town) -> None:
    people = [await town.register("crowd") for _ in range(5)]
    chance = random.Random(7)
    steps = [
        (chance.choice([town.users.put, town.users.put, town.users.delete]), *chance.sample(people, 2), relation)
        for relation in ["follow"] * 300 + ["block"] * 40
    ]
    chance.shuffle(steps)

    async def walk(mine: list[tuple]) -> None:
        for method, who, whom, relation in mine:
            answer = await method(f"/users/{whom.id}/{relation}", as_=who)
            assert answer.status in (204, 404, 409), answer.body

    async with asyncio.timeout(60):
        await asyncio.gather(*(walk(steps[at::12]) for at in range(12)))
    wrong = await town.database("users").fetch(
        """
        SELECT p.handle
        FROM people AS p
        WHERE p.id = ANY($1) AND (
            p.followers <> (SELECT count(*) FROM follows WHERE followee = p.id)
            OR p.following <> (SELECT count(*) FROM follows WHERE follower = p.id)
        )
        """,
        [person.id for person in people],
    )
    assert wrong == []
    across = await town.database("users").fetch(
        """
        SELECT *
        FROM follows AS f
        JOIN blocks AS b ON (b.blocker, b.blocked) IN ((f.follower, f.followee), (f.followee, f.follower))
        """
    )
    assert across == [], "nobody follows across a block"


async def test_who_is_deleted_is_counted_out(town: Town) -> None:
    ada, grace, joan = [await town.register(name) for name in ("ada", "grace", "joan")]
    for follower, followee in ((ada, grace), (grace, ada), (joan, ada), (grace, joan)):
        await town.users.put(f"/users/{followee.id}/follow", as_=follower)
    async with town.database("users").transaction() as connection:
        await end_all_follows(connection, ada.id)
        await connection.execute("DELETE FROM people WHERE id = $1", ada.id)
    assert (await counts(town, grace), await counts(town, joan)) == ((0, 1), (1, 0))
