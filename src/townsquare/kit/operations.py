"""The paths that every service has for those who run it: health, readiness, metrics and the outbox."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import msgspec
from litestar import Response, get
from litestar.openapi import ResponseSpec
from litestar.params import FromQuery, QueryParameter
from litestar.types import ControllerRouterHandler

from townsquare.kit.api_document import document_of
from townsquare.kit.asgi import AnyRequest
from townsquare.kit.calls import call_of, internal_only
from townsquare.kit.context import Context
from townsquare.kit.dependencies import Ctx, provided_by
from townsquare.kit.health import Health, MigrationsPending, Probe, Readiness, alive, readiness
from townsquare.kit.metrics import Metrics
from townsquare.kit.migrations import pending
from townsquare.kit.outbox import EventBatch, Position, read_events
from townsquare.kit.problems import Problem, invalid

EVENTS_WAIT = 20.0
LOOK_SECONDS = 0.5
SNAPSHOT_PATH = "/metrics/snapshot"


@get("/events", guards=[internal_only], include_in_schema=False)
async def list_events(
    context: Ctx,
    after: FromQuery[str] = "0-0",
    limit: Annotated[int, QueryParameter(ge=1, le=1000)] = 500,
    wait: Annotated[float, QueryParameter(ge=0, le=EVENTS_WAIT)] = 0.0,
) -> EventBatch:
    """Long poll: answer at once when there are events behind `after`, else as soon as there are, or after `wait`."""
    try:
        position = Position.parse(after)
    except ValueError as error:
        raise invalid("?after", str(error)) from None
    until = time.monotonic() + wait
    while True:
        batch = await read_events(context.database, position, limit)
        left = until - time.monotonic()
        if batch.items or left <= 0 or context.outbox.draining:
            return batch
        await context.outbox.wait(min(LOOK_SECONDS, left))


def operation_routes(
    context: Context,
    schemas: Sequence[Path],
    metrics: Metrics,
    routes: Sequence[ControllerRouterHandler],
    optional: Mapping[str, Probe],
) -> list[ControllerRouterHandler]:
    """Return the handlers for one service.

    `schemas` are its database's migrations, `routes` its other handlers, `optional` the checks of what it can do without.
    """

    async def database_ready() -> None:
        if await pending(context.database, schemas):
            raise MigrationsPending

    checks = {"database": Probe(database_ready), **optional}

    made: list[bytes] = []
    making = asyncio.Lock()

    @get("/openapi.json", include_in_schema=False)
    async def show_document() -> Response[bytes]:
        """Show the service's OpenAPI 3.1 document, which is made when somebody first asks for it."""
        async with making:
            if not made:
                documented = [*routes, show_health, show_readiness, show_metrics]
                document = await asyncio.to_thread(document_of, context.name, documented, provided_by(context))
                made.append(msgspec.json.encode(document))
        return Response(made[0], media_type="application/json")

    @get("/health", tags=["operations"])
    async def show_health() -> Health:
        """Say that the process lives and its loop turns."""
        return alive(context.name)

    @get("/health/ready", tags=["operations"], responses={503: ResponseSpec(Readiness, description="Not ready.")})
    async def show_readiness(request: AnyRequest) -> Response[Readiness]:
        """Say whether requests can be served: 200 when ready or degraded, 503 when not."""
        status, body = await readiness(checks, detailed=call_of(request.scope).operator)
        return Response(body, status_code=status, headers={"Cache-Control": "no-store"})

    @get("/metrics", tags=["operations"], media_type="text/plain")
    async def show_metrics(request: AnyRequest) -> Response[bytes]:
        """Show this process's metrics in Prometheus' text format; for this machine, or by token."""
        if not call_of(request.scope).operator:
            raise Problem("forbidden", "Metrics are for this machine, or by token.")
        body = await metrics.gathered()
        return Response(body, media_type=metrics.content_type, headers={"Cache-Control": "no-store"})

    @get(SNAPSHOT_PATH, guards=[internal_only], include_in_schema=False, media_type="application/msgpack")
    async def show_snapshot() -> bytes:
        """Hand this process's counts to the gateway, which adds them up."""
        return await metrics.encoded_snapshot()

    return [list_events, show_document, show_health, show_readiness, show_metrics, show_snapshot]
