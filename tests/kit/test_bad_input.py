"""Whatever is sent, the answer is a problem that says what and where; never a 500, never a half-done write."""

import asyncio
import base64
import random
from collections.abc import Iterator

import msgspec
import pytest
from structlog.testing import capture_logs

from testbed.notes import Notes
from testbed.raw import connected, raw_request, request_of
from testbed.town import Answer, Town

DEEP = b'{"text": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
JSON = ("Content-Type", "application/json")


def is_problem(answer: Answer, status: int, code: str, path: str) -> None:
    assert (answer.status, answer.code) == (status, code), answer.body
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json
    assert problem["type"] == f"/problems/{code}"
    assert problem["status"] == status
    assert problem["instance"] == path
    assert problem["request_id"] == answer.headers["X-Request-Id"]
    assert problem["title"]
    assert problem["detail"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "malformed_request"),
        (b"{", 400, "malformed_request"),
        (b"null", 422, "invalid"),
        (b"[]", 422, "invalid"),
        (b"{}", 422, "invalid"),
        (b'{"text": 1}', 422, "invalid"),
        (b'{"text": "x", "extra": 1}', 422, "invalid"),
        (b'{"text": "nul \\u0000"}', 422, "invalid"),
        (b'{"text": "\\ud800"}', 400, "malformed_request"),
        (b'{"text": "\xff"}', 400, "malformed_request"),
        (b'\xef\xbb\xbf{"text": "x"}', 400, "malformed_request"),
        ('{"text": "x"}'.encode("utf-16"), 400, "malformed_request"),
        (b'{"text": "x"} {"text": "y"}', 400, "malformed_request"),
        (b'{"text": 1e999}', 400, "malformed_request"),
        (b'{"text": ' + b"9" * 100_000 + b"}", 400, "malformed_request"),
        (b'{"text": NaN}', 400, "malformed_request"),
        (b"{'text': 'x'}", 400, "malformed_request"),
        (b'{"te\\u0000xt": "x"}', 422, "invalid"),
        (DEEP, 400, "malformed_request"),
        (b'{"text": "' + b"x" * 10_000_000 + b'"}', 413, "too_large"),
    ],
    ids=[
        "empty", "cut", "null", "list", "missing", "type", "unknown", "nul", "surrogate", "not-utf8", "bom", "utf-16", "two",
        "infinite", "huge", "nan", "quotes", "nul-key", "deep", "10MB",
    ],
)  # fmt: skip
async def test_a_bad_body_is_a_problem(notes: Notes, body: bytes, status: int, code: str) -> None:
    is_problem(await notes.client.post("/notes", data=body), status, code, "/notes")


async def test_of_a_key_that_is_given_twice_the_last_counts(notes: Notes) -> None:
    answer = await notes.client.post("/notes", data=b'{"text": "first", "text": "last"}')
    assert (answer.status, answer.json["text"]) == (201, "last")


async def test_a_wrong_field_is_named_by_its_pointer(notes: Notes) -> None:
    answer = await notes.client.post("/notes", json={"text": 1})
    assert answer.json["errors"][0]["pointer"] == "/text"
    assert answer.json["errors"][0]["detail"]


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "application/x-www-form-urlencoded", "application/xml", "text/json", "json", "application/jsonx", "x"],
)
async def test_another_content_type_is_415(notes: Notes, kind: str) -> None:
    answer = await notes.client.post("/notes", data=b'{"text": "x"}', headers={"Content-Type": kind})
    is_problem(answer, 415, "unsupported_media_type", "/notes")


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8", "APPLICATION/JSON", ""])
async def test_json_is_taken_however_it_is_named(notes: Notes, kind: str) -> None:
    body = b'{"text": "x"}'
    named = [("Content-Type", kind)] if kind else []
    answer = await raw_request(notes.client.base, "POST", "/notes", [*named, ("Content-Length", str(len(body)))], body)
    assert answer.status == 201


