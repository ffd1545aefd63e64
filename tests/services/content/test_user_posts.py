"""One person's posts."""

import pytest

from testbed.content import ids, publish
from testbed.town import Town


async def test_posts_are_found_by_id_and_by_handle(town: Town) -> None:
    ada, bob = await town.register("ada"), await town.register("bob")
    posts = [(await publish(town, ada, str(number)))["id"] for number in range(3)]
    await publish(town, bob)
    for key in (ada.id, f"@{ada.handle}", f"@{ada.handle.upper()}"):
        assert ids(await town.content.get(f"/users/{key}/posts")) == posts[::-1]
        assert [item["id"] for item in await town.content.all_items(f"/users/{key}/posts", limit=2)] == posts[::-1]


async def test_somebody_without_posts_has_an_empty_list(town: Town) -> None:
    ada = await town.register("ada")
    await town.settle()
    assert (await town.content.get(f"/users/{ada.id}/posts")).json == {"items": [], "next_cursor": None}


@pytest.mark.parametrize("key", ["00000000-0000-7000-8000-000000000000", "@nobody_has_it", "@", "nobody", "%00", "@%00"])
async def test_nobody_is_not_found(town: Town, key: str) -> None:
    answer = await town.content.get(f"/users/{key}/posts")
    assert (answer.status, answer.code) == (404, "not_found")


async def test_who_has_blocked_the_viewer_is_not_there(town: Town) -> None:
    ada, bob = await town.register("ada"), await town.register("bob")
    await publish(town, ada)
    await town.users.put(f"/users/{bob.id}/block", as_=ada)
    await town.settle()
    assert (await town.content.get(f"/users/{ada.id}/posts", as_=bob)).status == 404
    assert (await town.content.get(f"/users/@{ada.handle}/posts", as_=bob)).status == 404
    assert len(ids(await town.content.get(f"/users/{ada.id}/posts"))) == 1
    await town.users.delete(f"/users/{bob.id}/block", as_=ada)
    await town.settle()
    assert len(ids(await town.content.get(f"/users/{ada.id}/posts", as_=bob))) == 1


async def test_somebody_muted_is_shown_on_their_own_page_alone(town: Town) -> None:
    ada, bob = await town.register("ada"), await town.register("bob")
    tag = town.handle("tag")
    post = await publish(town, ada, f"#{tag}")
    await town.users.put(f"/users/{ada.id}/mute", as_=bob)
    await town.settle()
    assert ids(await town.content.get(f"/users/{ada.id}/posts", as_=bob)) == [post["id"]]
    assert ids(await town.content.get(f"/public/posts?tag={tag}", as_=bob)) == []
    assert ids(await town.content.get(f"/public/posts?tag={tag}")) == [post["id"]]
