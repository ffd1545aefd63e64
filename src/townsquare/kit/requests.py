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
from townsquare.kit.problems import Problem
from townsquare.kit.request_log import RequestLog
from townsquare.kit.streamed_routes import IsStreamed
from townsquare.kit.writes import Write

_JSON = b"application/json"
_ACCEPTED = frozenset((b"application/json", b"application/merge-patch+json", b"multipart/form-data"))
_REVALIDATE = (b"cache-control", b"private, no-cache")
CLIENT_GONE = 499
"""What is counted where nobody waited for the answer; never sent."""
UNMATCHED = "(unmatched)"


class RequestLayer:
    """ASGI app around a service's framework app."""

    def __init__(self, app: HTTPApp, context: Context, is_streamed: IsStreamed) -> None:
        self._app = app
        self._is_streamed = is_streamed
        self._context = context
        self._metrics = context.request_metrics
        self._log = RequestLog(context)

    async def __call__(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        started = time.perf_counter()
        self._metrics.in_flight += 1
        method = str(scope["method"])
        if method == "HEAD":  # is answered as GET, of which the server must not know: it counts the bytes it sends
            scope = cast("HTTPScope", {**scope})
            call_of(scope).head = True
        answer = _ReadAnswer(send, scope) if method in SAFE_METHODS else MadeAnswer()
        try:
            if isinstance(answer, _ReadAnswer):
                await self._read(scope, receive, answer)
            else:
                await self._change(scope, receive, send, answer)
        finally:
            self._metrics.in_flight -= 1
            self._observe(scope, method, answer.status, time.perf_counter() - started)

    async def make(self, scope: HTTPScope) -> "MadeAnswer":
        """Return the answer to a GET that is nobody's request but is made to be kept: not counted, tagged or sent."""
        answer = MadeAnswer()
        try:
            await self._app(scope, _no_body, answer.collect)
        except Exception as error:
            self._refuse(error, scope, answer)
        return answer

    def _observe(self, scope: HTTPScope, method: str, status: int, seconds: float) -> None:
        route = str(cast("dict[str, object]", scope).get("path_template") or UNMATCHED)
        self._log.ended(method, route, status, seconds, call_of(scope).id)

    async def _read(self, scope: HTTPScope, receive: Receive, answer: "_ReadAnswer") -> None:
        try:
            if answer.consistency_token is not None:
                await self._context.wait_for_token(answer.consistency_token.decode("latin-1"))
            await self._app(scope, receive, answer.take)
        except Exception as error:
            if answer.started:
                raise
            self._refuse(error, scope, answer)
            await answer.send_whole()

    def _refuse(self, error: Exception, scope: HTTPScope, answer: "MadeAnswer") -> None:
        """Make the answer say what the error means to the caller."""
        call = call_of(scope)
        problem = to_problem(error)
        if problem.status == HTTPStatus.INTERNAL_SERVER_ERROR:
            self._log.unhandled(error, str(scope["method"]), call.id)
        answer.problem(problem, call.prefix + str(scope["path"]), call.id)

    async def _change(self, scope: HTTPScope, receive: Receive, send: Send, answer: "MadeAnswer") -> None:
        call = call_of(scope)
        call.write = write = Write(self._context.database, self._context.outbox, self._context.name)
        try:
            await self._in_transaction(scope, _until_gone(receive), answer, write, call)
        except _ClientGone:
            return
        except Exception as error:
            self._refuse(error, scope, answer)
        finally:
            await write.rollback()
        if write.token is not None:
            answer.headers.append((b"consistency-token", write.token.encode()))
        answer.headers = [_located(header, call.prefix) for header in answer.headers]
        await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
        await send({"type": "http.response.body", "body": answer.body, "more_body": False})

    async def _in_transaction(
        self, scope: HTTPScope, receive: Receive, answer: "MadeAnswer", write: Write, call: Call
    ) -> None:
        headers = dict(scope["headers"])
        streamed = self._is_streamed(scope["method"], scope["path"])
        if not streamed:
            _require_known_type(headers)
            _require_length(headers, self._context.settings.max_body)
        key = headers.get(b"idempotency-key") if scope["method"] == "POST" and not streamed else None
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
            await idempotent.keep(write, Answer(answer.status, answer.headers, answer.body))
        await write.commit()


class MadeAnswer:
    """An answer on its way out: status, headers, body."""

    __slots__ = ("body", "headers", "status")

    def __init__(self) -> None:
        self.status: int = CLIENT_GONE
        self.headers: Headers = []
        self.body = b""

    def start(self, message: Message) -> None:
        start = cast("dict[str, Any]", message)
        self.status, self.headers = start["status"], start["headers"]

    async def collect(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.start(message)
        elif message["type"] == "http.response.body":
            self.body += message["body"]

    def kept(self, kept: Answer) -> None:
        self.status, self.headers, self.body = kept.status, list(kept.headers), kept.body
        self.headers.append((b"idempotency-replayed", b"true"))

    def problem(self, problem: Problem, path: str, identifier: str) -> None:
        headers, body = problem.encoded(path, identifier)
        self.status, self.headers, self.body = problem.status, headers, body


class _ReadAnswer(MadeAnswer):
    """The answer to a read: tagged when it is whole, passed on in pieces when it is not."""

    __slots__ = ("_head", "_if_none_match", "_send", "consistency_token", "started")

    def __init__(self, send: Send, scope: HTTPScope) -> None:
        super().__init__()
        headers = dict(scope["headers"])
        self._send = send
        self._if_none_match = headers.get(b"if-none-match")
        self._head = scope["method"] == "HEAD"
        if self._head:
            scope["method"] = "GET"  # pyright: ignore[reportArgumentType]
        self.consistency_token = headers.get(b"consistency-token")
        self.started = False

    async def take(self, message: Message) -> None:
        """The `send` of whoever makes the answer."""
        if message["type"] == "http.response.start":
            self.start(message)
        elif message["type"] == "http.response.body" and not self.started:
            await self._begin(message.get("body", b""), more=message.get("more_body", False))
        else:
            await self._send(message)

    async def send_whole(self) -> None:
        await self._begin(self.body, more=False)

    async def _begin(self, body: bytes, *, more: bool) -> None:
        self.started = True
        if not more and self.status == HTTPStatus.OK:
            self._tag(body)
        if self._head or self.status == HTTPStatus.NOT_MODIFIED:
            body = b""
        await self._send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await self._send({"type": "http.response.body", "body": body, "more_body": more})

    def _tag(self, body: bytes) -> None:
        """Give a complete JSON answer its strong ETag, and make it a 304 when the caller has it."""
        headers = dict(self.headers)
        if b"cache-control" not in headers:
            self.headers.append(_REVALIDATE)
        if b"etag" in headers or not headers.get(b"content-type", b"").startswith(_JSON):
            return
        tag = etag_of(body)
        self.headers.append((b"etag", tag.encode()))
        if self._if_none_match is not None and matches(self._if_none_match.decode("latin-1"), tag, weak=True):
            self.status = HTTPStatus.NOT_MODIFIED
            self.headers = [(n, v) for n, v in self.headers if n not in (b"content-length", b"content-type")]


def _located(header: tuple[bytes, bytes], prefix: str) -> tuple[bytes, bytes]:
    """A service speaks of its own paths; the caller must be told where they stand for him."""
    name, value = header
    return (name, prefix.encode() + value) if name == b"location" and value.startswith(b"/") else header


def _require_known_type(headers: dict[bytes, bytes]) -> None:
    if headers.get(b"content-length") == b"0":
        return  # some clients name a type also where there is no body
    content_type = headers.get(b"content-type")
    if content_type is not None and content_type.partition(b";")[0].strip().lower() not in _ACCEPTED:
        raise Problem("unsupported_media_type", "Send JSON (`Content-Type: application/json`).")


def _require_length(headers: dict[bytes, bytes], most: int) -> None:
    """Refuse a body by what it says of itself; one that says nothing is counted while it is read."""
    length = headers.get(b"content-length", b"0")
    if not length.isdigit() or int(length) > most:
        raise _too_large(most)


def _too_large(most: int) -> Problem:
    return Problem("too_large", f"A body may have {most} bytes.")


def _nobody(headers: dict[bytes, bytes]) -> str:
    """Two who are not signed in may choose one key; cookies tell them apart where the body does not, as at `/refresh`."""
    return "anonymous " + hashlib.sha256(headers.get(b"cookie", b"")).hexdigest()


async def _whole_body(receive: Receive, most: int) -> bytes:
    body = bytearray()
    while True:
        message = cast("dict[str, Any]", await receive())
        body += message.get("body", b"")
        if len(body) > most:
            raise _too_large(most)
        if not message.get("more_body", False):
            return bytes(body)


class _ClientGone(Exception):
    """The client left before its request was whole: nothing is done, and nobody is there to be told."""


def _until_gone(receive: Receive) -> Receive:
    """Read no further than the client was there: a part of a body must not pass for the whole."""

    async def heard() -> Any:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _ClientGone
        return message

    return heard


async def _no_body() -> Any:
    return {"type": "http.request", "body": b"", "more_body": False}


def _replay(body: bytes) -> Receive:
    async def receive() -> Any:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive
