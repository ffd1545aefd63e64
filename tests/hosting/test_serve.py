"""`townsquare serve` and `townsquare worker`: one service at a time, as on machines of their own."""

from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from testbed.platforms import Platform, gone, running_platform, until
from testbed.postgres_users import data_folder, programs_on
from testbed.town import PASSWORD


@pytest.fixture(scope="module")
def data() -> Iterator[Path]:
    with data_folder() as folder:
        yield folder / "data"


async def test_one_service_stands_alone_and_stops_cleanly(data: Path) -> None:
    async with running_platform(data, "serve", "users") as users:
        assert f"users is ready at http://127.0.0.1:{users.port + 1}" in users.output
        async with users.client(f"http://127.0.0.1:{users.port + 1}") as client:
            assert (await client.get("/health/ready")).json["status"] == "ready"
            assert (await client.get("/profile/@nobody")).status == 404
        family = users.family()
        assert await users.stop() == 0
    assert await gone(family) == []
    assert programs_on(data) == []


async def test_a_taken_port_is_one_sentence(data: Path) -> None:
    async with running_platform(data, "serve", "users") as users:
        second = Platform(data, "serve", "users", port=users.port)
        await second.begin()
        assert await second.wait() == 1
        assert second.lines == [
            f"townsquare: cannot listen on 127.0.0.1:{users.port + 1} (Address already in use); choose another with --port"
        ]


async def test_services_started_one_by_one_are_one_platform_behind_the_gateway(data: Path) -> None:
    async with (
        running_platform(data, "serve", "users") as users,
        running_platform(data, "serve", "content", port=users.port),
        running_platform(data, "serve", "media", port=users.port),
        running_platform(data, "serve", "gateway", port=users.port) as gateway,
        gateway.client() as client,
    ):
        await until_ready(gateway)
        body = {"handle": "grace", "email": "grace@example.org", "password": PASSWORD}
        registered = await client.post("/api/users/register", json=body)
        assert registered.status == 201, registered.body
        token = registered.json["access_token"]
        posted = await client.post("/api/content/posts", as_=token, json={"text": "One by one", "visibility": "public"})
        assert posted.headers["Location"].startswith("/api/content/posts/")
        assert (await client.get(posted.headers["Location"])).json["text"] == "One by one"


async def until_ready(platform: Platform) -> None:
    async def ready() -> bool:
        async with platform.client() as client:
            return (await client.get("/health/ready")).status == 200

    await until(ready)


async def test_a_worker_runs_a_services_readers_without_http(data: Path) -> None:
    async with running_platform(data, "serve", "users") as users:
        async with users.client(f"http://127.0.0.1:{users.port + 1}") as client:
            body = {"handle": "alan", "email": "alan@example.org", "password": PASSWORD}
            person = UUID((await client.post("/register", json=body)).json["user"]["id"])
        worker = Platform(data, "worker", "content", port=users.port)
        await worker.start("jobs and readers are running")
        connection = await worker.database("content")
        try:
            await until(lambda: connection.fetchval("SELECT true FROM people WHERE id = $1", person))
        finally:
            await connection.close()
        assert await worker.stop() == 0
    assert programs_on(data) == []
