"""The versions that edits replaced, and who may see them."""

from uuid import uuid4

from testbed.content import publish
from testbed.town import Person, Town


async def edit(town: Town, author: Person, post_id: str, **change: object) -> None:
    answer = await town.content.patch(f"/posts/{post_id}", as_=author, json=change)
    assert answer.status == 200, answer.body


async def texts(town: Town, post_id: str, viewer: Person | None = None) -> list[str]:
    items = await town.content.all_items(f"/posts/{post_id}/history", as_=viewer)
    return [item["text"] for item in items]


async def test_every_edit_keeps_the_version_before_with_its_times(town: Town) -> None:
    ada = await town.register("ada")
    post = await publish(town, ada, "One", content_warning="Careful")
    await edit(town, ada, post["id"], text="**Two**")
    await edit(town, ada, post["id"], content_warning=None)
    now = (await town.content.get(f"/posts/{post['id']}")).json
    second, first = (await town.content.get(f"/posts/{post['id']}/history")).items
    assert (first["text"], first["content_warning"], first["written_at"]) == ("One", "Careful", post["created_at"])
    assert (second["html"], second["content_warning"]) == ("<p><strong>Two</strong></p>", "Careful")
    assert second["written_at"] == first["replaced_at"]
    assert second["replaced_at"] == now["edited_at"]


async def test_a_change_of_nothing_is_no_version(town: Town) -> None:
    ada = await town.register("ada")
    post = await publish(town, ada, "Same")
    await edit(town, ada, post["id"])
    await edit(town, ada, post["id"], text="Same", content_warning=None)
    assert await texts(town, post["id"]) == []
    assert (await town.content.get(f"/posts/{post['id']}")).json == post


async def test_a_long_history_comes_in_pages(town: Town) -> None:
    ada = await town.register("ada")
    post = await publish(town, ada, "0")
    for number in range(1, 8):
        await edit(town, ada, post["id"], text=str(number))
    items = await town.content.all_items(f"/posts/{post['id']}/history", limit=3)
    assert [item["text"] for item in items] == ["6", "5", "4", "3", "2", "1", "0"]


async def test_widening_a_post_does_not_publish_what_was_written_for_a_few(town: Town) -> None:
    ada, bob = await town.register("ada"), await town.register("bob")
    post = await publish(town, ada, "Secret", visibility="private")
    await edit(town, ada, post["id"], text="Half secret")
    await edit(town, ada, post["id"], visibility="public")
    await edit(town, ada, post["id"], text="Open")
    assert await texts(town, post["id"], ada) == ["Half secret", "Secret"]
    assert await texts(town, post["id"], bob) == ["Half secret"]
    assert await texts(town, post["id"]) == ["Half secret"]


async def test_the_history_of_what_may_not_be_seen_is_not_found(town: Town) -> None:
    ada, bob = await town.register("ada"), await town.register("bob")
    post = await publish(town, ada, visibility="private")
    for post_id in (post["id"], uuid4(), "nothing"):
        answer = await town.content.get(f"/posts/{post_id}/history", as_=bob)
        assert (answer.status, answer.code) == (404, "not_found")


async def test_who_is_mentioned_later_does_not_see_what_was_written_for_others(town: Town) -> None:
    ada, bob, cyd = [await town.register(name) for name in ("ada", "bob", "cyd")]
    await town.settle()
    post = await publish(town, ada, f"@{bob.handle}, about Cyd", visibility="private")
    await edit(town, ada, post["id"], text=f"@{bob.handle} and @{cyd.handle}, hello")
    assert (await town.content.get(f"/posts/{post['id']}", as_=cyd)).status == 200
    assert await texts(town, post["id"], cyd) == []
    assert await texts(town, post["id"], ada) == [f"@{bob.handle}, about Cyd"]
