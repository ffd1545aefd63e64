"""The pictures of a profile: what comes in an archive is shown, and what is deleted is not."""

import itertools
from uuid import uuid4

import msgspec

from testbed.cached import was_hit
from testbed.town import Person, Town
from testbed.uploads import uploaded
from townsquare.kit.outbox import Event
from townsquare.services.users.pictures import files_told

_versions = itertools.count(10**12)


async def tell(town: Town, *files: dict[str, object]) -> None:
    """Apply events of files as the reader does, all in one batch."""
    events = [
        Event(next(_versions), "0-0", "file", str(file["id"]), msgspec.Raw(msgspec.json.encode(file)), "") for file in files
    ]
    async with town.database("users").transaction() as connection:
        await files_told(connection, events)
    await town.noticed("users")


def came(owner: Person, purpose: str, **state: object) -> dict[str, object]:
    return {"id": str(uuid4()), "owner": str(owner.id), "purpose": purpose, "pictures": True, "ready": True} | state


def deleted(file: dict[str, object]) -> dict[str, object]:
    return {"id": file["id"], "owner": file["owner"], "deleted": True}


async def pictures(town: Town, person: Person) -> tuple[str | None, str | None]:
    profile = (await town.users.get(f"/profile/{person.id}")).json
    return profile.get("avatar"), profile.get("banner")


async def told(town: Town, person: Person) -> list[str]:
    rows = await town.database("users").fetch("SELECT topic FROM outbox WHERE key = $1 ORDER BY id", str(person.id))
    return [row["topic"] for row in rows]


async def test_pictures_that_came_in_an_archive_stand_on_a_profile_that_has_none(town: Town) -> None:
    ada = await town.register("ada")
    avatar, banner = came(ada, "avatar"), came(ada, "banner")
    await town.noticed("users")
    await pictures(town, ada)
    assert was_hit(await town.users.get(f"/profile/{ada.id}"))
    await tell(town, avatar, banner, came(ada, "post"), came(ada, "upload"))
    shown = (f"/api/media/files/{avatar['id']}/small.webp", f"/api/media/files/{banner['id']}/large.webp")
    assert await pictures(town, ada) == shown
    await town.settle()
    post = await town.content.post("/posts", as_=ada, json={"text": "Hello"})
    assert post.json["author"]["avatar"] == shown[0]


async def test_nothing_is_shown_before_there_are_pictures_of_it(town: Town) -> None:
    ada = await town.register("ada")
    avatar = came(ada, "avatar", pictures=False, ready=False)
    await tell(town, avatar)
    assert await pictures(town, ada) == (None, None)
    await tell(town, avatar | {"pictures": True})
    assert await pictures(town, ada) == (f"/api/media/files/{avatar['id']}/small.webp", None)


async def test_what_somebody_has_chosen_stays(town: Town) -> None:
    ada = await town.register("ada")
    chosen = {"avatar": "https://pictures.example/ada.png"}
    assert (await town.users.patch(f"/profile/{ada.id}", as_=ada, json=chosen)).status == 200
    await tell(town, came(ada, "avatar"))
    assert await pictures(town, ada) == ("https://pictures.example/ada.png", None)


async def test_a_picture_that_was_taken_away_does_not_come_back(town: Town) -> None:
    ada = await town.register("ada")
    avatar = came(ada, "avatar")
    await tell(town, avatar)
    assert (await town.users.patch(f"/profile/{ada.id}", as_=ada, json={"avatar": None})).status == 200
    await tell(town, avatar | {"alt": "Me"})
    assert await pictures(town, ada) == (None, None)


async def test_a_deleted_file_leaves_the_profile_without_it(town: Town) -> None:
    ada = await town.register("ada")
    avatar, banner = came(ada, "upload"), came(ada, "upload")
    body = {
        "avatar": f"https://square.example/api/media/files/{avatar['id']}/medium.jpeg",
        "banner": f"/api/media/files/{banner['id']}/large.webp",
    }
    assert (await town.users.patch(f"/profile/{ada.id}", as_=ada, json=body)).status == 200
    await tell(town, deleted(came(ada, "upload")))
    assert await pictures(town, ada) == (body["avatar"], body["banner"])
    await tell(town, deleted(avatar))
    assert await pictures(town, ada) == (None, body["banner"])
    await tell(town, deleted(banner))
    assert await pictures(town, ada) == (None, None)
    assert (await told(town, ada))[-2:] == ["person", "profile"]


async def test_a_file_that_came_and_went_in_one_batch_is_not_shown(town: Town) -> None:
    ada = await town.register("ada")
    avatar = came(ada, "avatar")
    await tell(town, avatar, deleted(avatar))
    assert await pictures(town, ada) == (None, None)


async def test_somebody_hidden_is_not_shown_again_by_a_picture(town: Town) -> None:
    ada = await town.register("ada")
    leaving = await town.users.delete("/account", as_=ada, json={"password": "correct horse battery staple"})
    assert leaving.status == 202, leaving.body
    before = await told(town, ada)
    await tell(town, came(ada, "avatar"))
    assert await told(town, ada) == before


async def test_files_of_somebody_who_is_gone_change_nothing(town: Town) -> None:
    nobody = Person(uuid4(), "nobody", "", "")
    await tell(town, came(nobody, "avatar"), deleted(came(nobody, "avatar")))


async def test_a_picture_that_was_uploaded_is_shown_until_it_is_deleted(town: Town) -> None:
    ada = await town.register("ada")
    file = await uploaded(town.media, ada)
    avatar = file["sizes"]["small"]["webp"]["url"]
    assert (await town.users.patch(f"/profile/{ada.id}", as_=ada, json={"avatar": avatar})).status == 200
    await town.settle()
    assert await pictures(town, ada) == (avatar, None)
    assert (await town.media.delete(f"/files/{file['id']}", as_=ada)).status == 204
    await town.settle()
    assert await pictures(town, ada) == (None, None)
