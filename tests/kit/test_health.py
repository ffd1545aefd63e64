"""Health: checks run side by side, none can hold up the answer, and only operators are told which one failed."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
import pytest

from testbed.notes import Notes
from townsquare.kit import health
from townsquare.kit.database import DatabaseUnavailable
from townsquare.kit.health import MigrationsPending, Probe, alive, readiness

Check = Callable[[], Awaitable[None]]


async def well() -> None:
    """All is well."""


def failing(error: BaseException) -> Check:
    async def check() -> None:
        raise error

    return check


async def asked(probes: Mapping[str, Probe]) -> tuple[int, Any]:
    status, body = await readiness(probes, detailed=True)
    return status, msgspec.to_builtins(body)


async def test_ready_degraded_and_unready() -> None:
    bad = failing(ValueError())
    assert (await asked({"database": Probe(well), "redis": Probe(well, required=False)}))[1]["status"] == "ready"
    status, body = await asked({"database": Probe(well), "redis": Probe(bad, required=False)})
    assert (status, body["status"]) == (200, "degraded")
    status, body = await asked({"database": Probe(bad), "redis": Probe(bad, required=False)})
    assert (status, body["status"]) == (503, "unready")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MigrationsPending(), "migrations_pending"),
        (DatabaseUnavailable("at db.internal:5432"), "refused"),
        (ConnectionRefusedError("db.internal"), "refused"),
        (TimeoutError("db.internal"), "timeout"),
        (ZeroDivisionError("db.internal"), "error"),
    ],
)
async def test_a_failure_is_told_by_a_reason_and_never_in_its_own_words(error: Exception, reason: str) -> None:
    status, body = await asked({"database": Probe(failing(error))})
    assert status == 503
    assert body["checks"]["database"]["reason"] == reason
    assert "internal" not in str(body)


async def test_checks_run_side_by_side() -> None:
    both = asyncio.Barrier(2)  # passes only when both checks have begun

    async def meet() -> None:
        await both.wait()

    status, _ = await asked({"one": Probe(meet), "other": Probe(meet)})
    assert status == 200


async def test_a_check_that_hangs_and_will_not_be_cancelled_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "CHECK_SECONDS", 0.05)
    release = asyncio.Event()

    async def stubborn() -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    async with asyncio.timeout(5):
        status, body = await asked({"database": Probe(stubborn), "storage": Probe(well, required=False)})
    release.set()
    assert status == 503
    assert body["checks"]["database"]["reason"] == "timeout"
    assert body["checks"]["storage"]["status"] == "ok"


async def test_only_an_operator_is_told_which_check_failed() -> None:
    status, body = await readiness({"database": Probe(failing(ValueError()))}, detailed=False)
    assert (status, msgspec.to_builtins(body)) == (503, {"status": "unready"})


async def test_health_over_http(notes: Notes) -> None:
    answer = await notes.client.get("/health")
    assert answer.status == 200
    assert answer.json == msgspec.to_builtins(alive("messages"))
    ready = await notes.client.get("/health/ready")
    assert (ready.status, ready.json["status"], ready.json["checks"]["database"]["status"]) == (200, "ready", "ok")
    assert ready.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("headers", [{"X-Forwarded-For": "127.0.0.1"}, {"X-Forwarded-For": "192.0.2.1"}])
async def test_whoever_comes_through_a_proxy_is_no_operator(notes: Notes, headers: dict[str, str]) -> None:
    ready = await notes.client.get("/health/ready", headers=headers)
    assert ready.json == {"status": "ready"}
    metrics = await notes.client.get("/metrics", headers=headers)
    assert (metrics.status, metrics.code) == (403, "forbidden")


async def test_migrations_that_are_missing_make_it_unready(notes: Notes) -> None:
    database = notes.app.context.database
    [row] = await database.fetch("SELECT to_regclass('notes') AS there")
    assert row["there"] is not None
    extra = notes.app.definition.schema / "0099_later.sql"
    extra.write_text("SELECT 1;", "utf-8")
    try:
        ready = await notes.client.get("/health/ready")
        assert ready.status == 503
        assert ready.json["checks"]["database"]["reason"] == "migrations_pending"
    finally:
        extra.unlink()
    assert (await notes.client.get("/health/ready")).status == 200
