"""The sweep: what nobody needs goes, what anybody needs stays."""

import os
import time
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from testbed.s3 import running_s3
from testbed.stored import AGE, added, refs, stored, there
from townsquare.kit.database import Database
from townsquare.services.media.storage import Storage, StorageUnavailable, open_storage
from townsquare.services.media.sweep import UNUSED_FOR, Swept, sweep, sweep_objects

ADD_UPLOAD = """
INSERT INTO resumable_uploads (id, owner_id, length, name, visibility, created_at, expires_at)
VALUES ($1, $1, 10, 'film', 'public', now(), now() + $2 * interval '1 hour')
"""
DAYS_AGO = time.time() - 3 * 86_400


@pytest.fixture
def drafts(tmp_path: Path) -> Path:
    folder = tmp_path / "media-drafts"
    folder.mkdir()
    return folder


def aged(path: Path) -> Path:
    os.utime(path, (DAYS_AGO, DAYS_AGO))
    return path


def workplace(drafts: Path, name: str) -> Path:
    """A folder that its upload left behind days ago."""
    folder = drafts / name
    folder.mkdir()
    (folder / "original").write_bytes(b"half")
    aged(folder / "original")
    return aged(folder)


async def upload(db: Database, drafts: Path, hours: int) -> Path:
    """An upload in pieces that may go on for so many hours."""
    upload_id = uuid4()
    await db.execute(ADD_UPLOAD, upload_id, hours)
    path = drafts / f"{upload_id}.part"
    path.write_bytes(b"half")
    return aged(path)


async def test_only_what_no_file_uses_is_deleted(db: Database, storage: Storage, tmp_path: Path, drafts: Path) -> None:
    original, made, unused = [await stored(db, storage, tmp_path, text) for text in (b"original", b"made", b"unused")]
    await added(db, original, [made])
    await db.execute(AGE)
    assert await sweep(db, storage, drafts, dry_run=True) == Swept(1, 6, 0, 0, 0)
    assert await there(storage) == {original.name, made.name, unused.name}
    assert await sweep(db, storage, drafts) == Swept(1, 6, 0, 0, 0)
    assert await there(storage) == {original.name, made.name}
    assert await refs(db) == {original.name: 1, made.name: 1}
    assert await sweep(db, storage, drafts) == Swept(0, 0, 0, 0, 0)


async def test_more_than_one_batch_goes(db: Database, folder: Storage, tmp_path: Path) -> None:
    for number in range(45):
        await stored(db, folder, tmp_path, f"unused {number:04}".encode())
    await db.execute(AGE)
    assert await sweep_objects(db, folder, UNUSED_FOR) == (45, 45 * 11)
    assert await there(folder) == set()


async def test_a_wrong_count_never_costs_a_file_its_original(
    db: Database, folder: Storage, tmp_path: Path, drafts: Path
) -> None:
    named = await stored(db, folder, tmp_path, b"precious")
    await added(db, named)
    await db.execute("UPDATE objects SET refs = 0")
    await db.execute(AGE)
    assert (await sweep(db, folder, drafts)).objects == 0
    assert await there(folder) == {named.name}


async def test_what_could_not_be_deleted_is_deleted_the_next_time(db: Database, tmp_path: Path, drafts: Path) -> None:
    with running_s3(tmp_path) as server:
        storage = open_storage(server.settings(tmp_path))
        await stored(db, storage, tmp_path, b"unused")
        await db.execute(AGE)
        server.kill()
        with pytest.raises(StorageUnavailable):
            await sweep(db, storage, drafts)
        assert list((await refs(db)).values()) == [0]
        server.start()
        assert (await sweep(db, open_storage(server.settings(tmp_path)), drafts)).objects == 1
        assert await refs(db) == {}


async def test_drafts_go_when_nothing_was_written_to_them_for_a_day(db: Database, folder: Storage, drafts: Path) -> None:
    old, in_use = workplace(drafts, "old"), workplace(drafts, "in_use")
    (in_use / "small.webp").write_bytes(b"just now")
    aged(in_use)
    stranger = aged_file(drafts / "notes.txt")
    assert (await sweep(db, folder, drafts, dry_run=True)).drafts == 1
    assert old.exists()
    assert (await sweep(db, folder, drafts)).drafts == 1
    assert (old.exists(), in_use.exists(), stranger.exists()) == (False, True, True)


def aged_file(path: Path) -> Path:
    path.write_bytes(b"x")
    return aged(path)


async def test_uploads_in_pieces_go_when_their_time_is_over(db: Database, folder: Storage, drafts: Path) -> None:
    expired, going_on = await upload(db, drafts, -1), await upload(db, drafts, 1)
    nobody_s = aged_file(drafts / f"{uuid4()}.part")
    assert (await sweep(db, folder, drafts, dry_run=True)).uploads == 1
    assert expired.exists()
    swept = await sweep(db, folder, drafts)
    assert (swept.uploads, swept.drafts) == (1, 1)
    assert (expired.exists(), going_on.exists(), nobody_s.exists()) == (False, True, False)
    left = await db.fetch("SELECT id FROM resumable_uploads")
    assert [row["id"] for row in left] == [UUID(going_on.stem)]


async def test_a_folder_of_drafts_that_is_not_there_yet_is_no_fault(db: Database, folder: Storage, tmp_path: Path) -> None:
    assert (await sweep(db, folder, tmp_path / "none")).drafts == 0
