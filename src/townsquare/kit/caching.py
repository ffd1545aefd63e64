"""The layer that answers from the cache, or has the answer made and keeps it.

It stands before the layer that runs handlers, behind the edge that knows who asks. What is kept for more than one person
is made by running the handler as nobody, with no headers of anybody's: it cannot hold what only one may see.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, cast
from uuid import UUID

from litestar.types import HTTPScope, Receive, Send

from townsquare.cache.cache import Cache, Filled, FillFailed, Outcome
from townsquare.cache.entries import Entry
from townsquare.cache.http.front import Alias, Asked, Front, prepare
from townsquare.cache.http.responses import Coding, StoredResponse
from townsquare.cache.strategies import Strategy
from townsquare.kit.asgi import Headers
from townsquare.kit.cached_routes import CachedRoute, CachedRoutes
from townsquare.kit.calls import Call, call_of
from townsquare.kit.conditional import etag_of
from townsquare.kit.context import Context
from townsquare.kit.errors import to_problem
from townsquare.kit.identity import Viewer
from townsquare.kit.problems import unavailable
from townsquare.kit.request_log import RequestLog
from townsquare.kit.requests import MadeAnswer, RequestLayer

STANDING: Final = Strategy("STANDING", lifetime=600, grace=0, shared=False)
"""Whether anything singles a viewer out: not one of the 22, because it is never an answer."""
PUBLIC: Final = (b"cache-control", b"public, max-age=0, must-revalidate")
PRIVATE: Final = (b"cache-control", b"private, no-cache")
MAX_TOKENS: Final = 8
_MADE_ANEW: Final = frozenset({b"content-length", b"cache-control"})
_DETAILS: Final = {"hit": b"l1", "joined": b"l1", "hit_shared": b"l2", "stale": b"stale"}


@dataclass(slots=True)
class Asking:
    """A request for a cached route. `query` is in its normal form."""

    route: CachedRoute
    scope: HTTPScope
    call: Call
    query: str
    headers: dict[bytes, bytes]

    @property
    def strategy(self) -> Strategy:
        """The route's strategy."""
        return self.route.declaration.strategy

    def key(self, viewer: Viewer | None) -> str:
        """Name the entry: for whom, and what, where they see it."""
        whose = "-" if viewer is None else viewer.id.hex
        return f"{whose} {self.call.prefix}{self.scope['path']}?{self.query}"

    def from_outside(self) -> Asked:
        """Return how the request looked where it came in."""
        target = self.call.prefix.encode() + (self.scope["raw_path"] or b"")
        if self.scope["query_string"]:
            target += b"?" + self.scope["query_string"]
        given = self.headers.get
        return Asked(target, given(b"authorization", b""), given(b"cookie", b""), given(b"accept-encoding", b""))


