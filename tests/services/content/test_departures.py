"""What happens to all that somebody wrote when their account is deleted for good."""

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from testbed.content import comment, last_event, publish, react, tell
from testbed.town import Person, Town
from townsquare.kit.identity import Viewer
from townsquare.kit.transactions import transaction
from townsquare.services.content.imported_media import ImportedMedia, register_profile_pictures
from townsquare.services.content.imports import ImportedPost, import_posts

LEFT = """
SELECT
    (SELECT count(*) FROM posts WHERE author_id = $1)
    + (SELECT count(*) FROM comments WHERE author_id = $1)
    + (SELECT count(*) FROM reactions WHERE person_id = $1)
    + (SELECT count(*) FROM bookmarks WHERE person_id = $1)
    + (SELECT count(*) FROM drafts WHERE author_id = $1)
"""


async def gone(town: Town, person: Person) -> None:
    """Wait until the job has left nothing."""
    async with asyncio.timeout(20):
        while await town.database("content").fetchval(LEFT, person.id):
            await asyncio.sleep(0.05)


async def counts(town: Town, post_id: str) -> dict[str, int]:
    return (await town.content.get(f"/posts/{post_id}")).json["counts"]


async def scene(town: Town) -> tuple[Person, Person, Any, Any, Any]:
    """Bob writes to Ada in every way there is; Ada answers one of his comments."""
    ada, bob = await town.register("ada"), await town.register("bob")
    await town.settle()
    post = await publish(town, ada)
    hers = await comment(town, ada, post["id"])
    await comment(town, bob, post["id"], parent_id=hers["id"])
    answered = await comment(town, bob, post["id"])
    await comment(town, ada, post["id"], parent_id=answered["id"])
    for person in (ada, bob):
        await react(town, person, post["id"], "wow")
        await town.content.put(f"/posts/{post['id']}/bookmark", as_=person)
    await town.content.post("/drafts", as_=bob, json={"text": "Half"})
    own = await publish(town, bob, "Mine")
    await comment(town, ada, own["id"])
    return ada, bob, post, own, answered


async def test_who_left_for_good_leaves_nothing_and_is_in_no_count(town: Town) -> None:
    ada, bob, post, own, answered = await scene(town)
    await tell(town, "person", bob.id, deleted=True, purged=True)
    await gone(town, bob)
    assert await counts(town, post["id"]) == {"comments": 2, "reactions": 1}
    items = (await town.content.get(f"/posts/{post['id']}/comments")).items
    assert [item.get("author", {}).get("handle") for item in items] == [ada.handle, None, ada.handle]
    assert [item["person"]["handle"] for item in (await town.content.get(f"/posts/{post['id']}/reactions")).items] == [
        ada.handle
    ]
    assert [item["id"] for item in (await town.content.get("/bookmarks", as_=ada)).items] == [post["id"]]
    assert (await town.content.get(f"/posts/{own['id']}", as_=ada)).status == 404
    for topic, key in (("post", own["id"]), ("comment", answered["id"]), ("reaction", f"{post['id']}:{bob.id}")):
        assert (await last_event(town, topic, key))[0]["deleted"] is True, topic
    row = await town.database("content").fetchrow("SELECT p::text AS p FROM people AS p WHERE id = $1", bob.id)
    assert row is not None
    assert bob.handle not in row["p"]
    assert "Bob" not in row["p"]
    sql = "SELECT count(*) FROM comments WHERE post_id = $1"
    assert await town.database("content").fetchval(sql, UUID(own["id"])) == 0


async def test_pictures_that_came_in_an_archive_go_too(town: Town) -> None:
    ada, bob = await town.register("ada"), await town.register("bob")
    await town.settle()
    picture = ImportedMedia("lantern.png", "image/png")
    at = datetime(2020, 1, 1, tzinfo=UTC)
    for person in (ada, bob):
        viewer = Viewer(person.id, person.handle, person.handle, None, None, 0)
        async with transaction(town.host.services["content"].context) as write:
            await import_posts(write, viewer, [ImportedPost("https://x.example/1", at, "Look", "public", media=(picture,))])
            await register_profile_pictures(write, person.id, picture, picture)
    folder = town.settings.data / "imports"
    folder.mkdir(exist_ok=True)
    rows = await town.database("content").fetch("SELECT * FROM imported_media WHERE author_id = ANY($1)", [ada.id, bob.id])
    for row in rows:
        (folder / str(row["id"])).write_bytes(b"picture")
    await tell(town, "person", bob.id, deleted=True, purged=True)
    await gone(town, bob)
    async with asyncio.timeout(20):
        while await town.database("content").fetchval("SELECT count(*) FROM imported_media WHERE author_id = $1", bob.id):
            await asyncio.sleep(0.05)
    for row in rows:
        assert (folder / str(row["id"])).exists() == (row["author_id"] == ada.id)
        if row["author_id"] == bob.id and row["post_id"] is None:
            assert (await last_event(town, "imported_media", row["id"]))[0]["deleted"] is True


async def test_who_may_still_come_back_loses_nothing(town: Town) -> None:
    _, bob, post, own, _ = await scene(town)
    before = await town.database("content").fetchval(LEFT, bob.id)
    await tell(town, "person", bob.id, deleted=True)
    assert await counts(town, post["id"]) == {"comments": 4, "reactions": 2}
    await tell(town, "person", bob.id, handle=bob.handle, display_name="Bob")
    assert await town.database("content").fetchval(LEFT, bob.id) == before
    assert (await town.content.get(f"/posts/{own['id']}")).json == own | {"counts": {"comments": 1, "reactions": 0}}
