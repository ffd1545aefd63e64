"""Rate limits: never more than the quota in any window, never a refusal for who waits as told, and bounded memory."""

from collections import defaultdict
from collections.abc import AsyncIterator
from uuid import uuid4

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.notes import Notes, running_notes
from testbed.town import Answer
from townsquare.kit.limits import SECOND, Limiter, Policies, Policy, network_of
from townsquare.kit.postgres import EmbeddedPostgres
from townsquare.settings import Settings

QUOTA, WINDOW = 5, 10
PAUSES = st.sampled_from([0, SECOND // 2, SECOND]) | st.integers(0, 12 * SECOND)
STEPS = st.lists(st.tuples(st.integers(0, 1), PAUSES), min_size=10, max_size=100)


def limiter(**bounds: int) -> Limiter:
    return Limiter(Policy("test", QUOTA, WINDOW), **bounds)


@given(STEPS)
def test_no_window_ever_holds_more_than_the_quota(steps: list[tuple[int, int]]) -> None:
    limits, now = limiter(), 0
    admitted: dict[int, list[int]] = defaultdict(list)
    for client, pause in steps:
        now += pause
        decision = limits.take(client, now)
        if decision.allowed:
            admitted[client].append(now)
            window = [at for at in admitted[client] if at > now - WINDOW * SECOND]
            assert len(window) <= QUOTA
            assert decision.remaining == QUOTA - len(window)
        else:
            assert len([at for at in admitted[client] if at > now - WINDOW * SECOND]) == QUOTA


@given(STEPS)
def test_whoever_waits_as_told_is_admitted(steps: list[tuple[int, int]]) -> None:
    limits, now = limiter(), 1_000 * SECOND
    for client, pause in steps:
        now += pause
        decision = limits.take(client, now)
        if not decision.allowed:
            assert 0 < decision.reset <= WINDOW
            now += decision.reset * SECOND
            assert limits.take(client, now).allowed


@given(st.integers(0, 10**15), st.integers(1, 300))
def test_a_client_that_keeps_the_pace_is_never_refused(start: int, requests: int) -> None:
    limits = limiter()
    assert all(limits.take("steady", start + i * WINDOW * SECOND // QUOTA).allowed for i in range(requests))


@given(STEPS)
def test_looking_counts_nothing_and_says_what_taking_would(steps: list[tuple[int, int]]) -> None:
    limits, now = limiter(), 0
    for client, pause in steps:
        now += pause
        look = limits.look(client, now)
        assert look.allowed == limits.take(client, now).allowed


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, SECOND)), min_size=50, max_size=300))
def test_memory_is_bounded_however_many_clients_come(steps: list[tuple[int, int]]) -> None:
    limits, now = limiter(most_clients=20, most_stamps=40), 0
    for client, pause in steps:
        now += pause
        limits.take(client, now)
        clients, stamps = limits.size
        assert clients <= 20
        assert stamps <= 40


def test_whoever_has_gone_is_forgotten() -> None:
    limits = limiter()
    for client in range(1_000):
        limits.take(client, 0)
    limits.take("later", (WINDOW + 1) * SECOND)
    assert limits.size == (1, 1)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("not:an:address", "not:an:address", True),
    ],
)
def test_an_ipv6_customer_counts_as_one(one: str, other: str, same: bool) -> None:
    assert (network_of(one) == network_of(other)) is same


def test_the_quotas_are_the_contract_s_and_settings() -> None:
    policies = Policies.of(Settings())
    shown = [p.header for p in (policies.reads, policies.writes, policies.sign_in, policies.uploads)]
    assert shown == [b'"read";q=300;w=60', b'"write";q=60;w=60', b'"sign-in";q=10;w=300', b'"upload";q=30;w=1800']
    assert Policies.of(msgspec.structs.replace(Settings(), rate_limit_reads=7)).reads.quota == 7


