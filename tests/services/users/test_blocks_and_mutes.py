"""Blocks and mutes over HTTP: what they end, who sees them, and that one's own can always be undone."""

import pytest

from testbed.town import Town


async def test_a_block_ends_the_follows_between_the_two(town: Town) -> None:
    ada, mallory = await town.register("ada"), await town.register("mallory")
    await town.users.put(f"/users/{mallory.id}/follow", as_=ada)
    await town.users.put(f"/users/{ada.id}/follow", as_=mallory)
    assert (await town.users.put(f"/users/{mallory.id}/block", as_=ada)).status == 204
    for person in (ada, mallory):
        profile = (await town.users.get(f"/profile/{person.id}")).json
        assert profile["counts"] == {"followers": 0, "following": 0, "posts": 0}
    told = await town.database("users").fetch(
        "SELECT topic, key, payload->>'deleted' AS deleted FROM outbox WHERE key = ANY($1) ORDER BY id DESC LIMIT 3",
        [f"{ada.id}:{mallory.id}", f"{mallory.id}:{ada.id}"],
    )
    assert [(row["topic"], row["key"], row["deleted"]) for row in reversed(told)] == [
        ("follow", f"{ada.id}:{mallory.id}", "true"),
        ("follow", f"{mallory.id}:{ada.id}", "true"),
        ("block", f"{ada.id}:{mallory.id}", None),
    ]


async def test_the_end_of_a_block_gives_the_view_back_and_no_follow(town: Town) -> None:
    ada, mallory = await town.register("ada"), await town.register("mallory")
    await town.users.put(f"/users/{ada.id}/follow", as_=mallory)
    await town.users.put(f"/users/{mallory.id}/block", as_=ada)
    await town.users.delete(f"/users/{mallory.id}/block", as_=ada)
    profile = await town.users.get(f"/profile/{ada.id}", as_=mallory)
    assert (profile.status, profile.json["counts"]["followers"]) == (200, 0)


@pytest.mark.parametrize(("relation", "path"), [("block", "/blocks"), ("mute", "/mutes")])
async def test_the_list_is_its_authors_own_and_newest_first(town: Town, relation: str, path: str) -> None:
    ada, *others = [await town.register(name) for name in ("ada", "one", "two", "three")]
    for other in others:
        for _ in range(2):
            assert (await town.users.put(f"/users/{other.id}/{relation}", as_=ada)).status == 204
    listed = await town.users.all_items(path, limit=1, as_=ada)
    assert [item["handle"] for item in listed] == [other.handle for other in reversed(others)]
    assert listed[0].keys() == {"id", "handle", "display_name"}
    assert await town.users.all_items(path, as_=others[0]) == []
    assert (await town.users.get(path)).status == 401
    for _ in range(2):
        assert (await town.users.delete(f"/users/{others[0].id}/{relation}", as_=ada)).status == 204
    assert len(await town.users.all_items(path, as_=ada)) == 2


@pytest.mark.parametrize("relation", ["block", "mute"])
async def test_ones_own_is_undone_even_behind_the_others_block(town: Town, relation: str) -> None:
    ada, mallory = await town.register("ada"), await town.register("mallory")
    await town.users.put(f"/users/{ada.id}/{relation}", as_=mallory)
    await town.database("users").execute(
        "INSERT INTO blocks (blocker, blocked, since) VALUES ($1, $2, now())", ada.id, mallory.id
    )
    assert (await town.users.delete(f"/users/{ada.id}/{relation}", as_=mallory)).status == 204
    assert await town.users.all_items(f"/{relation}s", as_=mallory) == []
    assert (await town.users.delete(f"/users/{ada.id}/{relation}", as_=mallory)).status == 404


async def test_the_muted_notice_nothing(town: Town) -> None:
    ada, grace = await town.register("ada"), await town.register("grace")
    await town.users.put(f"/users/{ada.id}/follow", as_=grace)
    before = (await town.users.get(f"/profile/{ada.id}", as_=grace)).body
    await town.users.put(f"/users/{grace.id}/mute", as_=ada)
    assert (await town.users.get(f"/profile/{ada.id}", as_=grace)).body == before
