"""`townsquare up --workers 2`: several processes on one port that act as one."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from uuid import UUID

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from testbed.platforms import Platform, frozen, gone, ready, running_platform, until
from testbed.postgres_users import data_folder
from testbed.town import PASSWORD, Client, Person
from townsquare.catalogue import definition_of


@pytest.fixture(scope="module")
async def up() -> AsyncIterator[Platform]:
    with data_folder() as folder:
        async with running_platform(folder / "data", "up", "--workers", "2") as platform:
            await until(lambda: complete(platform))
            yield platform


async def complete(platform: Platform) -> bool:
    """Whether both workers answer each other."""
    up = await values(platform, "process_up")
    return sum(up.values()) == 2


async def values(platform: Platform, name: str) -> dict[tuple[str, ...], float]:
    """Return a metric's samples by their labels' values."""
    async with platform.client() as client:
        answer = await client.get("/metrics")
    assert answer.status == 200
    families = text_string_to_metric_families(answer.body.decode())
    return {tuple(s.labels.values()): s.value for family in families for s in family.samples if s.name == name}


@asynccontextmanager
async def connections(platform: Platform) -> AsyncIterator[tuple[Client, Client]]:
    """Lend a client that speaks to the first worker over one connection, and one that speaks to the second."""
    first, second = (platform.children("--worker", number) for number in ("0", "1"))
    async with speaking_while(platform, frozen_=second) as one, speaking_while(platform, frozen_=first) as other:
        yield one, other


@asynccontextmanager
async def speaking_while(platform: Platform, frozen_: Iterable) -> AsyncIterator[Client]:  # type: ignore[type-arg]
    """Lend a client whose one connection was made while the other worker could not take it."""
    connector = aiohttp.TCPConnector(limit=1, keepalive_timeout=60)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:
        client = Client(session, platform.base)
        with frozen(list(frozen_)):
            assert (await client.get("/health")).status == 200
        yield client


async def register(client: Client, handle: str) -> Person:
    body = {"handle": handle, "email": f"{handle}@example.org", "password": PASSWORD}
    answer = await client.post("/api/users/register", json=body)
    assert answer.status == 201, answer.body
    return Person(UUID(answer.json["user"]["id"]), handle, body["email"], answer.json["access_token"])


async def test_any_worker_tells_the_sum_of_all(up: Platform) -> None:
    label = ("PUT", "/users/{user_id}/follow", "users", "401")
    before = (await values(up, "http_requests_total")).get(label, 0)
    async with connections(up) as both:
        for client in both:
            assert (await client.put("/api/users/users/@nobody/follow")).status == 401
        for client in both:
            text = (await client.get("/metrics")).body.decode()
            found = {
                tuple(s.labels[name] for name in ("method", "route", "service", "status")): s.value
                for family in text_string_to_metric_families(text)
                for s in family.samples
                if s.name == "http_requests_total"
            }
            assert found[label] == before + 2


async def test_what_was_written_at_one_worker_is_read_at_the_other_with_its_token(up: Platform) -> None:
    async with connections(up) as (one, other):
        ada = await register(one, "ada_of_two")
        posted = await one.post("/api/content/posts", as_=ada, json={"text": "Hello", "visibility": "public"})
        path = f"/api/content/posts/{posted.json['id']}"
        for number in range(20):
            writer, reader = (one, other) if number % 2 else (other, one)
            name = f"Ada the {number}"
            changed = await writer.patch(f"/api/users/profile/{ada.id}", as_=ada, json={"display_name": name})
            assert changed.status == 200, changed.body
            token = {"Consistency-Token": changed.headers["Consistency-Token"]}
            seen = await reader.get(path, headers=token)
            assert seen.json["author"]["display_name"] == name


async def test_periodic_jobs_run_once_for_all_workers(up: Platform) -> None:
    async def has_run() -> bool:
        done = await values(up, "jobs_processed_total")
        return done[("forget-answers", "succeeded", "users")] > 0

    await until(has_run)
    done = await values(up, "jobs_processed_total")
    assert {count for (_, outcome, _), count in done.items() if outcome == "succeeded"} <= {0, 1}
    assert {count for (_, outcome, _), count in done.items() if outcome != "succeeded"} == {0}


async def test_events_are_read_by_one_worker_at_a_time(up: Platform) -> None:
    connection = await up.database("content")
    try:
        leased = await connection.fetch("SELECT source, leased_by FROM event_checkpoints WHERE leased_until > now()")
        assert {row["source"] for row in leased} == {reader.source for reader in definition_of("content").readers}
    finally:
        await connection.close()


async def test_a_killed_worker_is_started_again_and_the_other_answers_meanwhile(up: Platform) -> None:
    [killed] = up.children("--worker", "0")
    killed.kill()
    assert await gone([killed]) == []
    assert await ready(up)
    await until(lambda: complete(up))
    [started] = up.children("--worker", "0")
    assert started.pid != killed.pid


async def test_a_stop_leaves_no_process(up: Platform) -> None:
    family = up.family()
    assert len(up.children("--worker")) == 2
    assert await up.stop() == 0
    assert await gone(family) == []
    assert "Traceback" not in up.output
