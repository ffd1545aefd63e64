"""Pictures that came in an archive go with their posts, and their files with them."""

import asyncio
from datetime import UTC, datetime
from uuid import UUID

from testbed.content import last_event
from testbed.town import Person, Town
from townsquare.kit.identity import Viewer
from townsquare.kit.transactions import transaction
from townsquare.services.content.imported_media import ImportedMedia, folder_of
from townsquare.services.content.imports import ImportedPost, import_posts


async def bring(town: Town, person: Person, *sources: str) -> list[UUID]:
    """Import posts of one picture each; returns the pictures' ids, of which the files are there."""
    viewer = Viewer(person.id, person.handle, person.handle, None, None, 0)
    posts = [
        ImportedPost(
            source, datetime(2020, 1, 1, tzinfo=UTC), "Look", "public", media=(ImportedMedia("a.png", "image/png"),)
        )
        for source in sources
    ]
    async with transaction(town.host.services["content"].context) as write:
        await import_posts(write, viewer, posts)
    rows = await town.database("content").fetch(
        "SELECT m.id FROM imported_media AS m JOIN posts AS p ON p.id = m.post_id WHERE p.author_id = $1 ORDER BY source_id",
        person.id,
    )
    folder = folder_of(town.settings)
    folder.mkdir(exist_ok=True)
    for row in rows:
        (folder / str(row["id"])).write_bytes(b"picture")
    return [row["id"] for row in rows]


async def test_who_deletes_a_post_leaves_no_picture_of_it(town: Town) -> None:
    ada = await town.register("ada")
    gone, stays = await bring(town, ada, "https://x.example/1", "https://x.example/2")
    posts = (await town.content.get(f"/users/{ada.id}/posts", as_=ada)).items
    (post,) = [post["id"] for post in posts if post["media"][0]["id"] == str(gone)]
    assert (await town.content.delete(f"/posts/{post}", as_=ada)).status == 204
    assert (await last_event(town, "imported_media", gone))[0]["deleted"] is True
    async with asyncio.timeout(20):
        while (folder_of(town.settings) / str(gone)).exists():
            await asyncio.sleep(0.02)
    assert (folder_of(town.settings) / str(stays)).exists()
