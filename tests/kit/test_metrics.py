"""Metrics: every name of the contract, read by Prometheus' own parser; sums over processes; nothing waits for the silent."""

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from testbed.town import Town
from townsquare.catalogue import BUILT, definition_of
from townsquare.kit.beside import beside
from townsquare.kit.metrics import LOOK_SECONDS, Gauge, Metrics
from townsquare.kit.metrics_sockets import SnapshotSockets
from townsquare.kit.process_metrics import LAG_PERIOD, LoopLag

PROMISED = {
    "process_uptime_seconds",
    "http_requests_total",
    "http_request_errors_total",
    "http_request_duration_seconds_bucket",
    "http_request_duration_seconds_count",
    "http_request_duration_seconds_sum",
    "http_requests_in_flight",
    "process_resident_memory_bytes",
    "python_heap_bytes",
    "process_cpu_seconds_total",
    "process_cpu_percent",
    "system_load_average",
    "event_loop_lag_seconds",
    "db_pool_size",
    "db_pool_idle",
    "db_pool_in_use",
    "db_pool_waiting",
    "outbox_lag_seconds",
    "jobs_queued",
    "jobs_running",
    "jobs_failed",
    "jobs_oldest_seconds",
    "jobs_processed_total",
}


def samples_of(text: bytes) -> list[Sample]:
    return [sample for family in text_string_to_metric_families(text.decode()) for sample in family.samples]


def value(samples: list[Sample], name: str, **labels: str) -> float:
    """Return the one sample of this name whose labels include these."""
    [found] = [s.value for s in samples if s.name == name and labels.items() <= s.labels.items()]
    return found


async def scraped(town: Town) -> list[Sample]:
    answer = await town.gateway.get("/metrics")
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    return samples_of(answer.body)


async def test_the_platform_tells_every_metric_that_is_promised(town: Town) -> None:
    await town.users.get("/profile/@nobody")
    samples = await scraped(town)
    assert {sample.name for sample in samples} >= PROMISED
    assert {s.labels["service"] for s in samples if s.name == "db_pool_size"} == set(BUILT)
    assert {(s.labels["service"], s.labels["source"]) for s in samples if s.name == "outbox_lag_seconds"} == {
        (name, reader.source) for name in BUILT for reader in definition_of(name).readers
    }
    assert {s.labels["window"] for s in samples if s.name == "system_load_average"} == {"1m", "5m", "15m"}
    assert value(samples, "process_resident_memory_bytes") > 20e6
    assert value(samples, "process_uptime_seconds") > 0


async def test_requests_are_counted_by_route_never_by_path(town: Town) -> None:
    labels = {"service": "users", "method": "PUT", "route": "/users/{user_id}/follow", "status": "401"}
    before = await scraped(town)
    known = [s.value for s in before if s.name == "http_requests_total" and labels.items() <= s.labels.items()]
    for _ in range(3):
        await town.users.put("/users/@nobody_at_all/follow")
    after = await scraped(town)
    assert value(after, "http_requests_total", **labels) == sum(known) + 3
    assert not any("nobody_at_all" in text for sample in after for text in sample.labels.values())


async def test_the_buckets_of_a_histogram_only_grow_and_end_in_its_count(town: Town) -> None:
    await town.users.put("/users/@nobody/follow")
    samples = await scraped(town)
    labels = {"service": "users", "method": "PUT", "route": "/users/{user_id}/follow"}
    name = "http_request_duration_seconds"
    buckets = [s.value for s in samples if s.name == f"{name}_bucket" and labels.items() <= s.labels.items()]
    assert buckets == sorted(buckets)
    assert buckets[-1] == value(samples, f"{name}_count", **labels)
    assert value(samples, f"{name}_sum", **labels) > 0


