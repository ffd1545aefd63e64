"""Both faces of the front, spoken to in raw bytes over real sockets: HTTP/1.1 as the server alone would speak it."""

import time
from email.utils import parsedate_to_datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from testbed.faces import Face, Served, get, known, path, post, until_read, wait_for

# --- what is answered, and how ---------------------------------------------------------------------------------------


def test_a_known_request_is_answered_without_the_app(served: Served) -> None:
    _, request = known(served)
    answer = served.wire().ask(request)
    assert answer.by_front
    assert served.origin.asked == []


def test_an_answer_from_the_front_is_the_apps_own_but_for_the_moment(served: Served) -> None:
    target = path()
    first = served.wire().ask(get(target))
    second, third, fourth = (served.wire().ask(get(target)) for _ in range(3))
    assert not first.by_front
    assert second.by_front and third.by_front and fourth.by_front
    assert first.comparable == second.comparable == third.comparable == fourth.comparable


def test_a_request_that_differs_where_it_does_not_matter_is_known(served: Served) -> None:
    target, _ = known(served)
    answer = served.wire().ask(get(target, "X-Trace: 1", "Range: bytes=0-9", "Accept: */*", "If-Modified-Since: never"))
    assert answer.by_front
    assert answer.status == 200
    assert len(answer.body) == 300


@pytest.mark.parametrize(
    "header",
    [
        "Authorization: Bearer x",
        "Cookie: a=b",
        "Accept-Encoding: br",
        "Consistency-Token: users.7",
        "Townsquare-Forwarded: x",
    ],
)
def test_a_header_that_decides_makes_it_another_request(served: Served, header: str) -> None:
    target, _ = known(served)
    name, _, value = header.partition(":")
    assert not served.wire().ask(get(target, header)).by_front
    assert not served.wire().ask(get(target, f"{name.upper()}:{value}x")).by_front


def test_names_of_headers_have_no_case(served: Served) -> None:
    target, _ = known(served, "Cookie: a=b", "Accept-Encoding: gzip")
    answer = served.wire().ask(get(target, "cOOkie:a=b", "ACCEPT-ENCODING:\t gzip"))
    assert answer.by_front
    assert answer.header("content-encoding") == "gzip"


def test_a_header_that_decides_twice_goes_to_the_app(served: Served) -> None:
    target, _ = known(served, "Cookie: a=b")
    assert not served.wire().ask(get(target, "Cookie: a=b", "Cookie: a=b")).by_front
    target, _ = known(served)
    assert not served.wire().ask(get(target, 'If-None-Match: "a"', 'If-None-Match: "b"')).by_front


def test_each_coding_is_another_answer_with_another_tag(served: Served) -> None:
    target = path(5_000)
    answers = {}
    for coding in ("identity", "gzip", "br"):
        request = get(target, f"Accept-Encoding: {coding}")
        served.teach(request)
        answers[coding] = served.wire().ask(request)
    assert all(answer.by_front for answer in answers.values())
    assert [answer.header("etag") for answer in answers.values()] == ['"tag"', '"tag-gz"', '"tag-br"']
    assert len({answer.body for answer in answers.values()}) == 3


def test_head_has_the_headers_and_no_body(served: Served) -> None:
    _, request = known(served)
    wire = served.wire()
    head = wire.ask(request.replace(b"GET", b"HEAD"), to="HEAD")
    whole = wire.ask(request)
    assert head.status == 200
    assert head.header("content-length") == whole.header("content-length") == "300"


@pytest.mark.parametrize("tags", ['"tag"', 'W/"tag"', "*", '"other", "tag-br"', '"other" ,W/"tag-gz"'])
def test_what_the_client_has_is_not_sent_again(served: Served, tags: str) -> None:
    target, request = known(served)
    wire = served.wire()
    for _ in range(3):  # parsed, seen again, remembered
        answer = wire.ask(get(target, f"If-None-Match: {tags}"))
        assert answer.by_front
        assert answer.status == 304
        assert answer.header("etag") == '"tag"'
        assert answer.header("content-length") is None
    assert wire.ask(request).status == 200