class CacheLayer:
    """ASGI app around the layer that runs handlers. `standing` is SQL that says of `$1` whether nothing singles them out."""

    def __init__(self, requests: RequestLayer, routes: CachedRoutes, cache: Cache, context: Context, standing: str) -> None:
        self._requests = requests
        self._routes = routes
        self._cache = cache
        self._context = context
        self._metrics = context.request_metrics
        self._log = RequestLog(context)
        self._standing = standing
        self.front: Front | None = None
        """Where requests that were answered from here are learned; set by who puts a front before everything."""

    async def __call__(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        call = call_of(scope)
        route = self._routes.find(scope["path"]) if scope["method"] in ("GET", "HEAD") else None
        if route is None or (call.viewer is None and (call.internal or route.declaration.audience == "viewer")):
            await self._requests(scope, receive, send)
            return
        asking = Asking(route, scope, call, route.query(scope["query_string"]), dict(scope["headers"]))
        started = time.perf_counter()
        self._metrics.in_flight += 1
        status: int = HTTPStatus.SERVICE_UNAVAILABLE
        try:
            status = await self._answer(asking, send)
        finally:
            self._metrics.in_flight -= 1
            self._log.ended(scope["method"], route.template, status, time.perf_counter() - started, call.id)

    async def _answer(self, asking: Asking, send: Send) -> int:
        try:
            outcome, rests_on = await self._find(asking)
        except FillFailed as failure:
            outcome, rests_on = Outcome(failure.value, "miss", None), ()
        except Exception as error:
            outcome, rests_on = Outcome(self._refusal(asking, error), "miss", None), ()
        if isinstance(outcome.value, StoredResponse):
            if outcome.result == "hit" and rests_on is not None:
                self._teach(asking, outcome, rests_on)
            return await self._send_stored(asking, outcome, outcome.value, send)
        made = outcome.value
        assert isinstance(made, MadeAnswer)  # noqa: S101  (a fill brings one or the other)
        return await _send(asking, send, made.status, [*made.headers, _status(outcome)], made.body)

    def _refusal(self, asking: Asking, error: Exception) -> MadeAnswer:
        """Answer what went wrong outside a handler."""
        problem = unavailable("This takes too long right now.") if isinstance(error, TimeoutError) else to_problem(error)
        if problem.status == HTTPStatus.INTERNAL_SERVER_ERROR:
            self._log.unhandled(error, asking.scope["method"], asking.call.id)
        refusal = MadeAnswer()
        refusal.problem(problem, asking.call.prefix + asking.scope["path"], asking.call.id)
        return refusal

    # --- which entry ---------------------------------------------------------------------------------------------

    async def is_plain(self, person: UUID) -> bool:
        """Say whether nothing singles a person out, so that they may be given what is kept for everybody."""
        return (await self._standing_of(person))[0]

    async def _find(self, asking: Asking) -> tuple[Outcome, Sequence[Entry] | None]:
        """Return the answer, and the entries beside its own that led to it.

        None in their place says that something else led to it, which may not be so the next time.
        """
        viewer = asking.call.viewer
        token = asking.headers.get(b"consistency-token")
        if token is not None and not await self._reached(token.decode("latin-1")):
            return await self._cache.bypass(asking.strategy, lambda: self._fill(asking, viewer)), ()
        audience = asking.route.declaration.audience
        if viewer is None or audience == "everybody":
            return await self._fetch(asking, None), ()
        if audience != "plain":
            return await self._fetch(asking, viewer), ()
        plain, standing = await self._standing_of(viewer.id)
        if plain:
            outcome = await self._fetch(asking, None)
            if isinstance(outcome.value, StoredResponse):
                return outcome, standing
        return await self._fetch(asking, viewer), standing

    async def _fetch(self, asking: Asking, viewer: Viewer | None) -> Outcome:
        key = asking.key(viewer)
        entry = self._cache.get(key)
        if entry is not None:
            return Outcome(entry.value, "hit", entry)
        return await self._cache.fetch(
            key, asking.strategy, lambda: self._fill(asking, viewer), stale_if_failed=viewer is None
        )

    async def _standing_of(self, person: UUID) -> tuple[bool, Sequence[Entry] | None]:
        """Say whether nothing singles a person out, and on which entry that knowledge rests, if it was kept."""
        key = f"standing {person.hex}"

        async def fill() -> Filled:
            plain = await self._context.database.fetchval(self._standing, person)
            return Filled(plain, 1, _singled_out(person))

        entry = self._cache.get(key)
        if entry is not None:
            return bool(entry.value), (entry,)
        outcome = await self._cache.fetch(key, STANDING, fill, stale_if_failed=False)
        return bool(outcome.value), None if outcome.entry is None else (outcome.entry,)

    async def _reached(self, text: str) -> bool:
        """Say whether what is kept here can be no older than the writes that the tokens stand for.

        For a write to another service, wait until it has taken effect here; what is kept may still be older.
        """
        await self._context.wait_for_token(text)
        for token in text.replace(",", " ").split()[:MAX_TOKENS]:
            source, _, xid = token.partition(".")
            if source in self._context.sources:
                return False
            known = not xid.isdecimal() or len(xid) > 20 or self._cache.snapshot.sees(int(xid))
            if source == self._context.name and not known:
                return False
        return True

    # --- filling -------------------------------------------------------------------------------------------------

    async def _fill(self, asking: Asking, viewer: Viewer | None) -> Filled:
        """Run the handler as `viewer`, with nothing else of the request that could show in a shared answer."""
        call = Call(asking.call.id, asking.call.address)
        call.prefix, call.viewer = asking.call.prefix, viewer
        query = asking.query.encode()
        own: dict[str, object] = {"method": "GET", "query_string": query, "headers": [], "state": {}, "call": call}
        made = await self._requests.make(cast("HTTPScope", {**asking.scope, **own}))
        if made.status != HTTPStatus.OK:
            failed = made.status >= HTTPStatus.INTERNAL_SERVER_ERROR
            return Filled(made, 0, frozenset(), keep=False, failed=failed)
        response = _stored(made, PUBLIC if viewer is None else PRIVATE)
        tags = frozenset(call.depends.tags)
        keep = bool(tags)  # without tags it would be kept whatever changed: its handler has forgotten to name them
        if viewer is not None:
            tags |= _singled_out(viewer.id)
        return Filled(response, response.size, tags, call.depends.watched, keep=keep)

    # --- answering -----------------------------------------------------------------------------------------------

    async def _send_stored(self, asking: Asking, outcome: Outcome, response: StoredResponse, send: Send) -> int:
        # What was made just now goes out plain: whoever waited for it need not wait for its compression too.
        coding: Coding = "identity"
        if outcome.entry is not None and outcome.result not in ("miss", "bypass"):
            coding = response.coding_for(asking.headers.get(b"accept-encoding", b""))
        extra = [_status(outcome, self._cache.now)]
        if_none_match = asking.headers.get(b"if-none-match")
        if if_none_match is not None and response.matches(if_none_match):
            return await _send(asking, send, 304, response.head_unchanged(coding, extra), b"")
        if outcome.entry is not None and coding != "identity":
            prepare(self._cache, outcome.entry, coding)
        return await _send(asking, send, 200, response.head(coding, extra), response.body(coding))

    def _teach(self, asking: Asking, outcome: Outcome, rests_on: Sequence[Entry]) -> None:
        """Let the front answer such a request from now on.

        This is done at a hit, which shows that it is asked again: most misses are the only ones to ask for what they ask.
        """
        entry, call = outcome.entry, asking.call
        if self.front is None or entry is None or call.forwarded or call.internal:
            return
        asked = asking.from_outside()
        response = cast("StoredResponse", entry.value)
        now = self._cache.now
        until = float("inf") if call.viewer is None else now + call.viewer.expires - time.time()
        alias = Alias(
            self._cache,
            entry,
            response.coding_for(asked.accept_encoding),
            until=until,
            who=None if call.viewer is None else call.viewer.id.int,
            counted=self._metrics.series("GET", asking.route.template, 200),
            counted_unchanged=self._metrics.series("GET", asking.route.template, 304),
        )
        self.front.learn(asked, alias, rests_on)


def _singled_out(person: UUID) -> frozenset[str]:
    """Name what singles a person out: whatever is kept for them alone is out of date when that changes."""
    return frozenset({f"blocks:{person}", f"mutes:{person}"})


def _status(outcome: Outcome, now: float = 0.0) -> tuple[bytes, bytes]:
    """Say what the cache did (RFC 9211)."""
    detail = _DETAILS.get(outcome.result)
    if detail is not None and outcome.entry is not None:
        return b"cache-status", b"townsquare; hit; ttl=%d; detail=%b" % (int(outcome.entry.fresh_until - now), detail)
    if outcome.result == "bypass":
        return b"cache-status", b"townsquare; fwd=request"
    return b"cache-status", b"townsquare; fwd=miss; stored" if outcome.entry is not None else b"townsquare; fwd=miss"


def _stored(made: MadeAnswer, control: tuple[bytes, bytes]) -> StoredResponse:
    """Make what is kept of an answer: what is the same for everybody who gets it."""
    headers, tag = [control], None
    for header in made.headers:
        if header[0] == b"etag":
            tag = header[1]
        elif header[0] not in _MADE_ANEW:
            headers.append(header)
    return StoredResponse(headers, tag or etag_of(made.body).encode(), made.body)


async def _send(asking: Asking, send: Send, status: int, headers: Headers, body: bytes) -> int:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    shown = b"" if asking.scope["method"] == "HEAD" else body
    await send({"type": "http.response.body", "body": shown, "more_body": False})
    return status
