"""Sessions over HTTP: refreshed, listed, ended; and what becomes of a refresh token that somebody else has copied."""

import asyncio
import threading

import pytest
from argon2 import PasswordHasher

from testbed.accounts import NEW_PASSWORD, REFRESH, SESSION, cookie, refresh, sign_in, signed_in
from testbed.town import PASSWORD, REAL_HASHER, Answer, Person, Town
from townsquare.kit.ids import new_id
from townsquare.services.users import passwords
from townsquare.services.users.sessions import MOST_SESSIONS


async def later(town: Town, seconds: int = 11) -> None:
    """Let time pass for the tokens that have been used up."""
    await town.database("users").execute(
        "UPDATE used_refresh_tokens SET used_at = used_at - make_interval(secs => $1)", float(seconds)
    )


async def sessions_of(town: Town, person: Person | str) -> list[dict[str, object]]:
    return await town.users.all_items("/sessions", as_=person)


async def test_a_refresh_gives_a_new_cookie_and_a_new_access_token(town: Town) -> None:
    ada = await town.register("ada")
    first = await sign_in(town, ada.handle)
    again = await refresh(town, cookie(first))
    assert again.status == 200
    assert again.headers["Cache-Control"] == "no-store"
    assert again.json["user"] == first.json["user"]
    assert again.cookies[REFRESH] != first.cookies[REFRESH]
    assert (await town.users.get("/account", as_=again.json["access_token"])).status == 200
    assert (await refresh(town, cookie(again))).status == 200


async def test_the_session_cookie_is_as_good_as_the_token(town: Town) -> None:
    ada = await town.register("ada")
    answer = await sign_in(town, ada.handle)
    headers = {"Cookie": f"{SESSION}={answer.cookies[SESSION]}"}
    assert (await town.users.get("/account", headers=headers)).json["id"] == str(ada.id)


async def test_a_token_used_twice_ends_its_family(town: Town) -> None:
    ada = await town.register("ada")
    stolen = await sign_in(town, ada.handle)
    thief = await refresh(town, cookie(stolen))
    newest = await refresh(town, cookie(thief))
    await later(town)
    replay = await refresh(town, cookie(stolen))
    assert (replay.status, replay.code) == (401, "invalid_token")
    assert not replay.cookies
    for answer in (newest, thief, stolen):
        assert (await refresh(town, cookie(answer))).status == 401
    assert len(await sessions_of(town, ada)) == 1, "the one of the registration, which is another family"


async def test_the_other_sessions_outlive_a_replay(town: Town) -> None:
    ada = await town.register("ada")
    here, there = await sign_in(town, ada.handle), await sign_in(town, ada.handle)
    await refresh(town, cookie(here))
    await later(town)
    assert (await refresh(town, cookie(here))).status == 401
    assert (await refresh(town, cookie(there))).status == 200


async def test_two_tabs_that_refresh_at_once_stay_signed_in(town: Town) -> None:
    ada = await town.register("ada")
    first = await sign_in(town, ada.handle)
    answers = await asyncio.gather(*(refresh(town, cookie(first)) for _ in range(4)))
    [winner] = [answer for answer in answers if answer.status == 200]
    losers = [answer for answer in answers if answer is not winner]
    assert {(answer.status, answer.code) for answer in losers} == {(409, "in_flight")}
    assert {answer.headers["Retry-After"] for answer in losers} == {"1"}
    assert not any(answer.cookies for answer in losers), "a copied token is worth nothing"
    assert (await refresh(town, cookie(winner))).status == 200, "the cookie that all tabs have by now"


@pytest.mark.parametrize("value", ["x", "", "%00", "pat_x", "é", "a" * 5000, "' OR 1=1 --"])
async def test_a_forged_cookie_is_401(town: Town, value: str) -> None:
    answer = await town.users.post("/refresh", headers={"Cookie": f"{REFRESH}={value}"})
    assert (answer.status, answer.code) in ((401, "invalid_token"), (401, "unauthenticated"))
    assert (await town.users.post("/refresh")).status == 401


