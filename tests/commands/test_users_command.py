"""`townsquare users`: what the operator sees and does, and what becomes of it over HTTP."""

import re
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pyotp
import pytest

from testbed.command_line import CommandLine
from testbed.town import PASSWORD, Answer, Person, Town

NEW_PASSWORD = "a quite different passphrase"


async def sign_in(town: Town, person: Person, password: str = PASSWORD) -> Answer:
    return await town.users.post("/login", json={"login": person.handle, "password": password})


async def refresh(town: Town, signed_in: Answer) -> Answer:
    cookie = f"townsquare_refresh={signed_in.cookies['townsquare_refresh']}"
    return await town.users.post("/refresh", headers={"Cookie": cookie})


async def personal_token(town: Town, person: Person) -> str:
    made = await town.users.post("/tokens", as_=person, json={"name": "a program", "scopes": ["read", "write"]})
    assert made.status == 201, made.body
    return made.json["token"]


async def test_the_list_is_newest_first_page_by_page(square: Town, cli: CommandLine) -> None:
    people = [await square.register(name) for name in ("ada", "grace", "joan")]
    newest = [person.handle for person in reversed(people)]
    first = (await cli.beside("users", "list", "--limit", "2", "--json")).json
    assert [item["handle"] for item in first["items"]] == newest[:2]
    assert set(first["items"][0]) == {"id", "handle", "display_name", "email", "state", "created_at"}
    rest = (await cli.beside("users", "list", "--json", "--limit", "1000", "--cursor", first["next_cursor"])).json
    assert rest["items"][0]["handle"] == newest[2]
    assert rest["next_cursor"] is None
    shown = await cli.beside("users", "list", "--limit", "2")
    assert newest[0] in shown.out
    assert f"There are more: --cursor {first['next_cursor']}" in shown.out


async def test_a_cursor_of_another_making_is_one_sentence(square: Town, cli: CommandLine) -> None:
    ran = await cli.beside("users", "list", "--cursor", "x")
    assert (ran.status, ran.err) == (1, "townsquare: --cursor: This cursor was not made by this list.\n")


async def test_people_are_found_by_handle_name_or_whole_address_the_hidden_too(square: Town, cli: CommandLine) -> None:
    word = f"zyx{uuid4().hex[:8]}"
    person = await square.register("quentin", display_name=f"Quentin {word.title()} [bold]Tarn[/]")
    await square.database("users").execute("UPDATE people SET hidden_at = now() WHERE id = $1", person.id)
    for text in (person.handle, person.handle[:-1], word, word[:6].upper(), person.email, person.email.upper()):
        found = (await cli.beside("users", "list", "--search", text, "--json")).json
        assert str(person.id) in [item["id"] for item in found["items"]], text
    for text in ("nobody@example.org", "...", f"{word}x"):
        ran = await cli.beside("users", "list", "--search", text)
        assert (ran.status, ran.out) == (0, "Nothing to show.\n")
    table = (await cli.beside("users", "list", "--search", word)).out
    assert "[bold]Tarn[/]" in table, "a name is shown as it is"
    assert max(map(len, table.splitlines())) > 100, "nothing is folded where no terminal is"


async def test_accounts_are_listed_by_their_state(square: Town, cli: CommandLine) -> None:
    name = f"yw{uuid4().hex[:8]}"
    states = {}
    for state in ("unverified", "active", "suspended", "leaving"):
        states[(await square.register(f"{name}_{state[:4]}")).handle] = state
    _, active, suspended, leaving = states
    for command in (
        ["verify-email", active],
        ["verify-email", leaving],
        ["suspend", suspended],
        ["delete", leaving, "--yes"],
    ):
        assert (await cli.beside("users", *command)).status == 0
    everyone = (await cli.beside("users", "list", "--search", name, "--json")).json["items"]
    assert {item["handle"]: item["state"] for item in everyone} == states
    for handle, state in states.items():
        found = (await cli.beside("users", "list", "--search", name, "--state", state, "--json")).json["items"]
        assert [item["handle"] for item in found] == [handle]


@pytest.mark.parametrize("form", ["{0.handle}", "@{0.handle}", "{0.id}", "{0.email}"])
async def test_an_account_is_shown_by_handle_id_or_address(square: Town, cli: CommandLine, form: str) -> None:
    ada = await square.register("ada")
    await personal_token(square, ada)
    shown = (await cli.beside("users", "show", form.format(ada), "--json")).json
    assert (shown["id"], shown["handle"], shown["email"]) == (str(ada.id), ada.handle, ada.email)
    assert (shown["sessions"], shown["personal_tokens"], shown["second_factor"]) == (1, 1, False)
    assert (shown["suspended_at"], shown["delete_after"], shown["email_verified_at"]) == (None, None, None)
    assert "hash" not in str(shown)
    assert PASSWORD not in str(shown)
    assert ada.email in (await cli.beside("users", "show", form.format(ada))).out


@pytest.mark.parametrize(
    "who", ["nobody_here", "@nobody_here", "nobody@example.org", "0198c7a2-5f60-7000-8000-000000000000", "@", "%"]
)
async def test_somebody_who_is_not_there_is_one_sentence(square: Town, cli: CommandLine, who: str) -> None:
    for command in ("show", "suspend", "reset-password"):
        ran = await cli.beside("users", command, who)
        assert (ran.status, ran.out, ran.err) == (1, "", f"townsquare: there is nobody called {who} here\n")


async def test_who_is_suspended_can_neither_sign_in_nor_refresh_nor_use_a_personal_token(
    square: Town, cli: CommandLine
) -> None:
    ada, grace = await square.register("ada"), await square.register("grace")
    signed_in, token = await sign_in(square, ada), await personal_token(square, ada)
    ran = await cli.beside("users", "suspend", ada.handle)
    assert (ran.status, ran.out) == (0, f"@{ada.handle} is suspended.\n")

    refused = await sign_in(square, ada)
    assert (refused.status, refused.code) == (403, "forbidden")
    assert (await sign_in(square, ada, "not the password")).code == "wrong_credentials", "a stranger is not told"
    assert (await refresh(square, signed_in)).status == 401
    assert (await square.users.get("/account", as_=token)).status == 401
    assert (await square.content.post("/posts", as_=token, json={"text": "Hello"})).status == 401
    assert (await sign_in(square, grace)).status == 200
    assert (await square.users.get(f"/profile/@{ada.handle}")).status == 200, "the profile stays"

    again = (await cli.beside("users", "suspend", ada.handle, "--json")).json
    assert again["changed"] is False
    assert again["account"]["suspended_at"] is not None
    assert again["account"]["sessions"] == 0


async def test_who_is_no_longer_suspended_signs_in_and_uses_the_token_but_not_the_old_session(
    square: Town, cli: CommandLine
) -> None:
    ada = await square.register("ada")
    signed_in, token = await sign_in(square, ada), await personal_token(square, ada)
    await cli.beside("users", "suspend", ada.handle)
    assert (await cli.beside("users", "unsuspend", ada.handle)).out == f"@{ada.handle} may sign in again.\n"
    assert (await sign_in(square, ada)).status == 200
    assert (await refresh(square, signed_in)).status == 401
    assert (await square.content.post("/posts", as_=token, json={"text": "Hello"})).status == 201
    assert (await cli.beside("users", "unsuspend", ada.handle, "--json")).json["changed"] is False


async def test_a_password_is_reset_by_a_printed_link_that_is_good_once(square: Town, cli: CommandLine) -> None:
    ada = await square.register("ada")
    void = (await cli.beside("users", "reset-password", ada.handle, "--print", "--json")).json
    reset = (await cli.beside("users", "reset-password", ada.handle, "--print", "--json")).json
    assert reset["link"] == f"{square.settings.public_url}/reset?token={reset['token']}"
    assert reset["link"] not in (await cli.beside("mail", "--json", "--data", str(cli.data))).out, "nothing is mailed"

    async def confirm(token: str) -> int:
        return (await square.users.post("/password-reset/confirm", json={"token": token, "password": NEW_PASSWORD})).status

    assert [await confirm(void["token"]), await confirm(reset["token"]), await confirm(reset["token"])] == [422, 204, 422]
    assert [(await sign_in(square, ada, password)).status for password in (PASSWORD, NEW_PASSWORD)] == [401, 200]


async def test_a_password_reset_is_mailed_by_the_platform(square: Town, cli: CommandLine) -> None:
    ada = await square.register("ada")
    ran = await cli.beside("users", "reset-password", ada.handle)
    assert (ran.status, ran.out) == (0, f"A mail for @{ada.handle} is on its way to {ada.email}.\n")
    found: list[str] = []
    while not found:
        mail = await cli.beside("mail", "show", "--to", ada.email)
        found = re.findall(r"/reset\?token=(\S+)", mail.out)
    answer = await square.users.post("/password-reset/confirm", json={"token": found[0], "password": NEW_PASSWORD})
    assert answer.status == 204


async def test_an_address_is_taken_as_proven(square: Town, cli: CommandLine) -> None:
    ada = await square.register("ada")
    assert (await cli.beside("users", "verify-email", ada.handle, "--json")).json["changed"] is True
    assert (await square.users.get("/account", as_=ada)).json["email_verified"] is True
    again = await cli.beside("users", "verify-email", ada.handle)
    assert again.out == f"@{ada.handle} had a proven address already; nothing was changed.\n"


async def test_who_has_lost_the_device_signs_in_with_the_password_alone(square: Town, cli: CommandLine) -> None:
    ada = await square.register("ada")
    enrolled = await square.users.post("/account/second-factor", as_=ada, json={"password": PASSWORD})
    code = pyotp.TOTP(enrolled.json["secret"]).now()
    await square.users.post("/account/second-factor/confirm", as_=ada, json={"code": code})
    assert (await sign_in(square, ada)).code == "second_factor_required"
    assert (await cli.beside("users", "show", ada.handle, "--json")).json["second_factor"] is True
    assert (await cli.beside("users", "disable-second-factor", ada.handle, "--json")).json["changed"] is True
    assert (await sign_in(square, ada)).status == 200
    codes = await square.database("users").fetchval("SELECT count(*) FROM recovery_codes WHERE person_id = $1", ada.id)
    assert codes == 0
    assert (await cli.beside("users", "disable-second-factor", ada.handle, "--json")).json["changed"] is False


@pytest.mark.parametrize("tokens", [False, True])
async def test_somebody_is_signed_out_everywhere(square: Town, cli: CommandLine, tokens: bool) -> None:
    ada = await square.register("ada")
    signed_in, token = await sign_in(square, ada), await personal_token(square, ada)
    option = ["--tokens"] if tokens else []
    ended = (await cli.beside("users", "end-sessions", ada.handle, *option, "--json")).json
    assert (ended["changed"], ended["account"]["sessions"]) == (True, 0)
    assert (await refresh(square, signed_in)).status == 401
    assert (await square.content.post("/posts", as_=token, json={"text": "Hello"})).status == (401 if tokens else 201)
    assert (await cli.beside("users", "end-sessions", ada.handle, *option, "--json")).json["changed"] is False


async def test_who_is_deleted_is_hidden_at_once_and_may_be_restored(square: Town, cli: CommandLine) -> None:
    ada = await square.register("ada")
    deleted = (await cli.beside("users", "delete", ada.handle, "--yes", "--json")).json["account"]
    gone_at = datetime.fromisoformat(deleted["delete_after"])
    assert timedelta(days=29, hours=23) < gone_at - datetime.now(UTC) <= timedelta(days=30)
    assert deleted["sessions"] == 0
    assert (await square.users.get(f"/profile/@{ada.handle}")).status == 404
    await square.settle()
    told = "SELECT count(*) FROM people WHERE id = $1 AND {} "
    assert (await cli.beside("users", "delete", ada.handle, "--yes", "--json")).json["changed"] is False
    assert (await cli.beside("users", "restore", ada.handle)).out == f"@{ada.handle} stays.\n"
    assert (await square.users.get(f"/profile/@{ada.handle}")).status == 200
    await square.settle()
    assert await square.database("content").fetchval(told.format("handle IS NOT NULL"), ada.id) == 1
    assert (await cli.beside("users", "restore", ada.handle, "--json")).json["changed"] is False


async def test_who_is_suspended_and_deleted_cannot_come_back(square: Town, cli: CommandLine) -> None:
    ada = await square.register("ada")
    for command in (["suspend", ada.handle], ["delete", ada.handle, "--yes"]):
        await cli.beside("users", *command)
    assert (await sign_in(square, ada)).status == 403


async def test_a_deletion_without_grace_is_due_at_once(square: Town, cli: CommandLine) -> None:
    ada = await square.register("ada")
    await cli.beside("users", "delete", ada.handle, "--yes")
    deleted = (await cli.beside("users", "delete", ada.handle, "--now", "--yes", "--json")).json
    assert deleted["changed"] is True
    assert datetime.fromisoformat(deleted["account"]["delete_after"]) <= datetime.now(UTC)


@pytest.mark.parametrize(("answer", "status"), [("n", 1), ("", 1), ("y", 0)])
async def test_a_deletion_is_asked_for(square: Town, cli: CommandLine, answer: str, status: int) -> None:
    ada = await square.register("ada")
    ran = await cli.beside("users", "delete", ada.handle, answer=answer)
    assert ran.status == status, ran
    assert (await square.users.get(f"/profile/@{ada.handle}")).status == (404 if status == 0 else 200)
    assert status == 0 or ran.err.endswith("townsquare: nothing was deleted\n")


async def test_where_nobody_can_answer_nothing_is_deleted(square: Town, cli: CommandLine) -> None:
    ada = await square.register("ada")
    ran = await cli.program("users", "delete", ada.handle)
    assert ran.status != 0
    assert "Traceback" not in ran.err
    assert (await square.users.get(f"/profile/@{ada.handle}")).status == 200


async def test_a_session_that_began_while_its_person_was_suspended_is_not_refreshed(square: Town, cli: CommandLine) -> None:
    ada = await square.register("ada")
    signed_in = await sign_in(square, ada)
    await square.database("users").execute("UPDATE accounts SET suspended_at = now() WHERE person_id = $1", ada.id)
    assert (await refresh(square, signed_in)).status == 401
    await cli.beside("users", "unsuspend", ada.handle)
    assert (await refresh(square, signed_in)).status == 200, "the refusal did not use the token up"
