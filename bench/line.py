"""One kept connection over which one request goes at a time, and how long each took: where single requests are compared.

wrk says what many took together; this says what one took, what it was answered and what the cache did. It costs about 10 µs
a request, the same for whoever is asked.
"""

import json
import re
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType

MERGE_PATCH = "application/merge-patch+json"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CACHE = re.compile(rb"\r\ncache-status: *([^\r]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back, and after how many nanoseconds."""

    nanoseconds: int
    status: int
    head: bytes
    body: bytes

    @property
    def cache(self) -> str:
        """What the cache did: the header `Cache-Status`, or nothing."""
        found = _CACHE.search(self.head)
        return "" if found is None else found[1].decode()

    @property
    def hit(self) -> bool:
        """Whether it came from the cache."""
        return self.cache.startswith("townsquare; hit")


class Line:
    """A connection to a port of this machine, for as long as the block runs."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> "Line":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._socket.close()

    def get(self, path: str, token: str | None = None) -> Reply:
        """Read."""
        return self.send(request("GET", path, token))

    def send(self, message: bytes) -> Reply:
        """Send a request that was made before, and wait for its answer."""
        began = time.perf_counter_ns()
        self._socket.sendall(message)
        head, body = self._receive()
        return Reply(time.perf_counter_ns() - began, int(head[9:12]), head, body)

    def _receive(self) -> tuple[bytes, bytes]:
        received = self._more()
        while (end := received.find(b"\r\n\r\n")) < 0:
            received += self._more()
        found = _LENGTH.search(received, 0, end)
        whole = end + 4 + (0 if found is None else int(found[1]))
        while len(received) < whole:
            received += self._more()
        return received[:end], received[end + 4 :]

    def _more(self) -> bytes:
        if not (part := self._socket.recv(1 << 18)):
            raise ConnectionError("the server has closed the connection")
        return part


def request(method: str, path: str, token: str | None = None, body: Mapping[str, object] | None = None) -> bytes:
    """Return a request's bytes; a body goes as JSON, as a merge patch where the method is PATCH."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1"]
    if token is not None:
        lines.append(f"Authorization: Bearer {token}")
    content = b"" if body is None else json.dumps(body).encode()
    if body is not None:
        kind = MERGE_PATCH if method == "PATCH" else "application/json"
        lines += [f"Content-Type: {kind}", f"Content-Length: {len(content)}"]
    return "\r\n".join([*lines, "", ""]).encode() + content
