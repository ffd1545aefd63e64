"""Accounts over HTTP: who joins, under which handle, with which password, and what only they may know."""

import asyncio
import re
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from testbed.accounts import NEW_PASSWORD, REFRESH, SESSION, cookie, mail_to, refresh, sign_in, signed_in
from testbed.town import PASSWORD, Answer, Town
from townsquare.services.users import passwords
from townsquare.services.users.attempts import DEVICE_COOKIE

ANY_EXAMPLES = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def registration(town: Town, **changes: object) -> dict[str, object]:
    handle = town.handle("ada")
    return {"handle": handle, "email": f"{handle}@example.org", "password": PASSWORD, **changes}


async def register(town: Town, body: object, **headers: str) -> Answer:
    return await town.users.post("/register", json=body, headers=headers)


async def test_who_registers_is_signed_in_and_has_a_profile(town: Town) -> None:
    body = registration(town, display_name="Ada Lovelace")
    answer = await register(town, body)
    assert answer.status == 201
    user = answer.json["user"]
    assert answer.json == {
        "user": {"id": user["id"], "handle": body["handle"], "display_name": "Ada Lovelace"},
        "access_token": answer.json["access_token"],
        "expires_in": 300,
    }
    assert answer.headers["Location"] == f"/api/users/profile/{user['id']}"
    assert answer.headers["Cache-Control"] == "no-store"
    profile = await town.users.get(f"/profile/{user['id']}", as_=answer.json["access_token"])
    assert (profile.status, profile.json["handle"]) == (200, body["handle"])


async def test_cookies_are_out_of_reach_for_scripts_and_other_sites(town: Town) -> None:
    answer = await register(town, registration(town))
    attributes = {text.split("=")[0]: text.lower() for text in answer.headers.getall("Set-Cookie")}
    assert attributes.keys() == {REFRESH, SESSION, DEVICE_COOKIE}
    for text in attributes.values():
        assert "httponly" in text
        assert "samesite=lax" in text
        assert "path=/" in text
    assert f"max-age={30 * 86_400}" in attributes[REFRESH]
    # It must be gone before its token ends, or the browser would be refused instead of being nobody.
    assert 0 < int(re.search(r"max-age=(\d+)", attributes[SESSION])[1]) < 300


async def test_without_a_name_the_handle_is_shown(town: Town) -> None:
    body = registration(town)
    assert (await register(town, body)).json["user"]["display_name"] == body["handle"]


async def test_a_handle_is_taken_whatever_its_case(town: Town) -> None:
    first = registration(town)
    assert (await register(town, first)).status == 201
    again = registration(town, handle=str(first["handle"]).upper())
    answer = await register(town, again)
    assert (answer.status, answer.code) == (409, "taken")
    assert [error["pointer"] for error in answer.json["errors"]] == ["/handle"]


async def test_capitals_in_a_handle_become_small(town: Town) -> None:
    handle = town.handle("ada")
    answer = await register(town, registration(town, handle=handle.title()))
    assert answer.json["user"]["handle"] == handle


async def test_an_address_is_taken_whatever_its_case(town: Town) -> None:
    first = registration(town)
    assert (await register(town, first)).status == 201
    answer = await register(town, registration(town, email=str(first["email"]).upper()))
    assert (answer.status, answer.code) == (409, "taken")
    assert [error["pointer"] for error in answer.json["errors"]] == ["/email"]


async def test_a_handle_that_was_somebodys_is_nobodys(town: Town) -> None:
    handle = town.handle("gone")
    await town.database("users").execute("INSERT INTO retired_handles VALUES ($1, now())", handle)
    assert (await register(town, registration(town, handle=handle))).code == "taken"


async def test_of_many_who_want_one_handle_at_once_one_gets_it(town: Town) -> None:
    handle = town.handle("ada")
    bodies = [registration(town, handle=handle) for _ in range(6)]
    answers = await asyncio.gather(*(register(town, body) for body in bodies))
    assert sorted(answer.status for answer in answers) == [201] + [409] * 5
    assert {answer.code for answer in answers if answer.status == 409} == {"taken"}


async def test_of_many_who_have_one_address_at_once_one_gets_in(town: Town) -> None:
    email = f"{town.handle('ada')}@example.org"
    answers = await asyncio.gather(*(register(town, registration(town, email=email)) for _ in range(6)))
    assert sorted(answer.status for answer in answers) == [201] + [409] * 5
    pointers = [error["pointer"] for answer in answers if answer.status == 409 for error in answer.json["errors"]]
    assert pointers == ["/email"] * 5


async def test_registering_twice_with_one_key_is_one_account(town: Town) -> None:
    body, key = registration(town), town.handle("key")
    first, again = [await register(town, body, **{"Idempotency-Key": key}) for _ in range(2)]
    assert (first.status, again.status) == (201, 201)
    assert again.body == first.body
    assert again.cookies == first.cookies
    other = await register(town, body | {"password": NEW_PASSWORD}, **{"Idempotency-Key": key})
    assert (other.status, other.code) == (422, "key_reused")


