"""What the whole platform answers before any routing: counted, limited and withdrawn as if it had gone the whole way."""

import asyncio
import itertools
from collections.abc import AsyncIterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from testbed.cached import entry_of
from testbed.town import Answer, Person, Town, running_town
from townsquare.cache.http.responses import CODING_OVERHEAD
from townsquare.kit.postgres import EmbeddedPostgres
from townsquare.topology import SERVICES

QUOTA = 6
ROUTE = {"service": "users", "method": "GET", "route": "/profile/{user_id}", "status": "200"}


@pytest.fixture(scope="module")
async def proxied(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    """The platform behind a reverse proxy that it trusts: this machine."""
    await postgres.ensure_databases([service.database for service in SERVICES.values()])
    limits = {"rate_limits": True, "rate_limit_reads": QUOTA, "trusted_proxies": ("127.0.0.1",)}
    async with running_town(tmp_path_factory.mktemp("proxied"), postgres.url("postgres"), **limits) as running:
        yield running


def by_front(answer: Answer) -> bool:
    return "hit" in answer.headers["Cache-Status"] and "X-Request-ID" not in answer.headers


async def learn(town: Town, path: str, as_: Person | None = None) -> Answer:
    """Ask, each time from elsewhere, until the front knows; what was written just now is kept from the next look on."""
    for number in itertools.count():
        answer = await town.users.get(path, as_=as_, headers={"X-Forwarded-For": f"198.51.{number >> 8}.{number & 255}"})
        if by_front(answer):
            return answer
    raise AssertionError


async def test_behind_a_proxy_each_visitor_has_a_quota_of_their_own(proxied: Town) -> None:
    path = f"/profile/@{(await proxied.register()).handle}"
    await learn(proxied, path)
    for visitor in ("192.0.2.1", "192.0.2.2"):
        forwarded = {"X-Forwarded-For": f"10.9.8.7, {visitor}"}
        answers = [await proxied.users.get(path, headers=forwarded) for _ in range(QUOTA + 2)]
        assert [answer.status for answer in answers] == [200] * QUOTA + [429] * 2
        assert [f"r={QUOTA - 1 - used};" in answers[used].headers["RateLimit"] for used in range(QUOTA)] == [True] * QUOTA
        assert all(by_front(answer) for answer in answers[:QUOTA])
        assert int(answers[-1].headers["Retry-After"]) > 0


async def test_a_person_has_one_quota_from_wherever_they_ask(proxied: Town) -> None:
    person = await proxied.register()
    path = f"/profile/{person.id}"
    await proxied.noticed("users")  # what was written just now is kept from the next look on
    answers = [
        await proxied.users.get(path, as_=person, headers={"X-Forwarded-For": f"192.0.2.{100 + number}"})
        for number in range(QUOTA + 1)
    ]
    assert [answer.status for answer in answers] == [200] * QUOTA + [429]
    assert by_front(answers[QUOTA - 1])


async def test_hits_are_in_the_metrics_under_their_route(town: Town) -> None:
    path = f"/profile/@{(await town.register()).handle}"
    await learn(town, path)
    before = await _counted(town)
    assert all([by_front(await town.users.get(path)) for _ in range(5)])
    assert await _counted(town) == before + 5


async def _counted(town: Town) -> float:
    families = text_string_to_metric_families((await town.gateway.get("/metrics")).body.decode())
    samples = [sample for family in families for sample in family.samples if sample.name == "http_requests_total"]
    return sum(sample.value for sample in samples if ROUTE.items() <= sample.labels.items())


async def test_an_answer_of_the_front_differs_from_the_first_by_the_moment_alone(town: Town) -> None:
    path = f"/profile/@{(await town.register()).handle}"
    first, second = await town.users.get(path), await learn(town, path)
    ours = {"Date", "Cache-Status", "X-Request-ID", "Content-Length"}
    assert second.body == first.body
    for name in (set(first.headers) | set(second.headers)) - ours:
        assert second.headers.getall(name) == first.headers.getall(name), name  # type: ignore[attr-defined]


@pytest.mark.parametrize("coding", ["identity", "gzip", "br"])
async def test_what_was_read_in_any_coding_can_be_edited_by_its_tag(town: Town, coding: str) -> None:
    person = await town.register()
    path = f"/profile/{person.id}"
    assert (await town.users.patch(path, as_=person, json={"bio": "about " * 50})).status == 200
    await town.settle()
    read = [await town.users.get(path, as_=person, headers={"Accept-Encoding": coding}) for _ in range(3)][-1]
    assert read.headers.get("Content-Encoding", "identity") == coding
    edit = {"If-Match": read.headers["ETag"]}
    assert (await town.users.patch(path, as_=person, json={"bio": "another"}, headers=edit)).status == 200
    assert (await town.users.patch(path, as_=person, json={"bio": "a third"}, headers=edit)).status == 412


async def test_a_compressed_answer_is_counted_among_the_bytes_that_are_kept(town: Town) -> None:
    person = await town.register()
    path = f"/profile/@{person.handle}"
    assert (await town.users.patch(path, as_=person, json={"bio": "about " * 50})).status == 200
    await town.settle()
    assert (await town.users.get(path, headers={"Accept-Encoding": "identity"})).status == 200
    entry = entry_of(town, "users", path)
    assert entry is not None
    before = entry.size
    for _ in range(3):
        compressed = await town.users.get(path, headers={"Accept-Encoding": "br"})
    assert compressed.headers["Content-Encoding"] == "br"
    assert entry_of(town, "users", path) is entry
    assert entry.size == before + int(compressed.headers["Content-Length"]) + CODING_OVERHEAD


async def test_who_is_blocked_is_answered_by_nothing_remembered(town: Town) -> None:
    owner, viewer = await town.register("owner"), await town.register("viewer")
    path = f"/profile/{owner.id}"
    await learn(town, path, viewer)
    assert (await town.users.put(f"/users/{viewer.id}/block", as_=owner)).status == 204
    assert (await town.users.get(path, as_=viewer)).status == 404
    assert (await town.users.get(path)).status == 200
    assert (await town.users.get(path, as_=viewer)).status == 404


async def test_one_who_writes_reads_it_at_once(town: Town) -> None:
    owner = await town.register("owner")
    path = f"/profile/{owner.id}"
    for number in range(3):
        await learn(town, path)
        assert (await town.users.patch(path, as_=owner, json={"bio": f"number {number}"})).status == 200
        assert (await town.users.get(path)).json["bio"] == f"number {number}"
        assert (await town.users.get(path, as_=owner)).json["bio"] == f"number {number}"


async def test_a_path_written_otherwise_teaches_nothing_wrong(town: Town) -> None:
    person = await town.register()
    await learn(town, f"/profile/@{person.handle}")
    for _ in range(3):
        assert await _status_of(town, f"/api/users/pr%6ffile/@{person.handle}") == 200
        assert await _status_of(town, f"/api/%75sers/profile/@{person.handle}") in (200, 404)
    for nothing in ("/api/usersers/profile", "/api/users/users/profile", "/api/users/pr%256ffile", "/profile"):
        assert await _status_of(town, f"{nothing}/@{person.handle}") == 404


async def _status_of(town: Town, target: str) -> int:
    """Ask for a target exactly as it is written, which clients like to put in order."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(town.base.rpartition(":")[2]))
    writer.write(f"GET {target} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return int(answer.split(b" ", 2)[1])