async def test_an_access_token_is_no_refresh_token(town: Town) -> None:
    ada = await town.register("ada")
    answer = await sign_in(town, ada.handle)
    forged = {"Cookie": f"{REFRESH}={answer.cookies[SESSION]}"}
    assert (await refresh(town, forged)).status == 401
    assert (await town.users.get("/account", as_=answer.cookies[REFRESH])).status == 401


async def test_an_expired_session_is_not_refreshed_and_not_listed(town: Town) -> None:
    ada = await town.register("ada")
    answer = await sign_in(town, ada.handle)
    await town.database("users").execute(
        "UPDATE sessions SET expires_at = now() - interval '1 second' WHERE person_id = $1", ada.id
    )
    assert (await refresh(town, cookie(answer))).status == 401
    assert await sessions_of(town, answer.json["access_token"]) == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ],
)
@pytest.mark.parametrize("path", ["/refresh", "/logout"])
async def test_another_site_cannot_use_the_cookie(town: Town, path: str, headers: dict[str, str]) -> None:
    ada = await town.register("ada")
    answer = await sign_in(town, ada.handle)
    refused = await town.users.post(path, headers=cookie(answer) | headers)
    assert (refused.status, refused.code) == (403, "cross_site")
    by_session = {"Cookie": f"{SESSION}={answer.cookies[SESSION]}"} | headers
    assert (await town.users.delete("/sessions", headers=by_session)).code == "cross_site"
    assert (await refresh(town, cookie(answer))).status == 200


async def test_another_site_signs_nobody_in(town: Town) -> None:
    """Who visits a page must not find themselves in an account of its author."""
    ada = await town.register("ada")
    body = {"login": ada.handle, "password": PASSWORD}
    answer = await town.users.post("/login", json=body, headers={"Sec-Fetch-Site": "cross-site"})
    assert (answer.status, answer.code, answer.cookies) == (403, "cross_site", {})
    handle = town.handle()
    joining = {"handle": handle, "email": f"{handle}@example.org", "password": PASSWORD}
    answer = await town.users.post("/register", json=joining, headers={"Origin": "https://evil.example"})
    assert (answer.status, answer.cookies) == (403, {})
    assert (await town.users.get(f"/profile/@{handle}")).status == 404


async def test_this_site_may_use_the_cookie(town: Town) -> None:
    ada = await town.register("ada")
    answer = await sign_in(town, ada.handle)
    again = await refresh(town, cookie(answer), **{"Sec-Fetch-Site": "same-origin"})
    assert again.status == 200
    assert (await refresh(town, cookie(again), Origin=town.base)).status == 200


async def test_signing_out_ends_the_session_and_forgets_the_cookies(town: Town) -> None:
    ada = await town.register("ada")
    answer = await sign_in(town, ada.handle)
    out = await town.users.post("/logout", headers=cookie(answer))
    assert out.status == 204
    forgotten = out.headers.getall("Set-Cookie")
    assert len(forgotten) == 2
    assert all("max-age=0" in text.lower() for text in forgotten)
    assert (await refresh(town, cookie(answer))).status == 401
    assert (await town.users.post("/logout", headers=cookie(answer))).status == 204, "twice is once"
    assert (await town.users.post("/logout")).status == 204


async def test_signing_out_with_a_token_ends_its_session(town: Town) -> None:
    ada = await town.register("ada")
    answer = await sign_in(town, ada.handle)
    assert (await town.users.post("/logout", as_=answer.json["access_token"])).status == 204
    assert (await refresh(town, cookie(answer))).status == 401
    assert len(await sessions_of(town, ada)) == 1


async def test_signing_out_while_another_tab_refreshes_ends_the_session_all_the_same(town: Town) -> None:
    ada = await town.register("ada")
    first = await sign_in(town, ada.handle)
    other_tab = await refresh(town, cookie(first))
    assert (await town.users.post("/logout", headers=cookie(first))).status == 204
    assert (await refresh(town, cookie(other_tab))).status == 401


async def test_sessions_are_listed_newest_first_page_by_page(town: Town) -> None:
    ada = await town.register("ada")
    for name in ("Lynx", "Firefox", "curl"):
        body = {"login": ada.handle, "password": PASSWORD}
        answer = await town.users.post("/login", json=body, headers={"User-Agent": name})
    token = answer.json["access_token"]
    page = await town.users.get("/sessions", as_=token, params={"limit": 2})
    assert [item["user_agent"] for item in page.items] == ["curl", "Firefox"]
    assert 'rel="next"' in page.headers["Link"]
    listed = await town.users.all_items("/sessions", limit=2, as_=token)
    assert [item["user_agent"] for item in listed][:3] == ["curl", "Firefox", "Lynx"]
    assert [item["current"] for item in listed] == [True, False, False, False]
    assert listed[0].keys() == {"id", "user_agent", "created_at", "used_at", "current"}
    assert str(listed[0]["created_at"]).endswith("Z")


async def test_one_session_is_ended_by_its_owner_alone(town: Town) -> None:
    ada, eve = await town.register("ada"), await town.register("eve")
    there = await sign_in(town, ada.handle)
    path = f"/sessions/{(await sessions_of(town, ada))[0]['id']}"
    assert (await town.users.delete(path, as_=eve)).status == 404
    assert (await town.users.delete(path)).status == 401
    assert (await town.users.delete(f"/sessions/{new_id()}", as_=ada)).status == 404
    assert (await town.users.delete("/sessions/x", as_=ada)).status == 404
    assert (await town.users.delete(path, as_=ada)).status == 204
    assert (await town.users.delete(path, as_=ada)).status == 404
    assert (await refresh(town, cookie(there))).status == 401


async def test_all_sessions_but_this_one_end(town: Town) -> None:
    ada, grace = await town.register("ada"), await town.register("grace")
    here, there, graces = [await sign_in(town, login) for login in (ada.handle, ada.handle, grace.handle)]
    assert (await town.users.delete("/sessions", as_=here.json["access_token"])).status == 204
    assert (await refresh(town, cookie(there))).status == 401
    assert (await refresh(town, cookie(here))).status == 200
    assert (await refresh(town, cookie(graces))).status == 200


async def test_nobody_has_more_sessions_than_the_most(town: Town) -> None:
    ada = await town.register("ada")
    await town.database("users").execute(
        """
        INSERT INTO sessions (id, person_id, refresh_hash, created_at, used_at, expires_at)
        SELECT gen_random_uuid(), $1, uuid_send(gen_random_uuid()), now(), now(), now() + interval '1 day'
        FROM generate_series(1, $2)
        """,
        ada.id,
        MOST_SESSIONS + 20,
    )
    await town.database("users").execute(
        "UPDATE sessions SET id = ('00000000' || substr(id::text, 9))::uuid WHERE person_id = $1 AND user_agent = ''", ada.id
    )
    newest = await sign_in(town, ada.handle)
    assert len(await sessions_of(town, ada)) == MOST_SESSIONS
    assert (await refresh(town, cookie(newest))).status == 200


async def test_who_is_suspended_neither_signs_in_nor_refreshes(town: Town) -> None:
    ada = await town.register("ada")
    answer = await sign_in(town, ada.handle)
    await town.database("users").execute("UPDATE accounts SET suspended_at = now() WHERE person_id = $1", ada.id)
    assert (await refresh(town, cookie(answer))).status == 401
    refused = await sign_in(town, ada.handle)
    assert (refused.status, refused.code) == (403, "forbidden")
    assert (await sign_in(town, ada.handle, "a wrong password")).status == 401, "only who has the password is told"


