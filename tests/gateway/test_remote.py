"""A service on a port of its own: what the gateway passes on, what it keeps, and what it says when nobody answers."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web

from testbed.raw import connected, raw_request, request_of
from testbed.town import Client
from townsquare import hosting
from townsquare.gateway.counting import Counted
from townsquare.gateway.gateway import Gateway, RemoteService
from townsquare.gateway.pages import GatewayPages
from townsquare.kit import keys
from townsquare.kit.edge import Edge
from townsquare.kit.identity import Verifier
from townsquare.kit.metrics import Metrics
from townsquare.kit.requests import CLIENT_GONE
from townsquare.kit.upstream import RemoteUpstream
from townsquare.settings import Settings
from townsquare.topology import Service

PATIENCE = 0.3


async def echo(request: web.Request) -> web.StreamResponse:
    """Answer what was asked."""
    body = await request.read()
    seen = [[name.decode().lower(), value.decode("latin-1")] for name, value in request.raw_headers]
    said = {"method": request.method, "target": request.raw_path, "headers": seen, "body": body.decode("latin-1")}
    answer = web.json_response(said, headers={"X-Own": "kept", "Connection": "keep-alive", "X-Request-Id": "theirs"})
    answer.headers.add("Set-Cookie", "a=1")
    answer.headers.add("Set-Cookie", "b=2")
    return answer


async def never(_: web.Request) -> web.StreamResponse:
    """Do not answer in time."""
    await asyncio.sleep(30)
    raise AssertionError


async def halfway(request: web.Request) -> web.StreamResponse:
    """Break off in the middle of an answer."""
    answer = web.StreamResponse(headers={"Content-Length": "100"})
    await answer.prepare(request)
    await answer.write(b"half of it")
    assert request.transport is not None
    request.transport.abort()
    return answer


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[str]:
    """Run an aiohttp app; yields its address."""
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    [address] = runner.addresses
    try:
        yield f"http://127.0.0.1:{address[1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def gateway_before(base: str, data: Path, metrics: Metrics | None = None) -> AsyncIterator[Client]:
    """Run a gateway that has one service, there; what it passes on is counted in `metrics`."""
    settings = msgspec.structs.replace(Settings(), data=data, rate_limits=False)
    keys.ensure_keys(data)
    secret, metrics, stop = keys.internal_secret(settings), metrics or Metrics(), asyncio.Event()
    async with aiohttp.ClientSession(auto_decompress=False) as upstream, aiohttp.ClientSession() as session:
        remote = RemoteService(Service("users", 0, "Echo", timeout=PATIENCE), base, upstream, secret)
        passing = Counted(remote, lambda _: "/api/users", metrics.add_service("gateway"))
        pages = GatewayPages({"users": RemoteUpstream(upstream, base, secret, PATIENCE)}, metrics)
        inner = Gateway({"users": passing}, pages)
        edge = Edge(inner, settings, Verifier(keys.public_keys(data)), secret, metrics.add_service("gateway"))
        with hosting.listen("127.0.0.1", 0) as listener:
            task = asyncio.create_task(hosting.serve(edge, listener, stop))
            try:
                yield Client(session, f"http://127.0.0.1:{listener.getsockname()[1]}")
            finally:
                stop.set()
                await task


@pytest.fixture(scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Client]:
    """A gateway before a service that answers what it is asked."""
    app = web.Application(client_max_size=10_000_000)
    app.router.add_get("/never", never)
    app.router.add_get("/halfway", halfway)
    app.router.add_route("*", "/{rest:.*}", echo)
    async with serving(app) as base, gateway_before(base, tmp_path_factory.mktemp("gateway")) as client:
        yield client


def seen(answer: Any) -> dict[str, str]:
    """Return the headers that reached the service."""
    return dict(answer.json["headers"])


async def test_the_target_goes_on_exactly_as_it_came(gateway: Client) -> None:
    for target in ("/a%2Fb/%41?x=%20&y=+&z", "//a//", "/%C3%A9?q=%FF", "/a;b=c", "/"):
        answer = await raw_request(gateway.base, "GET", f"/api/users{target}")
        assert answer.json["target"] == target


@pytest.mark.parametrize(
    "target", ["/api/%75sers/x", "/api/user%73/x", "/api%2Fusers/x", "/%61pi/users/x", "/api/users%2Fx"]
)
async def test_a_service_s_name_in_disguise_leads_nowhere(gateway: Client, target: str) -> None:
    answer = await raw_request(gateway.base, "GET", target)
    assert (answer.status, answer.code) == (404, "not_found")


async def test_headers_go_on_but_for_those_of_the_connection_and_our_own(gateway: Client) -> None:
    sent = {
        "Accept-Language": "de",
        "Authorization-Like": "kept",
        "Connection": "close, x-hop",
        "X-Hop": "dropped",
        "TE": "trailers",
        "Townsquare-Internal": "forged",
        "Townsquare-Forwarded": "forged",
        "Townsquare-Address": "1.2.3.4",
        "Townsquare-Prefix": "/evil",
        "X-Request-Id": "forged",
    }
    answer = await raw_request(gateway.base, "GET", "/api/users/x", sent.items())
    headers = seen(answer)
    assert headers["accept-language"] == "de"
    assert headers["authorization-like"] == "kept"
    assert not {"x-hop", "te", "townsquare-internal"} & headers.keys()
    assert headers["townsquare-address"] == "127.0.0.1"
    assert headers["townsquare-prefix"] == "/api/users"
    assert headers["x-request-id"] == answer.headers["x-request-id"] != "forged"
    assert headers["townsquare-forwarded"] not in ("", "forged")


async def test_what_a_client_left_out_is_not_made_up(gateway: Client) -> None:
    answer = await raw_request(gateway.base, "POST", "/api/users/x", [("Content-Length", "2")], b"{}")
    assert not {"accept", "accept-encoding", "content-type", "user-agent"} & seen(answer).keys()


async def test_the_answer_comes_back_whole_with_its_cookies(gateway: Client) -> None:
    answer = await gateway.get("/api/users/x")
    assert answer.headers["X-Own"] == "kept"
    assert answer.headers.getall("Set-Cookie") == ["a=1", "b=2"]  # type: ignore[attr-defined]
    assert answer.headers["X-Request-Id"] != "theirs"
    assert answer.headers["Content-Length"] == str(len(answer.body))


async def test_bodies_go_on_with_a_length_and_without(gateway: Client) -> None:
    whole = b"x" * 300_000
    assert (await gateway.post("/api/users/x", data=whole)).json["body"] == whole.decode()
    async with connected(gateway.base) as connection:
        await connection.send(request_of("POST", "/api/users/x", [("Transfer-Encoding", "chunked")]))
        await connection.send(b"3\r\nabc\r\n", b"2\r\nde\r\n", b"0\r\n\r\n")
        assert (await connection.answer()).json["body"] == "abcde"


async def test_head_has_the_length_and_no_body(gateway: Client) -> None:
    async with connected(gateway.base) as connection:
        await connection.send(request_of("HEAD", "/api/users/x"))
        head = await connection.answer(bodyless=True)
        assert int(head.headers["content-length"]) > 0
        await connection.send(request_of("GET", "/api/users/x"))
        assert (await connection.answer()).json["method"] == "GET"


async def test_a_service_that_does_not_answer_in_time_is_504(gateway: Client) -> None:
    answer = await gateway.get("/api/users/never")
    assert (answer.status, answer.code) == (504, "upstream_timeout")
    assert answer.headers["Retry-After"] == "1"
    assert answer.json["instance"] == "/api/users/never"


async def test_a_service_that_is_away_is_503(tmp_path: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        async with gateway_before(f"http://127.0.0.1:{nobody.getsockname()[1]}", tmp_path) as gateway:
            answer = await gateway.post("/api/users/x", json={})
            assert (answer.status, answer.code) == (503, "upstream_unavailable")
            assert answer.headers["Retry-After"] == "1"
            assert answer.json["instance"] == "/api/users/x"


async def test_an_answer_that_breaks_off_does_not_look_whole(gateway: Client) -> None:
    with pytest.raises(aiohttp.ClientPayloadError):
        await gateway.get("/api/users/halfway")
    assert (await gateway.get("/api/users/x")).status == 200


async def test_a_client_that_leaves_in_the_middle_is_no_failure_of_the_service(tmp_path: Path) -> None:
    app, metrics = web.Application(), Metrics()
    app.router.add_route("*", "/{rest:.*}", echo)
    counts = metrics.add_service("gateway").counts
    async with serving(app) as base, gateway_before(base, tmp_path, metrics) as gateway:
        async with connected(gateway.base) as connection:
            await connection.send(request_of("POST", "/api/users/x", [("Content-Length", "10")]), b"half")
        async with asyncio.timeout(10):
            while not counts:
                await asyncio.sleep(0.01)
    assert list(counts) == [("POST", "/api/users", CLIENT_GONE)]


@pytest.mark.parametrize("said", [b"", b"\xff", b"[]", b"{}", b'{"status": 500}', b'{"status": "ready", "checks": 1}'])
async def test_what_does_not_answer_as_a_service_does_is_not_ready(tmp_path: Path, said: bytes) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=said)

    app = web.Application()
    app.router.add_get("/health/ready", answer)
    async with serving(app) as base, gateway_before(base, tmp_path) as gateway:
        ready = await gateway.get("/health/ready")
    assert (ready.status, ready.json["status"]) == (503, "unready")
    assert ready.json["checks"]["users"] == {"status": "unready"}


async def test_what_nobody_has_foreseen_is_a_problem_too_and_says_nothing(gateway: Client) -> None:
    answer = await gateway.get("/openapi.json")  # an echo is no document
    assert (answer.status, answer.code) == (500, "internal")
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json["request_id"] == answer.headers["X-Request-Id"]
    assert b"components" not in answer.body
