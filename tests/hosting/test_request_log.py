"""Which requests have a line in the log: those for cached routes as any other, whoever answers them."""

from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from testbed.town import Town, running_town
from townsquare.kit import request_log
from townsquare.kit.postgres import EmbeddedPostgres
from townsquare.topology import SERVICES


@pytest.fixture(scope="module")
async def talkative(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    """A platform that logs every request."""
    await postgres.ensure_databases([service.database for service in SERVICES.values()])
    async with running_town(tmp_path_factory.mktemp("talkative"), postgres.url("postgres"), log_requests="all") as running:
        yield running


async def test_every_request_for_a_cached_route_has_its_line(talkative: Town) -> None:
    path = f"/profile/@{(await talkative.register()).handle}"
    await talkative.settle()
    with capture_logs() as lines:
        answers = [await talkative.users.get(path) for _ in range(4)]
        answers.append(await talkative.users.get(path, headers={"If-None-Match": "*"}))
        answers.append(await talkative.users.get("/profile/nobody"))
    assert ["hit" in answer.headers["Cache-Status"] for answer in answers] == [False, True, True, True, True, False]
    told = [line for line in lines if line["event"] == "request" and line["route"] == "/profile/{user_id}"]
    assert [(line["method"], line["status"], line["service"]) for line in told] == [
        ("GET", status, "users") for status in (200, 200, 200, 200, 304, 404)
    ]
    assert [line["request_id"] for line in told] == [answer.headers["X-Request-ID"] for answer in answers]


async def test_what_fails_on_a_cached_route_has_its_line_and_its_cause(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = town.host.services["users"].cache
    assert cache is not None
    viewer = await town.register()
    monkeypatch.setattr(cache.layer, "_standing", "SELECT $1::uuid = nothing")
    with capture_logs() as lines:
        answer = await town.users.get(f"/profile/@{viewer.handle}", as_=viewer)
    assert answer.status == 500
    ours = [line for line in lines if line.get("request_id") == answer.headers["X-Request-ID"]]
    assert [line["event"] for line in ours] == ["unhandled error", "request"]
    assert type(ours[0]["exc_info"]).__name__ == "UndefinedColumnError"
    assert (ours[1]["status"], ours[1]["log_level"]) == (500, "error")


async def test_a_slow_one_has_its_line_and_the_others_have_none(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    path = f"/profile/@{(await town.register()).handle}"
    with capture_logs() as lines:
        quick = await town.users.get(path)
        monkeypatch.setattr(request_log, "SLOW_SECONDS", 0.0)
        slow = await town.users.get(path + "?slow")
    ours = (quick.headers["X-Request-ID"], slow.headers["X-Request-ID"])
    told = [line for line in lines if line.get("request_id") in ours]
    assert [(line["request_id"], line["route"]) for line in told] == [(ours[1], "/profile/{user_id}")]
