"""Verification: what is wrong is found and named, what is right is left alone, and counting again mends counts."""

from pathlib import Path
from uuid import uuid4

from testbed.stored import added, refs, stored, there
from townsquare.kit.database import Database
from townsquare.services.media.storage import Storage
from townsquare.services.media.sweep import UNUSED_FOR, sweep_objects
from townsquare.services.media.verification import Hurt, Miscounted, repair, verify


async def test_a_sound_community_is_well(db: Database, storage: Storage, tmp_path: Path) -> None:
    original, made, unused = [await stored(db, storage, tmp_path, text) for text in (b"original", b"made", b"unused")]
    await added(db, original, [made, made])
    await added(db, original, [made])
    found = await verify(db, storage, deep=True)
    assert found.well, found
    assert (found.objects, found.bytes) == (3, 18)
    assert await there(storage) == {original.name, made.name, unused.name}


async def test_what_is_missing_is_named_with_the_files_that_it_hurts(db: Database, storage: Storage, tmp_path: Path) -> None:
    first, second, made = [await stored(db, storage, tmp_path, text) for text in (b"first", b"second", b"made")]
    lost, hurt = await added(db, first), await added(db, second, [made])
    await storage.delete(first.name)
    await storage.delete(made.name)
    found = await verify(db, storage)
    assert found.missing == sorted([first.name, made.name])
    assert found.files == [Hurt(lost, True), Hurt(hurt, False)]
    assert not found.well


async def test_bytes_that_have_changed_are_found_by_size_or_by_reading_them(
    db: Database, folder: Storage, tmp_path: Path
) -> None:
    short, rotten = [await stored(db, folder, tmp_path, text) for text in (b"cut short", b"rotten")]
    await added(db, short)
    await added(db, rotten)
    (tmp_path / "media" / short.name[:2] / short.name[2:]).write_bytes(b"cut")
    (tmp_path / "media" / rotten.name[:2] / rotten.name[2:]).write_bytes(b"ROTTEN")
    assert (await verify(db, folder)).damaged == [short.name]
    assert (await verify(db, folder, deep=True)).damaged == sorted([short.name, rotten.name])


async def test_wrong_counts_are_found_and_mended(db: Database, folder: Storage, tmp_path: Path) -> None:
    owner = uuid4()
    original, made = [await stored(db, folder, tmp_path, text) for text in (b"original", b"made")]
    await added(db, original, [made], owner)
    await db.execute("UPDATE objects SET refs = 5 WHERE name = $1", original.name)
    await db.execute("UPDATE objects SET refs = 0 WHERE name = $1", made.name)
    await db.execute("UPDATE usage SET bytes = 0")
    found = await verify(db, folder)
    assert found.miscounted == sorted(
        [Miscounted(original.name, 5, 1), Miscounted(made.name, 0, 1)], key=lambda one: one.name
    )
    assert found.usage == [owner]
    mended = await repair(db, found)
    assert (mended.counts, mended.usage, mended.adopted) == (2, 1, 0)
    assert await refs(db) == {original.name: 1, made.name: 1}
    assert (await verify(db, folder)).well
    assert await db.fetchval("SELECT bytes FROM usage") == original.bytes


async def test_bytes_that_no_row_knows_are_found_and_swept_once_they_are_known(
    db: Database, storage: Storage, tmp_path: Path
) -> None:
    named = await stored(db, storage, tmp_path, b"from before the backup")
    await db.execute("DELETE FROM objects")
    found = await verify(db, storage)
    assert found.unknown == [named]
    assert (await repair(db, found)).adopted == 1
    assert (await verify(db, storage)).well
    await db.execute("UPDATE objects SET put_at = put_at - interval '2 hours'")
    assert await sweep_objects(db, storage, UNUSED_FOR) == (1, named.bytes)


async def test_a_variant_whose_row_was_lost_is_known_and_counted_again(
    db: Database, folder: Storage, tmp_path: Path
) -> None:
    original, made = [await stored(db, folder, tmp_path, text) for text in (b"original", b"made")]
    await added(db, original, [made])
    await db.execute("DELETE FROM objects WHERE name = $1", made.name)
    found = await verify(db, folder)
    assert found.miscounted == [Miscounted(made.name, None, 1)]
    await repair(db, found)
    assert await refs(db) == {original.name: 1, made.name: 1}
    assert (await verify(db, folder)).well
