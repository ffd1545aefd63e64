"""Readiness: what is needed decides, what is optional is reported, and no check holds up the answer."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from townsquare.kit import health
from townsquare.kit.database import DatabaseUnavailable
from townsquare.kit.health import MigrationsPending, Probe, readiness

Check = Callable[[], Awaitable[None]]


async def well() -> None:
    """Nothing is wrong."""


async def refused() -> None:
    raise DatabaseUnavailable("the address of a host that nobody should read")


async def broken() -> None:
    raise ZeroDivisionError("neither should they read this")


async def behind() -> None:
    raise MigrationsPending


@pytest.mark.parametrize(
    ("database", "redis", "status", "word"),
    [(well, well, 200, "ready"), (well, refused, 200, "degraded"), (refused, well, 503, "unready")],
)
async def test_only_what_is_required_makes_unready(database: Check, redis: Check, status: int, word: str) -> None:
    found, body = await readiness({"database": Probe(database), "redis": Probe(redis, required=False)}, detailed=True)
    assert (found, body.status) == (status, word)
    assert body.checks["database"].status == ("ok" if database is well else "failed")


@pytest.mark.parametrize(("check", "reason"), [(refused, "refused"), (broken, "error"), (behind, "migrations_pending")])
async def test_a_reason_is_a_code_and_never_what_the_check_has_said(check: Check, reason: str) -> None:
    _, body = await readiness({"database": Probe(check)}, detailed=True)
    assert body.checks["database"].reason == reason


async def test_who_is_not_the_operator_sees_no_checks() -> None:
    _, body = await readiness({"database": Probe(broken)}, detailed=False)
    assert body.checks == {}


async def test_checks_that_hang_are_left_behind_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "CHECK_SECONDS", 0.2)
    release = asyncio.Event()

    async def hanging() -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    started = time.monotonic()
    status, body = await readiness({name: Probe(hanging) for name in ("database", "redis", "storage")}, detailed=True)
    assert time.monotonic() - started < 2
    release.set()
    assert status == 503
    assert {check.reason for check in body.checks.values()} == {"timeout"}
