"""Who may do what: every route of the service, as nobody, as somebody else, as the owner, and with the owner's tokens.

The routes are the service's own. One that is not in the table below fails the test.
"""

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from testbed.accounts import NEW_PASSWORD, make_token
from testbed.town import PASSWORD, Person, Town
from townsquare.services.users.service import DEFINITION

CALLERS = ("nobody", "another", "reading token", "writing token", "owner")


class Row(NamedTuple):
    """The statuses for CALLERS, in that order, and the body that the call needs; `{...}` in it is filled in."""

    statuses: tuple[int, int, int, int, int]
    body: object = ...


def anybody(status: int, body: object = ...) -> Row:
    """What needs no sign-in; a token that may only read changes nothing all the same."""
    return Row((status, status, 403, status, status), body)


def account(status: int, body: object = ..., another: int | None = None) -> Row:
    """What only a sign-in of one's own opens. Somebody else does it to their own account, unless `another` is given."""
    return Row((401, another or status, 403, 403, status), body)


EVERYBODY = Row((200, 200, 200, 200, 200))
SIGNED_IN = Row((401, 200, 200, 200, 200))
TO_ANOTHER = Row((401, 204, 403, 422, 422))
PROOF = {"password": PASSWORD}
TOKEN = {"token": "x" * 43}

TABLE: dict[str, Row] = {
    "POST /register": anybody(201, {"handle": "{unique}", "email": "{unique}@example.org", "password": PASSWORD}),
    "POST /login": anybody(200, {"login": "{handle}", "password": PASSWORD}),
    "POST /refresh": anybody(401),
    "POST /logout": anybody(204),
    "POST /email/verify": anybody(422, TOKEN),
    "POST /password-reset": anybody(202, {"email": "{handle}@example.org"}),
    "POST /password-reset/confirm": anybody(422, TOKEN | {"password": NEW_PASSWORD}),
    "POST /tokens/exchange": anybody(404, TOKEN),
    "GET /.well-known/jwks.json": EVERYBODY,
    "GET /account": account(200),
    "GET /account/export": account(200),
    "PUT /account/password": account(204, {"current": PASSWORD, "new": NEW_PASSWORD}),
    "DELETE /account": account(202, PROOF),
    "POST /account/restore": account(409),
    "POST /account/second-factor": account(201, PROOF),
    "POST /account/second-factor/confirm": account(409, {"code": "123456"}),
    "POST /account/second-factor/recovery-codes": account(409, PROOF),
    "DELETE /account/second-factor": account(204, PROOF),
    "POST /email": account(202, {"email": "{unique}@example.org", "password": PASSWORD}),
    "GET /sessions": account(200),
    "DELETE /sessions": account(204),
    "DELETE /sessions/{session_id}": account(204, another=404),
    "GET /tokens": account(200),
    "POST /tokens": account(201, {"name": "n", "scopes": ["read"]}),
    "GET /tokens/{token_id}": account(200, another=404),
    "DELETE /tokens/{token_id}": account(204, another=404),
    "GET /profile/{user_id}": EVERYBODY,
    "PUT /profile/{user_id}": Row((401, 403, 403, 200, 200), {"display_name": "Ada"}),
    "PATCH /profile/{user_id}": Row((401, 403, 403, 200, 200), {"bio": "Mathematics."}),
    "GET /search": EVERYBODY,
    "GET /skills": EVERYBODY,
    "GET /users/{user_id}/skills": EVERYBODY,
    "POST /users/{user_id}/skills": Row((401, 403, 403, 201, 201), {"name": "{unique}", "level": "expert"}),
    "GET /users/{user_id}/skills/{skill_id}": EVERYBODY,
    "DELETE /users/{user_id}/skills/{skill_id}": Row((401, 403, 403, 204, 204)),
    "PUT /skills/{skill_id}/endorsement": Row((401, 204, 403, 403, 403)),
    "DELETE /skills/{skill_id}/endorsement": Row((401, 204, 403, 403, 403)),
    "GET /users/{user_id}/followers": EVERYBODY,
    "GET /users/{user_id}/following": EVERYBODY,
    "PUT /users/{user_id}/follow": TO_ANOTHER,
    "DELETE /users/{user_id}/follow": TO_ANOTHER,
    "GET /blocks": SIGNED_IN,
    "PUT /users/{user_id}/block": TO_ANOTHER,
    "DELETE /users/{user_id}/block": TO_ANOTHER,
    "GET /mutes": SIGNED_IN,
    "PUT /users/{user_id}/mute": TO_ANOTHER,
    "DELETE /users/{user_id}/mute": TO_ANOTHER,
}


def routes() -> Iterator[str]:
    """Every method and path of the service, parameters without their types."""
    for handler in DEFINITION.routes:
        for path in handler.paths:
            for method in handler.http_methods:
                yield f"{method} {path.replace(':str', '').replace(':uuid', '')}"


def test_every_route_is_in_the_table_and_nothing_else() -> None:
    assert sorted(routes()) == sorted(TABLE)


@pytest.mark.parametrize("route", TABLE)
async def test_each_caller_gets_what_is_theirs_and_nothing_more(town: Town, route: str) -> None:
    owner, another = await town.register("owner"), await town.register("another")
    tokens: list[Person | str | None] = [None, another]
    tokens += [(await make_token(town, owner, *scopes))["token"] for scopes in (("read",), ("read", "write"))]
    method, path = route.split()
    got: dict[str, int] = {}
    for caller, token in zip(CALLERS, [*tokens, owner], strict=True):
        answer = await town.users.request(
            method,
            await filled(town, owner, path),
            as_=token,
            json=with_names(TABLE[route].body, town, owner),
            params={"q": "ada"} if path == "/search" else None,
        )
        got[caller] = answer.status
    assert got == dict(zip(CALLERS, TABLE[route].statuses, strict=True))


async def filled(town: Town, owner: Person, path: str) -> str:
    """Fill in things of the owner, made for this call."""
    values: dict[str, object] = {"{user_id}": owner.id}
    if "{skill_id}" in path:
        body = {"name": town.handle("skill"), "level": "expert"}
        values["{skill_id}"] = (await town.users.post(f"/users/{owner.id}/skills", as_=owner, json=body)).json["id"]
    if "{token_id}" in path:
        values["{token_id}"] = (await make_token(town, owner, "read"))["id"]
    if "{session_id}" in path:
        await town.users.post("/login", json={"login": owner.handle, "password": PASSWORD})
        values["{session_id}"] = (await town.users.get("/sessions", as_=owner)).items[0]["id"]
    for name, value in values.items():
        path = path.replace(name, str(value))
    return path


def with_names(body: object, town: Town, owner: Person) -> object:
    if not isinstance(body, dict):
        return body
    names = {"{unique}": town.handle("unique"), "{handle}": owner.handle}
    return {key: _named(value, names) for key, value in body.items()}


def _named(value: object, names: dict[str, str]) -> object:
    if isinstance(value, str):
        for name, text in names.items():
            value = value.replace(name, text)
    return value