async def test_two_strangers_who_choose_one_key_get_answers_of_their_own(town: Town) -> None:
    """The body of a refresh is empty: only the cookie tells whose answer it is."""
    key = {"Idempotency-Key": town.handle("key")}
    ada, eve = [await register(town, registration(town)) for _ in range(2)]
    adas, eves = await refresh(town, cookie(ada), **key), await refresh(town, cookie(eve), **key)
    assert (adas.status, eves.status) == (200, 200)
    assert eves.json["user"] == eve.json["user"]
    assert (await refresh(town, cookie(ada), **key)).body == adas.body
    nobody = await town.users.post("/refresh", headers=key)
    assert nobody.status == 401


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"handle": "a"}, "/handle"),
        ({"handle": "x" * 31}, "/handle"),
        ({"handle": "ada lovelace"}, "/handle"),
        ({"handle": "ada\n"}, "/handle"),
        ({"handle": "àda"}, "/handle"),
        ({"handle": "ⅷⅷ"}, "/handle"),
        ({"handle": None}, "/handle"),
        ({"email": "ada"}, "/email"),
        ({"email": "ada@localhost"}, "/email"),
        ({"email": "ada@example.org, eve@example.org"}, "/email"),
        ({"email": "ada@example.org\r\nBcc: eve@example.org"}, "/email"),
        ({"email": "a\u200bda@example.org"}, "/email"),
        ({"email": "x" * 250 + "@example.org"}, "/email"),
        ({"password": "x" * 9}, "/password"),
        ({"password": "x" * 201}, "/password"),
        ({"password": "Password123"}, "/password"),
        ({"password": "1234567890"}, "/password"),
        ({"password": 1234567890123}, "/password"),
        ({"display_name": ""}, "/display_name"),
        ({"display_name": "two\nlines"}, "/display_name"),
    ],
)
async def test_what_does_not_fit_is_422_and_says_where(town: Town, change: dict[str, object], pointer: str) -> None:
    answer = await register(town, registration(town, **change))
    assert (answer.status, answer.code) == (422, "invalid"), answer.body
    assert [error["pointer"] for error in answer.json["errors"]] == [pointer]


async def test_ones_own_handle_or_address_is_no_password(town: Town) -> None:
    body = registration(town, handle=town.handle("lovelace"))
    for own in ("handle", "email"):
        answer = await register(town, body | {"password": str(body[own]).upper()})
        assert (answer.status, answer.json["errors"][0]["pointer"]) == (422, "/password")


@pytest.mark.parametrize("data", ["", "{", "[]", "null", '{"handle": "\\ud800"}', '"x"', "{}"])
async def test_what_is_no_registration_is_a_problem(town: Town, data: str) -> None:
    answer = await town.users.post("/register", data=data)
    assert answer.status in (400, 422)
    assert answer.headers["Content-Type"] == "application/problem+json"


async def test_more_than_is_asked_for_is_422(town: Town) -> None:
    assert (await register(town, registration(town, is_admin=True))).status == 422


@given(handle=st.text(alphabet="abzAZ09_-. é\n", max_size=33))
@ANY_EXAMPLES
async def test_a_handle_is_accepted_exactly_by_the_rule(town: Town, handle: str) -> None:
    answer = await register(town, registration(town, handle=handle))
    fits = re.fullmatch(r"[A-Za-z0-9_]{2,30}", handle) is not None
    assert answer.status in ((201, 409) if fits else (422,)), (handle, answer.body)


@given(length=st.integers(1, 12) | st.integers(195, 205), data=st.data())
@ANY_EXAMPLES
async def test_a_password_may_be_of_any_characters_and_opens_the_account(
    town: Town, length: int, data: st.DataObject
) -> None:
    password = data.draw(st.text(st.characters(exclude_categories=["Cs"]), min_size=length, max_size=length))
    body = registration(town, password=password)
    answer = await register(town, body)
    assert answer.status == (201 if 10 <= length <= 200 else 422), (password, answer.body)
    if answer.status == 201:
        assert (await sign_in(town, str(body["handle"]), password)).status == 200


@given(
    local=st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    domain=st.text(st.characters(codec="utf-8"), max_size=12),
)
@example(local="", domain=".")
@example(local="..a", domain="a")
@example(local="", domain="a.=?utf-8?q?x?=")
@ANY_EXAMPLES
async def test_an_address_that_is_accepted_can_be_written_to(town: Town, local: str, domain: str) -> None:
    unique = town.handle("x")
    answer = await register(town, registration(town, email=f"{unique}{local}@{domain}.example"))
    assert answer.status in (201, 409, 422), answer.body
    if answer.status == 201:
        await mail_to(town, f"{unique}{local}@{domain}.example", "confirm your address")