@pytest.mark.parametrize("tags", ['"other"', '"tag-x"', "tag", '""', ","])
def test_what_the_client_has_not_is_sent(served: Served, tags: str) -> None:
    target, _ = known(served)
    for _ in range(3):
        assert served.wire().ask(get(target, f"If-None-Match: {tags}")).status == 200


def test_the_query_is_part_of_the_target(served: Served) -> None:
    target, _ = known(served)
    assert not served.wire().ask(get(target + "?q=1")).by_front
    assert served.wire().ask(get(target + "?q=1")).by_front


def test_other_ways_to_write_a_target_go_to_the_app(served: Served) -> None:
    target, _ = known(served)
    assert served.wire().ask(get(f"http://test{target}")).by_front is (served.origin.asked == [])
    assert served.wire().ask(get(target + "#part")).status == 200


def test_headers_of_16_kb_are_read(served: Served) -> None:
    target, _ = known(served)
    answer = served.wire().ask(get(target, *(f"X-Filler-{n}: {'x' * 1000}" for n in range(16))))
    assert answer.by_front
    target = path()
    cookie = "Cookie: " + "x" * 16_000
    assert [served.wire().ask(get(target, cookie)).status for _ in range(2)] == [200, 200]


def test_the_date_is_that_of_the_second(served: Served) -> None:
    _, request = known(served)
    wire = served.wire()
    first = wire.ask(request).header("date")
    wait_for(lambda: wire.ask(request).header("date") != first)
    shown = parsedate_to_datetime(str(wire.ask(request).header("date"))).timestamp()
    assert abs(time.time() - shown) < 3


# --- connections -----------------------------------------------------------------------------------------------------


def test_a_connection_is_kept_for_many_requests(served: Served) -> None:
    target, request = known(served)
    wire = served.wire()
    for number in range(20):
        assert wire.ask(request).by_front
        assert wire.ask(get(target, f"X-Number: {number}")).by_front
        assert wire.ask(post("/echo", "body")).body == b"/echobody"


@pytest.mark.parametrize("header", ["Connection: close", "connection: Close", "Connection: foo, close"])
def test_who_asks_to_close_is_answered_and_closed(served: Served, header: str) -> None:
    target, _ = known(served)
    wire = served.wire()
    answer = wire.ask(get(target, header))
    assert answer.status == 200
    assert answer.header("connection") == "close"
    assert wire.closed()


def test_keep_alive_is_what_is_done_anyway(served: Served) -> None:
    target, _ = known(served)
    wire = served.wire()
    assert wire.ask(get(target, "Connection: keep-alive")).by_front
    assert wire.ask(get(target, "Connection: Keep-Alive")).by_front


def test_http_1_0_is_answered_and_closed(served: Served) -> None:
    target, _ = known(served)
    wire = served.wire()
    answer = wire.ask(get(target, version="1.0"))
    assert answer.status == 200
    assert len(answer.body) == 300
    assert wire.closed()


def test_pipelined_requests_are_answered_in_their_order(served: Served) -> None:
    (one, first), (two, second) = known(served), known(served)
    wire = served.wire()
    served.origin.waiting.clear()
    served.within(served.origin.go_on.clear)
    wire.send(first + get("/slow/1") + second + post("/echo/", "x") + first + get("/slow/2") + second)
    assert wire.answer().body.startswith(one.encode())
    assert served.origin.waiting.wait(10)
    served.within(served.origin.go_on.set)
    bodies = [wire.answer().body.split(b" ")[0] for _ in range(6)]
    assert bodies == [part.encode() for part in ("/slow/1", two, "/echo/x", one, "/slow/2", two)]


def test_a_request_behind_a_slow_one_waits_for_it(served: Served) -> None:
    target, request = known(served)
    wire = served.wire()
    served.origin.waiting.clear()
    served.within(served.origin.go_on.clear)
    wire.send(get("/slow/1"))
    assert served.origin.waiting.wait(10)
    wire.send(request)
    wait_for(lambda: _received(served) >= 2)
    served.within(served.origin.go_on.set)
    assert wire.answer().body == b"/slow/1"
    assert wire.answer().body.startswith(target.encode())