class TestLargeBodies:
    async def test_one_that_says_so_is_refused_before_it_is_read(self, notes: Notes) -> None:
        async with connected(notes.client.base) as connection:
            await connection.send(request_of("POST", "/notes", [JSON, ("Content-Length", "10000000")]))
            answer = await connection.answer()
        assert (answer.status, answer.code) == (413, "too_large")

    async def test_so_it_is_with_an_idempotency_key(self, notes: Notes) -> None:
        async with connected(notes.client.base) as connection:
            head = [JSON, ("Content-Length", "10000000"), ("Idempotency-Key", "large")]
            await connection.send(request_of("POST", "/notes", head))
            answer = await connection.answer()
        assert (answer.status, answer.code) == (413, "too_large")

    @pytest.mark.parametrize("key", [[], [("Idempotency-Key", "larger")]])
    async def test_one_that_does_not_say_so_is_refused_when_it_has_become_too_large(
        self, notes: Notes, key: list[tuple[str, str]]
    ) -> None:
        chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        async with connected(notes.client.base) as connection:
            await connection.send(request_of("POST", "/notes", [JSON, ("Transfer-Encoding", "chunked"), *key]))
            await connection.send(*[chunk] * 17)  # a bit more than a megabyte, and no end
            answer = await connection.answer()
        assert (answer.status, answer.code) == (413, "too_large")

    async def test_so_it_is_through_the_gateway(self, town: Town) -> None:
        async with connected(town.base) as connection:
            await connection.send(request_of("POST", "/api/users/login", [JSON, ("Content-Length", "10000000")]))
            answer = await connection.answer()
        assert (answer.status, answer.code, answer.json["instance"]) == (413, "too_large", "/api/users/login")


@pytest.mark.parametrize("path", ["/nothing", "/notes/%00", "/notes/%ff", "/notes/" + "x" * 3000, "/notes/../notes/x", "//"])
async def test_a_path_that_is_not_there_is_404(notes: Notes, path: str) -> None:
    answer = await notes.client.get(path)
    assert (answer.status, answer.code) == (404, "not_found")


@pytest.mark.parametrize(
    "target",
    [
        b"/notes/../me",
        b"/notes/%2e%2e/me",
        b"/notes/..%2fme",
        b"/%6eotes/x/%2f",
        b"/notes/%c0%ae%c0%ae/",
        b"/notes/%ed%a0%80",
        b"/notes/%",
        b"/notes/%zz",
        b"/notes/\xff\xfe",
        b"/notes/" + "\u202e\u0000".encode(),
        b"/notes/" + b"%41" * 20_000,
        b"/notes//x",
        b"/schema",
        b"/schema/openapi.json",
    ],
)
async def test_a_target_that_no_client_would_send_is_404_or_400_and_never_another_path(notes: Notes, target: bytes) -> None:
    answer = await raw_request(notes.client.base, "GET", target)
    assert answer.status in (400, 404)
    if answer.headers["content-type"] != "text/plain; charset=utf-8":  # the parser's own refusal
        assert answer.code == "not_found"


@pytest.mark.parametrize(
    "query",
    [b"limit=%ff", b"cursor=%ff%fe", b"cursor=" + b"x" * 60_000, b"limit=" + b"9" * 5_000, b"limit=1&limit=x",
     b"limit=%D9%A1", b"limit=0x10", b"limit=", b"cursor=", b"limit=1;cursor=x", b"cursor=%00"],
)  # fmt: skip
async def test_a_query_that_cannot_be_meant_is_422(notes: Notes, query: bytes) -> None:
    answer = await raw_request(notes.client.base, "GET", b"/notes?" + query)
    assert (answer.status, answer.code) == (422, "invalid"), answer.body
    assert answer.json["errors"][0]["pointer"] in ("?limit", "?cursor")


