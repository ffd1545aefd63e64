"""uvicorn's HTTP protocol with two bounds on what somebody may send before they have asked for anything: bytes and seconds.

It has neither by itself: a head of any length is gathered in memory, and a connection on which no head ever ends stays open
for as long as its client likes. Whoever opens many of them, and says a letter a minute, takes the server away from the rest.
"""

import asyncio
from typing import Any, Final

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

MAX_HEAD_BYTES: Final = 65_536
HEAD_SECONDS: Final = 15.0
"""For a head to be whole, from its first byte on, and for the first one from the connection on."""
_TITLE: Final = b"Request Header Fields Too Large"
_DOCUMENT: Final = b'{"type":"about:blank","title":"%b","status":431}' % _TITLE
TOO_LARGE: Final = (
    b"HTTP/1.1 431 %b\r\ncontent-type: application/problem+json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
    % (_TITLE, len(_DOCUMENT), _DOCUMENT)
)


class HeadTooLarge(Exception):
    """Ends the parsing; nobody else sees it."""


class BoundedHeads(HttpToolsProtocol):
    """One connection. `head_seconds` is a class's own, for tests."""

    __slots__ = ("_between", "_head_due", "_idle_bytes", "_in_head")

    head_seconds = HEAD_SECONDS

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._between = True
        self._in_head = False
        self._idle_bytes = 0
        """What has come since something was last made of it: a part of a head, of trailers, or empty lines."""
        self._head_due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Wait for the first head."""
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._await_no_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse, and see how far that leads."""
        self._idle_bytes += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._idle_bytes > MAX_HEAD_BYTES:
            self._refuse()
        elif not self._waits_for_head():
            self._await_no_head()
        elif self._head_due is None:
            self._await_head()

    def on_message_begin(self) -> None:
        """Note that a head begins."""
        self._begin_head()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Go on with a head that is not too large."""
        self._end_head()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of a body, of which the app decides how large it may be."""
        self._idle_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The next byte begins another request."""
        self._idle_bytes = 0
        self._between = True
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what cannot be parsed, or was not to be parsed any further."""
        if self._idle_bytes > MAX_HEAD_BYTES:
            self._refuse()
        else:
            super().send_400_response(msg)

    def _begin_head(self) -> None:
        self._between = False
        self._in_head = True

    def _end_head(self) -> None:
        self._in_head = False
        if self._idle_bytes > MAX_HEAD_BYTES:  # what came with it may be its body: counted exactly only now
            size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
            if size > MAX_HEAD_BYTES:
                raise HeadTooLarge
        self._idle_bytes = 0

    def _refuse(self) -> None:
        if not self._is_busy():  # else it would stand in the middle of an answer
            self.transport.write(TOO_LARGE)
        self.transport.close()

    def _is_busy(self) -> bool:
        """Whether an answer is under way, or one is to be."""
        cycle: Any = self.cycle  # None before the first
        return bool(self.pipeline) or (cycle is not None and not cycle.response_complete)

    def _waits_for_head(self) -> bool:
        """True in a head, and where nothing has come (but empty lines, say) and no other timer would end the connection."""
        return self._in_head or (self._between and self.timeout_keep_alive_task is None and not self._is_busy())

    def _await_head(self) -> None:
        self._await_no_head()
        self._head_due = self.loop.call_later(self.head_seconds, self._head_is_late)

    def _await_no_head(self) -> None:
        if self._head_due is not None:
            self._head_due.cancel()
            self._head_due = None

    def _head_is_late(self) -> None:
        self._head_due = None
        if self.transport.get_protocol() is not self:
            return  # it has become another one's, as a WebSocket does
        if self._is_busy():  # while answers are under way, it may be we who do not read
            self._await_head()
        elif self._waits_for_head():
            self.transport.close()