@pytest.fixture
async def limited(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Notes]:
    """A notes service with small quotas."""
    await postgres.ensure_databases(["messages"])
    folder = tmp_path_factory.mktemp("limited")
    quotas = {"rate_limits": True, "rate_limit_reads": 5, "rate_limit_writes": 3}
    async with running_notes(folder, postgres.url("postgres"), **quotas) as running:
        yield running


def refused(answer: Answer) -> bool:
    if answer.status != 429:
        return False
    assert answer.code == "rate_limited"
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    return True


async def test_an_answer_says_what_is_left_and_too_many_are_429(limited: Notes) -> None:
    first = await limited.client.get("/notes")
    assert first.headers["RateLimit-Policy"] == '"read";q=5;w=60'
    assert first.headers["RateLimit"] == '"read";r=4;t=60'
    for _ in range(4):
        assert (await limited.client.get("/notes")).status == 200
    last = await limited.client.get("/notes")
    assert refused(last)
    assert last.headers["RateLimit"].startswith('"read";r=0;t=')


async def test_reads_and_writes_and_people_are_counted_apart(limited: Notes) -> None:
    for _ in range(5):
        await limited.client.get("/notes")
    assert refused(await limited.client.get("/notes"))
    for _ in range(3):
        assert (await limited.client.post("/notes", json={"text": "x"})).status == 201
    assert refused(await limited.client.post("/notes", json={"text": "x"}))
    person = limited.signer.sign(uuid4(), "ada", "Ada", uuid4())
    assert (await limited.client.get("/notes", as_=person)).status == 200


async def test_a_person_is_counted_as_one_whatever_token_they_show(limited: Notes) -> None:
    person = uuid4()
    for _ in range(5):
        token = limited.signer.sign(person, "ada", "Ada", uuid4())
        assert (await limited.client.get("/notes", as_=token)).status == 200
    assert refused(await limited.client.get("/notes", as_=limited.signer.sign(person, "ada", "Ada", uuid4())))


async def test_bad_tokens_cannot_be_tried_at_will(limited: Notes) -> None:
    for number in range(3):
        assert (await limited.client.get("/notes", as_=f"guess{number}")).status == 401
    assert refused(await limited.client.get("/notes", as_="guess"))
    assert (await limited.client.get("/notes")).status == 200


async def test_probes_are_never_refused(limited: Notes) -> None:
    for _ in range(8):
        assert (await limited.client.get("/health")).status == 200
    for _ in range(8):
        assert "RateLimit" not in (await limited.client.get("/health/ready")).headers


async def test_a_client_cannot_choose_its_address(limited: Notes) -> None:
    for number in range(5):
        await limited.client.get("/notes", headers={"X-Forwarded-For": f"192.0.2.{number}"})
    assert refused(await limited.client.get("/notes", headers={"X-Forwarded-For": "192.0.2.9"}))


async def test_behind_a_trusted_proxy_each_client_counts(
    postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> None:
    quotas = {"rate_limits": True, "rate_limit_reads": 1, "trusted_proxies": ("127.0.0.1", "10.0.0.1")}
    folder = tmp_path_factory.mktemp("proxied")
    async with running_notes(folder, postgres.url("postgres"), **quotas) as notes:
        for hops in ("192.0.2.1", "192.0.2.2", "192.0.2.2, 192.0.2.3, 10.0.0.1"):
            assert (await notes.client.get("/notes", headers={"X-Forwarded-For": hops})).status == 200
        assert refused(await notes.client.get("/notes", headers={"X-Forwarded-For": "evil, 192.0.2.3"}))


async def test_limits_can_be_switched_off(notes: Notes) -> None:
    answer = await notes.client.get("/notes")
    assert "RateLimit" not in answer.headers
    assert "RateLimit-Policy" not in answer.headers


def test_lines_of_a_head_say_what_the_headers_say() -> None:
    limits = limiter()
    decision = limits.take(1, 0)
    assert limits.lines(decision) == b"".join(b"%b: %b\r\n" % header for header in limits.headers(decision))
