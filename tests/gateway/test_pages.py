"""The gateway's own paths."""

from html import escape
from typing import get_args

import pytest

from testbed.town import Town
from townsquare.gateway.problem_pages import ADVICE
from townsquare.kit.problems import PROBLEMS, Code


async def test_the_index_says_where_things_are(town: Town) -> None:
    answer = await town.gateway.get("/")
    assert answer.json["services"]["users"] == "/api/users"
    assert (await town.gateway.get(answer.json["developers"])).status == 200


async def test_every_problem_s_type_leads_to_an_explanation(town: Town) -> None:
    assert set(ADVICE) == set(get_args(Code))
    listed = await town.gateway.get("/problems")
    for code, (_, title) in PROBLEMS.items():
        assert f'href="/problems/{code}"'.encode() in listed.body
        page = await town.gateway.get(f"/problems/{code}")
        assert page.status == 200
        assert page.headers["Content-Type"] == "text/html; charset=utf-8"
        assert page.headers["Content-Security-Policy"].startswith("sandbox")
        assert f"<h1>{escape(title)}</h1>".encode() in page.body


async def test_the_type_of_a_problem_that_was_met_can_be_followed(town: Town) -> None:
    met = await town.users.get("/profile/@nobody_of_this_name")
    assert (await town.gateway.get(met.json["type"])).status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/problems/",
        "/problems/unheard_of",
        "/problems/not_found/more",
        "/api",
        "/api/",
        "/api/users",
        "/api/shop/products",
        "/api/nobody/here",
        "/api/users/nothing",
        "/api/users/profile/@nobody_of_this_name",
        "/API/users/search",
        "//",
        "/developers/",
        "/%00",
        "/api/users/profile/%00",
        "/api/users/profile/%ff",
        "/api/%2e%2e/users",
    ],
)
async def test_a_path_that_is_not_there_is_a_problem(town: Town, path: str) -> None:
    answer = await town.gateway.get(path)
    assert (answer.status, answer.code) == (404, "not_found"), answer.body
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Cache-Control"] == "no-store", "no cache on the way may keep it"
    assert answer.json["request_id"] == answer.headers["X-Request-Id"]


@pytest.mark.parametrize(
    "path", ["/", "/health", "/health/ready", "/metrics", "/openapi.json", "/developers", "/problems/invalid"]
)
async def test_only_reading_is_possible_and_head_is_get_without_its_body(town: Town, path: str) -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        answer = await town.gateway.request(method, path)
        assert (answer.status, answer.code) == (405, "method_not_allowed")
        assert answer.headers["Allow"] == "GET, HEAD"
    shown, head = await town.gateway.get(path), await town.gateway.request("HEAD", path)
    assert (head.status, head.body) == (shown.status, b"")
    assert head.headers["Content-Type"] == shown.headers["Content-Type"]


async def test_the_gateway_s_health_is_the_whole_platform_s(town: Town) -> None:
    alive = await town.gateway.get("/health")
    assert (alive.status, alive.json["status"], alive.json["service"]) == (200, "ok", "gateway")
    ready = await town.gateway.get("/health/ready")
    assert (ready.status, ready.json["status"]) == (200, "ready")
    assert {"database", "users", "content"} <= ready.json["checks"].keys()


async def test_what_the_gateway_answers_itself_is_counted_and_never_by_its_path(town: Town) -> None:
    for path in ("/", "/problems/invalid", "/nothing/that/anybody/called", "/api/nobody/here"):
        await town.gateway.get(path)
    text = (await town.gateway.get("/metrics")).body.decode()
    counted = {line.rpartition(" ")[0] for line in text.splitlines() if 'service="gateway"' in line}
    for route, status in (("/", 200), ("/problems/{code}", 200), ("(unmatched)", 404)):
        assert f'http_requests_total{{method="GET",route="{route}",service="gateway",status="{status}"}}' in counted
    assert "anybody" not in text
    assert "/api/nobody" not in text
