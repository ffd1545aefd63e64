"""The public timeline and the pages of tags."""

import pytest

from testbed.content import ids, publish
from testbed.town import Town


async def test_the_timeline_is_newest_first_and_public_alone(town: Town) -> None:
    ada, bob = await town.register("ada"), await town.register("bob")
    first = await publish(town, ada)
    await publish(town, ada, visibility="followers")
    await publish(town, ada, visibility="private")
    second = await publish(town, bob)
    for viewer in (None, ada, bob):
        assert ids(await town.content.get("/public/posts?limit=2", as_=viewer)) == [second["id"], first["id"]]


async def test_pages_follow_on_while_posts_are_added(town: Town) -> None:
    ada = await town.register("ada")
    posts = [(await publish(town, ada, f"Number {number}"))["id"] for number in range(5)]
    page = await town.content.get("/public/posts?limit=2")
    assert ids(page) == [posts[4], posts[3]]
    assert page.headers["Link"].endswith('; rel="next"')
    await publish(town, ada, "In between")
    following = await town.content.get(f"/public/posts?limit=2&cursor={page.json['next_cursor']}")
    assert ids(following) == [posts[2], posts[1]]


async def test_a_tag_s_page_finds_it_however_it_is_written(town: Town) -> None:
    ada = await town.register("ada")
    tag = town.handle("Köln")
    posts = [(await publish(town, ada, f"See #{tag}"))["id"], (await publish(town, ada, f"#{tag.upper()}!"))["id"]]
    await publish(town, ada, f"{tag} without its sign")
    await publish(town, ada, f"#{tag}", visibility="followers")
    for written in (tag, tag.lower(), tag.upper(), f"%23{tag}"):
        assert ids(await town.content.get(f"/public/posts?tag={written}")) == posts[::-1]
    assert [item["id"] for item in await town.content.all_items(f"/public/posts?tag={tag}", limit=1)] == posts[::-1]


async def test_a_tag_comes_and_goes_with_the_text_and_the_audience(town: Town) -> None:
    ada = await town.register("ada")
    one, two = town.handle("one"), town.handle("two")
    post = await publish(town, ada, f"#{one}")

    async def under(tag: str) -> bool:
        return post["id"] in ids(await town.content.get(f"/public/posts?tag={tag}"))

    async def change(**fields: str) -> None:
        assert (await town.content.patch(f"/posts/{post['id']}", as_=ada, json=fields)).status == 200

    assert (await under(one), await under(two)) == (True, False)
    await change(text=f"#{two}")
    assert (await under(one), await under(two)) == (False, True)
    await change(visibility="followers")
    assert (await under(one), await under(two)) == (False, False)
    await change(visibility="public")
    assert (await under(one), await under(two)) == (False, True)


@pytest.mark.parametrize("tag", ["!!!", "123", "a-b", "#", "a%00b", "a b", "x" * 65])
async def test_what_cannot_be_a_tag_is_refused(town: Town, tag: str) -> None:
    answer = await town.content.get(f"/public/posts?tag={tag}")
    assert (answer.status, answer.code) == (422, "invalid")


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "cursor=%%%", "cursor=WyJ4Il0", "cursor=" + "A" * 401])
async def test_a_page_that_cannot_be_is_refused(town: Town, query: str) -> None:
    answer = await town.content.get(f"/public/posts?{query}")
    assert (answer.status, answer.code) == (422, "invalid")
