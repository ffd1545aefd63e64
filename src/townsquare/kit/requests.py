"""The layer around a service's routes: one transaction for a write, a strong ETag for a read, a count for both.

It stands outside the framework, so that an answer can still be changed when it is complete: an unsafe request is
committed after its answer was made and before the first byte is sent, and a read that has not changed becomes a 304.
"""

import hashlib
import time
from http import HTTPStatus
from typing import Any, cast

from litestar.types import HTTPScope, Message, Receive, Send

from townsquare.kit.asgi import Headers, HTTPApp
from townsquare.kit.calls import Call, call_of
from townsquare.kit.conditional import etag_of, matches
from townsquare.kit.context import Context
from townsquare.kit.errors import to_problem
from townsquare.kit.idempotency import Answer, IdempotentCall
from townsquare.kit.identity import SAFE_METHODS
from townsquare.kit.logs import get_logger, log_request
from townsquare.kit.methods import allow, methods_at
from townsquare.kit.problems import Problem
from townsquare.kit.writes import Write

_JSON = b"application/json"
_ACCEPTED = (b"application/json", b"application/merge-patch+json", b"multipart/form-data")
_REVALIDATE = (b"cache-control", b"private, no-cache")
SLOW_SECONDS = 1.0
LONG_POLLS = frozenset({"/events"})
CLIENT_GONE = 499
"""What is counted where nobody waited for the answer; never sent."""
UNMATCHED = "(unmatched)"


