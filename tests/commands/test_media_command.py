"""`townsquare media`: what the files take, whether they are all there, what is thrown away and made anew."""

import asyncio
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from testbed.command_line import CommandLine
from testbed.stored import AGE, added, stored, there
from testbed.town import Town
from testbed.uploads import uploaded
from townsquare.kit.database import Database
from townsquare.services.media.storage import Storage, open_storage


@pytest.fixture
def db(square: Town) -> Database:
    return square.database("media")


@pytest.fixture
def storage(square: Town) -> Storage:
    return open_storage(square.settings)


async def test_what_files_take_is_told_by_person_and_kind(square: Town, cli: CommandLine) -> None:
    ada = await square.register("ada")
    await square.settle()
    file = await uploaded(square.media, ada)
    found = (await cli.beside("media", "usage", "--json")).json
    assert {"id": str(ada.id), "handle": ada.handle, "files": 1, "bytes": file["bytes"]} in found["people"]
    images = next(kind for kind in found["kinds"] if kind["kind"] == "image")
    assert images["files"] >= 1
    assert found["stored"]["objects"] > 1
    shown = (await cli.beside("media")).out
    assert ada.handle in shown
    assert "in the storage" in shown
    assert "1" in (await cli.beside("media", "usage", "--limit", "1")).out


async def test_the_sweep_deletes_what_no_file_uses_and_says_so(
    square: Town, cli: CommandLine, db: Database, storage: Storage, tmp_path: Path
) -> None:
    kept = await stored(db, storage, tmp_path, b"kept")
    await added(db, kept)
    unused = await stored(db, storage, tmp_path, b"of no file")
    assert (await cli.beside("media", "sweep", "--json")).json["objects"] == 0, "it is not an hour old"
    await db.execute(f"{AGE} WHERE name = ANY($1)", [kept.name, unused.name])
    dry = (await cli.beside("media", "sweep", "--dry-run", "--json")).json
    assert (dry["objects"], dry["bytes"]) == (1, unused.bytes)
    assert unused.name in await there(storage)
    ran = await cli.beside("media", "sweep", "--older-than", "90")
    assert (ran.status, "1 objects, 10 bytes" in ran.out) == (0, True), ran
    assert unused.name not in await there(storage)
    assert kept.name in await there(storage)
    assert (await cli.beside("media", "sweep", "--older-than", "0")).status == 2


async def test_verify_says_what_is_wrong_and_what_to_do_and_ends_with_status_1(
    square: Town, cli: CommandLine, db: Database, storage: Storage, tmp_path: Path
) -> None:
    assert (await cli.beside("media", "verify", "--deep")).out.endswith("All is well.\n")
    named = await stored(db, storage, tmp_path, b"soon gone")
    file_id = await added(db, named)
    await storage.delete(named.name)
    ran, as_json = await cli.beside("media", "verify"), await cli.beside("media", "verify", "--json")
    assert (ran.status, as_json.status) == (1, 1)
    assert named.name in ran.out
    assert str(file_id) in ran.out
    assert "bring it back from a backup" in ran.out
    (tmp_path / "backup").write_bytes(b"soon gone")
    await storage.put(named.name, tmp_path / "backup")
    assert (await cli.beside("media", "verify", "--json")).json["well"] is True


async def test_repair_mends_what_counting_again_can_mend(
    square: Town, cli: CommandLine, db: Database, storage: Storage, tmp_path: Path
) -> None:
    named = await stored(db, storage, tmp_path, b"counted wrongly")
    await added(db, named)
    await db.execute("UPDATE objects SET refs = 7 WHERE name = $1", named.name)
    ran = await cli.beside("media", "verify")
    assert (ran.status, f"{named.name}: 7 for 1" in ran.out) == (1, True)
    mended = (await cli.beside("media", "verify", "--repair", "--json")).json
    assert (mended["well"], mended["repaired"]["counts"]) == (True, 1)
    assert (await cli.beside("media", "verify")).status == 0


async def variants(db: Database, file_id: str) -> Any:
    return await db.fetchval("SELECT variants FROM files WHERE id = $1", UUID(file_id))


@pytest.mark.parametrize("how", ["missing", "id"])
async def test_pictures_are_made_anew_by_the_service(square: Town, cli: CommandLine, db: Database, how: str) -> None:
    eve = await square.register("eve")
    await square.settle()
    file = (await uploaded(square.media, eve))["id"]
    before = await variants(db, file)
    await db.execute("UPDATE files SET variants = '{}', status = 'processing' WHERE id = $1", UUID(file))
    ran = await cli.beside("media", "reprocess", *(("--missing",) if how == "missing" else ("--id", file)))
    assert (ran.status, "will be made anew" in ran.out) == (0, True), ran
    async with asyncio.timeout(30):
        while await variants(db, file) != before:
            await asyncio.sleep(0.05)
    await cli.beside("media", "verify", "--repair")


async def test_reprocess_wants_to_know_which(square: Town, cli: CommandLine) -> None:
    assert (await cli.beside("media", "reprocess")).status == 2
    assert (await cli.beside("media", "reprocess", "--all", "--missing")).status == 2
    nobody = str(uuid4())
    ran = await cli.beside("media", "reprocess", "--id", nobody)
    assert (ran.status, ran.err) == (1, f"townsquare: there is no picture {nobody}\n")


def test_where_there_is_no_community_there_are_no_files(bare: CommandLine) -> None:
    for words in (("usage",), ("sweep",), ("verify",), ("reprocess", "--all")):
        ran = bare("media", *words)
        assert (ran.status, "there is no community" in ran.err) == (1, True)
    assert list(bare.data.iterdir()) == [], "nothing is made by looking"