async def test_no_address_is_in_what_others_see(town: Town) -> None:
    ada, grace = await town.register("ada"), await town.register("grace")
    await town.befriend(ada, grace)
    await town.befriend(grace, ada)
    paths = (f"/profile/{ada.id}", f"/users/{grace.id}/followers", f"/users/{grace.id}/following", f"/search?q={ada.handle}")
    for path in paths:
        answer = await town.users.get(path, as_=grace)
        assert answer.status == 200
        assert ada.handle.encode() in answer.body
        assert b"example.org" not in answer.body
    told = await town.database("users").fetch("SELECT payload::text FROM outbox WHERE key = $1", str(ada.id))
    assert told
    assert not any("example.org" in row["payload"] for row in told)


async def test_ones_own_account_is_read_whole(town: Town) -> None:
    ada = await town.register("ada")
    account = (await town.users.get("/account", as_=ada)).json
    assert account == {
        "id": str(ada.id),
        "handle": ada.handle,
        "email": ada.email,
        "email_verified": False,
        "second_factor": False,
        "created_at": account["created_at"],
    }


async def test_a_new_password_counts_and_the_old_one_does_not(town: Town) -> None:
    ada = await town.register("ada")
    other = await sign_in(town, ada.handle)
    body = {"current": PASSWORD, "new": NEW_PASSWORD}
    assert (await town.users.put("/account/password", as_=ada, json=body)).status == 204
    assert (await sign_in(town, ada.handle)).status == 401
    assert (await sign_in(town, ada.handle, NEW_PASSWORD)).status == 200
    assert (await refresh(town, cookie(other))).status == 401, "every other session ends"
    assert (await town.users.get("/sessions", as_=ada)).status == 200
    await mail_to(town, ada.email, "password has been changed")


async def test_this_session_outlives_a_new_password(town: Town) -> None:
    ada = await town.register("ada")
    here = await sign_in(town, ada.handle)
    body = {"current": PASSWORD, "new": NEW_PASSWORD}
    assert (await town.users.put("/account/password", as_=here.json["access_token"], json=body)).status == 204
    assert (await refresh(town, cookie(here))).status == 200


@pytest.mark.parametrize(
    ("current", "new", "pointer"),
    [("not it, really", NEW_PASSWORD, "/current"), (PASSWORD, "short", "/new"), (PASSWORD, "qwertyuiop", "/new")],
)
async def test_a_password_changes_only_with_the_old_one_and_to_a_good_one(
    town: Town, current: str, new: str, pointer: str
) -> None:
    ada = await town.register("ada")
    answer = await town.users.put("/account/password", as_=ada, json={"current": current, "new": new})
    assert (answer.status, answer.code) == (422, "invalid")
    assert [error["pointer"] for error in answer.json["errors"]] == [pointer]
    assert (await sign_in(town, ada.handle)).status == 200


async def test_ones_own_address_is_no_new_password_either(town: Town) -> None:
    ada = await town.register("ada")
    answer = await town.users.put("/account/password", as_=ada, json={"current": PASSWORD, "new": ada.email.upper()})
    assert answer.status == 422


@pytest.fixture
def verifications(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The hashes that a password was verified with, in order."""
    seen: list[str] = []
    verify = passwords._verify

    def counting(kept: str, password: str) -> bool:
        seen.append(kept)
        return verify(kept, password)

    monkeypatch.setattr(passwords, "_verify", counting)
    return seen


async def test_the_same_work_is_done_whether_the_account_exists_or_not(town: Town, verifications: list[str]) -> None:
    ada = await town.register("ada")
    answers = [
        await sign_in(town, login, "not the password")
        for login in (ada.handle, "nobody_at_all", ada.email, "nobody@example.org", f"@{ada.handle}")
    ]
    assert len(verifications) == len(answers)
    costs = {re.match(r"\$argon2id\$v=19\$m=\d+,t=\d+,p=\d+\$", kept)[0] for kept in verifications}
    assert len(costs) == 1
    assert {answer.status for answer in answers} == {401}
    bodies = [{**answer.json, "request_id": ""} for answer in answers]
    assert all(body == bodies[0] for body in bodies)


async def test_a_handle_or_an_address_signs_in_whatever_its_case_and_blanks(town: Town) -> None:
    ada = await town.register("ada")
    for login in (
        ada.handle,
        f"@{ada.handle}",
        ada.handle.upper(),
        f"  {ada.handle} ",
        ada.email,
        ada.email.upper(),
        f" {ada.email}",
    ):
        assert await signed_in(town, login)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"login": "ada"},
        {"login": "", "password": "x"},
        {"login": "ada", "password": ""},
        {"login": "a", "password": "x" * 201},
    ],
)
async def test_what_is_no_sign_in_is_422(town: Town, body: object) -> None:
    assert (await town.users.post("/login", json=body)).status == 422


@pytest.mark.parametrize("login", ["nul\0", "@", "' OR 1=1 --", "x" * 320, "ада@пример.рф", "@" * 20])
async def test_odd_names_are_just_wrong(town: Town, login: str) -> None:
    answer = await sign_in(town, login)
    assert answer.status in (401, 422), answer.body
