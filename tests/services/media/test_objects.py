"""The counts of what is in use: they hold when people upload, delete, crash and sweep at once."""

import asyncio
import random
from datetime import timedelta
from pathlib import Path

import pytest

from testbed.stored import AGE, added, refs, stored, there
from townsquare.kit.database import Database
from townsquare.kit.problems import Problem
from townsquare.services.media.objects import announce, hold, release
from townsquare.services.media.storage import Named, Storage
from townsquare.services.media.sweep import UNUSED_FOR, sweep_objects

WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
A, B, C = (Named(letter * 64, 10) for letter in "abc")


async def test_bytes_are_counted_by_the_files_that_use_them(db: Database) -> None:
    await announce(db, [A, B])
    async with db.transaction() as connection:
        await hold(connection, [A.name, B.name])
        await hold(connection, [A.name])
    assert await refs(db) == {A.name: 2, B.name: 1}
    async with db.transaction() as connection:
        await release(connection, [A.name, B.name])
    assert await refs(db) == {A.name: 1, B.name: 0}


async def test_a_file_of_which_two_sizes_are_the_same_bytes_counts_once(db: Database) -> None:
    await announce(db, [A, B, A])
    async with db.transaction() as connection:
        await hold(connection, [A.name, A.name, B.name])
    assert await refs(db) == {A.name: 1, B.name: 1}


async def test_a_transaction_that_fails_counts_nothing(db: Database) -> None:
    await announce(db, [A])
    with pytest.raises(ZeroDivisionError):
        async with db.transaction() as connection:
            await hold(connection, [A.name])
            raise ZeroDivisionError
    assert await refs(db) == {A.name: 0}


async def test_what_was_swept_before_it_is_held_is_told_and_nothing_is_counted(db: Database) -> None:
    await announce(db, [A])
    with pytest.raises(Problem) as raised:
        async with db.transaction() as connection:
            await hold(connection, [A.name, B.name])
    assert raised.value.code == "unavailable"
    assert await refs(db) == {A.name: 0}


async def test_counts_that_meet_in_any_order_do_not_get_stuck(db: Database) -> None:
    named = [Named(f"{number:064x}", 1) for number in range(12)]

    async def come_and_go(seed: int) -> None:
        chosen = random.Random(seed).sample([one.name for one in named], 8)
        async with db.transaction() as connection:
            await hold(connection, chosen)
        async with db.transaction() as connection:
            await release(connection, reversed(chosen))

    await announce(db, named)
    await asyncio.gather(*(come_and_go(seed) for seed in range(60)))
    assert set((await refs(db)).values()) == {0}


async def test_what_a_crash_left_unheld_is_swept_an_hour_later_and_not_before(
    db: Database, storage: Storage, tmp_path: Path
) -> None:
    await stored(db, storage, tmp_path, b"uploaded, then killed")
    assert await sweep_objects(db, storage, UNUSED_FOR) == (0, 0)
    await db.execute(AGE)
    assert await sweep_objects(db, storage, UNUSED_FOR) == (1, 21)
    assert (await refs(db), await there(storage)) == ({}, set())


async def test_what_is_announced_again_has_another_hour(db: Database, folder: Storage, tmp_path: Path) -> None:
    await stored(db, folder, tmp_path, b"twice")
    await db.execute(AGE)
    named = await stored(db, folder, tmp_path, b"twice")
    assert await sweep_objects(db, folder, UNUSED_FOR) == (0, 0)
    await added(db, named)
    assert (await refs(db), await there(folder)) == ({named.name: 1}, {named.name})


async def test_what_its_last_file_lets_go_of_has_another_hour(db: Database, folder: Storage, tmp_path: Path) -> None:
    named = await stored(db, folder, tmp_path, b"let go")
    async with db.transaction() as connection:
        await hold(connection, [named.name])
    await db.execute(AGE)
    async with db.transaction() as connection:
        await release(connection, [named.name])
    assert await sweep_objects(db, folder, UNUSED_FOR) == (0, 0)
    assert await there(folder) == {named.name}


class Slow(Storage):
    """A store whose deletions wait."""

    def __init__(self, real: Storage) -> None:
        super().__init__(real._store, real._uploads, real._folder)
        self.asked, self.go = asyncio.Event(), asyncio.Event()

    async def delete(self, name: str) -> None:
        self.asked.set()
        await self.go.wait()
        await super().delete(name)


async def test_who_uploads_what_is_being_swept_waits_and_then_has_it(db: Database, storage: Storage, tmp_path: Path) -> None:
    named = await stored(db, storage, tmp_path, b"swept and wanted")
    await db.execute(AGE)
    slow = Slow(storage)
    sweeping = asyncio.create_task(sweep_objects(db, slow, UNUSED_FOR))
    await slow.asked.wait()
    uploading = asyncio.create_task(stored(db, storage, tmp_path, b"swept and wanted"))
    async with asyncio.timeout(10):
        while not await db.fetchval(WAITING):
            await asyncio.sleep(0.01)
    slow.go.set()
    assert await sweeping == (1, 16)
    assert await uploading == named
    await added(db, named)
    assert (await refs(db), await there(storage)) == ({named.name: 1}, {named.name})


async def test_uploads_deletions_crashes_and_sweeps_at_once_lose_nothing_that_is_used(
    db: Database, folder: Storage, tmp_path: Path
) -> None:
    contents = [f"content {number}".encode() * 50 for number in range(6)]
    held: list[Named] = []

    async def live(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(25):
            named = await stored(db, folder, tmp_path, chance.choice(contents))
            if chance.random() < 0.3:
                continue  # killed before it was held
            async with db.transaction() as connection:
                await hold(connection, [named.name])
            held.append(named)
            if chance.random() < 0.8:
                gone = held.pop(chance.randrange(len(held)))
                async with db.transaction() as connection:
                    await release(connection, [gone.name])

    async def sweep_on() -> None:
        while True:
            await sweep_objects(db, folder, timedelta(seconds=0.5))
            await asyncio.sleep(0)

    sweeping = asyncio.create_task(sweep_on())
    await asyncio.gather(*(live(seed) for seed in range(4)))
    sweeping.cancel()
    await asyncio.gather(sweeping, return_exceptions=True)
    names = [one.name for one in held]
    counted = await refs(db)
    assert {name: count for name, count in counted.items() if count} == {name: names.count(name) for name in names}
    assert set(names) <= await there(folder) <= set(counted)
