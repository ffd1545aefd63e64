"""The tags of the last day."""

from datetime import timedelta

import msgspec

from testbed.content import publish
from testbed.town import Person, Town
from townsquare.kit.clock import now
from townsquare.kit.identity import Viewer
from townsquare.kit.writes import Write
from townsquare.services.content.publishing import NewPost
from townsquare.services.content.publishing import publish as publish_in


async def trend(town: Town, tag: str) -> tuple[int, int] | None:
    """Return a tag's authors and posts, or None when it does not trend."""
    answer = await town.content.get("/trending?limit=100")
    assert answer.status == 200
    assert answer.json["next_cursor"] is None
    by_tag = {item["tag"]: (item["authors"], item["posts"]) for item in answer.items}
    return by_tag.get(tag)


async def test_tags_count_by_people_not_by_posts(town: Town) -> None:
    people = [await town.register(name) for name in ("ada", "bob", "eve")]
    shared, shouted = town.handle("shared"), town.handle("shouted")
    for person in people:
        await publish(town, person, f"#{shared}")
    for _ in range(5):
        await publish(town, people[0], f"#{shouted}")
    assert await trend(town, shared) == (3, 3)
    assert await trend(town, shouted) == (1, 5)
    order = [item["tag"] for item in (await town.content.get("/trending?limit=100")).items]
    assert order.index(shared) < order.index(shouted)
    assert len((await town.content.get("/trending?limit=1")).items) == 1


async def test_only_what_everybody_may_see_trends(town: Town) -> None:
    ada, tag = await town.register("ada"), town.handle("tag")
    post = await publish(town, ada, f"#{tag}", visibility="followers")
    assert await trend(town, tag) is None
    await town.content.patch(f"/posts/{post['id']}", as_=ada, json={"visibility": "public"})
    assert await trend(town, tag) == (1, 1)
    await town.content.delete(f"/posts/{post['id']}", as_=ada)
    assert await trend(town, tag) is None


async def test_what_is_older_than_a_day_does_not_trend(town: Town) -> None:
    ada, tag = await town.register("ada"), town.handle("tag")
    await publish_at(town, ada, f"#{tag} new", hours=23)
    await publish_at(town, ada, f"#{tag} old", hours=25)
    assert await trend(town, tag) == (1, 1)


async def publish_at(town: Town, author: Person, text: str, *, hours: int) -> None:
    """Publish as an import does: with the post's own time."""
    context = town.host.services["content"].context
    write = Write(context.database, context.outbox, "content")
    viewer = msgspec.convert(
        {"id": author.id, "handle": author.handle, "name": "x", "session": None, "scopes": None, "expires": 0}, Viewer
    )
    await publish_in(write, viewer, NewPost(text), at=now() - timedelta(hours=hours), source_id=text)
    await write.commit()
