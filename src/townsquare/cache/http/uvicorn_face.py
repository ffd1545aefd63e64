"""Answers from the front inside uvicorn's HTTP protocol: no task, no scope, no framework for what is known.

Three ways, the shortest first: the very bytes of a request are remembered; a whole plain request is read at a glance; or it
comes in parts, or with others, and the parser's callbacks find it. Everything that is not plainly a GET without a body, on a
connection with nothing under way, goes the ordinary way, through the code that was there before.

Leans on uvicorn's internals (`HttpToolsProtocol`), so uvicorn is pinned to the digit, and the conformance tests hold this
to what the ASGI face does.
"""

import asyncio
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from townsquare.cache.http.bounded_heads import BoundedHeads
from townsquare.cache.http.front import Alias, Front
from townsquare.cache.http.glance import ACCEPT_ENCODING, AUTHORIZATION, COOKIE, FORWARDED, IF_NONE_MATCH, NOT_PLAIN, Glance


class CachingProtocol(BoundedHeads):
    """One connection. `front` and `glance` are set by `protocol_for`, for all of them."""

    # Slots are found faster than what stands in an instance's dictionary or on its class: 0.3 µs for one request.
    __slots__ = ("_active", "_address", "_answered", "_from_proxy", "_front", "_glance", "_seen")

    front: Front
    glance: Glance

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._front, self._glance = self.front, self.glance
        self._address = ""
        self._from_proxy = False
        self._answered = False
        self._active = False
        self._seen = [b""] * 6

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Note who is there."""
        super().connection_made(transport)
        self._address = self.client[0] if self.client else ""
        self._from_proxy = self._address in self._front.proxies

    def data_received(self, data: bytes) -> None:
        """Answer a whole request that is known, or parse."""
        if self._between and self._idle():
            known = self._front.recall(data)
            if (known is not None and self._answer(*known)) or self._answer_at_a_glance(data):
                return
        super().data_received(data)

    def on_message_begin(self) -> None:
        """Leave the scope for those who need one."""
        self._begin_head()
        self._answered = False
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self._seen = [b""] * 6

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, and note those that decide."""
        super().on_header(name, value)
        place = self._glance.spotted.get(self.headers[-1][0])
        if place is not None:
            # A second header of one kind is not ours to judge.
            self._seen[NOT_PLAIN if self._seen[place] else place] = value or b" "

    def on_headers_complete(self) -> None:
        """Answer from the front, or begin as uvicorn does."""
        self._end_head()
        if not self._seen[NOT_PLAIN] and self._idle() and self._is_plain_get() and self._answer_parsed():
            self._answered = True
            return
        self._unset_keepalive_if_required()  # an answer to the request before it in the same segment may have set it
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        HttpToolsProtocol.on_message_begin(self)
        self.url, self.headers, self.expect_100_continue = url, headers, expects
        self.scope["headers"] = headers
        HttpToolsProtocol.on_headers_complete(self)

    def on_body(self, body: bytes) -> None:
        """Take a part of a body; what the front answers has none."""
        if not self._answered:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The next byte begins another request."""
        if self._answered:
            self._between = True
        else:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Begin the next request that waits; while any does, read no more: what is sent ahead must not fill the memory."""
        super().on_response_complete()
        if self.pipeline:
            self.flow.pause_reading()

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection. Answers from here do not set the timer anew, so after some it gets another round."""
        self.timeout_keep_alive_task = None
        if self._active and not self.transport.is_closing():
            self._wait_for_more()
        else:
            super().timeout_keep_alive_handler()

    def _idle(self) -> bool:
        return (
            (self.cycle is None or self.cycle.response_complete)  # pyright: ignore[reportUnnecessaryComparison]
            and not self.pipeline
            and not self.flow.write_paused
            and not self.transport.is_closing()
        )

    def _is_plain_get(self) -> bool:
        parser: Any = self.parser  # None only once the connection is lost
        return parser.get_method() == b"GET" and parser.get_http_version() == "1.1" and parser.should_keep_alive()

    def _answer_at_a_glance(self, data: bytes) -> bool:
        read = self._glance.read(data)
        if read is None:
            return False
        asked, if_none_match, forwarded = read
        alias = self._front.find(asked)
        if alias is None:
            return False
        unchanged = if_none_match != b"" and alias.response.matches(if_none_match)
        named = self._front.named(forwarded) if forwarded else ""
        if not self._answer(alias, unchanged, named):
            return False
        self._front.remember(data, alias, unchanged=unchanged, named=named)
        return True

    def _answer_parsed(self) -> bool:
        seen = self._seen
        alias = self._front.find((self.url, seen[AUTHORIZATION], seen[COOKIE], seen[ACCEPT_ENCODING]))
        if alias is None:
            return False
        unchanged = seen[IF_NONE_MATCH] != b"" and alias.response.matches(seen[IF_NONE_MATCH])
        return self._answer(alias, unchanged, self._front.named(seen[FORWARDED]) if seen[FORWARDED] else "")

    def _answer(self, alias: Alias, unchanged: bool, named: str) -> bool:
        address = named if named and self._from_proxy else self._address
        # uvicorn makes this list anew each second, with the date.
        reply = self._front.answer(alias, self.server_state.default_headers, address, unchanged=unchanged)
        if reply is None:
            return False
        self.transport.write(reply)
        self.server_state.total_requests += 1
        self._active = True
        if self.timeout_keep_alive_task is None:
            self._wait_for_more()
        return True

    def _wait_for_more(self) -> None:
        self._active = False
        self._await_no_head()
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)


def protocol_for(front: Front, *, not_plain: frozenset[bytes] = frozenset()) -> type[CachingProtocol]:
    """Return the class for `uvicorn.Config(http=...)`; a header in `not_plain` makes a request go the ordinary way."""
    return type("FrontProtocol", (CachingProtocol,), {"front": front, "glance": Glance(not_plain)})
