"""Files in a bucket: all of it, and the store away, frozen or slow. What is known of files can be read meanwhile."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from time import monotonic

import pytest

from testbed.leftovers import Studio, studio
from testbed.proxy import Proxy, running_proxy
from testbed.s3 import S3, running_s3
from testbed.uploads import bytes_at
from testbed.valkey import free_port

LONGEST = 12.0
"""Seconds for any answer: the store has five for each of two steps, and the machine may be busy."""


@dataclass
class Remote:
    """A town whose store is behind a proxy that can be slow, or lead nowhere."""

    studio: Studio
    s3: S3
    proxy: Proxy


Fault = Callable[[Remote], AbstractContextManager[None]]


@pytest.fixture(scope="module")
async def remote(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Remote]:
    folder = tmp_path_factory.mktemp("remote")
    with running_s3(folder) as s3:
        async with running_proxy(s3.port) as proxy:
            changes: dict[str, object] = {
                "storage_url": "s3://town/files",
                "storage_endpoint": f"http://127.0.0.1:{proxy.port}",
                "storage_key_id": s3.key_id,
                "storage_secret": s3.secret,
            }
            async with studio(folder / "town", **changes) as here:
                yield Remote(here, s3, proxy)


@contextmanager
def frozen_store(remote: Remote) -> Iterator[None]:
    remote.s3.freeze()
    try:
        yield
    finally:
        remote.s3.thaw()


@contextmanager
def store_away(remote: Remote) -> Iterator[None]:
    remote.proxy.target = free_port()
    remote.proxy.cut()
    try:
        yield
    finally:
        remote.proxy.target = remote.s3.port


@contextmanager
def store_slow(remote: Remote) -> Iterator[None]:
    remote.proxy.delay = 20.0
    try:
        yield
    finally:
        remote.proxy.delay = 0.0
        remote.proxy.cut()


async def test_a_photo_and_a_film_go_into_a_bucket_and_come_out_of_it(remote: Remote) -> None:
    here = remote.studio
    photo = (await here.send()).json
    for formats in photo["sizes"].values():
        for variant in formats.values():
            status, _, body = await bytes_at(here.town.session, here.town.base, variant["url"])
            assert status == 200
            assert variant["bytes"] in (None, len(body))
    film = b"\0\0\0\x18ftypisom\0\0\0\0isommp42" + random.Random(1).randbytes(9_000_000)
    answer = await here.send(film, "film.mp4")
    assert answer.status == 201, answer.body
    url = answer.json["original"]["url"]
    assert (await bytes_at(here.town.session, here.town.base, url))[2] == film
    part = await bytes_at(here.town.session, here.town.base, url, Range="bytes=2000000-5999999")
    assert (part[0], part[2]) == (206, film[2_000_000:6_000_000])
    assert not here.folder.exists()
    assert (await here.media.delete(f"/files/{answer.json['id']}", as_=here.ada)).status == 204
    await here.nothing_is_left()


@pytest.mark.parametrize("fault", [frozen_store, store_away, store_slow], ids=lambda fault: fault.__name__)
async def test_a_store_that_does_not_answer_is_a_503_in_time_and_all_else_goes_on(remote: Remote, fault: Fault) -> None:
    here = remote.studio
    kept = (await here.send(name="before.jpg")).json
    before = await here.names()
    with fault(remote):
        started = monotonic()
        uploading = asyncio.ensure_future(here.send(name="now.jpg"))
        reading = asyncio.ensure_future(here.town.gateway.get(kept["sizes"]["small"]["webp"]["url"]))
        readiness, facts = await asyncio.gather(here.media.get("/health/ready"), here.facts(kept["id"]))
        assert (readiness.status, readiness.json["status"]) == (200, "degraded")
        assert readiness.json["checks"]["storage"]["status"] == "failed"
        assert (facts.status, facts.json) == (200, kept)
        for refused in await asyncio.gather(uploading, reading):
            assert (refused.status, refused.code) == (503, "unavailable")
            assert int(refused.headers["Retry-After"]) > 0
            assert str(remote.proxy.port).encode() not in refused.body
        assert monotonic() - started < LONGEST
        assert await here.names() == before
    await here.works()
    assert (await here.media.get("/health/ready")).json["status"] == "ready"
    assert (await here.town.gateway.get(kept["sizes"]["small"]["webp"]["url"])).status == 200
    await here.nothing_is_left()


async def test_a_store_that_is_merely_slow_is_waited_for(remote: Remote) -> None:
    remote.proxy.delay = 0.15
    try:
        answer = await remote.studio.send()
    finally:
        remote.proxy.delay = 0.0
    assert (answer.status, answer.json["status"]) == (201, "ready")
    await remote.studio.nothing_is_left()
