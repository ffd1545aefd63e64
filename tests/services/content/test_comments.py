"""Comments: answering a post and each other, reading a thread, changing a comment."""

import asyncio
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import pytest

from testbed.content import comment, ids, last_event, publish, relate, tell
from testbed.town import Person, Town
from townsquare.kit.ids import new_id
from townsquare.services.content.comments import MAX_DEPTH


async def counted(town: Town, post_id: str, viewer: Person | None = None) -> int:
    return (await town.content.get(f"/posts/{post_id}", as_=viewer)).json["counts"]["comments"]


async def test_a_comment_is_answered_whole_with_its_location_and_counted(town: Town) -> None:
    ada, bob = await town.register("ada"), await town.register("bob")
    post = await publish(town, ada)
    body = {"text": " \nSo **true** <script>alert(1)</script> \n"}
    answer = await town.content.post(f"/posts/{post['id']}/comments", as_=bob, json=body)
    assert answer.status == 201
    made = answer.json
    assert answer.headers["Location"].endswith(f"/comments/{made['id']}")
    assert made == {
        "id": made["id"],
        "post_id": post["id"],
        "author": {"id": str(bob.id), "handle": bob.handle, "display_name": "Bob"},
        "text": "So **true** <script>alert(1)</script>",
        "html": "<p>So <strong>true</strong> &lt;script&gt;alert(1)&lt;/script&gt;</p>",
        "created_at": made["created_at"],
    }
    read = await town.content.get(f"/comments/{made['id']}")
    assert (read.status, read.json) == (200, made)
    assert (await town.content.get(f"/posts/{post['id']}/comments")).items == [made]
    assert await counted(town, post["id"]) == 1


async def test_somebody_just_registered_can_comment_before_the_event_about_them_arrives(town: Town) -> None:
    ada = await town.register("ada")
    post = await publish(town, ada)
    newcomer = await town.register("newcomer")
    assert (await comment(town, newcomer, post["id"]))["author"]["handle"] == newcomer.handle


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/text"),
        ({"text": ""}, "/text"),
        ({"text": " \n\t "}, "/text"),
        ({"text": "x" * 5001}, "/text"),
        ({"text": "a\0b"}, "/text"),
        ({"text": 3}, "/text"),
        ({"text": "x", "parent_id": "no-uuid"}, "/parent_id"),
        ({"text": "x", "parent_id": str(uuid4())}, "/parent_id"),
        ({"text": "x", "colour": "red"}, "/colour"),
    ],
)
async def test_what_cannot_be_a_comment_is_refused_with_where_it_is_wrong(
    town: Town, body: dict[str, object], pointer: str
) -> None:
    ada = await town.register("ada")
    post = await publish(town, ada)
    answer = await town.content.post(f"/posts/{post['id']}/comments", as_=ada, json=body)
    assert (answer.status, answer.code) == (422, "invalid")
    assert any(pointer[1:] in error["pointer"] + error["detail"] for error in answer.json["errors"]), answer.body
    assert await counted(town, post["id"]) == 0


async def test_nobody_comments_anonymously(town: Town) -> None:
    post = await publish(town, await town.register("ada"))
    answer = await town.content.post(f"/posts/{post['id']}/comments", json={"text": "x"})
    assert (answer.status, answer.code) == (401, "unauthenticated")


@pytest.mark.parametrize("identifier", ["no-uuid", "0", "%00", "00000000-0000-7000-8000-000000000000"])
async def test_what_is_not_there_is_not_found(town: Town, identifier: str) -> None:
    ada = await town.register("ada")
    for method, path, body in (
        ("GET", f"/posts/{identifier}/comments", ...),
        ("POST", f"/posts/{identifier}/comments", {"text": "x"}),
        ("GET", f"/comments/{identifier}", ...),
        ("PATCH", f"/comments/{identifier}", {"text": "x"}),
        ("DELETE", f"/comments/{identifier}", ...),
    ):
        answer = await town.content.request(method, path, as_=ada, json=body)
        assert (answer.status, answer.code) == (404, "not_found"), (method, path)


