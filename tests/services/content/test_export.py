"""The export of what one person wrote."""

from testbed.content import publish
from testbed.town import Person, Town
from townsquare.kit.keys import internal_secret
from townsquare.kit.upstream import INTERNAL_HEADER


async def exported(town: Town, person: Person, kind: str) -> list[dict[str, object]]:
    headers = {INTERNAL_HEADER: internal_secret(town.settings)}
    return await town.content.all_items(f"/export/{person.id}?kind={kind}", limit=2, headers=headers)


async def test_all_posts_are_in_it_whatever_their_audience_with_their_versions(town: Town) -> None:
    ada, bob = await town.register("ada"), await town.register("bob")
    audiences = ("public", "followers", "private")
    posts = [await publish(town, ada, f"For {audience}", visibility=audience) for audience in audiences]
    await publish(town, bob)
    await town.content.patch(f"/posts/{posts[0]['id']}", as_=ada, json={"text": "Later"})
    items = await exported(town, ada, "posts")
    assert [item["id"] for item in items] == [post["id"] for post in posts]
    assert [item["visibility"] for item in items] == list(audiences)
    assert items[0]["text"] == "Later"
    assert [version["text"] for version in items[0]["versions"]] == ["For public"]


async def test_drafts_are_in_it(town: Town) -> None:
    ada = await town.register("ada")
    for text in ("One", "Two", "Three"):
        await town.content.post("/drafts", as_=ada, json={"text": text})
    assert [item["text"] for item in await exported(town, ada, "drafts")] == ["One", "Two", "Three"]


async def test_nobody_from_outside_gets_it(town: Town) -> None:
    ada = await town.register("ada")
    for headers in ({}, {INTERNAL_HEADER: "guess"}):
        answer = await town.content.get(f"/export/{ada.id}?kind=posts", as_=ada, headers=headers)
        assert (answer.status, answer.code) == (404, "not_found")
