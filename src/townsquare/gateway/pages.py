"""The gateway's own paths: the platform's health, metrics and API document."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

import msgspec
from litestar.types import HTTPScope, Receive, Send

from townsquare import __version__
from townsquare.kit import health
from townsquare.kit.calls import call_of, send_problem
from townsquare.kit.metrics import Metrics
from townsquare.kit.openapi import developers_page, merge
from townsquare.kit.problems import Problem
from townsquare.kit.upstream import Upstream
from townsquare.topology import SERVICES

_READY_SECONDS = 4.5
_JSON = b"application/json"
Page = Callable[[HTTPScope], Awaitable[tuple[int, bytes, bytes]]]


class GatewayPages:
    """ASGI app for what is not under `/api/`."""

    def __init__(self, upstreams: Mapping[str, Upstream], metrics: Metrics) -> None:
        self._upstreams = upstreams
        self._metrics = metrics
        self._pages: dict[str, Page] = {
            "/": self._index,
            "/health": self._health,
            "/health/ready": self._ready,
            "/metrics": self._show_metrics,
            "/openapi.json": self._openapi,
            "/developers": self._developers,
        }

    async def __call__(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        """Answer one GET."""
        page = self._pages.get(scope["path"])
        if page is None:
            await send_problem(Problem("not_found"), scope, send)
            return
        if scope["method"] not in ("GET", "HEAD"):
            await send_problem(Problem("method_not_allowed", headers={"Allow": "GET, HEAD"}), scope, send)
            return
        try:
            status, kind, body = await page(scope)
        except Problem as problem:
            await send_problem(problem, scope, send)
            return
        headers = [
            (b"content-type", kind),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        shown = b"" if scope["method"] == "HEAD" else body
        await send({"type": "http.response.body", "body": shown, "more_body": False})

    async def _index(self, _: HTTPScope) -> tuple[int, bytes, bytes]:
        index = {
            "name": "townsquare",
            "version": __version__,
            "services": {name: SERVICES[name].prefix for name in self._upstreams},
            "developers": "/developers",
        }
        return 200, _JSON, msgspec.json.encode(index)

    async def _health(self, _: HTTPScope) -> tuple[int, bytes, bytes]:
        return 200, _JSON, msgspec.json.encode(health.alive("gateway"))

    async def _ready(self, scope: HTTPScope) -> tuple[int, bytes, bytes]:
        """Ask all services side by side; the worst answer is the platform's."""
        names = list(self._upstreams)
        answers = await asyncio.gather(*(self._ready_of(name) for name in names))
        status = 200 if all(answer["status"] != "unready" for answer in answers) else 503
        worst = next((word for word in ("unready", "degraded") if any(a["status"] == word for a in answers)), "ready")
        body: dict[str, object] = {"status": worst, "checks": _checks(names, answers)}
        if not call_of(scope).operator:
            del body["checks"]
        return status, _JSON, msgspec.json.encode(body)

    async def _ready_of(self, name: str) -> dict[str, Any]:
        try:
            reply = await self._upstreams[name].call("GET", "/health/ready", timeout=_READY_SECONDS)
            return cast("dict[str, Any]", msgspec.json.decode(reply.body))
        except (Problem, TimeoutError, msgspec.DecodeError):
            return {"status": "unready", "checks": {}}

    async def _show_metrics(self, scope: HTTPScope) -> tuple[int, bytes, bytes]:
        if not call_of(scope).operator:
            raise Problem("forbidden", "Metrics are for this machine, or by token.")
        return 200, b"text/plain; version=0.0.4; charset=utf-8", await self._metrics.gathered()

    async def _openapi(self, _: HTTPScope) -> tuple[int, bytes, bytes]:
        return 200, _JSON, msgspec.json.encode(await self._merged())

    async def _developers(self, _: HTTPScope) -> tuple[int, bytes, bytes]:
        return 200, b"text/html; charset=utf-8", developers_page(await self._merged()).encode()

    async def _merged(self) -> dict[str, Any]:
        documents: dict[str, dict[str, Any]] = {}
        for name, upstream in self._upstreams.items():
            reply = await upstream.call("GET", "/openapi.json", timeout=5)
            documents[SERVICES[name].prefix] = msgspec.json.decode(reply.body)
        return merge(documents)


def _checks(names: list[str], answers: list[dict[str, Any]]) -> dict[str, Any]:
    """The database is asked by every service: the worst answer stands under `database`, each one under its service."""
    checks: dict[str, Any] = {}
    for name, answer in zip(names, answers, strict=True):
        for check, result in answer.get("checks", {}).items():
            known = checks.get(check)
            if known is None or (known["status"] == "ok" and result["status"] != "ok"):
                checks[check] = result
        checks[name] = {"status": answer["status"]}
    return checks
