"""Deleting comments: who may, and what stays of a thread."""

import asyncio
import random
from typing import Any
from uuid import UUID

from testbed.content import comment, publish, relate
from testbed.town import Person, Town


async def listed(town: Town, post_id: str) -> list[Any]:
    return await town.content.all_items(f"/posts/{post_id}/comments")


async def remove(town: Town, who: Person, comment_id: str) -> int:
    return (await town.content.delete(f"/comments/{comment_id}", as_=who)).status


def missing(made: Any) -> dict[str, Any]:
    """What stands in the place of a deleted comment that has replies."""
    return {key: made[key] for key in ("id", "post_id", "parent_id", "created_at") if key in made} | {"missing": True}


async def test_its_author_and_the_post_s_author_delete_a_comment_and_nobody_else(town: Town) -> None:
    ada, bob, eve = [await town.register(name) for name in ("ada", "bob", "eve")]
    post = await publish(town, ada)
    one, two = [await comment(town, bob, post["id"]) for _ in range(2)]
    assert await remove(town, eve, one["id"]) == 403
    assert (await town.content.delete(f"/comments/{one['id']}")).status == 401
    assert await remove(town, bob, one["id"]) == 204
    assert await remove(town, ada, two["id"]) == 204
    for gone in (one, two):
        assert await remove(town, ada, gone["id"]) == 404
        assert (await town.content.get(f"/comments/{gone['id']}")).status == 404
    assert await listed(town, post["id"]) == []
    assert (await town.content.get(f"/posts/{post['id']}")).json["counts"]["comments"] == 0


async def test_what_may_not_be_seen_is_not_found_to_delete(town: Town) -> None:
    ada, bob, eve = [await town.register(name) for name in ("ada", "bob", "eve")]
    await town.settle()
    post = await publish(town, ada, f"@{bob.handle}", visibility="private")
    made = await comment(town, bob, post["id"])
    assert await remove(town, eve, made["id"]) == 404
    assert [item["id"] for item in (await town.content.get(f"/posts/{post['id']}/comments", as_=bob)).items] == [made["id"]]


async def test_what_others_answered_stays_and_nothing_of_the_comment_does(town: Town) -> None:
    ada, bob = await town.register("ada"), await town.register("bob")
    post = await publish(town, ada)
    secret = town.handle("secret")
    top = await comment(town, bob, post["id"], secret)
    reply = await comment(town, ada, post["id"], parent_id=top["id"])
    assert await remove(town, bob, top["id"]) == 204
    assert await listed(town, post["id"]) == [missing(top), reply]
    assert (await town.content.get(f"/posts/{post['id']}")).json["counts"]["comments"] == 1
    assert (await town.content.get(f"/comments/{top['id']}", as_=bob)).status == 404
    assert (await town.content.patch(f"/comments/{top['id']}", as_=bob, json={"text": "x"})).status == 404
    assert await remove(town, bob, top["id"]) == 404
    body = {"text": "To nobody", "parent_id": top["id"]}
    assert (await town.content.post(f"/posts/{post['id']}/comments", as_=ada, json=body)).status == 422
    row = await town.database("content").fetchrow("SELECT c::text AS c FROM comments AS c WHERE id = $1", UUID(top["id"]))
    assert row is not None
    assert secret not in row["c"]
    assert str(bob.id) not in row["c"]


async def test_a_deleted_comment_goes_for_good_with_the_last_reply_below_it(town: Town) -> None:
    ada = await town.register("ada")
    post = await publish(town, ada)
    top = await comment(town, ada, post["id"])
    stays = await comment(town, ada, post["id"], parent_id=top["id"])
    middle = await comment(town, ada, post["id"], parent_id=top["id"])
    low = await comment(town, ada, post["id"], parent_id=middle["id"])
    for one in (middle, top):
        await remove(town, ada, one["id"])
    assert await listed(town, post["id"]) == [missing(top), stays, missing(middle), low]
    await remove(town, ada, low["id"])
    assert await listed(town, post["id"]) == [missing(top), stays]
    await remove(town, ada, stays["id"])
    assert await listed(town, post["id"]) == []
    assert await town.database("content").fetchval("SELECT count(*) FROM comments WHERE post_id = $1", UUID(post["id"])) == 0


async def test_one_s_own_comment_can_be_taken_back_also_where_one_may_not_look_any_more(town: Town) -> None:
    ada, bob = await town.register("ada"), await town.register("bob")
    post = await publish(town, ada)
    made = await comment(town, bob, post["id"])
    await relate(town, [ada, bob], {"block": {(0, 1)}})
    assert (await town.content.get(f"/comments/{made['id']}", as_=bob)).status == 404
    assert (await town.content.patch(f"/comments/{made['id']}", as_=bob, json={"text": "x"})).status == 404
    assert await remove(town, bob, made["id"]) == 204
    assert (await town.content.get(f"/posts/{post['id']}")).json["counts"]["comments"] == 0


async def test_a_block_does_not_save_a_comment_from_the_post_s_author(town: Town) -> None:
    ada, mallory = await town.register("ada"), await town.register("mallory")
    post = await publish(town, ada)
    made = await comment(town, mallory, post["id"], "And you will not even see it")
    await relate(town, [mallory, ada], {"block": {(0, 1)}})
    assert (await town.content.get(f"/posts/{post['id']}/comments", as_=ada)).items == [made]
    assert await remove(town, ada, made["id"]) == 204


async def test_many_who_answer_and_delete_each_other_s_threads_leave_whole_threads_and_a_true_count(town: Town) -> None:
    people = [await town.register("crowd") for _ in range(4)]
    post = await publish(town, people[0])
    path = f"/posts/{post['id']}/comments"
    chance = random.Random(11)
    known: list[tuple[Person, str]] = []

    async def step() -> None:
        person = chance.choice(people)
        action = chance.random()
        if known and action < 0.4:
            author, victim = chance.choice(known)
            assert await remove(town, author, victim) in (204, 404)
            return
        parent = {"parent_id": chance.choice(known)[1]} if known and action < 0.9 else {}
        answer = await town.content.post(path, as_=person, json={"text": "x", **parent})
        assert answer.status == 201 or (answer.status, bool(parent)) == (422, True), answer.body
        if answer.status == 201:
            known.append((person, answer.json["id"]))

    async def walk() -> None:
        for _ in range(25):
            await step()

    async with asyncio.timeout(60):
        await asyncio.gather(*(walk() for _ in range(8)))
    items = await listed(town, post["id"])
    there = [item for item in items if "missing" not in item]
    assert (await town.content.get(f"/posts/{post['id']}")).json["counts"]["comments"] == len(there)
    seen: set[str] = set()
    for item in items:
        assert item.get("parent_id") in seen | {None}, "what a comment answers stands before it"
        seen.add(item["id"])
    answered = {item.get("parent_id") for item in items}
    assert all(item["id"] in answered for item in items if "missing" in item), "what is missing has replies"
