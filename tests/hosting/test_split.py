"""`townsquare up --split`: a process a service, each on its own port, and the gateway before them."""

import time
from collections.abc import AsyncIterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from testbed.platforms import Platform, frozen, gone, ready, running_platform, until
from testbed.postgres_users import data_folder, programs_on
from testbed.town import Client
from townsquare.catalogue import BUILT
from townsquare.topology import GATEWAY_PORT, SERVICES


@pytest.fixture(scope="module")
async def up() -> AsyncIterator[Platform]:
    with data_folder() as folder:
        async with running_platform(folder / "data", "up", "--split") as platform:
            yield platform


def port_of(platform: Platform, service: str) -> int:
    return platform.port + SERVICES[service].port - GATEWAY_PORT


@pytest.mark.parametrize("service", BUILT)
async def test_each_service_answers_on_its_own_port_and_through_the_gateway(up: Platform, service: str) -> None:
    async with up.client(f"http://127.0.0.1:{port_of(up, service)}") as client:
        assert (await client.get("/health")).json["service"] == service
    async with up.client() as client:
        assert (await client.get(f"/api/{service}/health")).json["service"] == service
        assert (await client.get("/health")).json["service"] == "gateway"


async def test_the_gateway_tells_the_metrics_of_all_services(up: Platform) -> None:
    async with up.client() as client:
        assert (await client.get("/api/users/profile/@nobody")).status == 404
        assert (await client.get("/api/content/public/posts")).status == 200
        text = (await client.get("/metrics")).body.decode()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    counted = {s.labels["service"] for s in samples if s.name == "http_requests_total"}
    assert counted >= set(BUILT)
    up_now = {s.labels["process"]: s.value for s in samples if s.name == "process_up"}
    assert up_now == {"gateway": 1, **dict.fromkeys(BUILT, 1)}
    memory = {s.labels["process"] for s in samples if s.name == "process_resident_memory_bytes"}
    assert memory == set(up_now)


async def test_what_one_service_gives_the_gateway_is_hidden_from_others(up: Platform) -> None:
    async with up.client(f"http://127.0.0.1:{port_of(up, 'users')}") as client:
        assert (await client.get("/metrics/snapshot")).status == 404


async def test_with_a_frozen_database_readiness_is_503_within_5_seconds_through_the_gateway(up: Platform) -> None:
    async with up.client() as client:
        with frozen(up.postgres()):
            started = time.monotonic()
            answer = await client.get("/health/ready")
            assert time.monotonic() - started < 5
            assert (answer.status, answer.json["status"]) == (503, "unready")
            assert answer.json["checks"]["users"]["status"] == "unready"
            metrics = await client.get("/metrics")
            assert b'process_up{process="users"} 1.0' in metrics.body
        await until(lambda: ready(up))


async def test_while_a_killed_service_is_away_the_gateway_says_503_and_the_others_answer(up: Platform) -> None:
    [killed] = up.children("serve", "content")
    async with up.client() as client:
        killed.kill()
        assert await gone([killed]) == []
        answer = await client.get("/api/content/public/posts")
        assert (answer.status, answer.code) == (503, "upstream_unavailable")
        assert int(answer.headers["Retry-After"]) >= 1
        assert (await client.get("/api/users/profile/@nobody")).status == 404
        assert (await client.get("/health/ready")).status == 503
        metrics = await client.get("/metrics")
        assert b'process_up{process="content"} 0.0' in metrics.body
        assert b'{method="GET",route="/api/content",service="gateway",status="503"} 1.0' in metrics.body
        await until(lambda: answers(client))
    [started] = up.children("serve", "content")
    assert started.pid != killed.pid


async def answers(client: Client) -> bool:
    return (await client.get("/api/content/public/posts")).status == 200


async def test_a_service_that_fails_again_and_again_is_started_ever_more_patiently(up: Platform) -> None:
    said = "process ended, starting it again"
    for times in range(2, 4):
        await until(lambda: has_child(up, "content"))
        up.children("serve", "content")[0].kill()
        await up.until_said(said, times)
    pauses = [float(line.split('"pause": ')[1].split(",")[0]) for line in up.lines if '"pause"' in line]
    assert pauses[-1] > pauses[0]
    await until(lambda: ready(up))


async def has_child(platform: Platform, service: str) -> bool:
    return len(platform.children("serve", service)) == 1


async def test_a_services_taken_port_is_one_sentence(up: Platform, tmp_path: object) -> None:
    with data_folder() as folder:
        second = Platform(folder / "data", "up", "--split", port=port_of(up, "users") - 2)
        await second.begin()
        assert await second.wait() == 1
        assert [line for line in second.lines if line.startswith("townsquare: cannot listen on")] == second.lines


async def test_when_the_parent_is_killed_its_children_end_by_themselves(up: Platform) -> None:
    children = up.children("--supervised")
    assert len(children) == len(BUILT) + 1
    up.tell(9)  # type: ignore[arg-type]
    await up.wait()
    assert await gone(children) == []
    async with running_platform(up.data, "up", "--split", port=up.port) as second:
        family = second.family()
        assert await second.stop() == 0
        assert await gone(family) == []
    assert programs_on(up.data) == []
