"""The store: the same promises of a folder and of a bucket, also while it is away."""

import asyncio
import os
import resource
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from testbed.s3 import S3, running_s3
from testbed.stored import there, whole
from townsquare.kit.errors import to_problem
from townsquare.services.media.storage import (
    ANSWER_SECONDS,
    ObjectMissing,
    Storage,
    StorageUnavailable,
    open_storage,
)
from townsquare.settings import Settings, SettingsError

NOBODY = "0" * 64
LARGE = 20_000_000


def file_of(folder: Path, data: bytes, name: str = "source") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


async def kept(storage: Storage, folder: Path, data: bytes) -> str:
    path = file_of(folder, data)
    named = await storage.name_of(path)
    assert named.bytes == len(data)
    await storage.put(named.name, path)
    return named.name


async def test_what_is_put_is_read_whole_and_in_parts(storage: Storage, tmp_path: Path) -> None:
    data = os.urandom(700_000)
    name = await kept(storage, tmp_path, data)
    assert await storage.size(name) == len(data)
    assert await whole(storage.stream(name)) == data
    for start, end in ((0, 1), (699_999, 700_000), (100, 650_000), (5, 5)):
        assert await storage.read(name, start, end) == data[start:end]
        assert await whole(storage.stream(name, start, end)) == data[start:end]
    assert await whole(storage.stream(name, 699_000)) == data[699_000:]
    await storage.fetch(name, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == data
    assert [(one.name, one.bytes) async for one in storage.names()] == [(name, len(data))]


async def test_a_large_file_is_kept_whole(storage: Storage, tmp_path: Path) -> None:
    data = os.urandom(LARGE)
    name = await kept(storage, tmp_path, data)
    assert await whole(storage.stream(name)) == data
    await storage.fetch(name, tmp_path / "copy")
    assert (await storage.name_of(tmp_path / "copy")).name == name


async def test_the_name_is_the_blake2b_of_the_content(folder: Storage, tmp_path: Path) -> None:
    named = await folder.name_of(file_of(tmp_path, b"abc"))
    assert named.name == "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319"  # b2sum -l 256


async def test_the_same_bytes_may_be_put_again_and_at_once(storage: Storage, tmp_path: Path) -> None:
    path = file_of(tmp_path, b"seen" * 1000)
    name = (await storage.name_of(path)).name
    await asyncio.gather(*(storage.put(name, path) for _ in range(8)))
    await storage.put(name, path)
    assert await there(storage) == {name}
    assert await whole(storage.stream(name)) == b"seen" * 1000


async def test_what_is_not_there_is_missing_and_leaves_nothing(storage: Storage, tmp_path: Path) -> None:
    assert await storage.size(NOBODY) is None
    await storage.delete(NOBODY)
    for attempt in (storage.read(NOBODY, 0, 5), whole(storage.stream(NOBODY)), storage.fetch(NOBODY, tmp_path / "copy")):
        with pytest.raises(ObjectMissing):
            await attempt
    assert not (tmp_path / "copy").exists()
    assert to_problem(ObjectMissing()).status == 404


async def test_what_is_deleted_is_gone(storage: Storage, tmp_path: Path) -> None:
    name = await kept(storage, tmp_path, b"short-lived")
    await storage.delete(name)
    assert await storage.size(name) is None
    assert await there(storage) == set()


async def test_both_kinds_say_that_they_work(storage: Storage) -> None:
    await storage.check()


async def test_a_name_is_never_a_path(storage: Storage) -> None:
    for name in ("../../etc/passwd", "a/b", "", "A" * 64, "0" * 63):
        with pytest.raises(ValueError, match="no name"):
            await storage.read(name, 0, 5)


# --- a folder -----------------------------------------------------------------------------------------------------------


async def test_what_a_crash_cut_short_is_put_again(folder: Storage, tmp_path: Path) -> None:
    name = await kept(folder, tmp_path, b"whole and sound")
    (tmp_path / "media" / name[:2] / name[2:]).write_bytes(b"whole and")
    await kept(folder, tmp_path, b"whole and sound")
    assert await whole(folder.stream(name)) == b"whole and sound"


async def test_a_full_disk_is_told_and_nothing_half_made_stays(folder: Storage, tmp_path: Path) -> None:
    path = file_of(tmp_path, os.urandom(LARGE))
    name = (await folder.name_of(path)).name
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
    try:
        with pytest.raises(StorageUnavailable):
            await folder.put(name, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert await folder.size(name) is None
    await folder.put(name, path)
    assert await folder.size(name) == LARGE


async def test_others_on_the_machine_cannot_read_the_folder(folder: Storage, tmp_path: Path) -> None:
    await folder.check()
    assert (tmp_path / "media").stat().st_mode & 0o077 == 0


async def test_strangers_in_the_folder_are_neither_listed_nor_removed(folder: Storage, tmp_path: Path) -> None:
    name = await kept(folder, tmp_path, b"ours")
    strangers = [tmp_path / "media" / "notes.txt", tmp_path / "media" / name[:2] / "thumbs.db"]
    for stranger in strangers:
        stranger.write_bytes(b"theirs")
        os.utime(stranger, (0, 0))
    assert await there(folder) == {name}
    assert await folder.clear_unfinished(timedelta(days=1)) == 0
    assert all(stranger.exists() for stranger in strangers)


async def test_only_old_unfinished_writes_are_cleared(folder: Storage, tmp_path: Path) -> None:
    name = await kept(folder, tmp_path, b"ours")
    old, new = (tmp_path / "media" / name[:2] / f"{name[2:]}#{number}" for number in (1, 2))
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    assert await there(folder) == {name}, "what is unfinished is not there"
    assert await folder.clear_unfinished(timedelta(days=1), dry_run=True) == 1
    assert old.exists()
    assert await folder.clear_unfinished(timedelta(days=1)) == 1
    assert (old.exists(), new.exists()) == (False, True)


# --- a bucket -----------------------------------------------------------------------------------------------------------


def everything(storage: Storage, path: Path, target: Path) -> list[Callable[[], Awaitable[Any]]]:
    return [
        lambda: storage.put(NOBODY, path),
        lambda: storage.read(NOBODY, 0, 5),
        lambda: whole(storage.stream(NOBODY)),
        lambda: storage.fetch(NOBODY, target),
        lambda: storage.size(NOBODY),
        lambda: storage.delete(NOBODY),
        lambda: there(storage),
        storage.check,
    ]


async def refused(work: Callable[[], Awaitable[Any]]) -> None:
    with pytest.raises(StorageUnavailable) as raised:
        await work()
    problem = to_problem(raised.value)
    assert problem.status == 503
    assert "127.0.0.1" not in problem.detail, "what the store said is for the log alone"


async def test_a_wrong_secret_opens_nothing(s3: S3, tmp_path: Path) -> None:
    storage = open_storage(s3.settings(tmp_path, storage_secret="guessed"))
    for work in everything(storage, file_of(tmp_path, b"abc"), tmp_path / "copy"):
        await refused(work)


async def test_a_bucket_that_does_not_exist_is_no_empty_one(s3: S3, tmp_path: Path) -> None:
    storage = open_storage(s3.settings(tmp_path, storage_url="s3://nowhere"))
    for work in (storage.check, lambda: there(storage), lambda: storage.put(NOBODY, file_of(tmp_path, b"abc"))):
        await refused(work)


async def test_two_communities_in_one_bucket_do_not_see_each_other(s3: S3, tmp_path: Path) -> None:
    one, other = (open_storage(s3.settings(tmp_path, storage_url=f"s3://town/{name}")) for name in ("north", "south"))
    name = await kept(one, tmp_path, b"northern")
    assert await there(one) == {name}
    assert await there(other) == set()
    assert await other.size(name) is None


def test_half_a_key_is_a_wrong_setting(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="belong together"):
        open_storage(Settings(data=tmp_path, storage_url="s3://town", storage_key_id="only"))


async def test_a_store_that_is_frozen_or_gone_is_told_within_seconds_and_used_again_when_it_is_back(tmp_path: Path) -> None:
    with running_s3(tmp_path) as server:
        storage = open_storage(server.settings(tmp_path))
        path = file_of(tmp_path, b"abc")
        server.freeze()
        started = time.monotonic()
        await asyncio.gather(*(refused(work) for work in everything(storage, path, tmp_path / "copy")))
        assert time.monotonic() - started < ANSWER_SECONDS + 2
        server.thaw()
        name = await kept(storage, tmp_path, b"abc")
        server.kill()
        started = time.monotonic()
        await asyncio.gather(*(refused(work) for work in everything(storage, path, tmp_path / "copy")))
        assert time.monotonic() - started < ANSWER_SECONDS
        assert not (tmp_path / "copy").exists()
        server.start()
        storage = open_storage(server.settings(tmp_path))  # it has forgotten all it had, and the key
        assert await storage.size(name) is None
        assert await kept(storage, tmp_path, b"abc") == name


async def test_the_loop_turns_while_a_store_hangs_and_who_waits_may_leave(s3: S3, tmp_path: Path) -> None:
    storage = open_storage(s3.settings(tmp_path))
    s3.freeze()
    try:
        waiting = asyncio.create_task(storage.size(NOBODY))
        for _ in range(100):
            await asyncio.sleep(0)
        assert not waiting.done()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    finally:
        s3.thaw()
