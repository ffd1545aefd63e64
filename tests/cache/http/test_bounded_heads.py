"""What a client may send before it has asked for anything: so many bytes, for so long, with the front and without."""

import time
from collections.abc import Iterator
from contextlib import suppress

import msgspec
import pytest

from testbed.faces import FACES, Served, Wire, get, known, path, post, serving_origin, until_read
from townsquare.cache.http.bounded_heads import MAX_HEAD_BYTES

SECONDS = 0.8
CHUNKED = b"POST /echo HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n"


@pytest.fixture(params=FACES)
def hasty(request: pytest.FixtureRequest) -> Iterator[Served]:
    """Waits for a head for a moment only, and keeps idle connections for long."""
    with serving_origin(request.param, head_seconds=SECONDS, timeout_keep_alive=60) as served:
        yield served


# --- bytes -----------------------------------------------------------------------------------------------------------


def filled(size: int) -> bytes:
    """A head of so many bytes in headers of a thousand."""
    head = get(path(), *(f"X-Filler-{number}: {'x' * 1_000}" for number in range((size - 1_100) // 1_020)))
    return head[:-2] + b"X: " + b"x" * (size - len(head) - 5) + b"\r\n\r\n"


def test_a_head_of_60_kb_is_answered(served: Served) -> None:
    request = filled(60_000)
    assert len(request) == 60_000
    assert served.wire().ask(request).status == 200
    wire = served.wire()
    for at in range(0, len(request), 7_000):
        wire.send(request[at : at + 7_000])
        until_read(served)
    assert wire.answer().status == 200


@pytest.mark.parametrize("part", [10**6, 30_000, 1_000], ids=["at once", "in a few parts", "in many"])
def test_a_larger_head_is_refused_in_so_many_words_and_the_connection_closed(served: Served, part: int) -> None:
    request, wire = filled(80_000), served.wire()
    with suppress(OSError):
        for at in range(0, len(request), part):
            wire.send(request[at : at + part])
            until_read(served)
    answer = wire.answer()
    assert (answer.status, answer.header("connection")) == (431, "close")
    assert answer.header("content-type") == "application/problem+json"
    assert msgspec.json.decode(answer.body)["status"] == 431
    assert wire.closed()
    assert served.origin.asked == []


@pytest.mark.parametrize(
    ("begin", "more"),
    [
        (b"GET /", b"x"),
        (b"GET / HTTP/1.1\r\nX: ", b"x"),
        (b"GET / HTTP/1.1\r\n", b"X: y\r\n"),
        (b"", b"\r\n"),
        (CHUNKED, b"X: y\r\n"),
        (CHUNKED + b"X: ", b"x"),
        (CHUNKED.replace(b"0\r\n", b"4;x="), b"x"),
    ],
    ids=["a target", "a header", "headers", "empty lines", "trailers", "a trailer", "a chunk's extension"],
)
def test_what_never_ends_is_ended(served: Served, begin: bytes, more: bytes) -> None:
    wire = served.wire()
    wire.send(begin)
    part, sent = more * (8_000 // len(more)), 0
    with pytest.raises(OSError):
        while sent < 40 * MAX_HEAD_BYTES:
            wire.send(part)
            until_read(served)
            sent += len(part)
    assert sent < 2 * MAX_HEAD_BYTES


def test_a_large_body_is_no_head(served: Served) -> None:
    body = "x" * 1_000_000
    wire = served.wire()
    for _ in range(2):
        assert len(wire.ask(post("/echo", body)).body) == len(body) + len("/echo")
    assert wire.ask(get(path())).status == 200


def test_many_requests_in_one_segment_are_no_large_head(served: Served) -> None:
    _, request = known(served)
    wire = served.wire()
    wire.send(request * 3_000 + request[:20])
    for _ in range(3_000):
        assert wire.answer().status == 200
    wire.send(request[20:])
    assert wire.answer().status == 200


# --- seconds ---------------------------------------------------------------------------------------------------------


def trickle(wire: Wire, letter: bytes) -> float:
    """Send a letter again and again until the other side has had enough; returns after how long."""
    began = time.monotonic()
    with suppress(OSError):
        while time.monotonic() - began < 20 * SECONDS:
            wire.send(letter)
            time.sleep(SECONDS / 20)
    return time.monotonic() - began


@pytest.mark.parametrize(
    ("begin", "letter"),
    [(b"", b"\r\n"), (b"GET /", b"x"), (b"GET / HTTP/1.1\r\n", b"x: y\r\n")],
    ids=["empty lines", "a target", "headers"],
)
@pytest.mark.parametrize("later", [False, True], ids=["at once", "after a request"])
def test_a_head_that_takes_too_long_is_not_waited_for(hasty: Served, begin: bytes, letter: bytes, *, later: bool) -> None:
    wire = hasty.wire()
    if later:
        assert wire.ask(get("/before")).status == 200
    wire.send(begin)
    assert trickle(wire, letter) < 15 * SECONDS
    assert wire.closed()


def test_who_says_nothing_is_not_waited_for(hasty: Served) -> None:
    assert hasty.wire().closed()


def test_who_has_asked_before_may_take_the_whole_time_again(hasty: Served) -> None:
    target, request = known(hasty)
    wire, until = hasty.wire(), time.monotonic() + 0.75 * SECONDS
    while time.monotonic() < until:  # remembered, read at a glance
        assert wire.ask(request).by_front
        assert wire.ask(get(target, f"X: {time.monotonic()}")).by_front
    for _ in range(2):
        wire.send(request[:20])
        time.sleep(SECONDS / 2)
        wire.send(request[20:])
        assert wire.answer().by_front


def test_a_body_and_an_idle_connection_have_their_own_time(hasty: Served) -> None:
    wire = hasty.wire()
    head, _, _ = post("/echo", "body").partition(b"body")
    wire.send(head)
    time.sleep(2 * SECONDS)
    wire.send(b"body")
    assert wire.answer().body == b"/echobody"
    time.sleep(2 * SECONDS)
    assert wire.ask(get("/after")).status == 200


def test_while_an_answer_is_under_way_nobody_is_hung_up_on(hasty: Served) -> None:
    wire = hasty.wire()
    wire.send(get("/slow/1") + get("/after")[:10])
    assert hasty.origin.waiting.wait(10)
    time.sleep(2 * SECONDS)
    hasty.within(hasty.origin.go_on.set)
    assert wire.answer().body == b"/slow/1"
    wire.send(get("/after")[10:])
    assert wire.answer().body == b"/after"
