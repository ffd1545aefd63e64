"""What is known of a file, what its owner changes, and its end."""

from testbed.town import Town
from testbed.uploads import bytes_at, photo, uploaded
from townsquare.kit.database import Database


async def test_its_owner_changes_and_deletes_a_file_and_nobody_else(town: Town) -> None:
    ada, bob = await town.register("ada"), await town.register("bob")
    file = await uploaded(town.media, ada)
    path = f"/files/{file['id']}"
    assert (await town.media.patch(path, as_=bob, json={"alt": "mine"})).status == 403
    assert (await town.media.delete(path, as_=bob)).status == 403
    assert (await town.media.delete(path)).status == 401
    changed = await town.media.patch(path, as_=ada, json={"alt": "A cup", "visibility": "unlisted"})
    assert (changed.status, changed.json["alt"], changed.json["visibility"]) == (200, "A cup", "unlisted")
    assert (await town.media.get(path)).json == changed.json
    assert (await town.media.delete(path, as_=ada)).status == 204
    assert (await town.media.get(path)).status == 404
    assert (await bytes_at(town.session, town.base, file["sizes"]["small"]["webp"]["url"]))[0] == 404
    assert (await town.media.delete(path, as_=ada)).status == 404


async def test_a_change_of_what_was_read_earlier_is_refused(town: Town) -> None:
    ada = await town.register("ada")
    file = await uploaded(town.media, ada)
    path = f"/files/{file['id']}"
    tag = (await town.media.get(path, as_=ada)).headers["ETag"]
    assert (await town.media.patch(path, as_=ada, json={"alt": "one"}, headers={"If-Match": tag})).status == 200
    assert (await town.media.patch(path, as_=ada, json={"alt": "two"}, headers={"If-Match": tag})).status == 412


async def test_what_a_person_uses_is_counted_and_given_back(town: Town) -> None:
    ada = await town.register("ada")
    database: Database = town.host.services["media"].context.database
    one = await uploaded(town.media, ada, photo())
    await uploaded(town.media, ada, photo("rocket.jpg"))
    used = "SELECT files, bytes FROM usage WHERE owner_id = $1"
    assert tuple(await database.fetchrow(used, ada.id) or ()) == (2, len(photo()) + len(photo("rocket.jpg")))
    await town.media.delete(f"/files/{one['id']}", as_=ada)
    assert tuple(await database.fetchrow(used, ada.id) or ()) == (1, len(photo("rocket.jpg")))


async def test_facts_are_kept_until_the_file_changes(town: Town) -> None:
    ada = await town.register("ada")
    file = await uploaded(town.media, ada)
    path = f"/files/{file['id']}"
    await town.settle()
    first, again = await town.media.get(path), await town.media.get(path)
    assert "stored" in first.headers["Cache-Status"] and "hit" in again.headers["Cache-Status"]
    await town.media.patch(path, as_=ada, json={"alt": "new"})
    assert (await town.media.get(path)).json["alt"] == "new"
