"""A kept answer's bodies, tags and heads."""

import gzip
import tracemalloc

import brotli
import pytest

from townsquare.cache.http.responses import MIN_COMPRESSED, StoredResponse, best_coding, http_date, status_line_and

BODY = b'{"items": [' + b"1234567890, " * 100 + b"0]}"


def stored(body: bytes = BODY) -> StoredResponse:
    return StoredResponse([(b"content-type", b"application/json"), (b"cache-control", b"no-cache")], b'"tag"', body)


@pytest.mark.parametrize(
    ("accepts", "coding"),
    [
        (b"", "identity"),
        (b"gzip", "gzip"),
        (b"gzip, deflate, br", "br"),
        (b"GZIP;Q=0.5 , BR;q=0.4", "gzip"),
        (b"br;q=0, gzip", "gzip"),
        (b"br;q=0, gzip;q=0", "identity"),
        (b"*", "br"),
        (b"*;q=0", "identity"),
        (b"br;q=0, *", "gzip"),
        (b"gzip;q=0.5, identity", "identity"),
        (b"identity;q=0, gzip;q=0.1", "gzip"),
        (b"deflate, zstd", "identity"),
        (b"gzip;q=2, br;q=x", "identity"),
        (b",,;q=1, ;;", "identity"),
        (b"\xff\xfe", "identity"),
    ],
)
def test_the_client_chooses_the_coding_and_between_equals_we_do(accepts: bytes, coding: str) -> None:
    assert best_coding(accepts) == coding


def test_each_coding_holds_the_same_body() -> None:
    response = stored()
    assert response.make("gzip") and response.make("br")
    assert response.body("identity") == BODY
    assert gzip.decompress(response.body("gzip")) == BODY
    assert brotli.decompress(response.body("br")) == BODY
    assert len(response.body("br")) < len(response.body("gzip")) < len(BODY)


def test_a_coding_is_made_once() -> None:
    response = stored()
    assert response.make("identity") == 0
    assert response.make("br") >= len(response.body("br"))
    assert response.make("br") == 0


def test_what_a_coding_is_said_to_take_it_takes() -> None:
    responses = [stored(BODY + b"%d" % number) for number in range(1_000)]
    tracemalloc.start()
    said = sum(response.make("br") + response.make("gzip") for response in responses)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken == pytest.approx(said, rel=0.2)


def test_a_small_body_stays_plain() -> None:
    assert stored(b"x" * (MIN_COMPRESSED - 1)).coding_for(b"br") == "identity"
    assert stored(b"x" * MIN_COMPRESSED).coding_for(b"br") == "br"


def test_the_head_names_length_coding_and_tag() -> None:
    response = stored()
    response.make("gzip")
    head = dict(response.head("gzip", [(b"x", b"y")]))
    assert head[b"content-encoding"] == b"gzip"
    assert head[b"content-length"] == b"%d" % len(response.body("gzip"))
    assert head[b"etag"] == b'"tag-gz"'
    assert head[b"x"] == b"y"
    unchanged = dict(response.head_unchanged("gzip", []))
    assert unchanged == {b"cache-control": b"no-cache", b"etag": b'"tag-gz"'}


def test_a_head_on_the_wire() -> None:
    assert status_line_and(200, [(b"a", b"b")]) == b"HTTP/1.1 200 OK\r\na: b\r\n"
    assert status_line_and(304, []) == b"HTTP/1.1 304 Not Modified\r\n"
    assert http_date(0) == b"Thu, 01 Jan 1970 00:00:00 GMT"
