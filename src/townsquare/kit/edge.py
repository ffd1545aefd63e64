"""The edge: what happens to a request where it enters the platform, before any service sees it.

It gives the request its id, finds out from where and from whom it comes, and holds the rate limits. It stands before the
gateway, and before a service that is reached on its own port; what the gateway passes on has been through it.
"""

import hmac
import secrets
import time
from typing import Any, cast

from litestar.types import HTTPScope, Message, Receive, Send

from townsquare.kit.asgi import HTTPApp
from townsquare.kit.calls import Call, send_problem
from townsquare.kit.identity import SAFE_METHODS, Verifier, Viewer, token_of
from townsquare.kit.limits import Decision, Limiter, Policies, headers_of
from townsquare.kit.metrics import RequestMetrics
from townsquare.kit.problems import Problem
from townsquare.kit.upstream import INTERNAL_HEADER
from townsquare.settings import Settings

FORWARDED_HEADER = b"townsquare-forwarded"
PREFIX_HEADER = b"townsquare-prefix"
ADDRESS_HEADER = b"townsquare-address"
REQUEST_ID_HEADER = b"x-request-id"
OWN_HEADERS = frozenset({FORWARDED_HEADER, PREFIX_HEADER, ADDRESS_HEADER, INTERNAL_HEADER.encode()})

_INTERNAL = INTERNAL_HEADER.encode()
_LOOPBACK = frozenset({"127.0.0.1", "::1"})
_UNLIMITED = ("/health", "/metrics")
_SECURITY_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"strict-origin-when-cross-origin"),
    (b"vary", b"Authorization, Cookie, Accept-Encoding"),
]

Headers = dict[bytes, bytes]


class Edge:
    """ASGI app around the gateway, or around one service."""

    def __init__(self, app: HTTPApp, settings: Settings, verifier: Verifier, secret: str, metrics: RequestMetrics) -> None:
        self._app = app
        self._verifier = verifier
        self._secret = secret.encode()
        self._metrics = metrics
        self._limiter = Limiter() if settings.rate_limits else None
        self._policies = Policies.of(settings)
        self._proxies = frozenset(settings.trusted_proxies)
        self._operator_token = settings.metrics_token

    async def __call__(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        """Let one request in, or answer the problem."""
        headers: Headers = dict(scope["headers"])
        call = self._call(scope, headers)
        cast("dict[str, Any]", scope)["call"] = call
        extra = [(REQUEST_ID_HEADER, call.id.encode()), *_SECURITY_HEADERS]

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *extra]
            await send(message)

        try:
            await self._admit(scope, headers, call, extra)
        except Problem as problem:
            self._metrics.observe(str(scope["method"]), "(edge)", problem.status, 0.0)
            await send_problem(problem, scope, sending)
            return
        await self._app(scope, receive, sending)

    def _call(self, scope: HTTPScope, headers: Headers) -> Call:
        peer = (scope["client"] or ("", 0))[0]
        internal = self._shows_secret(headers.get(_INTERNAL))
        if self._shows_secret(headers.get(FORWARDED_HEADER)):
            call = Call(_text(headers, REQUEST_ID_HEADER), _text(headers, ADDRESS_HEADER))
            call.prefix = _text(headers, PREFIX_HEADER)
            call.forwarded = True
        else:
            call = Call(secrets.token_hex(8), self._address(peer, headers), internal=internal)
        call.operator = internal or call.address in _LOOPBACK or self._is_operator(headers)
        return call

    def _shows_secret(self, given: bytes | None) -> bool:
        return given is not None and hmac.compare_digest(given, self._secret)

    def _is_operator(self, headers: Headers) -> bool:
        shown = headers.get(b"authorization", b"")
        wanted = f"Bearer {self._operator_token}".encode()
        return self._operator_token is not None and hmac.compare_digest(shown, wanted)

    def _address(self, peer: str, headers: Headers) -> str:
        """Return the client's address: the last hop in X-Forwarded-For that is not one of our own proxies."""
        forwarded = headers.get(b"x-forwarded-for")
        if forwarded is None or peer not in self._proxies:
            return peer
        hops = [hop.strip() for hop in forwarded.decode("latin-1").split(",")]
        return next((hop for hop in reversed(hops) if hop not in self._proxies), peer)

    async def _admit(self, scope: HTTPScope, headers: Headers, call: Call, extra: list[tuple[bytes, bytes]]) -> None:
        method, path = str(scope["method"]), str(scope["path"])
        if "\0" in path:
            raise Problem("not_found")
        if (call.internal and b"authorization" not in headers) or (call.operator and path.startswith(_UNLIMITED)):
            return
        token = token_of(headers, method)
        if token is not None:
            call.viewer = await self._verifier.viewer(token)
            _require_scope(call.viewer, method)
        if self._limiter is None or call.forwarded or call.internal or path.startswith(_UNLIMITED):
            return
        decision = self._limit(self._limiter, call, method)
        extra.extend(headers_of(decision))
        if not decision.allowed:
            raise Problem("rate_limited", f"Try again in {decision.retry_after} seconds.")

    def _limit(self, limiter: Limiter, call: Call, method: str) -> Decision:
        policy = self._policies.reads if method in SAFE_METHODS else self._policies.writes
        who = str(call.viewer.id) if call.viewer is not None else call.address
        return limiter.check(policy, who, time.monotonic())


def _require_scope(viewer: Viewer, method: str) -> None:
    needed = "read" if method in SAFE_METHODS else "write"
    if viewer.scopes is not None and needed not in viewer.scopes:
        raise Problem("insufficient_scope", f"This token lacks the scope `{needed}`.")


def _text(headers: Headers, name: bytes) -> str:
    return headers.get(name, b"").decode("latin-1")
