"""Counts what the gateway answers itself, and what it passes on to services on ports of their own."""

import time
from collections.abc import Callable
from typing import Any

from litestar.types import HTTPScope, Message, Receive, Send

from townsquare.gateway.gateway import Destination
from townsquare.kit.metrics import RequestMetrics
from townsquare.kit.requests import CLIENT_GONE


class Counted:
    """A destination whose answers are counted, under what `route_of` makes of a path: never the path itself."""

    def __init__(self, destination: Destination, route_of: Callable[[str], str], metrics: RequestMetrics) -> None:
        self._destination = destination
        self._route_of = route_of
        self._metrics = metrics

    async def __call__(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        """Pass one request on. What ends without an answer is counted by who answers in its place, the edge."""
        started = time.perf_counter()
        status: int | None = None

        async def heard() -> Any:
            nonlocal status
            message = await receive()
            if message["type"] == "http.disconnect":
                status = CLIENT_GONE
            return message

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = status or message["status"]
            await send(message)

        self._metrics.in_flight += 1
        try:
            await self._destination(scope, heard, watched)
        finally:
            self._metrics.in_flight -= 1
            if status is not None:
                seconds = time.perf_counter() - started
                self._metrics.observe(str(scope["method"]), self._route_of(scope["path"]), status, seconds)
