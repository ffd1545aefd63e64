"""People who upload, delete and remake the very same bytes at once: nobody gets stuck, and all is counted."""

import asyncio
from pathlib import Path
from typing import cast
from uuid import UUID, uuid4

import pytest

from testbed.stored import ADD_PERSON, added, refs
from townsquare.images.sniff import Recognised
from townsquare.kit.database import Database
from townsquare.kit.identity import Viewer
from townsquare.kit.ids import new_id
from townsquare.kit.problems import Problem
from townsquare.kit.writes import Write
from townsquare.services.media.file_view import KeptVariant
from townsquare.services.media.files import FIND_FILE, remove_row
from townsquare.services.media.objects import announce
from townsquare.services.media.people import PURGE_PERSON, ensure_owner
from townsquare.services.media.processing import NOTHING_KNOWN, Made, finish
from townsquare.services.media.storage import Named
from townsquare.services.media.upload import NewFile, Prepared, add_row
from townsquare.settings import Settings

WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
ORIGINAL = Named("8" * 64, 10)
OLD = [Named(letter * 64, 1) for letter in "159"]
NEW = [Named(letter * 64, 1) for letter in "26a"]
COLUMNS = NOTHING_KNOWN | {"dominant_colors": (), "status": "ready"}


def kept(named: list[Named]) -> dict[str, KeptVariant]:
    return {name: KeptVariant(one.name, 1, 1, 1) for name, one in zip(("webp", "jpeg", "avif"), named, strict=True)}


PREPARED = Prepared(Recognised("image/jpeg", "image"), ORIGINAL, COLUMNS, {"small": kept(OLD)})  # pyright: ignore[reportArgumentType]


@pytest.fixture
async def owners(db: Database) -> list[UUID]:
    owners = [uuid4(), uuid4()]
    for owner in owners:
        await db.execute(ADD_PERSON, owner, f"p{owner.hex[:8]}")
    await announce(db, [ORIGINAL, *OLD, *NEW])
    return owners


async def add(db: Database, tmp_path: Path, owner: UUID) -> UUID:
    async with db.transaction() as connection:
        new = NewFile(new_id(), owner, "a.jpg", None, "public")
        return (await add_row(connection, Settings(data=tmp_path), new, PREPARED))["id"]


async def remove(db: Database, file_id: UUID) -> None:
    async with db.transaction() as connection:
        row = await connection.fetchrow(f"{FIND_FILE} FOR UPDATE", file_id)
        assert row is not None
        await remove_row(connection, row)


async def test_the_same_bytes_come_and_go_at_once(db: Database, tmp_path: Path, owners: list[UUID]) -> None:
    async def come_and_go(owner: UUID) -> None:
        for _ in range(10):
            await remove(db, await add(db, tmp_path, owner))

    await asyncio.gather(*(come_and_go(owner) for owner in owners * 3))
    assert set((await refs(db)).values()) == {0}
    assert {row["files"] for row in await db.fetch("SELECT files FROM usage")} == {0}


async def test_a_picture_is_made_anew_while_another_of_the_same_bytes_goes(db: Database, owners: list[UUID]) -> None:
    for _ in range(20):
        one, other = [await added(db, ORIGINAL, OLD, owner) for owner in owners]
        await asyncio.gather(
            finish(db, one, Made(COLUMNS), {"small": kept(NEW)}),  # pyright: ignore[reportArgumentType]
            remove(db, other),
        )
        await remove(db, one)
    assert set((await refs(db)).values()) == {0}


async def test_who_is_leaving_for_good_waits_for_the_upload_that_was_there_first(db: Database, owners: list[UUID]) -> None:
    async def leave() -> None:
        async with db.transaction() as connection:
            await connection.execute(PURGE_PERSON, owners[0], 1)

    async with db.transaction() as connection:
        await ensure_owner(cast("Write", connection), Viewer(owners[0], "ada", "Ada", None, None, 0))
        leaving = asyncio.create_task(leave())
        async with asyncio.timeout(5):
            while not leaving.done() and not await db.fetchval(WAITING):
                await asyncio.sleep(0.01)
        assert not leaving.done(), "its file would come behind the departure, and never be deleted"
    await leaving


async def test_a_file_whose_bytes_were_swept_before_it_was_added_is_to_be_sent_again(
    db: Database, tmp_path: Path, owners: list[UUID]
) -> None:
    await db.execute("DELETE FROM objects WHERE name = $1", ORIGINAL.name)
    with pytest.raises(Problem) as raised:
        await add(db, tmp_path, owners[0])
    assert raised.value.code == "unavailable"
    assert set((await refs(db)).values()) == {0}