async def test_a_post_s_comments_come_oldest_first_in_pages_each_behind_what_it_answers(town: Town) -> None:
    ada, bob = await town.register("ada"), await town.register("bob")
    post, other = await publish(town, ada), await publish(town, ada)
    await comment(town, bob, other["id"])
    first = await comment(town, bob, post["id"], "1")
    second = await comment(town, ada, post["id"], "2")
    reply = await comment(town, ada, post["id"], "1.1", parent_id=first["id"])
    deeper = await comment(town, bob, post["id"], "1.1.1", parent_id=reply["id"])
    assert (reply["parent_id"], deeper["parent_id"]) == (first["id"], reply["id"])
    path = f"/posts/{post['id']}/comments"
    assert await town.content.all_items(path, limit=1) == [first, second, reply, deeper]
    page = await town.content.get(path, params={"limit": 3})
    assert page.headers["Link"].endswith('>; rel="next"')
    late = await comment(town, bob, post["id"], "3")
    rest = await town.content.get(path, params={"limit": 3, "cursor": page.json["next_cursor"]})
    assert (rest.items, rest.json["next_cursor"]) == ([deeper, late], None)
    assert (await town.content.get(f"/posts/{other['id']}/comments")).json["next_cursor"] is None


async def test_a_reply_stands_behind_a_comment_from_a_machine_whose_clock_is_ahead(town: Town) -> None:
    ada = await town.register("ada")
    post = await publish(town, ada)
    ahead = new_id(datetime.now().astimezone() + timedelta(hours=1))
    parent = await comment(town, ada, post["id"])
    await town.database("content").execute("UPDATE comments SET id = $2 WHERE id = $1", UUID(parent["id"]), ahead)
    reply = await comment(town, ada, post["id"], parent_id=str(ahead))
    assert ids(await town.content.get(f"/posts/{post['id']}/comments")) == [str(ahead), reply["id"]]


async def test_a_reply_answers_a_comment_of_the_same_post(town: Town) -> None:
    ada = await town.register("ada")
    post, other = await publish(town, ada), await publish(town, ada)
    elsewhere = await comment(town, ada, other["id"])
    body = {"text": "x", "parent_id": elsewhere["id"]}
    answer = await town.content.post(f"/posts/{post['id']}/comments", as_=ada, json=body)
    assert (answer.status, answer.json["errors"][0]["pointer"]) == (422, "/parent_id")


async def test_a_thread_has_an_end(town: Town) -> None:
    ada = await town.register("ada")
    post = await publish(town, ada)
    parent = await comment(town, ada, post["id"])
    reply = await comment(town, ada, post["id"], parent_id=parent["id"])
    sql = "UPDATE comments SET depth = $2 WHERE id = $1"
    await town.database("content").execute(sql, UUID(reply["id"]), MAX_DEPTH - 1)
    deepest = await comment(town, ada, post["id"], parent_id=reply["id"])
    body = {"text": "Further", "parent_id": deepest["id"]}
    answer = await town.content.post(f"/posts/{post['id']}/comments", as_=ada, json=body)
    assert (answer.status, answer.json["errors"][0]["pointer"]) == (422, "/parent_id")


async def test_a_post_says_who_may_comment_and_its_author_always_may(town: Town) -> None:
    ada, follower, mentioned, passer_by = people = [
        await town.register(name) for name in ("ada", "follower", "mentioned", "passer_by")
    ]
    await town.befriend(follower, ada)
    welcome = {
        "everyone": [ada, follower, mentioned, passer_by],
        "followers": [ada, follower],
        "mentioned": [ada, mentioned],
        "nobody": [ada],
    }
    for policy, those in welcome.items():
        post = await publish(town, ada, f"Hey @{mentioned.handle}", reply_policy=policy)
        for person in people:
            answer = await town.content.post(f"/posts/{post['id']}/comments", as_=person, json={"text": "x"})
            expected = (201, None) if person in those else (403, "forbidden")
            assert (answer.status, answer.json.get("code")) == expected, (policy, person.handle)
        assert await counted(town, post["id"]) == len(those)