async def test_what_nobody_asked_for_in_a_query_is_left_alone(notes: Notes) -> None:
    odd = b"&".join(b"%ff" + str(number).encode() + b"=%00" for number in range(2_000))
    assert (await raw_request(notes.client.base, "GET", b"/notes?" + odd)).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        [("If-None-Match", '"')],
        [("If-None-Match", "\xff" * 100)],
        [("If-None-Match", "W/" * 5_000)],
        [("Consistency-Token", "users")],
        [("Consistency-Token", "users.99999999999999999999999")],
        [("Consistency-Token", "\xff.1, ..,")],
        [("Accept", "text/html")],
        [("Accept-Encoding", "\xff")],
        [("Range", "bytes=5-1")],
        [("X-Forwarded-For", "\xff, ,")],
        [("X-Odd", "x" * 30_000)],
        [(f"X-Odd-{number}", "x") for number in range(500)],
    ],
)
async def test_odd_headers_do_not_hurt_a_read(notes: Notes, headers: list[tuple[str, str]]) -> None:
    assert (await raw_request(notes.client.base, "GET", "/notes", headers)).status == 200


@pytest.mark.parametrize(
    "header", ["Bearer \xff", "Bearer a b", "bearer", "Bearer " + "x" * 60_000, "Bearer ..", "Bearer e30.e30."]
)
async def test_odd_credentials_are_401(notes: Notes, header: str) -> None:
    answer = await raw_request(notes.client.base, "GET", "/notes", [("Authorization", header)])
    assert (answer.status, answer.code) == (401, "invalid_token")


async def test_a_cookie_that_cannot_be_read_is_no_cookie_or_401(notes: Notes) -> None:
    for cookie in ("\xff=1", ";;;=", "townsquare_session", "townsquare_session=", "townsquare_session=\xff"):
        answer = await raw_request(notes.client.base, "GET", "/notes", [("Cookie", cookie)])
        assert answer.status in (200, 401)


async def test_a_method_that_is_not_there_is_405_and_says_which_are(notes: Notes) -> None:
    for method in ("DELETE", "PUT", "PATCH", "TRACE"):
        answer = await notes.client.request(method, "/notes")
        is_problem(answer, 405, "method_not_allowed", "/notes")
        assert answer.headers["Allow"] == "GET, HEAD, OPTIONS, POST"


async def test_options_says_which_methods_there_are(notes: Notes) -> None:
    answer = await notes.client.request("OPTIONS", "/notes")
    assert (answer.status, answer.headers["Allow"], answer.body) == (204, "GET, HEAD, OPTIONS, POST", b"")
    is_problem(await notes.client.request("OPTIONS", "/nothing"), 404, "not_found", "/nothing")


async def test_head_is_get_without_its_body(notes: Notes) -> None:
    shown = await notes.client.get("/notes")
    async with connected(notes.client.base) as connection:
        await connection.send(request_of("HEAD", "/notes"))
        head = await connection.answer(bodyless=True)
        assert (head.status, head.headers["etag"]) == (200, shown.headers["ETag"])
        assert head.headers["content-length"] == str(len(shown.body))
        await connection.send(request_of("GET", "/notes"))  # the connection is still good: no body was sent
        assert (await connection.answer()).body == shown.body
        await connection.send(request_of("HEAD", "/nothing"))
        assert (await connection.answer(bodyless=True)).status == 404
        await connection.send(request_of("GET", "/notes"))
        assert (await connection.answer()).status == 200


async def test_internal_paths_look_as_if_they_were_not_there(notes: Notes) -> None:
    for path in ("/events", "/metrics/snapshot"):
        for headers in ({}, {"Townsquare-Internal": "guess"}, {"Townsquare-Forwarded": "guess"}):
            is_problem(await notes.client.get(path, headers=headers), 404, "not_found", path)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /notes HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /notes HTTP/1.1\r\nHost: test\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        b"GET /notes HTTP/1.1\r\nHost: test\r\nContent-Length: -1\r\n\r\n",
        b"POST /notes HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b"GET /notes HTTP/1.1\r\nHost: te\x00st\r\n\r\n",
        b"GET /notes HTTP/9.9\r\nHost: test\r\n\r\n",
        b"BREW /notes HTTP/1.1\r\nHost: test\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
        b"GET  HTTP/1.1\r\n\r\n",
        b"GET /notes?limit=\xff HTTP/1.1\r\nHost: test\r\n\r\n",
    ],
    ids=[
        "both-lengths",
        "two-lengths",
        "negative",
        "no-chunk",
        "nul-header",
        "version",
        "method",
        "tls",
        "no-target",
        "raw-byte",
    ],
)
async def test_what_is_not_http_is_refused_and_the_connection_closed(notes: Notes, request_bytes: bytes) -> None:
    async with connected(notes.client.base) as connection:
        await connection.send(request_bytes)
        assert (await connection.answer()).status == 400
    assert (await notes.client.get("/notes")).status == 200


