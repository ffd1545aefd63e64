"""Answers from the front inside uvicorn's HTTP protocol: no task, no scope, no framework for what is known.

Leans on uvicorn's internals (`HttpToolsProtocol`), so uvicorn is pinned to the digit, and the conformance tests hold this
to what the ASGI face does. Everything that is not plainly a GET without a body, on a connection with nothing under way,
goes the ordinary way, through the code that was there before.
"""

import asyncio
from typing import Any, Final

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from townsquare.cache.http.front import Alias, Front

_AUTHORIZATION, _COOKIE, _CODING, _IF_NONE_MATCH, _NOT_PLAIN = range(5)
_SPOTTED: Final[dict[bytes, int]] = {
    b"authorization": _AUTHORIZATION,
    b"cookie": _COOKIE,
    b"accept-encoding": _CODING,
    b"if-none-match": _IF_NONE_MATCH,
    b"content-length": _NOT_PLAIN,
    b"transfer-encoding": _NOT_PLAIN,
    b"expect": _NOT_PLAIN,
    b"upgrade": _NOT_PLAIN,
    b"consistency-token": _NOT_PLAIN,
    b"x-forwarded-for": _NOT_PLAIN,
}


class CachingProtocol(HttpToolsProtocol):
    """One connection. `front` and what else makes a request go the ordinary way are set by `protocol_for`."""

    front: Front
    spotted: dict[bytes, int]

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._address = ""
        self._between = True
        self._hit: tuple[Alias, bool] | None = None
        self._messages = 0
        self._active = False
        self._seen: list[bytes] = [b"", b"", b"", b"", b""]

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Note who is there."""
        super().connection_made(transport)
        self._address = self.client[0] if self.client else ""

    def data_received(self, data: bytes) -> None:
        """Answer a whole request whose very bytes are known, or parse."""
        begun_between, self._messages, self._hit = self._between, 0, None
        if begun_between and self._idle() and (known := self.front.recall(data)) is not None and self._answer(*known):
            return
        super().data_received(data)
        if begun_between and self._between and self._messages == 1 and self._hit is not None:
            self.front.remember(data, self._hit[0], unchanged=self._hit[1])

    def on_message_begin(self) -> None:
        """Leave the scope for those who need one."""
        self._between = False
        self._hit = None
        self._messages += 1
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self._seen = [b"", b"", b"", b"", b""]

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, and note those that decide."""
        name = name.lower()
        self.headers.append((name, value))
        place = self.spotted.get(name)
        if place is not None:
            # A second header of one kind is not ours to judge.
            self._seen[_NOT_PLAIN if self._seen[place] else place] = value or b" "
            if name == b"expect" and value.lower() == b"100-continue":
                self.expect_100_continue = True

    def on_headers_complete(self) -> None:
        """Answer from the front, or begin as uvicorn does."""
        seen = self._seen
        if not seen[_NOT_PLAIN] and self._idle() and self._is_plain_get():
            alias = self.front.find((self.url, seen[_AUTHORIZATION], seen[_COOKIE], seen[_CODING]))  # type: ignore[arg-type]
            if alias is not None:
                unchanged = bool(seen[_IF_NONE_MATCH]) and alias.response.matches(seen[_IF_NONE_MATCH])
                if self._answer(alias, unchanged):
                    self._hit = alias, unchanged
                    return
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.headers, self.expect_100_continue = url, headers, expects
        self.scope["headers"] = headers
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of a body; what the front answers has none."""
        if self._hit is None:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The next byte begins another request."""
        self._between = True
        if self._hit is None:
            super().on_message_complete()

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection. Hits do not set the timer anew, so one that had any gets another round."""
        self.timeout_keep_alive_task = None
        if self._active:
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

    def _answer(self, alias: Alias, unchanged: bool) -> bool:
        # uvicorn makes this list anew each second, with the date.
        reply = self.front.answer(alias, self.server_state.default_headers, self._address, unchanged=unchanged)
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
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)


def protocol_for(front: Front, *, not_plain: frozenset[bytes] = frozenset()) -> type[CachingProtocol]:
    """Return the class for `uvicorn.Config(http=...)`; a header in `not_plain` makes a request go the ordinary way."""
    spotted = _SPOTTED | dict.fromkeys(not_plain, _NOT_PLAIN)
    return type("FrontProtocol", (CachingProtocol,), {"front": front, "spotted": spotted})
