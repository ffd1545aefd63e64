"""What is known of the request under way, from the edge to the handler."""

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.types import Scope

from townsquare.kit.identity import Viewer
from townsquare.kit.problems import Problem
from townsquare.kit.writes import Write


class Call:
    """One request: its id, where it comes from, who asks, and the transaction of an unsafe one.

    `internal` is true for a call between services, which alone opens internal paths.
    """

    __slots__ = ("address", "id", "internal", "viewer", "write")

    def __init__(self, identifier: str, address: str, *, internal: bool, viewer: Viewer | None) -> None:
        self.id = identifier
        self.address = address
        self.internal = internal
        self.viewer = viewer
        self.write: Write | None = None


def call_of(scope: Scope) -> Call:
    """Return the request's call."""
    return scope["call"]  # pyright: ignore[reportGeneralTypeIssues, reportUnknownVariableType]


def internal_only(connection: "ASGIConnection[object, object, object, object]", _: BaseRouteHandler) -> None:
    """Guard: hide a path from everybody but the other services."""
    if not call_of(connection.scope).internal:
        raise Problem("not_found")
