"""A request read at a glance is what the parser makes of it, or it is left to the parser."""

from typing import Any

import httptools
from hypothesis import example, given, settings
from hypothesis import strategies as st

from townsquare.cache.http.glance import Glance

PLAIN = ["Authorization", "cookie", "ACCEPT-ENCODING", "If-None-Match", "X-Forwarded-For", "Host", "X", "X-Cookie", "Accept"]
NAMES = [
    "Content-Length", "Transfer-Encoding", "Expect", "Upgrade", "Upgrade-Insecure-Requests", "Consistency-Token",
    "Connection", "Proxy-Connection", "Cookie ", "Own", "", "Set(Cookie)",
]  # fmt: skip
VALUES = [
    "",
    " ",
    "a",
    "gzip, br",
    "keep-alive",
    "Keep-Alive",
    "close",
    "upgrade",
    "chunked",
    "0",
    "4",
    "a: b",
    "\t b \t",
    "ü",
]
ENDS = [*["\r\n"] * 40, "\n", "\r", "\r\n ", "\r\n\t", "\r\n\r\n", "\x00\r\n"]
LINES = st.builds(
    lambda name, colon, value, end: name + colon + value + end,
    st.sampled_from([*PLAIN * 6, *NAMES]), st.sampled_from([*[":", ": ", ":\t"] * 7, "", " :"]), st.sampled_from(VALUES),
    st.sampled_from(ENDS),
)  # fmt: skip
TARGETS = ["/", "/a?b=c", "http://h/", "*", "/#x", "/%0d%0a"]
"""What the parser takes for a target."""
FIRST = st.builds(
    lambda method, target, version: f"{method} {target} HTTP/{version}\r\n",
    st.sampled_from([*["GET"] * 20, "HEAD", "POST", "get", "GETS", "CONNECT"]),
    st.sampled_from(
        [
            "/",
            "/a?b=c",
            "/a b",
            "/ HTTP/1.1\r\nX:",
            "/\r\nX:y",
            "/\nX:y",
            "/\rX:y",
            "/\tX",
            "/\r\n\r\nGET",
            "http://h/",
            "*",
            "/#x",
            "",
        ]
    ),
    st.sampled_from([*["1.1"] * 15, "1.0", "1.9", "2.0"]),
)
REQUESTS = st.builds(
    lambda first, lines, rest: (first + "".join(lines) + "\r\n" + rest).encode("latin-1"),
    FIRST, st.lists(LINES, max_size=6), st.sampled_from([*[""] * 12, "x", "\r\n", "GET / HTTP/1.1\r\n\r\n"]),
)  # fmt: skip


class Parsed:
    """What the parser calls for one piece of data."""

    def __init__(self, data: bytes) -> None:
        self.begun = self.ended = 0
        self.url, self.body = b"", b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.parser: Any = httptools.HttpRequestParser(self)
        self.kept = False
        try:
            self.parser.feed_data(data)
            self.whole = self.begun == self.ended == 1
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.whole = False

    def on_message_begin(self) -> None:
        self.begun += 1

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self.kept = self.parser.should_keep_alive() and self.parser.get_http_version() == "1.1"

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.ended += 1

    def all(self, name: bytes) -> list[bytes]:
        return [value for given, value in self.headers if given == name]


@settings(max_examples=700, deadline=None)
@given(REQUESTS)
@example(b"GET / HTTP/1.1\r\nCookie: a=b\r\nAccept-Encoding: gzip\r\n\r\n")
@example(b"GET / HTTP/1.1\r\n\r\n")
@example(b"GET / HTTP/1.0\r\nConnection:keep-alive\r\n\r\nGET / HTTP/1.1\r\n\r\n")
@example(b"GET / HTTP/1.1\r\nUpgrade-Insecure-Requests: 1\r\nConnection: keep-alive\r\n\r\n")
def test_what_is_read_at_a_glance_is_what_the_parser_finds(data: bytes) -> None:
    glance, parsed = Glance([b"own"]), Parsed(data)
    read = glance.read(data)
    if read is None:
        return
    (target, *who), if_none_match, forwarded = read
    if target.decode("latin-1") not in TARGETS:
        return
    assert parsed.whole
    assert parsed.kept
    assert parsed.parser.get_method() == b"GET"
    assert (parsed.url, parsed.body) == (target, b"")
    names = (b"authorization", b"cookie", b"accept-encoding", b"if-none-match", b"x-forwarded-for")
    for name, value in zip(names, (*who, if_none_match, forwarded), strict=True):
        assert [each.strip(b" \t") for each in parsed.all(name)] == ([value.strip(b" \t")] if value else [])
    for name in (b"content-length", b"transfer-encoding", b"expect", b"upgrade", b"consistency-token", b"own"):
        assert parsed.all(name) == []
    assert glance.read(b"GET / HTTP/1.1\r\n\r\n") is not None  # it is back where a request begins


def test_plain_requests_are_read() -> None:
    glance = Glance([b"own"])
    data = b"GET /a?b HTTP/1.1\r\nCOOKIE: c=D\r\nAuthorization:Bearer X\r\nIf-None-Match:\r\nConnection: Keep-Alive\r\n\r\n"
    assert glance.read(data) == ((b"/a?b", b"Bearer X", b"c=D", b""), b" ", b"")


def test_one_bad_request_spoils_no_other() -> None:
    glance = Glance()
    for _ in range(3):
        assert glance.read(b"GET / HTTP/1.1\r\nno header\r\n\r\n") is None
        assert glance.read(b"GET / HTTP/1.1\r\nX: y\r\n\r\n") is not None
