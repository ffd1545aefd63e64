"""Health: the loop lives (`/health`); requests can be served (`/health/ready`).

All checks run side by side, three seconds each and less than five in all, also when a check hangs and ignores its
cancellation: what has not ended is left behind, not waited for. The answers hold reason codes, never raw errors.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from msgspec import Struct

from townsquare import __version__
from townsquare.kit.database import DatabaseUnavailable

CHECK_SECONDS: Final = 3.0
Reason = Literal["timeout", "refused", "migrations_pending", "error"]


class Health(Struct, frozen=True):
    """The process lives and its loop turns."""

    status: Literal["ok"]
    service: str
    version: str


class CheckResult(Struct, frozen=True, omit_defaults=True):
    """How one check ended, and how long it took."""

    status: Literal["ok", "failed"]
    latency_ms: float
    reason: Reason | None = None


class Readiness(Struct, frozen=True, omit_defaults=True):
    """`ready`: all is well; `degraded`: something optional is away; `unready`: send no requests."""

    status: Literal["ready", "degraded", "unready"]
    checks: dict[str, CheckResult] = {}


class MigrationsPending(Exception):
    """The database is not at this release's level."""


@dataclass(frozen=True, slots=True)
class Probe:
    """A check that raises when it fails. Without what is not `required` the service still works, degraded."""

    check: Callable[[], Awaitable[None]]
    required: bool = True


def alive(service: str) -> Health:
    """Return the body of `/health`."""
    return Health("ok", service, __version__)


async def readiness(probes: Mapping[str, Probe], *, detailed: bool) -> tuple[int, Readiness]:
    """Run all probes; returns the HTTP status and the body. Only the operator is told which check failed."""
    results = dict(zip(probes, await asyncio.gather(*(_run(probe) for probe in probes.values())), strict=True))
    failed = [probes[name] for name, result in results.items() if result.status == "failed"]
    unready = any(probe.required for probe in failed)
    status = "unready" if unready else "degraded" if failed else "ready"
    return 503 if unready else 200, Readiness(status, results if detailed else {})


async def _run(probe: Probe) -> CheckResult:
    started = time.perf_counter()
    task = asyncio.ensure_future(_checked(probe))
    done, _ = await asyncio.wait([task], timeout=CHECK_SECONDS)
    if not done:
        task.cancel()
    reason: Reason | None = task.result() if done else "timeout"
    latency = round((time.perf_counter() - started) * 1000, 1)
    return CheckResult("ok" if reason is None else "failed", latency, reason)


async def _checked(probe: Probe) -> Reason | None:
    try:
        await probe.check()
    except MigrationsPending:
        return "migrations_pending"
    except (DatabaseUnavailable, ConnectionError):
        return "refused"
    except TimeoutError:
        return "timeout"
    except Exception:  # a check may fail in any way; what it said is for the log alone
        return "error"
    return None
