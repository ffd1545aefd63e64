"""The way from a request to its handler: what the framework promises holds also where it is gone round."""

from typing import Annotated, Any
from uuid import UUID

import msgspec
import pytest
from litestar import Litestar, Response, get, post
from litestar.di import NamedDependency, Provide
from litestar.exceptions import (
    MethodNotAllowedException,
    NotFoundException,
    SerializationException,
    ValidationException,
)
from litestar.params import FromPath, FromQuery, JSONBody, PathParameter, SkipValidation
from litestar.types import Scope
from msgspec import Struct

from townsquare.kit.dispatch import Dispatch
from townsquare.kit.problems import Problem

Who = NamedDependency[SkipValidation[str]]


class Thing(Struct):
    """What every handler here answers."""

    name: str
    who: str = "nobody"


def who(scope: Scope) -> str:
    """Return who asks; raises for a stranger."""
    name = dict(scope["headers"]).get(b"who", b"")
    if name == b"stranger":
        raise Problem("unauthenticated")
    return name.decode()


def only_friends(connection: Any, _: Any) -> None:
    """Guard."""
    if (b"who", b"friend") not in connection.scope["headers"]:
        raise Problem("forbidden")


@get("/texts/{name:str}")
async def read_text(name: FromPath[str], who: Who) -> Thing:
    return Thing(name, who)


@get("/ids/{key:uuid}")
async def read_id(key: FromPath[UUID]) -> Thing:
    return Thing(type(key).__name__)


@get("/short/{name:str}")
async def read_short(name: Annotated[str, PathParameter(max_length=3)]) -> Thing:
    return Thing(name)


@get("/many")
async def read_many(limit: FromQuery[int] = 20) -> Thing:
    return Thing(str(limit))


@get("/guarded/{name:str}", guards=[only_friends])
async def read_guarded(name: FromPath[str]) -> Thing:
    return Thing(name)


@get("/plain", media_type="text/plain")
async def read_plain() -> str:
    return "plain"


@post("/things")
async def make(data: JSONBody[Thing], who: Who) -> Response[Thing]:
    return Response(data, headers={"Location": f"/things/{data.name}"})


@pytest.fixture(scope="module")
def app() -> Dispatch:
    """An app of every kind of handler."""
    routes = [read_text, read_id, read_short, read_many, read_guarded, read_plain, make]
    return Dispatch(Litestar(routes, dependencies={"who": Provide(who, sync_to_thread=False)}, openapi_config=None))


async def answer(app: Dispatch, method: str, target: str, *, body: bytes = b"", name: str = "") -> tuple[int, Any, bytes]:
    """Send one request; returns status, headers and body."""
    path, _, query = target.partition("?")
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), (b"who", name.encode())]
    scope: Any = {
        "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": query.encode(),
        "headers": headers, "scheme": "http", "server": ("here", 80), "client": ("there", 1), "http_version": "1.1",
        "root_path": "", "asgi": {"version": "3.0"}, "state": {},
    }  # fmt: skip
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent[0]["status"], dict(sent[0]["headers"]), b"".join(part.get("body", b"") for part in sent[1:])


async def test_a_text_of_the_path_and_what_is_provided_reach_the_handler(app: Dispatch) -> None:
    status, headers, body = await answer(app, "GET", "/texts/abc", name="ada")
    assert (status, msgspec.json.decode(body)) == (200, {"name": "abc", "who": "ada"})
    assert headers == {b"content-type": b"application/json", b"content-length": b"%d" % len(body)}


async def test_an_id_of_the_path_is_an_id(app: Dispatch) -> None:
    assert b"UUID" in (await answer(app, "GET", "/ids/01900000-0000-7000-8000-000000000001"))[2]
    with pytest.raises(NotFoundException):
        await answer(app, "GET", "/ids/1")


async def test_rules_for_the_path_are_kept(app: Dispatch) -> None:
    assert (await answer(app, "GET", "/short/abc"))[0] == 200
    with pytest.raises(ValidationException):
        await answer(app, "GET", "/short/abcd")


async def test_the_query_is_read_and_checked(app: Dispatch) -> None:
    assert b'"20"' in (await answer(app, "GET", "/many"))[2]
    assert b'"5"' in (await answer(app, "GET", "/many?limit=5"))[2]
    with pytest.raises(ValidationException):
        await answer(app, "GET", "/many?limit=five")


async def test_guards_stand_before_the_handler(app: Dispatch) -> None:
    assert (await answer(app, "GET", "/guarded/abc", name="friend"))[0] == 200
    with pytest.raises(Problem, match="not yours"):
        await answer(app, "GET", "/guarded/abc", name="ada")


async def test_who_may_not_ask_hears_nothing_of_what_they_sent(app: Dispatch) -> None:
    with pytest.raises(Problem, match="Sign in"):
        await answer(app, "POST", "/things", body=b'{"name": 5}', name="stranger")
    with pytest.raises(ValidationException):
        await answer(app, "POST", "/things", body=b'{"name": 5}', name="ada")
    with pytest.raises(SerializationException):
        await answer(app, "POST", "/things", body=b"{", name="ada")


async def test_an_answer_has_its_own_headers_and_the_routes_status(app: Dispatch) -> None:
    status, headers, _ = await answer(app, "POST", "/things", body=b'{"name": "new"}')
    assert (status, headers[b"location"]) == (201, b"/things/new")


async def test_what_is_no_json_goes_the_frameworks_way(app: Dispatch) -> None:
    status, headers, body = await answer(app, "GET", "/plain")
    assert (status, headers[b"content-type"], body) == (200, b"text/plain; charset=utf-8", b"plain")


async def test_a_path_says_which_methods_it_takes(app: Dispatch) -> None:
    assert await answer(app, "OPTIONS", "/things") == (204, {b"allow": b"OPTIONS, POST"}, b"")
    with pytest.raises(MethodNotAllowedException):
        await answer(app, "GET", "/things")
