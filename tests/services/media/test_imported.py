"""Pictures that came in an archive are files like any other, once, and as long as they are wanted."""

from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from testbed.imports import arrives, import_command, taken_up, tell
from testbed.mastodon import PNG, create, note, picture, write_archive
from testbed.town import Person, Town
from testbed.uploads import bytes_at, photo
from townsquare.kit.ids import new_id
from townsquare.kit.jobs import JobContext
from townsquare.kit.logs import get_logger
from townsquare.services.media.imported import ImportedMedium, source_of, take_up
from townsquare.services.media.resources import resources_of


@pytest.fixture
async def ada(town: Town) -> Person:
    return await town.register("ada")


def jobs_of(town: Town) -> JobContext:
    """What a job of the media service has at hand."""
    context = town.host.services["media"].context
    return JobContext(context.database, town.settings, get_logger("test"), resources_of(context))


async def facts(town: Town, medium: UUID) -> Any:
    answer = await town.media.get(f"/files/{medium}")
    return answer.json if answer.status == 200 else None


async def test_an_archive_brings_its_pictures_to_posts_and_profile(town: Town, ada: Person, tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "archive", [create(note(1, "A photo", attachment=[picture(1)]))])
    for name in ("media_attachments/files/000/001/original/lantern.png", "header.jpg"):
        (archive / name).write_bytes(photo())
    assert (await import_command(town, "mastodon", archive, as_=ada)).json["files"] == 3
    await taken_up(town)
    (post,) = (await town.content.get(f"/users/{ada.id}/posts")).items
    (medium,) = post["media"]
    assert (medium["alt"], medium["width"], medium["height"]) == ("A lantern in a window", 320, 213)
    assert medium["thumbhash"]
    file = await facts(town, UUID(medium["id"]))
    assert (file["owner"], file["visibility"], file["name"]) == (str(ada.id), "unlisted", "imported.jpg")
    assert file["placeholder"]["thumbhash"] == medium["thumbhash"]
    profile = (await town.users.get(f"/profile/{ada.id}")).json
    for address, width in ((profile["avatar"], 1), (profile["banner"], 320)):
        status, headers, _ = await bytes_at(town.session, town.base, address)
        assert (status, headers["Content-Type"]) == (200, "image/webp")
        assert (await town.gateway.get(address.rpartition("/")[0])).json["width"] == width
    assert not list((town.settings.data / "imports").glob(medium["id"]))


async def test_it_is_taken_up_once_however_often_it_is_told_and_done(town: Town, ada: Person) -> None:
    medium = await arrives(town, ada.id, photo(), alt="x" * 3_000)
    await taken_up(town)
    file = await facts(town, medium)
    assert (len(file["alt"]), file["status"]) == (1_500, "ready")
    await tell(town, medium, author=ada.id, purpose="post")
    await taken_up(town)
    await take_up(jobs_of(town), ImportedMedium(medium))
    assert await facts(town, medium) == file
    used = await town.database("media").fetchval("SELECT bytes FROM usage WHERE owner_id = $1", ada.id)
    assert used == len(photo())


async def test_what_its_owner_has_deleted_does_not_come_back(town: Town, ada: Person) -> None:
    medium = await arrives(town, ada.id, photo())
    await taken_up(town)
    assert (await town.media.delete(f"/files/{medium}", as_=ada)).status == 204
    source_of(town.settings, medium).write_bytes(photo())
    await tell(town, medium, author=ada.id, purpose="post")
    await taken_up(town)
    assert await facts(town, medium) is None
    assert not source_of(town.settings, medium).exists()


async def test_what_is_not_wanted_any_more_goes_and_stays_away(town: Town, ada: Person) -> None:
    medium = await arrives(town, ada.id, photo())
    await taken_up(town)
    await tell(town, medium, deleted=True)
    await taken_up(town)
    assert await facts(town, medium) is None
    never = new_id()
    await tell(town, never, deleted=True)
    await taken_up(town)
    source_of(town.settings, never).write_bytes(photo())
    await take_up(jobs_of(town), ImportedMedium(never))  # of a run that is late
    assert await facts(town, never) is None
    assert not source_of(town.settings, never).exists()


async def test_a_broken_picture_is_no_hole_in_its_post(town: Town, ada: Person, tmp_path: Path) -> None:
    post = create(note(1, "Two", attachment=[picture(1), picture(2)]))
    archive = write_archive(tmp_path / "archive", [post])
    (archive / "media_attachments/files/000/002/original/lantern.png").write_bytes(PNG[:40])
    await import_command(town, "mastodon", archive, as_=ada)
    await taken_up(town)
    (post,) = (await town.content.get(f"/users/{ada.id}/posts")).items
    assert [bool(medium.get("thumbhash")) for medium in post["media"]] == [True]


async def test_undoing_an_import_takes_the_files_along(town: Town, ada: Person, tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "archive", [create(note(1, "A photo", attachment=[picture(1)]))])
    await import_command(town, "mastodon", archive, as_=ada)
    await taken_up(town)
    own = "SELECT count(*) FROM files WHERE owner_id = $1"
    assert await town.database("media").fetchval(own, ada.id) == 2  # the archive's banner is a broken JPEG
    assert (await import_command(town, "undo", "mastodon", "--yes", as_=ada)).json == {"deleted": 1}
    await taken_up(town)
    assert await town.database("media").fetchval(own, ada.id) == 0
    assert (await town.users.get(f"/profile/{ada.id}")).json.get("avatar") is None


async def test_an_archive_may_be_larger_than_the_quota_and_counts(town: Town, ada: Person) -> None:
    full = "INSERT INTO usage VALUES ($1, 1, $2) ON CONFLICT (owner_id) DO UPDATE SET bytes = excluded.bytes"
    most = town.settings.quota_mb * 1_000_000
    await town.database("media").execute(full, ada.id, most)
    assert await facts(town, medium := await arrives(town, ada.id, photo("rocket.jpg"))) is None
    await taken_up(town)
    assert (await facts(town, medium))["visibility"] == "unlisted"
    used = await town.database("media").fetchval("SELECT bytes FROM usage WHERE owner_id = $1", ada.id)
    assert used == most + len(photo("rocket.jpg"))


async def test_where_the_bytes_are_not_here_yet_it_is_tried_again(town: Town, ada: Person) -> None:
    medium = await arrives(town, ada.id, photo())
    await taken_up(town)
    late = new_id()
    insert = "INSERT INTO imported_media (id, owner_id, purpose, version) VALUES ($1, $2, 'post', 1)"
    await town.database("media").execute(insert, late, ada.id)
    with pytest.raises(FileNotFoundError):
        await take_up(jobs_of(town), ImportedMedium(late))
    source_of(town.settings, late).write_bytes(photo())
    await take_up(jobs_of(town), ImportedMedium(late))
    assert (await facts(town, late))["fingerprint"] == (await facts(town, medium))["fingerprint"]


async def test_nothing_is_taken_up_for_somebody_who_has_left(town: Town) -> None:
    gone = new_id()
    await town.database("media").execute("INSERT INTO people (id, handle, hidden) VALUES ($1, '', true)", gone)
    medium = await arrives(town, gone, photo())
    await taken_up(town)
    assert await town.database("media").fetchval("SELECT count(*) FROM files WHERE owner_id = $1", gone) == 0
    assert not source_of(town.settings, medium).exists()