def _received(served: Served) -> int:
    """How many requests the busiest connection has under way or waiting."""

    def look() -> int:
        connections = served.server.server_state.connections
        return max((len(each.pipeline) + 1 for each in connections), default=0)  # type: ignore[union-attr]

    return int(served.within(look))


def test_many_known_requests_in_one_segment_are_all_answered(served: Served) -> None:
    target, request = known(served)
    wire = served.wire()
    wire.send(request * 200)
    assert {wire.answer().body.split(b" ")[0] for _ in range(200)} == {target.encode()}
    assert wire.ask(request).by_front


def test_a_request_in_parts_is_one_request(served: Served) -> None:
    target, request = known(served)
    wire = served.wire()
    for at in range(1, len(request)):
        wire.send(request[:at])
        until_read(served)
        wire.send(request[at:])
        assert wire.answer().body.startswith(target.encode()), at
    assert len(served.origin.asked) == 0


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.lists(st.integers(0, 4), min_size=1, max_size=6), cuts=st.lists(st.integers(0, 2_000), max_size=8))
def test_however_requests_are_cut_the_answers_are_the_same(served: Served, order: list[int], cuts: list[int]) -> None:
    target = "/kept/cut/300"
    kinds = [
        get(target),
        get(target, "X-A: 1"),
        get("/kept/other/400", "Cookie: a=b"),
        post("/echo", "12345"),
        get(target, 'If-None-Match: "tag"'),
    ]
    sent = b"".join(kinds[kind] for kind in order)
    wire = served.wire()
    begin = 0
    for cut in sorted({min(cut, len(sent)) for cut in cuts} | {len(sent)}):
        wire.send(sent[begin:cut])
        until_read(served)
        begin = cut
    statuses = [wire.answer() for _ in order]
    wire.close()
    expected = {0: (200, 300), 1: (200, 300), 2: (200, 400), 3: (200, 10), 4: (304, 0)}
    assert [(answer.status, len(answer.body)) for answer in statuses] == [expected[kind] for kind in order]


# --- what is no plain request ----------------------------------------------------------------------------------------

