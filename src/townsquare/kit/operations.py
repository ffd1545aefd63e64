"""The paths that every service has for those who run it: health, readiness, metrics and the outbox."""

import time
from typing import TYPE_CHECKING, Annotated

from litestar import get
from litestar.params import Parameter

from townsquare.kit.calls import internal_only
from townsquare.kit.dependencies import Ctx
from townsquare.kit.outbox import EventBatch, Position, read_events
from townsquare.kit.problems import invalid

if TYPE_CHECKING:
    pass

EVENTS_WAIT = 20.0
LOOK_SECONDS = 0.5


@get("/events", guards=[internal_only], include_in_schema=False)
async def list_events(
    context: Ctx,
    after: str = "0-0",
    limit: Annotated[int, Parameter(ge=1, le=1000)] = 500,
    wait: Annotated[float, Parameter(ge=0, le=EVENTS_WAIT)] = 0.0,
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
        if batch.items or left <= 0:
            return batch
        await context.outbox.wait(min(LOOK_SECONDS, left))