async def test_who_has_blocked_an_author_answers_none_of_their_posts(town: Town) -> None:
    ada, bob = await town.register("ada"), await town.register("bob")
    post = await publish(town, ada)
    await relate(town, [bob, ada], {"block": {(0, 1)}})
    answer = await town.content.post(f"/posts/{post['id']}/comments", as_=bob, json={"text": "x"})
    assert (answer.status, answer.code) == (409, "conflict")


async def test_nobody_answers_a_comment_that_they_cannot_see(town: Town) -> None:
    ada, bob, eve = people = [await town.register(name) for name in ("ada", "bob", "eve")]
    post = await publish(town, ada)
    parent = await comment(town, bob, post["id"])
    await relate(town, people, {"block": {(1, 2)}})
    answer = await town.content.post(f"/posts/{post['id']}/comments", as_=eve, json={"text": "x", "parent_id": parent["id"]})
    assert (answer.status, answer.json["errors"][0]["pointer"]) == (422, "/parent_id")


async def test_a_change_marks_the_comment_as_edited(town: Town) -> None:
    ada = await town.register("ada")
    post = await publish(town, ada)
    made = await comment(town, ada, post["id"], "Frist")
    changed = await town.content.patch(f"/comments/{made['id']}", as_=ada, json={"text": "*First*"})
    assert changed.status == 200
    assert changed.json["edited_at"] > made["created_at"]
    assert changed.json == made | {
        "text": "*First*",
        "html": "<p><em>First</em></p>",
        "edited_at": changed.json["edited_at"],
    }
    assert (await town.content.get(f"/comments/{made['id']}")).json == changed.json
    for nothing in ({}, {"text": "*First*"}):
        again = await town.content.patch(f"/comments/{made['id']}", as_=ada, json=nothing)
        assert (again.status, again.json) == (200, changed.json)
    refused = await town.content.patch(f"/comments/{made['id']}", as_=ada, json={"text": " "})
    assert (refused.status, refused.json["errors"][0]["pointer"]) == (422, "/text")


async def test_a_comment_that_has_changed_meanwhile_is_neither_changed_nor_deleted(town: Town) -> None:
    ada = await town.register("ada")
    post = await publish(town, ada)
    path = f"/comments/{(await comment(town, ada, post['id']))['id']}"
    seen = {"If-Match": (await town.content.get(path)).headers["ETag"]}
    first = await town.content.patch(path, as_=ada, json={"text": "Mine"}, headers=seen)
    late = await town.content.patch(path, as_=ada, json={"text": "Theirs"}, headers=seen)
    gone = await town.content.delete(path, as_=ada, headers=seen)
    assert (first.status, late.status, gone.status) == (200, 412, 412)
    assert (await town.content.get(path)).json["text"] == "Mine"


async def test_only_its_author_changes_a_comment(town: Town) -> None:
    ada, bob = await town.register("ada"), await town.register("bob")
    post = await publish(town, ada)
    made = await comment(town, bob, post["id"])
    answers = [
        await town.content.patch(f"/comments/{made['id']}", as_=who, json={"text": "Mine now"}) for who in (ada, None)
    ]
    assert [answer.status for answer in answers] == [403, 401]
    assert (await town.content.get(f"/comments/{made['id']}")).json == made


async def test_the_same_call_twice_makes_one_comment(town: Town) -> None:
    ada = await town.register("ada")
    post = await publish(town, ada)
    options = {"as_": ada, "json": {"text": "Once"}, "headers": {"Idempotency-Key": town.handle("key")}}
    first = await town.content.post(f"/posts/{post['id']}/comments", **options)
    again = await town.content.post(f"/posts/{post['id']}/comments", **options)
    assert (again.status, again.body) == (201, first.body)
    assert await counted(town, post["id"]) == 1


