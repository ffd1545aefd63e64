"""Whose files they are: what media keeps of people and blocks, who sees what of whom, and what is left of who has gone."""

import asyncio
import itertools
from uuid import uuid4

import msgspec

from testbed.cached import position_of, told_since
from testbed.town import Person, Town
from testbed.uploads import send_file, uploaded
from townsquare.kit.outbox import Event
from townsquare.services.media.people import READER

FAR = 10**12
"""A version that is newer than any that really happened."""
_versions = itertools.count(FAR)
LEFT = """
SELECT (SELECT count(*) FROM files WHERE owner_id = $1) + (SELECT count(*) FROM usage WHERE owner_id = $1)
"""


async def tell(town: Town, topic: str, key: object, *, version: int | None = None, **payload: object) -> set[str]:
    """Apply one event as the reader does; returns the tags that were told on."""
    before = await position_of(town, "media")
    event = Event(version or next(_versions), "0-0", topic, str(key), msgspec.Raw(msgspec.json.encode(payload)), "")
    async with town.database("media").transaction() as connection:
        await READER.topics[topic](connection, event)
    await town.noticed("media")
    return await told_since(town, "media", before)


async def note(town: Town, owner: Person, text: str = "", **fields: str) -> str:
    """Upload a small text; returns its id."""
    return (await uploaded(town.media, owner, f"{text or uuid4()}\n".encode(), "note.txt", **fields))["id"]


async def statuses(town: Town, path: str, *viewers: Person | None) -> list[int]:
    return [(await town.media.get(path, as_=viewer)).status for viewer in viewers]


async def test_somebody_just_registered_can_upload_before_the_event_about_them_arrives(town: Town) -> None:
    newcomer = await town.register("newcomer")
    file = await note(town, newcomer)
    await town.settle()
    assert await statuses(town, f"/users/@{newcomer.handle}/files", None) == [200]
    assert (await town.media.get(f"/files/{file}")).json["owner"] == str(newcomer.id)


async def test_who_is_blocked_sees_nothing_and_everybody_else_what_they_may(town: Town) -> None:
    ada, bob, eve = [await town.register(name) for name in ("ada", "bob", "eve")]
    files = {visibility: await note(town, ada, visibility=visibility) for visibility in ("public", "unlisted", "private")}
    assert (await town.users.put(f"/users/{eve.id}/block", as_=ada)).status == 204
    await town.settle()
    seen = {visibility: await statuses(town, f"/files/{file}", None, bob, eve, ada) for visibility, file in files.items()}
    assert seen == {
        "public": [200, 200, 404, 200],
        "unlisted": [200, 200, 404, 200],
        "private": [404, 404, 404, 200],
    }
    assert await statuses(town, f"/users/{ada.id}/files", None, bob, eve, ada) == [200, 200, 404, 200]
    await town.users.delete(f"/users/{eve.id}/block", as_=ada)
    await town.settle()
    assert await statuses(town, f"/files/{files['public']}", eve) == [200]


async def test_nobody_sees_files_of_somebody_deleted_until_they_are_back(town: Town) -> None:
    ada = await town.register("ada")
    file = await note(town, ada)
    await town.settle()
    paths = (f"/files/{file}", f"/users/{ada.id}/files", f"/users/@{ada.handle}/files")
    for path in paths * 2:
        assert await statuses(town, path, None) == [200]
    assert file in [item["id"] for item in (await town.media.get("/public/files")).items]
    assert await tell(town, "person", ada.id, deleted=True) == {f"owner:{ada.id}"}
    assert [await statuses(town, path, None, ada) for path in paths] == [[404, 404]] * 3
    assert file not in [item["id"] for item in (await town.media.get("/public/files")).items]
    refused = await send_file(town.media, ada, b"Still here\n", "note.txt")
    assert (refused.status, refused.code) == (403, "forbidden")
    assert await tell(town, "person", ada.id, handle=ada.handle) == {f"owner:{ada.id}", "returned"}
    assert [await statuses(town, path, None) for path in paths] == [[200]] * 3
    assert file in [item["id"] for item in (await town.media.get("/public/files")).items]


async def test_a_name_changes_nothing_and_a_handle_only_whom_it_names(town: Town) -> None:
    ada, bob = await town.register("ada"), await town.register("bob")
    file = await note(town, bob)
    await town.settle()
    path = f"/users/@{ada.handle}/files"
    assert (await town.media.get(path)).items == []
    assert await tell(town, "person", ada.id, handle=ada.handle, display_name="Ada L.") == set()
    told = await tell(town, "person", bob.id, handle=ada.handle)
    assert told == {f"handle:{ada.handle}", f"handle:{bob.handle}"}
    assert [item["id"] for item in (await town.media.get(path)).items] == [file]


async def test_an_event_that_comes_late_or_twice_changes_nothing(town: Town) -> None:
    ada, bob = await town.register("ada"), await town.register("bob")
    file = await note(town, ada)
    await town.settle()
    await tell(town, "person", ada.id, version=FAR + 1, handle=ada.handle)
    assert await tell(town, "person", ada.id, version=FAR, deleted=True) == set()
    key = f"{ada.id}:{bob.id}"
    assert await tell(town, "block", key, version=FAR + 1, deleted=True) == {f"blocks:{ada.id}", f"blocks:{bob.id}"}
    assert await tell(town, "block", key, version=FAR) == set()
    assert await statuses(town, f"/files/{file}", bob, None) == [200, 200]


async def test_who_left_for_good_leaves_no_file_and_no_name(town: Town) -> None:
    ada, bob = await town.register("ada"), await town.register("bob")
    await town.settle()
    files = [await note(town, ada, visibility=visibility) for visibility in ("public", "private")]
    same = [await note(town, person, "The same bytes") for person in (ada, bob)]
    before = await position_of(town, "media")
    await tell(town, "person", ada.id, deleted=True, purged=True)
    async with asyncio.timeout(20):
        while await town.database("media").fetchval(LEFT, ada.id):
            await asyncio.sleep(0.02)
    told = await told_since(town, "media", before)
    assert {f"file:{file}" for file in (*files, same[0])} | {f"files:{ada.id}"} <= told
    assert await town.database("media").fetchval("SELECT handle FROM people WHERE id = $1", ada.id) == ""
    assert await statuses(town, f"/files/{same[1]}", None) == [200]
    assert (await town.media.get(f"/files/{same[1]}/original")).body == b"The same bytes\n"