async def test_an_old_hash_is_made_anew_at_a_sign_in(town: Town) -> None:
    ada = await town.register("ada")
    old = PasswordHasher(time_cost=2, memory_cost=16, parallelism=1).hash(PASSWORD)
    await town.database("users").execute("UPDATE accounts SET password_hash = $2 WHERE person_id = $1", ada.id, old)
    assert await signed_in(town, ada.handle)
    kept = await town.database("users").fetchval("SELECT password_hash FROM accounts WHERE person_id = $1", ada.id)
    assert kept != old
    assert not passwords.needs_rehash(str(kept))
    assert await signed_in(town, ada.handle)


class Gate:
    """Holds whoever verifies a password at the moment after it was found right."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self.open = threading.Event(), threading.Event()
        verify = passwords._verify

        def held(kept: str, password: str) -> bool:
            right = verify(kept, password)
            self.reached.set()
            assert self.open.wait(20)
            return right

        monkeypatch.setattr(passwords, "_verify", held)


async def test_a_sign_in_that_began_before_a_new_password_does_not_outlive_it(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who knows the old password must not have a session that the reset has not ended."""
    ada = await town.register("ada")
    gate = Gate(monkeypatch)
    thief = asyncio.create_task(sign_in(town, ada.handle))
    await asyncio.to_thread(gate.reached.wait, 20)
    new = passwords._HASHER.hash(NEW_PASSWORD)
    await town.database("users").execute("UPDATE accounts SET password_hash = $2 WHERE person_id = $1", ada.id, new)
    gate.open.set()
    assert (await thief).status == 401


async def test_a_crowd_that_signs_in_keeps_nobody_from_reading(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """While passwords are verified no connection is held, so more sign in than there are connections."""
    people = [await town.register("ada") for _ in range(3)]
    gate = Gate(monkeypatch)
    crowd = [asyncio.create_task(sign_in(town, people[n % 3].handle)) for n in range(50)]
    await asyncio.to_thread(gate.reached.wait, 20)
    assert (await town.users.get(f"/profile/{people[0].id}")).status == 200
    assert town.database("users").in_use < town.settings.pool_size
    gate.open.set()
    assert {answer.status for answer in await asyncio.gather(*crowd)} == {200}


async def test_no_more_passwords_are_verified_at_once_than_memory_is_there_for(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, now, most = threading.Lock(), 0, 0
    verify = passwords._verify

    def counted(kept: str, password: str) -> bool:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        try:
            return verify(kept, password)
        finally:
            with lock:
                now -= 1

    monkeypatch.setattr(passwords, "_verify", counted)
    monkeypatch.setattr(passwords, "_HASHER", PasswordHasher(time_cost=1, memory_cost=4096, parallelism=1))
    ada = await town.register("ada")
    answers = await asyncio.gather(*(sign_in(town, ada.handle) for _ in range(50)))
    assert {answer.status for answer in answers} == {200}
    assert 1 <= most <= passwords.AT_A_TIME


async def test_a_crowd_too_large_is_asked_to_come_back(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    ada = await town.register("ada")
    monkeypatch.setattr(passwords, "MOST_WAITING", 3)
    gate = Gate(monkeypatch)
    crowd = [asyncio.create_task(sign_in(town, ada.handle)) for _ in range(3)]
    await asyncio.to_thread(gate.reached.wait, 20)
    while passwords._WORKERS._waiting < 3:
        await asyncio.sleep(0)
    turned_away: Answer = await sign_in(town, ada.handle)
    assert (turned_away.status, turned_away.code, turned_away.headers["Retry-After"]) == (503, "unavailable", "2")
    gate.open.set()
    assert {answer.status for answer in await asyncio.gather(*crowd)} == {200}


async def test_a_password_typed_on_another_keyboard_is_the_same(town: Town) -> None:
    ada = await town.register("ada", password="cafe\u0301 con leche")
    assert await signed_in(town, ada.handle, "caf\u00e9 con leche")


def test_the_real_hash_takes_what_the_rfc_asks_for_in_one_thread() -> None:
    """RFC 9106, second recommended option; one lane, since lanes are threads."""
    assert REAL_HASHER.hash(PASSWORD).startswith("$argon2id$v=19$m=65536,t=3,p=1$")
