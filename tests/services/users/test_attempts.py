"""Passwords cannot be guessed, by address or by account, and nobody can lock somebody else out."""

import itertools
from collections.abc import AsyncIterator

import pytest

from testbed.town import PASSWORD, Answer, Person, Town, running_town
from townsquare.kit.postgres import EmbeddedPostgres
from townsquare.services.users.attempts import DEVICE_COOKIE
from townsquare.services.users.email import make_token

QUOTA = 4
_addresses = (f"198.51.{high}.{low}" for high, low in itertools.product(range(256), range(256)))


@pytest.fixture(scope="module")
async def guarded(town: Town, postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    """A town that counts attempts; what is in front of it says who asks."""
    limits = {"rate_limits": True, "rate_limit_sign_in": QUOTA, "rate_limit_reads": 100_000, "rate_limit_writes": 100_000}
    folder = tmp_path_factory.mktemp("guarded")
    async with running_town(folder, postgres.url("postgres"), trusted_proxies=("127.0.0.1",), **limits) as running:
        yield running


def here(address: str | None = None) -> dict[str, str]:
    """Say which address a request comes from: a new one, unless it is given."""
    return {"X-Forwarded-For": address or next(_addresses)}


async def joined(guarded: Town, name: str) -> tuple[Person, str]:
    """Somebody who has registered, and the cookie that their device keeps."""
    handle = guarded.handle(name)
    body = {"handle": handle, "email": f"{handle}@example.org", "password": PASSWORD}
    answer = await guarded.users.post("/register", json=body, headers=here())
    assert answer.status == 201, answer.body
    user = answer.json["user"]
    person = Person(user["id"], handle, body["email"], answer.json["access_token"])
    return person, answer.cookies[DEVICE_COOKIE]


async def sign_in(
    guarded: Town, login: str, password: str = PASSWORD, device: str = "", address: str | None = None
) -> Answer:
    headers = here(address) | ({"Cookie": f"{DEVICE_COOKIE}={device}"} if device else {})
    return await guarded.users.post("/login", json={"login": login, "password": password}, headers=headers)


def refused(answer: Answer) -> bool:
    if answer.status != 429:
        return False
    assert answer.code == "rate_limited"
    assert 1 <= int(answer.headers["Retry-After"]) <= 300
    assert f'"sign-in";q={QUOTA};w=300' in answer.headers.getall("RateLimit-Policy")  # type: ignore[attr-defined]
    return True


async def exhaust(guarded: Town, login: str) -> None:
    """Have strangers fail, each from another address, until no stranger is heard."""
    for _ in range(QUOTA):
        assert (await sign_in(guarded, login, "a wrong password")).status == 401
    assert refused(await sign_in(guarded, login, "a wrong password"))


async def test_one_address_may_try_only_so_often_whoever_it_names(guarded: Town) -> None:
    address = next(_addresses)
    for number in range(QUOTA):
        assert (await sign_in(guarded, f"nobody_{number}", address=address)).status == 401
    assert refused(await sign_in(guarded, "somebody_else", address=address))
    assert (await sign_in(guarded, "somebody_else")).status == 401


async def test_one_account_cannot_be_guessed_from_many_addresses(guarded: Town) -> None:
    person, _ = await joined(guarded, "victim")
    await exhaust(guarded, person.handle)
    assert refused(await sign_in(guarded, person.handle.upper()))
    assert refused(await sign_in(guarded, person.handle, PASSWORD))


async def test_an_account_that_nobody_has_is_counted_alike(guarded: Town) -> None:
    await exhaust(guarded, guarded.handle("unheard_of"))


async def test_its_owner_still_signs_in_where_they_have_before(guarded: Town) -> None:
    person, device = await joined(guarded, "owner")
    await exhaust(guarded, person.handle)
    answer = await sign_in(guarded, person.handle, device=device)
    assert answer.status == 200
    assert DEVICE_COOKIE in answer.cookies


async def test_a_known_device_too_may_try_only_so_often(guarded: Town) -> None:
    person, device = await joined(guarded, "forgetful")
    for _ in range(QUOTA):
        assert (await sign_in(guarded, person.handle, "a wrong password", device)).status == 401
    assert refused(await sign_in(guarded, person.handle, "a wrong password", device))


async def test_somebody_else_s_device_and_a_forged_one_are_strangers(guarded: Town) -> None:
    person, device = await joined(guarded, "wanted")
    _, other = await joined(guarded, "other")
    await exhaust(guarded, person.handle)
    for cookie in (other, device[:-8] + "AAAAAAAA", "x", person.token):
        assert refused(await sign_in(guarded, person.handle, device=cookie))


async def test_what_a_device_keeps_signs_nobody_in(guarded: Town) -> None:
    _, device = await joined(guarded, "keeper")
    assert (await guarded.users.get("/account", as_=device, headers=here())).status == 401


async def test_a_new_password_by_mail_opens_the_door_again(guarded: Town) -> None:
    person, _ = await joined(guarded, "rescued")
    await exhaust(guarded, person.handle)
    token = await make_token(guarded.database("users"), person.id, person.email, "reset")
    body = {"token": token, "password": "another horse altogether"}
    answer = await guarded.users.post("/password-reset/confirm", json=body, headers=here())
    assert answer.status == 204, answer.body
    signed_in = await sign_in(guarded, person.handle, body["password"], answer.cookies[DEVICE_COOKIE])
    assert signed_in.status == 200


async def test_who_stole_a_session_cannot_guess_the_password_with_it(guarded: Town) -> None:
    person, _ = await joined(guarded, "stolen")
    proofs = [
        ("DELETE", "/account", {"password": "wrong password"}),
        ("PUT", "/account/password", {"current": "wrong password", "new": "a perfectly good one"}),
        ("POST", "/email", {"password": "wrong password", "email": "thief@example.org"}),
        ("POST", "/account/second-factor", {"password": "wrong password"}),
    ]
    for method, path, body in proofs:
        answer = await guarded.users.request(method, path, as_=person, json=body, headers=here())
        assert answer.status == 422, answer.body
    for method, path, body in proofs:
        assert refused(await guarded.users.request(method, path, as_=person, json=body, headers=here()))


async def test_registering_and_asking_for_mails_are_counted_by_address(guarded: Town) -> None:
    address = next(_addresses)
    for _ in range(QUOTA):
        answer = await guarded.users.post("/password-reset", json={"email": "a@example.org"}, headers=here(address))
        assert answer.status == 202
    body = {"handle": guarded.handle("many"), "email": "many@example.org", "password": PASSWORD}
    assert refused(await guarded.users.post("/register", json=body, headers=here(address)))
    token = {"token": "x" * 30, "password": PASSWORD}
    assert refused(await guarded.users.post("/password-reset/confirm", json=token, headers=here(address)))


async def test_an_answer_says_how_many_attempts_are_left(guarded: Town) -> None:
    answer = await sign_in(guarded, "nobody_at_all")
    limits = answer.headers.getall("RateLimit")  # type: ignore[attr-defined]
    assert f'"sign-in";r={QUOTA - 1};t=300' in limits
    assert any(limit.startswith('"write";') for limit in limits)