def odd_cursors() -> Iterator[str]:
    """Cursors that decode, and say what no list has said."""
    moments = [
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59.999999-23:59",
        "0001-01-01T00:00:00+23:59",
        "2026-01-01T00:00:00",
    ]
    atoms: list[object] = [None, True, 0, -1, 2**63, 2**64, -(2**63) - 1, 1e308, "", "\0", "x" * 150, [], {}]
    atoms += ["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff", "\U0010ffff", *moments]
    chance = random.Random(1)
    for length in range(7):
        for _ in range(6):
            keys = [chance.choice(atoms) for _ in range(length)]
            yield base64.urlsafe_b64encode(msgspec.json.encode(keys)).rstrip(b"=").decode()
    uuid, moment = atoms[14], moments[1]
    for keys in ([uuid], [moment, uuid], [uuid, uuid], [1, uuid], ["x\0", uuid], [True, "\0", True, uuid], [2**63, uuid]):
        yield base64.urlsafe_b64encode(msgspec.json.encode(keys)).rstrip(b"=").decode()
    yield from ("W10", "bnVsbA", "e30", "=", "====", "A", "W10=", "\u0661", "../..")


async def test_any_cursor_gives_a_page_or_422_from_every_list(town: Town) -> None:
    person = await town.register("pager")
    post = (await town.content.post("/posts", as_=person, json={"text": "Paged"})).json["id"]
    document = (await town.gateway.get("/openapi.json")).json
    lists = [
        path.replace("{user_id}", str(person.id)).replace("{post_id}", post)
        for path, item in document["paths"].items()
        if any(parameter["name"] == "cursor" for parameter in item.get("get", {}).get("parameters", ()))
    ]
    assert len(lists) >= 12
    for path in lists:
        for cursor in odd_cursors():
            needed = {"q": "paged"} if path.endswith("/search") else {}
            answer = await town.gateway.get(path, as_=person, params={"cursor": cursor, **needed})
            assert answer.status in (200, 422), (path, cursor, answer.body)
            if answer.status == 422:
                assert answer.json.get("errors", [{}])[0].get("pointer") == "?cursor", (path, cursor, answer.body)


@pytest.mark.parametrize("key", [[], [("Idempotency-Key", "left")]])
async def test_a_client_that_leaves_in_the_middle_changes_nothing_and_is_no_error(
    notes: Notes, key: list[tuple[str, str]]
) -> None:
    database = notes.app.context.database
    before = await database.fetchval("SELECT count(*) FROM notes")
    whole = b'{"text": "said half"}'  # what is missing are blanks: the part that came could pass for the whole
    with capture_logs() as logged:
        for _ in range(3):
            async with connected(notes.client.base) as connection:
                await connection.send(request_of("POST", "/notes", [JSON, ("Content-Length", "100"), *key], whole))
        async with connected(notes.client.base) as connection:
            chunk = b"%x\r\n%b\r\n" % (len(whole), whole)
            await connection.send(request_of("POST", "/notes", [JSON, ("Transfer-Encoding", "chunked"), *key], chunk))
        async with asyncio.timeout(10):
            while notes.app.context.request_metrics.in_flight:
                await asyncio.sleep(0.01)
    assert await database.fetchval("SELECT count(*) FROM notes") == before
    assert logged == []
