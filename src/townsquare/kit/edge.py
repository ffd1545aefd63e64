"""The edge: what happens to a request where it enters the platform, before any service sees it.

It gives the request its id, finds out from where and from whom it comes, and holds the rate limits. It stands before the
gateway, and before a service that is reached on its own port; what the gateway passes on has been through it.
"""

import hmac
import time
from http import HTTPStatus
from random import getrandbits
from typing import Any, cast

from litestar.types import HTTPScope, Message, Receive, Send

from townsquare.kit.asgi import HTTPApp
from townsquare.kit.calls import Call, call_of, send_problem
from townsquare.kit.errors import to_problem
from townsquare.kit.identity import SAFE_METHODS, Verifier, Viewer, token_of
from townsquare.kit.limits import Limiter, Policies, network_of, refused
from townsquare.kit.logs import get_logger
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
_PROBED = frozenset({"/health", "/health/ready", "/metrics"})
"""What those who run the platform ask all the time; a probe that is refused would take a healthy process out of service."""
SECURITY_HEADERS = [
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
        policies = Policies.of(settings)
        self._limited = settings.rate_limits
        self._reads, self._writes = Limiter(policies.reads), Limiter(policies.writes)
        self._bad_tokens = Limiter(policies.bad_tokens)
        self.proxies = frozenset(settings.trusted_proxies)
        self._operator_token = settings.metrics_token
        self._log = get_logger("edge")

    async def __call__(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        """Let one request in, or answer the problem."""
        headers: Headers = dict(scope["headers"])
        call = self._call(scope, headers)
        cast("dict[str, Any]", scope)["call"] = call
        call.headers = extra = [(REQUEST_ID_HEADER, call.id.encode()), *SECURITY_HEADERS]

        begun = False

        async def sending(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                message["headers"] = [*message["headers"], *extra]
            await send(message)

        try:
            await self._admit(scope, headers, call)
            await self._app(scope, receive, sending)
        except Exception as error:
            if begun:
                raise
            await self._refuse(error, scope, sending)

    async def _refuse(self, error: Exception, scope: HTTPScope, send: Send) -> None:
        """Answer what was refused here, and as the last resort what nobody behind has answered."""
        problem = to_problem(error)
        if problem.status == HTTPStatus.INTERNAL_SERVER_ERROR:
            self._log.error("unhandled error", exc_info=error, method=scope["method"], request_id=call_of(scope).id)
        self._metrics.observe(str(scope["method"]), "(edge)", problem.status, 0.0)
        await send_problem(problem, scope, send)

    def count_read(self, who: int | None, address: str) -> bytes | None:
        """Count a read that is answered before it comes here; returns header lines, or None for one too many."""
        decision = self._reads.take(network_of(address) if who is None else who, time.monotonic_ns())
        return self._reads.lines(decision) if decision.allowed else None

    def named_client(self, forwarded: bytes) -> str:
        """Return whom our own proxies name in X-Forwarded-For: the last hop that is none of them, empty if there is none."""
        hops = [hop.strip() for hop in forwarded.decode("latin-1").split(",")]
        return next((hop for hop in reversed(hops) if hop not in self.proxies), "")

    def _call(self, scope: HTTPScope, headers: Headers) -> Call:
        peer = (scope["client"] or ("", 0))[0]
        internal = self._shows_secret(headers.get(_INTERNAL))
        if self._shows_secret(headers.get(FORWARDED_HEADER)):
            call = Call(_text(headers, REQUEST_ID_HEADER), _text(headers, ADDRESS_HEADER))
            call.prefix = _text(headers, PREFIX_HEADER)
            call.forwarded = True
        else:
            call = Call(_new_id(), self._address(peer, headers), internal=internal)
        # A proxy on this machine whose address nobody has told us would make the whole world an operator.
        here = call.address in _LOOPBACK and b"x-forwarded-for" not in headers
        call.operator = internal or here or self._is_operator(headers)
        return call

    def _shows_secret(self, given: bytes | None) -> bool:
        return given is not None and hmac.compare_digest(given, self._secret)

    def _is_operator(self, headers: Headers) -> bool:
        shown = headers.get(b"authorization", b"")
        wanted = f"Bearer {self._operator_token}".encode()
        return self._operator_token is not None and hmac.compare_digest(shown, wanted)

    def _address(self, peer: str, headers: Headers) -> str:
        forwarded = headers.get(b"x-forwarded-for")
        if forwarded is None or peer not in self.proxies:
            return peer
        return self.named_client(forwarded) or peer

    async def _admit(self, scope: HTTPScope, headers: Headers, call: Call) -> None:
        method, path = str(scope["method"]), str(scope["path"])
        if "\0" in path:
            raise Problem("not_found")
        if (call.internal and b"authorization" not in headers) or (call.operator and path in _PROBED):
            return
        limited = self._limited and not (call.forwarded or call.internal or path in _PROBED)
        token = token_of(headers, method)
        if token is not None:
            call.viewer = await self._viewer(token, call, limited=limited)
            _require_scope(call.viewer, method)
        if limited:
            self._count(self._reads if method in SAFE_METHODS else self._writes, call)

    async def _viewer(self, token: str, call: Call, *, limited: bool) -> Viewer:
        """Verify a token; whoever has shown too many bad ones waits before another is looked at."""
        known = self._verifier.known(token)
        if known is not None:
            return known
        address, now = network_of(call.address), time.monotonic_ns()
        if limited and not (look := self._bad_tokens.look(address, now)).allowed:
            raise refused(look)
        try:
            return await self._verifier.viewer(token)
        except Problem as problem:
            if limited and problem.status == HTTPStatus.UNAUTHORIZED:
                self._bad_tokens.take(address, now)
            raise

    def _count(self, limiter: Limiter, call: Call) -> None:
        who = network_of(call.address) if call.viewer is None else call.viewer.id.int
        decision = limiter.take(who, time.monotonic_ns())
        call.headers += limiter.headers(decision)
        if not decision.allowed:
            raise refused(decision)


def _new_id() -> str:
    """Return the request's id. It is a name and no secret, hence not from the system's random numbers, which take 4 µs."""
    return f"{getrandbits(64):016x}"


def _require_scope(viewer: Viewer, method: str) -> None:
    needed = "read" if method in SAFE_METHODS else "write"
    if viewer.scopes is not None and needed not in viewer.scopes:
        raise Problem("insufficient_scope", f"This token lacks the scope `{needed}`.")


def _text(headers: Headers, name: bytes) -> str:
    return headers.get(name, b"").decode("latin-1")
