"""What content keeps of people, from the events that users tells."""

from uuid import UUID, uuid4

import msgspec

from testbed.content import ids, last_event, publish
from testbed.town import Person, Town
from townsquare.kit.outbox import Event
from townsquare.services.content.people import READER


async def tell(town: Town, version: int, topic: str, key: object, **payload: object) -> None:
    """Apply one event as the reader does."""
    event = Event(version, "0-0", topic, str(key), msgspec.Raw(msgspec.json.encode(payload)), "")
    async with town.database("content").transaction() as connection:
        await READER.topics[topic](connection, event)
    await town.noticed("content")


async def author_of(town: Town, post_id: str) -> dict[str, str]:
    return (await town.content.get(f"/posts/{post_id}")).json["author"]


async def somebody(town: Town) -> tuple[Person, str]:
    ada = await town.register("ada")
    await town.settle()
    return ada, (await publish(town, ada))["id"]


FAR = 10**12
"""A version that is newer than any that really happened."""


async def test_a_new_name_stands_on_old_posts(town: Town) -> None:
    ada, post = await somebody(town)
    await tell(town, FAR, "person", ada.id, handle=ada.handle, display_name="Ada L.", avatar="/a.webp")
    told = {"id": str(ada.id), "handle": ada.handle, "display_name": "Ada L.", "avatar": "/a.webp"}
    assert await author_of(town, post) == told
    assert (await last_event(town, "person_seen", ada.id))[1] == {f"author:{ada.id}", f"handle:{ada.handle}"}


async def test_an_event_that_comes_late_or_twice_changes_nothing(town: Town) -> None:
    ada, post = await somebody(town)
    await tell(town, FAR + 1, "person", ada.id, handle=ada.handle, display_name="New")
    await tell(town, FAR, "person", ada.id, handle=ada.handle, display_name="Old")
    await tell(town, FAR + 1, "person", ada.id, handle=ada.handle, display_name="Again")
    assert (await author_of(town, post))["display_name"] == "New"


async def test_nobody_sees_anything_of_somebody_deleted_until_they_are_back(town: Town) -> None:
    ada, post = await somebody(town)
    tag = town.handle("tag")
    tagged = await publish(town, ada, f"#{tag}")
    lists = [f"/public/posts?tag={tag}", f"/search?q={tag}"]
    await tell(town, FAR, "person", ada.id, deleted=True)
    for viewer in (None, ada):
        assert (await town.content.get(f"/posts/{post}", as_=viewer)).status == 404
        assert (await town.content.get(f"/users/{ada.id}/posts", as_=viewer)).status == 404
        assert (await town.content.get(f"/users/@{ada.handle}/posts", as_=viewer)).status == 404
        assert [ids(await town.content.get(path, as_=viewer)) for path in lists] == [[], []]
    assert tag not in [item["tag"] for item in (await town.content.get("/trending?limit=100")).items]
    bobs = (await publish(town, await town.register("bob")))["id"]
    for method, path, body in (
        ("POST", "/posts", {"text": "Still here"}),
        ("POST", "/drafts", {"text": "Still here"}),
        ("POST", f"/posts/{bobs}/comments", {"text": "Still here"}),
        ("PUT", f"/posts/{bobs}/reactions/like", ...),
        ("PUT", f"/posts/{bobs}/bookmark", ...),
    ):
        refused = await town.content.request(method, path, as_=ada, json=body)
        assert (refused.status, refused.code) == (403, "forbidden"), path
    await tell(town, FAR + 1, "person", ada.id, handle=ada.handle, display_name="Ada")
    assert [ids(await town.content.get(path)) for path in lists] == [[tagged["id"]], [tagged["id"]]]


async def test_a_handle_leads_to_who_has_it_now(town: Town) -> None:
    ada, _ = await somebody(town)
    bob = await town.register("bob")
    post = await publish(town, bob)
    await town.settle()
    await tell(town, FAR, "person", bob.id, handle=ada.handle, display_name="Bob")
    assert ids(await town.content.get(f"/users/@{ada.handle}/posts")) == [post["id"]]


async def test_a_follow_that_ended_does_not_come_back_with_a_late_event(town: Town) -> None:
    ada, bob = await town.register("ada"), await town.register("bob")
    post = await publish(town, ada, visibility="followers")
    key = f"{bob.id}:{ada.id}"
    await tell(town, FAR + 1, "follow", key, deleted=True)
    await tell(town, FAR, "follow", key, follower=str(bob.id), followee=str(ada.id))
    assert (await town.content.get(f"/posts/{post['id']}", as_=bob)).status == 404
    await tell(town, FAR + 2, "follow", key, follower=str(bob.id), followee=str(ada.id))
    assert (await town.content.get(f"/posts/{post['id']}", as_=bob)).status == 200


async def test_each_relation_names_whose_answers_it_changes(town: Town) -> None:
    one, other = uuid4(), uuid4()
    for topic, tags in {
        "follow": {f"follows:{one}", f"follow:{one}:{other}"},
        "block": {f"blocks:{one}", f"blocks:{other}"},
        "mute": {f"mutes:{one}"},
    }.items():
        await tell(town, FAR, topic, f"{one}:{other}")
        assert (await last_event(town, f"{topic}_seen", f"{one}:{other}"))[1] == tags


async def test_a_mention_gives_access_to_who_had_the_handle_then(town: Town) -> None:
    ada, bob, eve = [await town.register(name) for name in ("ada", "bob", "eve")]
    await town.settle()
    post = await publish(town, ada, f"Psst @{bob.handle}", visibility="private")
    await tell(town, FAR, "person", bob.id, handle=town.handle("bobby"), display_name="Bob")
    await tell(town, FAR, "person", eve.id, handle=bob.handle, display_name="Eve")
    await town.content.patch(f"/posts/{post['id']}", as_=ada, json={"reply_policy": "nobody"})
    readers = [(await town.content.get(f"/posts/{post['id']}", as_=who)).status for who in (bob, eve)]
    assert readers == [200, 404]
    assert UUID(post["id"]).version == 7