async def test_a_job_that_was_enqueued_is_run_at_once_and_counted(town: Town) -> None:
    labels = {"service": "users", "job": "send-mailed-token", "outcome": "succeeded"}
    before = value(await scraped(town), "jobs_processed_total", **labels)
    await town.register("mailed")
    async with asyncio.timeout(20):
        while value(await scraped(town), "jobs_processed_total", **labels) == before:
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("path", ["/metrics", "/api/users/metrics"])
async def test_whoever_comes_from_elsewhere_does_not_see_them(town: Town, path: str) -> None:
    assert (await town.gateway.get(path, headers={"X-Forwarded-For": "203.0.113.9"})).status == 403


def counted(name: str, requests: Mapping[int, int]) -> Metrics:
    """A process that has answered so many requests with each status."""
    metrics = Metrics(name)
    for status, number in requests.items():
        for _ in range(number):
            metrics.add_service("users").observe("GET", "/profile/{user_id}", status, 0.003)
    metrics.register(lambda: [Gauge("db_pool_idle", "Idle.", {"service": "users"}, 2)])
    metrics.register(lambda: [Gauge("jobs_queued", "Queued.", {"service": "users"}, 7, shared=True)])
    return metrics


async def test_counts_of_several_processes_are_added_up_and_what_they_share_is_not() -> None:
    first, second = counted("0", {200: 2}), counted("1", {200: 3, 503: 1})
    first.siblings["1"] = second.encoded_snapshot
    samples = samples_of(await first.gathered())
    assert value(samples, "http_requests_total", status="200") == 5
    assert value(samples, "http_request_errors_total") == 1
    assert value(samples, "http_request_duration_seconds_count") == 6
    assert value(samples, "db_pool_idle") == 4
    assert value(samples, "jobs_queued") == 7
    assert {s.labels["process"] for s in samples if s.name == "process_cpu_percent"} == {"0", "1"}


async def test_one_process_alone_has_no_process_label() -> None:
    samples = samples_of(await counted("all", {200: 1}).gathered())
    assert not any("process" in sample.labels for sample in samples)


async def test_siblings_meet_on_sockets_and_a_dead_one_is_told_as_down(tmp_path: Path) -> None:
    processes = [counted(str(number), {200: number + 1}) for number in range(3)]
    sockets = [SnapshotSockets(tmp_path, 3, number) for number in range(3)]
    (tmp_path / "1.sock").touch()  # left behind by one that was killed
    for metrics, own in zip(processes, sockets, strict=True):
        own.connect(metrics)
    async with beside(sockets[0].serve(processes[0]), sockets[1].serve(processes[1])):
        async with asyncio.timeout(5):
            while value(samples_of(await processes[0].gathered()), "process_up", process="1") == 0:
                await asyncio.sleep(0.01)
        samples = samples_of(await processes[0].gathered())
    assert value(samples, "http_requests_total", status="200") == 1 + 2
    assert value(samples, "process_up", process="2") == 0


async def test_what_a_silent_database_does_not_tell_in_time_is_left_out() -> None:
    async def silent() -> list[Gauge]:
        await asyncio.sleep(60)
        return []

    async def failing() -> list[Gauge]:
        raise OSError

    metrics = counted("0", {200: 1})
    metrics.register_look(silent)
    metrics.register_look(failing)
    started = time.monotonic()
    samples = samples_of(await metrics.gathered())
    assert time.monotonic() - started < LOOK_SECONDS + 2
    assert value(samples, "http_requests_total", status="200") == 1


async def test_a_loop_that_is_held_up_is_noticed_once() -> None:
    lag = LoopLag()
    async with beside(lag.run()):
        await asyncio.sleep(0)
        time.sleep(LAG_PERIOD + 0.2)
        await asyncio.sleep(0.01)
        _, _, _, worst, _ = lag.read()
        assert worst >= 0.2
        assert lag.read()[3] == 0


@pytest.mark.parametrize("path", ["/metrics", "/api/users/metrics", "/api/content/metrics"])
async def test_every_service_tells_its_metrics_too(town: Town, path: str) -> None:
    assert b"http_requests_total" in (await town.gateway.get(path)).body
