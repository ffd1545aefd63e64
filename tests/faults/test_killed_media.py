"""kill -9 in the middle of uploads: what was acknowledged is there whole, nothing else is, and the sweep clears the rest."""

import asyncio
import os
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import psutil
import pytest

from testbed.command_line import CommandLine
from testbed.leftovers import another_photo
from testbed.platforms import Platform, end, frozen, gone, ready, until
from testbed.postgres_users import data_folder
from testbed.stored import AGE
from testbed.town import PASSWORD, Client, Person
from testbed.uploads import send_file

SEED = 20_261_124
PHOTOS = ("coffee.jpg", "rocket.jpg", "chelsea.jpg")


class Uploader:
    """Uploads one photo after the other, whatever becomes of the platform, and remembers what was acknowledged."""

    def __init__(self, client: Client, person: Person) -> None:
        self.media = Client(client._session, client.base + "/api/media")
        self.person = person
        self.acknowledged: list[Any] = []
        self.statuses: set[int] = set()
        self.cut = 0

    async def run(self) -> None:
        while True:
            try:
                answer = await send_file(self.media, self.person, another_photo(PHOTOS[len(self.acknowledged) % 3]))
            except aiohttp.ClientError:
                self.cut += 1
                await asyncio.sleep(0.05)
                continue
            self.statuses.add(answer.status)
            if answer.status == 201:
                self.acknowledged.append(answer.json)

    async def acknowledge(self, more: int) -> None:
        goal = len(self.acknowledged) + more
        async with asyncio.timeout(60):
            while len(self.acknowledged) < goal:
                await asyncio.sleep(0.02)


async def registered(client: Client) -> Person:
    body = {"handle": "ada", "email": "ada@example.org", "password": PASSWORD}
    answer = await client.post("/api/users/register", json=body)
    assert answer.status == 201, answer.body
    return Person(UUID(answer.json["user"]["id"]), "ada", body["email"], answer.json["access_token"])


def workers(platform: Platform) -> list[psutil.Process]:
    return platform.children("townsquare.images.worker")


async def killed_whole(platform: Platform) -> Platform:
    """Kill the one process, and start another on the same data; the workers of the first end by themselves."""
    left = workers(platform)
    psutil.Process(platform.pid).kill()
    await platform.wait()
    assert await gone(left) == []
    another = Platform(platform.data, "up", port=platform.port)
    await another.start()
    return another


async def killed_media(platform: Platform) -> Platform:
    """Kill the process of the media service alone; it is started anew by the one that watches over it."""
    left = workers(platform)
    for child in platform.children("serve", "media"):
        child.kill()
    assert await gone(left) == []
    return platform


@pytest.mark.parametrize(
    ("arguments", "strike"), [(("up",), killed_whole), (("up", "--split"), killed_media)], ids=["one process", "split"]
)
async def test_what_was_acknowledged_before_a_kill_is_there_whole_and_the_rest_is_swept(
    arguments: tuple[str, ...], strike: Callable[[Platform], Awaitable[Platform]]
) -> None:
    chance = random.Random(SEED)
    with data_folder() as folder:
        platform = Platform(folder / "data", *arguments)
        await platform.start()
        try:
            async with platform.client() as client:
                uploader = Uploader(client, await registered(client))
                uploading = [asyncio.create_task(uploader.run()) for _ in range(2)]
                for _ in range(2):
                    await uploader.acknowledge(3)
                    await asyncio.sleep(chance.random() * 0.3)
                    platform = await strike(platform)
                await uploader.acknowledge(3)
                for task in uploading:
                    task.cancel()
                await asyncio.gather(*uploading, return_exceptions=True)
                await until(lambda: ready(platform))
                assert uploader.statuses <= {201, 502, 503}
                await everything_shown_is_whole(uploader)
                await the_rest_is_swept(platform, uploader.media)
        finally:
            await end(platform)


async def everything_shown_is_whole(uploader: Uploader) -> None:
    shown = await uploader.media.all_items(f"/users/{uploader.person.id}/files", as_=uploader.person)
    assert {file["id"] for file in uploader.acknowledged} <= {file["id"] for file in shown}
    gateway = Client(uploader.media._session, uploader.media.base.removesuffix("/api/media"))
    for file in shown:
        variants = [variant for formats in file["sizes"].values() for variant in formats.values()]
        assert len(variants) == 16
        for variant in variants:
            if variant["bytes"] is not None:
                assert len((await gateway.get(variant["url"])).body) == variant["bytes"]


async def the_rest_is_swept(platform: Platform, media: Client) -> None:
    """Let days pass; then the sweep leaves what is in use and nothing else."""
    database = await platform.database("media")
    await database.execute(AGE)
    drafts, command = platform.data / "media-drafts", CommandLine(platform.data)
    age(drafts)
    age(platform.data / "media")
    assert (await command.beside("media", "sweep", "--json")).status == 0
    assert list(drafts.iterdir()) == []
    assert (await command.beside("media", "verify", "--deep", "--json")).json["well"]
    assert await database.fetchval("SELECT count(*) FROM objects WHERE refs = 0") == 0
    names = {row["name"] for row in await database.fetch("SELECT name FROM objects")}
    await database.close()
    kept = [path for path in (platform.data / "media").rglob("*") if path.is_file()]
    assert {path.parent.name + path.name for path in kept} == names


def age(folder: Path) -> None:
    before = time.time() - 3 * 86_400
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            os.utime(path, (before, before))


async def test_a_platform_that_is_killed_while_it_waits_for_a_worker_leaves_a_draft_for_the_sweep() -> None:
    with data_folder() as folder:
        platform = Platform(folder / "data", "up")
        await platform.start()
        try:
            async with platform.client() as client:
                ada = await registered(client)
                media = Client(client._session, client.base + "/api/media")
                assert (await send_file(media, ada, another_photo(), "before.jpg")).status == 201
                photo, left = another_photo(), workers(platform)
                with frozen(left):
                    sending = asyncio.create_task(send_file(media, ada, photo, "lost.jpg"))
                    await until(lambda: came(platform.data / "media-drafts", len(photo)))
                    psutil.Process(platform.pid).kill()
                    await platform.wait()
                    with pytest.raises(aiohttp.ClientError):
                        await sending
                assert await gone(left) == []
                platform = Platform(platform.data, "up", port=platform.port)
                await platform.start()
                assert len(list((platform.data / "media-drafts").iterdir())) == 1
                shown = await media.all_items(f"/users/{ada.id}/files", as_=ada)
                assert [file["name"] for file in shown] == ["before.jpg"]
                await the_rest_is_swept(platform, media)
                assert (await send_file(media, ada, photo, "lost.jpg")).json["status"] == "ready"
        finally:
            await end(platform)


async def came(drafts: Path, size: int) -> bool:
    return any(path.stat().st_size == size for path in drafts.glob("*/original"))
