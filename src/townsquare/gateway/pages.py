"""The gateway's own paths: the platform's health, metrics and API document."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec
from litestar.types import HTTPScope, Receive, Send

from townsquare import __version__
from townsquare.gateway.developers import developers_page
from townsquare.gateway.document import gateway_document
from townsquare.gateway.html import CONTENT_SECURITY_POLICY
from townsquare.gateway.problem_pages import problem_page, problems_page
from townsquare.kit import health
from townsquare.kit.calls import call_of, send_problem
from townsquare.kit.health import CheckResult, Readiness
from townsquare.kit.metrics import Metrics
from townsquare.kit.openapi import merge
from townsquare.kit.problems import Problem, not_found
from townsquare.kit.requests import UNMATCHED
from townsquare.kit.upstream import Reply, Upstream
from townsquare.topology import SERVICES

_READY_SECONDS = 4.5
_DOCUMENT_SECONDS = 5.0
_JSON = b"application/json"
_HTML = b"text/html; charset=utf-8"
_PROBLEMS = "/problems/"
Page = Callable[[HTTPScope], Awaitable[tuple[int, bytes, bytes]]]


class GatewayPages:
    """ASGI app for whatever is no service's."""

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
            "/problems": self._problems,
        }
        self._document: dict[bytes, tuple[bytes, bytes]] = {}
        """The merged document and its page, by what the services said of themselves; only the newest is kept."""

    async def __call__(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        """Answer one GET."""
        path: str = scope["path"]
        page = self._problem if path.startswith(_PROBLEMS) else self._pages.get(path)
        if page is None:
            await send_problem(not_found("There is no such service here." if path.startswith("/api/") else ""), scope, send)
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
        if kind == _HTML:
            headers.append((b"content-security-policy", CONTENT_SECURITY_POLICY.encode()))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        shown = b"" if scope["method"] == "HEAD" else body
        await send({"type": "http.response.body", "body": shown, "more_body": False})

    def route_of(self, path: str) -> str:
        """Return what a path is called in the metrics."""
        if path.startswith(_PROBLEMS):
            return _PROBLEMS + "{code}"
        return path if path in self._pages else UNMATCHED

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
        worst = next((word for word in ("unready", "degraded") if any(a.status == word for a in answers)), "ready")
        body: dict[str, object] = {"status": worst}
        if call_of(scope).operator:
            body["checks"] = _checks(names, answers)
        return 503 if worst == "unready" else 200, _JSON, msgspec.json.encode(body)

    async def _ready_of(self, name: str) -> Readiness:
        """Ask one service; whatever answers otherwise than a service does is none that could take requests."""
        try:
            reply = await self._upstreams[name].call("GET", "/health/ready", timeout=_READY_SECONDS)
            return msgspec.json.decode(reply.body, type=Readiness)
        except (Problem, msgspec.DecodeError, UnicodeDecodeError):
            return Readiness("unready")

    async def _show_metrics(self, scope: HTTPScope) -> tuple[int, bytes, bytes]:
        if not call_of(scope).operator:
            raise Problem("forbidden", "Metrics are for this machine, or by token.")
        return 200, b"text/plain; version=0.0.4; charset=utf-8", await self._metrics.gathered()

    async def _openapi(self, _: HTTPScope) -> tuple[int, bytes, bytes]:
        return 200, _JSON, (await self._merged())[0]

    async def _developers(self, _: HTTPScope) -> tuple[int, bytes, bytes]:
        return 200, _HTML, (await self._merged())[1]

    async def _problems(self, _: HTTPScope) -> tuple[int, bytes, bytes]:
        return 200, _HTML, problems_page()

    async def _problem(self, scope: HTTPScope) -> tuple[int, bytes, bytes]:
        body = problem_page(scope["path"].removeprefix(_PROBLEMS))
        if body is None:
            raise not_found()
        return 200, _HTML, body

    async def _merged(self) -> tuple[bytes, bytes]:
        """Return the platform's document, and the page that shows it; made again when a service's has changed."""
        names = list(self._upstreams)
        calls = (self._upstreams[name].call("GET", "/openapi.json", timeout=_DOCUMENT_SECONDS) for name in names)
        bodies = [_whole(reply) for reply in await asyncio.gather(*calls)]
        key = b"\0".join(bodies)
        if key not in self._document:
            documents = {SERVICES[name].prefix: msgspec.json.decode(body) for name, body in zip(names, bodies, strict=True)}
            document = merge({"": gateway_document(), **documents})
            self._document = {key: (msgspec.json.encode(document), developers_page(document))}
        return self._document[key]


def _whole(reply: Reply) -> bytes:
    if reply.status != 200:
        raise Problem("upstream_unavailable", headers={"Retry-After": "1"})
    return reply.body


def _checks(names: Sequence[str], answers: Sequence[Readiness]) -> dict[str, object]:
    """The database is asked by every service: the worst answer stands under `database`, each one under its service."""
    checks: dict[str, CheckResult] = {}
    for answer in answers:
        for check, result in answer.checks.items():
            known = checks.get(check)
            if known is None or (known.status == "ok" and result.status != "ok"):
                checks[check] = result
    return {**checks, **{name: {"status": answer.status} for name, answer in zip(names, answers, strict=True)}}