class RequestLayer:
    """ASGI app around a service's framework app."""

    def __init__(self, app: HTTPApp, context: Context) -> None:
        self._app = app
        self._context = context
        self._metrics = context.request_metrics
        self._log_all = context.settings.log_requests == "all"
        self._log = get_logger("request")

    async def __call__(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        started = time.perf_counter()
        self._metrics.in_flight += 1
        answer = _Answer()
        method = str(scope["method"])
        try:
            if method in SAFE_METHODS:
                await self._read(scope, receive, send, answer)
            else:
                await self._change(scope, receive, send, answer)
        finally:
            self._metrics.in_flight -= 1
            self._observe(scope, method, answer.status, time.perf_counter() - started)

    def _observe(self, scope: HTTPScope, method: str, status: int, seconds: float) -> None:
        route = str(cast("dict[str, object]", scope).get("path_template") or UNMATCHED)
        self._metrics.observe(method, route, status, seconds)
        slow = seconds > SLOW_SECONDS and route not in LONG_POLLS
        if self._log_all or slow or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            log_request(self._log, method, route, status, seconds, call_of(scope).id, self._context.name)

    async def _read(self, scope: HTTPScope, receive: Receive, send: Send, answer: "_Answer") -> None:
        headers = dict(scope["headers"])
        if b"consistency-token" in headers:
            await self._context.wait_for_token(headers[b"consistency-token"].decode("latin-1"))
        head = scope["method"] == "HEAD"
        if head:
            scope["method"] = "GET"  # pyright: ignore[reportArgumentType]
        if_none_match = headers.get(b"if-none-match")

        async def tagged(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer.start(message)
                return
            if message["type"] != "http.response.body" or answer.started:
                await send(message)
                return
            body = message.get("body", b"")
            if not message.get("more_body", False):
                _tag(answer, body, if_none_match)
            if scope["method"] == "OPTIONS" and answer.status == HTTPStatus.NO_CONTENT:
                answer.headers = [(b"allow", allow(methods_at(scope)).encode())]
            bodyless = head or answer.status == HTTPStatus.NOT_MODIFIED
            await answer.flush(send)
            await send(cast("Message", {**message, "body": b""} if bodyless else message))

        await self._app(scope, receive, tagged)

    async def _change(self, scope: HTTPScope, receive: Receive, send: Send, answer: "_Answer") -> None:
        call = call_of(scope)
        call.write = write = Write(self._context.database, self._context.outbox, self._context.name)
        try:
            await self._in_transaction(scope, receive, answer, write, call)
        except Exception as error:
            problem = to_problem(error)
            if problem.status == HTTPStatus.INTERNAL_SERVER_ERROR:
                self._log.error("unhandled error", exc_info=error, request_id=call.id)
            answer.problem(problem, call.prefix + str(scope["path"]), call.id)
        finally:
            await write.rollback()
        if write.token is not None:
            answer.headers.append((b"consistency-token", write.token.encode()))
        answer.headers = [_located(header, call.prefix) for header in answer.headers]
        await answer.flush(send)
        await send({"type": "http.response.body", "body": bytes(answer.body), "more_body": False})

    async def _in_transaction(self, scope: HTTPScope, receive: Receive, answer: "_Answer", write: Write, call: Call) -> None:
        headers = dict(scope["headers"])
        _require_known_type(headers)
        key = headers.get(b"idempotency-key") if scope["method"] == "POST" else None
        idempotent: IdempotentCall | None = None
        if key is not None:
            body = await _whole_body(receive, self._context.settings.max_body)
            receive = _replay(body)
            owner = str(call.viewer.id) if call.viewer else _nobody(headers)
            target = scope["path"] + "?" + scope["query_string"].decode("latin-1")
            idempotent = IdempotentCall(owner, key.decode("latin-1"), str(scope["method"]), target, body)
            if (kept := await idempotent.recall(write)) is not None:
                answer.kept(kept)
                return
        await self._app(scope, receive, answer.collect)
        if answer.status >= HTTPStatus.BAD_REQUEST:
            return
        if idempotent is not None:
            await idempotent.keep(write, Answer(answer.status, answer.headers, bytes(answer.body)))
        await write.commit()


class _Answer:
    """An answer on its way out: status, headers, body."""

    __slots__ = ("body", "headers", "started", "status")

    def __init__(self) -> None:
        self.status = CLIENT_GONE
        self.headers: Headers = []
        self.body = bytearray()
        self.started = False

    def start(self, message: Message) -> None:
        start = cast("dict[str, Any]", message)
        self.status, self.headers = start["status"], list(start["headers"])

    async def collect(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.start(message)
        elif message["type"] == "http.response.body":
            self.body += message["body"]

    def kept(self, kept: Answer) -> None:
        self.status, self.headers, self.body = kept.status, list(kept.headers), bytearray(kept.body)
        self.headers.append((b"idempotency-replayed", b"true"))

    def problem(self, problem: Problem, path: str, identifier: str) -> None:
        headers, body = problem.encoded(path, identifier)
        self.status, self.headers, self.body = problem.status, headers, bytearray(body)

    async def flush(self, send: Send) -> None:
        self.started = True
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})


def _tag(answer: _Answer, body: bytes, if_none_match: bytes | None) -> None:
    """Give a complete JSON answer its strong ETag, and make it a 304 when the caller has it."""
    if answer.status != HTTPStatus.OK:
        return
    names = {name for name, _ in answer.headers}
    if b"cache-control" not in names:
        answer.headers.append(_REVALIDATE)
    if b"etag" in names or not any(n == b"content-type" and v.startswith(_JSON) for n, v in answer.headers):
        return
    tag = etag_of(body)
    answer.headers.append((b"etag", tag.encode()))
    if if_none_match is not None and matches(if_none_match.decode("latin-1"), tag, weak=True):
        answer.status = HTTPStatus.NOT_MODIFIED
        answer.headers = [(n, v) for n, v in answer.headers if n not in (b"content-length", b"content-type")]


def _located(header: tuple[bytes, bytes], prefix: str) -> tuple[bytes, bytes]:
    """A service speaks of its own paths; the caller must be told where they stand for him."""
    name, value = header
    return (name, prefix.encode() + value) if name == b"location" and value.startswith(b"/") else header


def _require_known_type(headers: dict[bytes, bytes]) -> None:
    if headers.get(b"content-length") == b"0":
        return  # some clients name a type also where there is no body
    content_type = headers.get(b"content-type")
    if content_type is not None and not content_type.lower().startswith(_ACCEPTED):
        raise Problem("unsupported_media_type", "Send JSON (`Content-Type: application/json`).")


def _nobody(headers: dict[bytes, bytes]) -> str:
    """Two who are not signed in may choose one key; cookies tell them apart where the body does not, as at `/refresh`."""
    return "anonymous " + hashlib.sha256(headers.get(b"cookie", b"")).hexdigest()


async def _whole_body(receive: Receive, most: int) -> bytes:
    body = bytearray()
    while True:
        message = cast("dict[str, Any]", await receive())
        body += message.get("body", b"")
        if len(body) > most:
            raise Problem("too_large", f"A body may have {most} bytes.")
        if not message.get("more_body", False):
            return bytes(body)


def _replay(body: bytes) -> Receive:
    async def receive() -> Any:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive
