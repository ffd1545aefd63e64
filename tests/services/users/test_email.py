"""E-mail: addresses that are proven and changed, passwords that are set anew, and what is never told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest

from testbed.accounts import (
    NEW_PASSWORD,
    cookie,
    jobs_done,
    mail_to,
    mails_to,
    make_token,
    refresh,
    sign_in,
    signed_in,
    token_in,
    until,
)
from testbed.smtp import Inbox, smtp_server
from testbed.town import PASSWORD, Answer, Person, Town
from townsquare.kit.jobs import JobContext
from townsquare.kit.logs import get_logger
from townsquare.kit.retention import Nothing
from townsquare.services.users.email import MOST_MAILS, forget_expired

CONFIRM, NEW, CHANGING = "confirm your address", "A new password", "is being changed"


async def verify(town: Town, token: str) -> Answer:
    return await town.users.post("/email/verify", json={"token": token})


async def ask_for_reset(town: Town, email: str) -> Answer:
    return await town.users.post("/password-reset", json={"email": email})


async def reset(town: Town, token: str, password: str = NEW_PASSWORD) -> Answer:
    return await town.users.post("/password-reset/confirm", json={"token": token, "password": password})


async def change(town: Town, person: Person, email: str, password: str = PASSWORD) -> Answer:
    return await town.users.post("/email", as_=person, json={"email": email, "password": password})


async def account(town: Town, token: Person | str) -> dict[str, object]:
    return (await town.users.get("/account", as_=token)).json


async def later(town: Town, person: Person) -> None:
    """Let the mailed tokens of somebody expire."""
    await town.database("users").execute(
        "UPDATE mailed_tokens SET expires_at = now() - interval '1 second' WHERE person_id = $1", person.id
    )


async def test_an_address_is_proven_with_the_mail_of_the_registration(town: Town) -> None:
    ada = await town.register("ada")
    mail = await mail_to(town, ada.email, CONFIRM)
    token = token_in(mail)
    assert f"{town.settings.public_url}/verify?token={token}" in mail.text
    assert (await account(town, ada))["email_verified"] is False
    assert (await verify(town, token)).status == 204
    assert (await account(town, ada))["email_verified"] is True
    again = await verify(town, token)
    assert (again.status, again.code) == (422, "invalid"), "a token is good once"


@pytest.mark.parametrize("token", ["x" * 43, "x" * 19, "", "nul\0" * 10, "é" * 30])
async def test_a_token_that_was_not_mailed_proves_nothing(town: Town, token: str) -> None:
    for answer in (await verify(town, token), await reset(town, token)):
        assert (answer.status, answer.code) == (422, "invalid")
        assert answer.json["errors"][0]["pointer"] == "/token"


async def test_an_expired_token_proves_nothing(town: Town) -> None:
    ada = await town.register("ada")
    await ask_for_reset(town, ada.email)
    tokens = [token_in(await mail_to(town, ada.email, subject)) for subject in (CONFIRM, NEW)]
    await later(town, ada)
    assert (await verify(town, tokens[0])).status == 422
    assert (await reset(town, tokens[1])).status == 422


async def test_a_token_is_good_for_its_purpose_alone(town: Town) -> None:
    ada = await town.register("ada")
    await ask_for_reset(town, ada.email)
    verifying, resetting = [token_in(await mail_to(town, ada.email, subject)) for subject in (CONFIRM, NEW)]
    assert (await verify(town, resetting)).status == 422
    assert (await reset(town, verifying)).status == 422
    assert (await verify(town, verifying)).status == 204
    assert (await reset(town, resetting)).status == 204


async def test_a_new_address_counts_once_it_is_proven_and_the_old_one_is_told(town: Town) -> None:
    ada = await town.register("ada")
    new = f"{town.handle('countess')}@example.org"
    assert (await change(town, ada, new)).status == 202
    assert "change your password" in (await mail_to(town, ada.email, CHANGING)).text
    assert (await account(town, ada))["email"] == ada.email
    assert (await verify(town, token_in(await mail_to(town, new, CONFIRM)))).status == 204
    assert (await account(town, ada)).items() >= {"email": new, "email_verified": True}.items()
    assert await signed_in(town, new)
    assert (await sign_in(town, ada.email)).status == 401


async def test_the_same_address_again_is_another_mail_and_nothing_else(town: Town) -> None:
    ada = await town.register("ada")
    first = await mail_to(town, ada.email, CONFIRM)
    assert (await change(town, ada, ada.email)).status == 202
    second = await mail_to(town, ada.email, CONFIRM, 2)
    assert (await verify(town, token_in(first))).status == 422, "the newest counts"
    assert (await verify(town, token_in(second))).status == 204
    await jobs_done(town)
    assert not [mail for mail in mails_to(town, ada.email) if CHANGING in mail.subject]


async def test_an_address_changes_only_with_the_password_and_to_a_free_one(town: Town) -> None:
    ada, grace = await town.register("ada"), await town.register("grace")
    new = f"{town.handle('countess')}@example.org"
    wrong = await change(town, ada, new, "not the password")
    assert (wrong.status, wrong.json["errors"][0]["pointer"]) == (422, "/password")
    taken = await change(town, ada, grace.email.upper())
    assert (taken.status, taken.code) == (409, "taken")
    assert (await change(town, ada, "nowhere")).status == 422
    await jobs_done(town)
    assert mails_to(town, new) == []


async def test_of_two_who_prove_one_address_the_first_has_it(town: Town) -> None:
    ada, grace = await town.register("ada"), await town.register("grace")
    new = f"{town.handle('shared')}@example.org"
    for person in (ada, grace):
        assert (await change(town, person, new)).status == 202
    tokens = [token_in(await mail_to(town, new, CONFIRM, number)) for number in (1, 2)]
    answers = await asyncio.gather(*(verify(town, token) for token in tokens))
    assert sorted(answer.status for answer in answers) == [204, 409]
    assert sorted([(await account(town, person))["email"] == new for person in (ada, grace)]) == [False, True]


async def test_a_new_password_is_set_with_a_mail_and_everything_else_ends(town: Town) -> None:
    ada = await town.register("ada")
    elsewhere = await sign_in(town, ada.handle)
    pat = (await make_token(town, ada, "read"))["token"]
    assert (await ask_for_reset(town, ada.email.upper())).status == 202
    mail = await mail_to(town, ada.email, NEW)
    assert f"{town.settings.public_url}/reset?token={token_in(mail)}" in mail.text
    assert (await reset(town, token_in(mail))).status == 204
    assert (await sign_in(town, ada.handle)).status == 401
    assert (await refresh(town, cookie(elsewhere))).status == 401
    assert (await town.users.get(f"/profile/{ada.id}", as_=pat)).status == 401
    fresh = await signed_in(town, ada.handle, NEW_PASSWORD)
    assert (await account(town, fresh))["email_verified"] is True, "whoever reads the mail has the address"
    assert (await reset(town, token_in(mail))).status == 422
    await mail_to(town, ada.email, "password has been changed")


async def test_a_weak_password_is_refused_and_the_token_stays_good(town: Town) -> None:
    ada = await town.register("ada")
    await ask_for_reset(town, ada.email)
    token = token_in(await mail_to(town, ada.email, NEW))
    for weak in ("short", "qwertyuiop", ada.email):
        answer = await reset(town, token, weak)
        assert (answer.status, answer.json["errors"][0]["pointer"]) == (422, "/password")
    assert (await reset(town, token)).status == 204


async def test_of_two_who_use_one_token_at_once_one_sets_the_password(town: Town) -> None:
    ada = await town.register("ada")
    await ask_for_reset(town, ada.email)
    token = token_in(await mail_to(town, ada.email, NEW))
    wanted = [f"{NEW_PASSWORD} {number}" for number in range(3)]
    answers = await asyncio.gather(*(reset(town, token, password) for password in wanted))
    assert sorted(answer.status for answer in answers) == [204, 422, 422]
    [set_] = [password for password, answer in zip(wanted, answers, strict=True) if answer.status == 204]
    assert (await sign_in(town, ada.handle, set_)).status == 200


async def test_nobody_learns_whether_there_is_such_an_account(town: Town) -> None:
    ada = await town.register("ada")
    known, unknown = await ask_for_reset(town, ada.email), await ask_for_reset(town, f"{town.handle()}@example.org")
    assert (known.status, known.body) == (unknown.status, unknown.body)
    known_headers, unknown_headers = [set(answer.headers) for answer in (known, unknown)]
    assert known_headers == unknown_headers


async def test_the_request_does_the_same_work_whether_there_is_such_an_account(town: Town) -> None:
    """It leaves one job behind, of one kind, which alone looks for the account."""
    ada = await town.register("ada")
    await jobs_done(town)
    for email in (ada.email, f"{town.handle()}@example.org"):
        before = await town.database("users").fetchval("SELECT last_value FROM pgqueuer_id_seq")
        await ask_for_reset(town, email)
        first = await town.database("users").fetchval(
            "SELECT count(*) FROM pgqueuer_log WHERE job_id = $1 + 1 AND entrypoint = 'mail-reset'", before
        )
        assert first, email
        await jobs_done(town)


async def test_the_mail_goes_to_the_accounts_own_address_not_to_a_look_alike(town: Town) -> None:
    """ß and ss are one letter when case is folded, and two different domains."""
    ada = await town.register("ada", email=f"{town.handle('ada')}@strasse.example")
    look_alike = ada.email.replace("strasse", "straße")
    assert (await ask_for_reset(town, look_alike)).status == 202
    assert token_in(await mail_to(town, ada.email, NEW))
    assert mails_to(town, look_alike) == []


async def test_nobodys_mailbox_is_filled(town: Town) -> None:
    ada = await town.register("ada")
    for _ in range(MOST_MAILS + 3):
        assert (await ask_for_reset(town, ada.email)).status == 202
    await jobs_done(town)
    mails = [mail for mail in mails_to(town, ada.email) if NEW in mail.subject]
    assert len(mails) == MOST_MAILS
    assert (await reset(town, token_in(mails[0]))).status == 204, "asking again voids nothing: anybody can ask"


async def test_nobody_fills_anothers_mailbox_by_changing_to_it(town: Town) -> None:
    ada = await town.register("ada")
    victim = f"{town.handle('victim')}@example.org"
    answers = [await change(town, ada, victim) for _ in range(MOST_MAILS + 1)]
    assert {answer.status for answer in answers[: MOST_MAILS - 1]} == {202}, "the registration's own mail counts too"
    assert (answers[-1].status, answers[-1].code) == (429, "rate_limited")
    assert "Retry-After" in answers[-1].headers


async def test_what_was_mailed_under_an_old_address_sets_no_password(town: Town) -> None:
    ada = await town.register("ada")
    await ask_for_reset(town, ada.email)
    old = token_in(await mail_to(town, ada.email, NEW))
    new = f"{town.handle('countess')}@example.org"
    await change(town, ada, new)
    assert (await verify(town, token_in(await mail_to(town, new, CONFIRM)))).status == 204
    assert (await reset(town, old)).status == 422


async def test_a_change_of_address_begun_under_an_old_password_is_void(town: Town) -> None:
    """Else a thief would wait for the owner's reset, and then take the account with it."""
    ada = await town.register("ada")
    thief = f"{town.handle('thief')}@example.org"
    await change(town, ada, thief)
    token = token_in(await mail_to(town, thief, CONFIRM))
    await ask_for_reset(town, ada.email)
    assert (await reset(town, token_in(await mail_to(town, ada.email, NEW)))).status == 204
    assert (await verify(town, token)).status == 422
    body = {"current": NEW_PASSWORD, "new": PASSWORD}
    fresh = await signed_in(town, ada.handle, NEW_PASSWORD)
    await ask_for_reset(town, ada.email)
    resetting = token_in(await mail_to(town, ada.email, NEW, 2))
    assert (await town.users.put("/account/password", as_=fresh, json=body)).status == 204
    assert (await reset(town, resetting)).status == 422


async def test_tokens_are_kept_as_hashes_alone(town: Town) -> None:
    ada = await town.register("ada")
    token = token_in(await mail_to(town, ada.email, CONFIRM))
    await jobs_done(town)
    for table in ("mailed_tokens", "pgqueuer", "pgqueuer_log", "outbox"):
        rows = await town.database("users").fetch(f"SELECT t::text AS row FROM {table} AS t")
        assert not any(token in row["row"] for row in rows), table
    payloads = await town.database("users").fetch("SELECT convert_from(payload, 'UTF8') AS payload FROM pgqueuer")
    assert not any(token in row["payload"] for row in payloads)


async def test_what_has_ended_is_forgotten(town: Town) -> None:
    ada = await town.register("ada")
    first = await sign_in(town, ada.handle)
    await refresh(town, cookie(first))
    users = town.database("users")
    await users.execute("UPDATE used_refresh_tokens SET used_at = now() - interval '31 days'")
    await users.execute(
        "UPDATE sessions SET expires_at = now() - interval '1 s' WHERE id = "
        "(SELECT id FROM sessions WHERE person_id = $1 ORDER BY id LIMIT 1)",
        ada.id,
    )
    await later(town, ada)
    await forget_expired(JobContext(users, town.settings, get_logger("test")), Nothing())
    assert await users.fetchval("SELECT count(*) FROM mailed_tokens WHERE person_id = $1", ada.id) == 0
    assert await users.fetchval("SELECT count(*) FROM sessions WHERE person_id = $1", ada.id) == 1
    assert await users.fetchval("SELECT count(*) FROM used_refresh_tokens") == 0


@asynccontextmanager
async def mailing_through(town: Town, server: str) -> AsyncIterator[None]:
    """Have the running platform send its mail through an SMTP server."""
    msgspec.structs.force_setattr(town.settings, "smtp_url", f"smtp://{server}")
    try:
        yield
    finally:
        msgspec.structs.force_setattr(town.settings, "smtp_url", None)


async def test_mail_goes_through_smtp_where_it_is_configured(town: Town) -> None:
    inbox = Inbox()
    await jobs_done(town)
    async with smtp_server(inbox) as server, mailing_through(town, server):
        ada = await town.register("ada")
        await until(lambda: len(inbox.mails) == 1)
    [(_, recipients, message)] = inbox.mails
    assert recipients == [ada.email]
    token = message.get_content().split("token=")[1].split()[0]
    assert (await verify(town, token)).status == 204
    assert mails_to(town, ada.email) == []


async def test_a_mail_is_sent_when_the_server_is_back(town: Town) -> None:
    inbox = Inbox()
    async with smtp_server(inbox) as server:
        pass
    users = town.database("users")
    async with mailing_through(town, server):
        ada = await town.register("ada")
        async with asyncio.timeout(20):
            while not await users.fetchval(
                "SELECT EXISTS (SELECT FROM pgqueuer WHERE attempts > 0 AND convert_from(payload, 'UTF8') LIKE $1)",
                f"%{ada.email}%",
            ):
                await asyncio.sleep(0.02)
        async with smtp_server(inbox, int(server.rpartition(":")[2])):
            await users.execute("UPDATE pgqueuer SET execute_after = now() WHERE attempts > 0")
            await until(lambda: len(inbox.mails) == 1)
    assert inbox.mails[0][1] == [ada.email]
