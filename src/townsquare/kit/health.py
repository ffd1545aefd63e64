"""Interim."""
from dataclasses import dataclass
from collections.abc import Awaitable, Callable, Mapping
from msgspec import Struct
class Health(Struct): status: str; service: str
class Readiness(Struct): status: str
class MigrationsPending(Exception): ...
@dataclass
class Probe: check: Callable[[], Awaitable[None]]
def alive(service: str) -> Health: return Health("ok", service)
async def readiness(checks: Mapping[str, Probe], *, detailed: bool) -> tuple[int, Readiness]:
    for c in checks.values(): await c.check()
    return 200, Readiness("ready")