HEAD = "GET {} HTTP/1.1\r\nHost: test\r\n"
ODD: dict[str, tuple[str, int]] = {
    "a body with its length": (HEAD + "Content-Length: 4\r\n\r\nbody", 200),
    "a body of no length": (HEAD + "Content-Length: 0\r\n\r\n", 200),
    "a body in chunks": (HEAD + "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n", 200),
    "both lengths": (HEAD + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "two lengths": (HEAD + "Content-Length: 4\r\nContent-Length: 5\r\n\r\nbody!", 400),
    "a length that is none": (HEAD + "Content-Length: four\r\n\r\nbody", 400),
    "a coding that is none": (HEAD + "Transfer-Encoding: xchunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n", 400),
    "a space before the colon": (HEAD + "Content-Length : 4\r\n\r\nbody", 400),
    "a folded line": (HEAD + "X-Folded: a\r\n b: c\r\n\r\n", 400),
    "a folded length": (HEAD + "X: y\r\n Content-Length: 4\r\n\r\nbody", 400),
    "bare line feeds": ("GET {} HTTP/1.1\nHost: test\n\n", 400),
    "one bare line feed": (HEAD + "X: y\n\r\n", 400),
    "a bare carriage return": (HEAD + "X: y\rContent-Length: 4\r\n\r\n", 400),
    "a line that is no header": (HEAD + "nothing\r\n\r\n", 400),
    "a nameless header": (HEAD + ": x\r\n\r\n", 400),
    "a control character": (HEAD + "X: a\x01b\r\n\r\n", 400),
    "a zero": (HEAD + "X: a\x00b\r\n\r\n", 400),
    "a name that is none": (HEAD + "X(y): z\r\n\r\n", 400),
    "a space in the target": ("GET {} x HTTP/1.1\r\nHost: test\r\n\r\n", 400),
    "two spaces before it": ("GET  {} HTTP/1.1\r\nHost: test\r\n\r\n", 200),
    "a version that is none": ("GET {} HTTP/1.9\r\nHost: test\r\n\r\n", 400),
    "a method in small letters": ("get {} HTTP/1.1\r\nHost: test\r\n\r\n", 400),
    "no such method": ("GETS {} HTTP/1.1\r\nHost: test\r\n\r\n", 400),
    "empty lines before it": ("\r\n\r\nGET {} HTTP/1.1\r\nHost: test\r\n\r\n", 200),
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("alone", [True, False])
def test_what_is_odd_is_judged_by_the_server_alone(both: dict[Face, Served], name: str, *, alone: bool) -> None:
    text, status = ODD[name]
    target = path()
    transcripts = []
    for served in both.values():
        served.teach(get(target))
        odd, after = text.format(target).encode("latin-1"), get("/after", "Connection: close")
        transcripts.append(_transcript(served, *([odd, after] if alone else [odd + after])))
    assert transcripts[0] == transcripts[1]
    assert transcripts[0][0][0] == status
    assert len(transcripts[0]) == (2 if status == 200 else 1)


def _transcript(served: Served, *parts: bytes) -> list[tuple[int, bytes]]:
    """Return each answer's status and body until the server closes."""
    wire = served.wire()
    found: list[tuple[int, bytes]] = []
    try:
        for part in parts:
            wire.send(part)
            until_read(served)
        while True:
            answer = wire.answer()
            found.append((answer.status, answer.body))
    except (AssertionError, OSError):
        return found


@pytest.mark.parametrize("target", ["/echo", "/early"])
def test_a_body_is_never_taken_for_a_request(served: Served, target: str) -> None:
    known_target, request = known(served)
    head = post(target, request.decode())[: -len(request)]
    wire = served.wire()
    wire.send(head)
    if target == "/early":
        assert wire.answer().body == b"/early"  # before the body has come
    wire.send(request)  # in a segment of its own, which looks like a known request
    if target == "/echo":
        assert wire.answer().body == b"/echo" + request
    assert wire.ask(request).body.startswith(known_target.encode())


def test_a_header_is_never_taken_for_a_request(served: Served) -> None:
    _, request = known(served)
    wire = served.wire()
    wire.send(b"GET /other HTTP/1.1\r\nX-Begun: ")
    until_read(served)
    wire.send(request)
    assert wire.answer().body == b"/other"


def test_an_upgrade_that_is_not_made_leaves_the_connection_in_order(served: Served) -> None:
    target, request = known(served)
    wire = served.wire()
    answer = wire.ask(get(target, "Connection: Upgrade", "Upgrade: h2c"))
    assert answer.status == 200
    assert wire.ask(request).body.startswith(target.encode())


def test_who_expects_to_be_told_to_go_on_is_told_by_the_server(served: Served) -> None:
    target, request = known(served)
    wire = served.wire()
    assert wire.ask(get(target, "Expect: 100-continue")).status == 200
    wire.send(b"POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
    assert wire.answer().status == 100
    wire.send(b"body")
    assert wire.answer().body == b"/echobody"
    assert wire.ask(request).by_front


# --- slow readers ----------------------------------------------------------------------------------------------------


def test_what_is_not_read_is_not_made(served: Served) -> None:
    _, request = known(served, length=200_000)
    wire = served.wire(receive_buffer=16_384)
    sent = sum(wire.send_what_goes(request * 500) for _ in range(4))
    assert sent > 1_000 * len(request)
    for _ in range(50):
        until_read(served)
        assert _buffered(served) < 2 * 200_000 + 65_536
        assert len(wire.answer().body) == 200_000


def test_what_is_sent_ahead_of_its_answers_is_not_read(both: dict[Face, Served]) -> None:
    served = both["uvicorn"]  # in the other face this is the server's to see to, and uvicorn alone does not
    _, request = known(served, length=200_000)
    wire = served.wire(receive_buffer=16_384)
    one_read = 262_144 // len(request) + 1
    for _ in range(20):
        wire.send_what_goes(request * 10_000)
        until_read(served)
        assert _received(served) <= 2 * one_read
        assert len(wire.answer().body) == 200_000
    wire.close()


def _buffered(served: Served) -> int:
    """The bytes that wait to be sent on the fullest connection."""

    def look() -> int:
        connections = served.server.server_state.connections
        return max(each.transport.get_write_buffer_size() for each in connections)  # type: ignore[union-attr]

    return int(served.within(look))
