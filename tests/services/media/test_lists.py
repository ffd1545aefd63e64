"""Lists of files: one person's, and everybody's; of all kinds or of one, in pages, and never older than what is there."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from testbed.cached import entry_of, was_hit
from testbed.town import Answer, Person, Town
from testbed.uploads import bytes_at, uploaded

GIF = bytes.fromhex("47494638396101000100800000ffffff00000021f90400000000002c00000000010001000002024401003b")
"""One white dot."""


async def note(town: Town, owner: Person, **fields: str) -> Any:
    """Upload a small text that nobody else has."""
    return await uploaded(town.media, owner, f"{uuid4()}\n".encode(), "note.txt", **fields)


def ids(answer: Answer) -> list[str]:
    assert answer.status == 200, answer.body
    return [item["id"] for item in answer.items]


async def test_a_person_s_public_files_are_listed_newest_first_as_they_were_answered(town: Town) -> None:
    ada, bob = await town.register("ada"), await town.register("bob")
    notes = [await note(town, ada) for _ in range(3)]
    for visibility in ("unlisted", "private"):
        await note(town, ada, visibility=visibility)
    await town.settle()
    for viewer in (None, bob):
        assert (await town.media.get(f"/users/@{ada.handle}/files", as_=viewer)).items == notes[::-1]


async def test_one_s_own_list_has_everything_and_private_addresses_open_what_they_name(town: Town) -> None:
    ada = await town.register("ada")
    await town.settle()
    made = [await note(town, ada, visibility=visibility) for visibility in ("public", "unlisted", "private")]
    answer = await town.media.get(f"/users/{ada.id}/files", as_=ada)
    assert ids(answer) == [file["id"] for file in reversed(made)]
    url = answer.items[0]["original"]["url"]
    assert (await bytes_at(town.session, town.base, url))[0] == 200
    assert (await bytes_at(town.session, town.base, url.partition("?")[0]))[0] == 404


@pytest.mark.parametrize("path", ["/users/{}/files", "/public/files"])
async def test_files_of_one_kind_alone(town: Town, path: str) -> None:
    ada = await town.register("ada")
    text, picture = await note(town, ada), await uploaded(town.media, ada, GIF, "dot.gif")
    await town.settle()
    path = path.format(ada.id)
    assert ids(await town.media.get(f"{path}?kind=document"))[0] == text["id"]
    assert ids(await town.media.get(f"{path}?kind=image"))[0] == picture["id"]
    assert text["id"] not in ids(await town.media.get(f"{path}?kind=image"))
    assert picture["id"] not in ids(await town.media.get(f"{path}?kind=video"))
    refused = await town.media.get(f"{path}?kind=secrets")
    assert (refused.status, refused.json["errors"][0]["pointer"]) == (422, "?kind")


@pytest.mark.parametrize("kind", ["", "&kind=document"])
async def test_pages_hold_everything_once_while_files_are_added(town: Town, kind: str) -> None:
    ada = await town.register("ada")
    notes = [(await note(town, ada))["id"] for _ in range(5)]
    await town.settle()
    for path in (f"/users/{ada.id}/files", "/public/files"):
        first = await town.media.get(f"{path}?limit=2{kind}")
        notes.append((await note(town, ada))["id"])
        seen, cursor = ids(first), first.json["next_cursor"]
        assert 'rel="next"' in first.headers["Link"]
        while len(seen) < 5:
            page = await town.media.get(f"{path}?limit=2{kind}&cursor={cursor}")
            seen, cursor = seen + ids(page), page.json["next_cursor"]
        assert seen[:5] == notes[-2::-1][:5]


async def test_whom_nobody_can_see_has_no_list(town: Town) -> None:
    for path in (f"/users/{uuid4()}/files", "/users/@nobody_at_all/files", "/users/what/files"):
        assert (await town.media.get(path)).status == 404
    ada = await town.register("ada")
    await town.settle()
    for query in ("cursor=x", "limit=0", "limit=101"):
        assert (await town.media.get(f"/users/{ada.id}/files?{query}")).status == 422


async def test_lists_leave_out_whom_the_viewer_has_blocked_or_is_blocked_by(town: Town) -> None:
    ada, bob, eve = [await town.register(name) for name in ("ada", "bob", "eve")]
    await town.settle()
    file = (await note(town, ada))["id"]
    await town.users.put(f"/users/{ada.id}/block", as_=bob)
    await town.users.put(f"/users/{eve.id}/block", as_=ada)
    await town.settle()
    seen = {
        who: file in ids(await town.media.get("/public/files", as_=as_))
        for who, as_ in {"nobody": None, "ada": ada, "bob": bob, "eve": eve}.items()
    }
    assert seen == {"nobody": True, "ada": True, "bob": False, "eve": False}
    assert ids(await town.media.get(f"/users/{ada.id}/files", as_=bob)) == []


async def test_lists_are_kept_until_what_they_show_changes(town: Town) -> None:
    ada, bob = await town.register("ada"), await town.register("bob")
    await town.settle()
    one, other = await note(town, ada), await note(town, bob)
    own, public = f"/users/{ada.id}/files", "/public/files?kind=document"
    await town.noticed("media")
    for path in (own, public):
        await town.media.get(path)
        assert was_hit(await town.media.get(path))
    kept = entry_of(town, "media", public)
    assert kept is not None
    assert {"files", "returned", f"file:{one['id']}", f"owner:{ada.id}", f"owner:{bob.id}"} <= kept.tags
    await town.media.patch(f"/files/{other['id']}", as_=bob, json={"alt": "Bob's"})
    await town.noticed("media")
    assert was_hit(await town.media.get(own))
    assert (await town.media.get(public)).items[0]["alt"] == "Bob's"
    new = await note(town, ada)
    assert ids(await town.media.get(own)) == [new["id"], one["id"]]
    assert ids(await town.media.get(public))[:3] == [new["id"], other["id"], one["id"]]
    await town.media.patch(f"/files/{new['id']}", as_=ada, json={"visibility": "private"})
    assert ids(await town.media.get(own)) == [one["id"]]
    await town.media.delete(f"/files/{one['id']}", as_=ada)
    assert ids(await town.media.get(own)) == []
    assert ids(await town.media.get(public))[0] == other["id"]


async def test_an_owner_is_never_given_what_is_kept_for_everybody(town: Town) -> None:
    ada = await town.register("ada")
    await town.settle()
    diary = await note(town, ada, visibility="private")
    path = f"/users/{ada.id}/files"
    await town.noticed("media")
    for _ in range(2):
        assert ids(await town.media.get(path)) == []
        assert ids(await town.media.get(path, as_=ada)) == [diary["id"]]
    assert UUID(diary["id"]).version == 7