async def test_every_change_tells_what_it_changes(town: Town) -> None:
    ada, bob, joan = [await town.register(name) for name in ("ada", "bob", "joan")]
    await town.settle()
    post = await publish(town, ada)
    parent = await comment(town, ada, post["id"])
    made = await comment(town, bob, post["id"], f"@{joan.handle} @{bob.handle} @nobody_at_all", parent_id=parent["id"])
    always = {f"comments:{post['id']}", f"post:{post['id']}"}
    state = {
        "id": made["id"],
        "post": post["id"],
        "parent": parent["id"],
        "author": str(bob.id),
        "created_at": made["created_at"],
    }
    assert await last_event(town, "comment", made["id"]) == (state | {"mentions": [str(joan.id)]}, always)
    await town.content.patch(f"/comments/{made['id']}", as_=bob, json={"text": f"@{ada.handle}"})
    assert await last_event(town, "comment", made["id"]) == (state | {"mentions": [str(ada.id)]}, {f"comments:{post['id']}"})
    await town.content.delete(f"/comments/{made['id']}", as_=bob)
    assert await last_event(town, "comment", made["id"]) == (state | {"deleted": True}, always)


async def test_nobody_sees_comments_of_somebody_deleted_until_they_are_back(town: Town) -> None:
    ada, bob = await town.register("ada"), await town.register("bob")
    await town.settle()
    post = await publish(town, ada)
    alone = await comment(town, bob, post["id"], "Alone")
    answered = await comment(town, bob, post["id"], "Answered")
    reply = await comment(town, ada, post["id"], parent_id=answered["id"])
    await tell(town, "person", bob.id, deleted=True)
    missing = {key: answered[key] for key in ("id", "post_id", "created_at")} | {"missing": True}
    for viewer in (None, ada, bob):
        assert (await town.content.get(f"/posts/{post['id']}/comments", as_=viewer)).items == [missing, reply]
        assert (await town.content.get(f"/comments/{alone['id']}", as_=viewer)).status == 404
    refused = await town.content.post(f"/posts/{post['id']}/comments", as_=bob, json={"text": "Still here"})
    assert (refused.status, refused.code) == (403, "forbidden")
    await tell(town, "person", bob.id, handle=bob.handle, display_name="Bob")
    assert (await town.content.get(f"/posts/{post['id']}/comments")).items == [alone, answered, reply]


async def test_many_at_once_leave_a_count_that_is_the_rows_and_a_list_in_order(town: Town) -> None:
    people = [await town.register("crowd") for _ in range(4)]
    post = await publish(town, people[0])
    path = f"/posts/{post['id']}/comments"

    async def talk(person: Person) -> None:
        mine: list[str] = []
        for number in range(8):
            parent = {"parent_id": mine[-1]} if number % 2 else {}
            answer = await town.content.post(path, as_=person, json={"text": "x", **parent})
            assert answer.status == 201, answer.body
            mine.append(answer.json["id"])
            if number % 3 == 2:
                assert (await town.content.delete(f"/comments/{mine[-2]}", as_=person)).status == 204
                mine.pop(-2)

    async with asyncio.timeout(60):
        await asyncio.gather(*(talk(person) for person in people * 3))
    there = [item for item in await town.content.all_items(path) if "missing" not in item]
    assert await counted(town, post["id"]) == len(there) == 12 * 6


async def test_a_post_that_goes_while_people_answer_it_takes_all_with_it(town: Town) -> None:
    ada, bob = await town.register("ada"), await town.register("bob")
    for _ in range(5):
        post = await publish(town, ada)
        parent = await comment(town, bob, post["id"])
        calls = [
            town.content.post(f"/posts/{post['id']}/comments", as_=bob, json={"text": "x", "parent_id": parent["id"]}),
            town.content.put(f"/posts/{post['id']}/reactions/like", as_=bob),
            town.content.put(f"/posts/{post['id']}/bookmark", as_=bob),
            town.content.patch(f"/comments/{parent['id']}", as_=bob, json={"text": "y"}),
            town.content.delete(f"/posts/{post['id']}", as_=ada),
            town.content.delete(f"/comments/{parent['id']}", as_=ada),
            town.content.post(f"/posts/{post['id']}/comments", as_=ada, json={"text": "x"}),
        ]
        async with asyncio.timeout(20):
            answers = await asyncio.gather(*calls)
        assert {answer.status for answer in answers} <= {200, 201, 204, 404, 422}
        assert answers[4].status == 204
        for table in ("comments", "reactions", "bookmarks"):
            sql = f"SELECT count(*) FROM {table} WHERE post_id = $1"
            assert await town.database("content").fetchval(sql, UUID(post["id"])) == 0
