"""What is known of the request under way, from the edge to the handler."""

from collections.abc import Mapping
from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.types import HTTPScope, Send

from townsquare.kit.asgi import Headers
from townsquare.kit.depends import Depends
from townsquare.kit.identity import Viewer
from townsquare.kit.problems import Problem
from townsquare.kit.writes import Write


class Call:
    """One request: its id, where it comes from, who asks, and the transaction of an unsafe one.

    `internal` is true for a call between services, which alone opens internal paths. `prefix` is what stands before
    the service's own paths where the caller sees them (`/api/users` through the gateway).
    """

    __slots__ = (
        "address", "depends", "forwarded", "head", "headers", "id", "internal", "operator", "prefix", "viewer", "write",
    )  # fmt: skip

    def __init__(self, identifier: str, address: str, *, internal: bool = False, operator: bool = False) -> None:
        self.id = identifier
        self.address = address
        self.internal = internal
        self.operator = operator
        """True for callers who may see metrics and the details of readiness: this machine, or by token."""
        self.forwarded = False
        """True when the gateway has let the request in and counted it already."""
        self.head = False
        """True for HEAD, which runs as GET: whoever would read much to answer may leave it unread."""
        self.headers: Headers = []
        """What the edge adds to the answer, whoever makes it."""
        self.prefix = ""
        self.viewer: Viewer | None = None
        self.write: Write | None = None
        self.depends = Depends()
        """What the answer depends on; handlers of cached routes say it."""


def call_of(scope: Mapping[str, Any]) -> Call:
    """Return the request's call; the edge has put it there."""
    call = scope["call"]
    assert isinstance(call, Call)  # noqa: S101  (says what an ASGI scope cannot)
    return call


def internal_only(connection: "ASGIConnection[Any, Any, Any, Any]", _: BaseRouteHandler) -> None:
    """Guard: hide a path from everybody but the other services."""
    if not call_of(connection.scope).internal:
        raise Problem("not_found")


async def send_problem(problem: Problem, scope: HTTPScope, send: Send) -> None:
    """Answer a problem outside the framework."""
    call = call_of(scope)
    headers, body = problem.encoded(call.prefix + str(scope["path"]), call.id)
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
