"""Counts what the gateway passes on to services on ports of their own, also what it had to answer in their place."""

import time
from http import HTTPStatus
from typing import Any

from litestar.types import HTTPScope, Message, Receive, Send

from townsquare.gateway.gateway import Destination
from townsquare.kit.metrics import RequestMetrics
from townsquare.kit.requests import CLIENT_GONE


class Counted:
    """A destination whose answers are counted, under the service's prefix as their route."""

    def __init__(self, destination: Destination, prefix: str, metrics: RequestMetrics) -> None:
        self._destination = destination
        self._prefix = prefix
        self._metrics = metrics

    async def __call__(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        """Pass one request on; one that broke off before an answer counts as a failure, unless its client had left."""
        started = time.perf_counter()
        status = HTTPStatus.BAD_GATEWAY.value

        gone = False

        async def heard() -> Any:
            nonlocal gone
            message = await receive()
            gone = message["type"] == "http.disconnect"
            return message

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self._metrics.in_flight += 1
        try:
            await self._destination(scope, heard, watched)
        finally:
            self._metrics.in_flight -= 1
            seconds = time.perf_counter() - started
            self._metrics.observe(str(scope["method"]), self._prefix, CLIENT_GONE if gone else status, seconds)
