"""Signing in: sessions with rotating refresh tokens, and the access tokens that every service accepts.

A session is a family of refresh tokens of which only the newest is good. One that is used a second time has been copied: the
whole session ends, and so does whatever the thief made of it. An access token lives five minutes, also after a sign-out.
"""

from datetime import timedelta
from typing import Annotated, Final
from uuid import UUID

import asyncpg
from litestar import Response, delete, get, post
from litestar.params import FromPath, JSONBody
from msgspec import Meta, Struct

from townsquare.kit.asgi import AnyRequest
from townsquare.kit.clock import now
from townsquare.kit.context import Context
from townsquare.kit.dependencies import Ctx, Db, SignedIn, Transaction
from townsquare.kit.identity import ACCESS_SECONDS, SESSION_COOKIE, require_same_site
from townsquare.kit.ids import new_id
from townsquare.kit.pages import DEFAULT_LIMIT, CursorText, Limit, Page, after_id, answer_page, page_of
from townsquare.kit.problems import Problem, not_found
from townsquare.kit.writes import Write
from townsquare.services.users.passwords import hash_password, needs_rehash, password_matches
from townsquare.services.users.second_factor import require_second_factor
from townsquare.services.users.tokens import new_token, token_hash

REFRESH_COOKIE: Final = "townsquare_refresh"
REFRESH_DAYS: Final = 30


class SignIn(Struct, frozen=True, forbid_unknown_fields=True):
    """Who signs in: by handle or e-mail address; `code` is of the second factor, where there is one."""

    login: Annotated[str, Meta(min_length=1, max_length=320)]
    password: Annotated[str, Meta(min_length=1, max_length=200)]
    code: Annotated[str, Meta(max_length=40)] | None = None


class SignedInPerson(Struct, frozen=True):
    """Who has signed in."""

    id: UUID
    handle: str
    display_name: str


class Credentials(Struct, frozen=True):
    """What a sign-in gives: send `access_token` as a bearer token for `expires_in` seconds, then `POST /refresh`."""

    user: SignedInPerson
    access_token: str
    expires_in: int


class Session(Struct, frozen=True):
    """One place where somebody is signed in."""

    id: UUID
    user_agent: str
    created_at: str
    used_at: str
    current: bool


# By people_handle_idx or accounts_email_key_idx.
FIND_ACCOUNT: Final = """
SELECT p.id, p.handle, p.display_name, a.password_hash, a.totp_secret, a.totp_confirmed_at, a.totp_last_step, a.suspended_at
FROM people AS p
JOIN accounts AS a ON a.person_id = p.id
"""
FIND_BY_HANDLE: Final = FIND_ACCOUNT + "WHERE p.handle = $1"
FIND_BY_EMAIL: Final = FIND_ACCOUNT + "WHERE a.email_key = $1"

REHASH: Final = "UPDATE accounts SET password_hash = $2 WHERE person_id = $1"

ADD_SESSION: Final = """
INSERT INTO sessions (id, person_id, refresh_hash, user_agent, created_at, used_at, expires_at)
VALUES ($1, $2, $3, $4, $5, $5, $6)
"""

# By sessions_refresh_hash_idx; the row's lock lets one of two simultaneous uses win.
LOCK_SESSION: Final = """
SELECT s.id, s.person_id, s.expires_at, p.handle, p.display_name, a.suspended_at
FROM sessions AS s
JOIN people AS p ON p.id = s.person_id
JOIN accounts AS a ON a.person_id = s.person_id
WHERE s.refresh_hash = $1
FOR UPDATE OF s
"""

RETIRE_TOKEN: Final = "INSERT INTO used_refresh_tokens (refresh_hash, session_id) VALUES ($1, $2)"

ROTATE: Final = "UPDATE sessions SET refresh_hash = $2, used_at = $3, expires_at = $4 WHERE id = $1"

# By primary key: whoever shows a token that was used before ends its family.
END_FAMILY: Final = """
DELETE FROM sessions WHERE id = (SELECT session_id FROM used_refresh_tokens WHERE refresh_hash = $1)
"""

END_BY_TOKEN: Final = "DELETE FROM sessions WHERE refresh_hash = $1"
END_BY_ID: Final = "DELETE FROM sessions WHERE id = $1 AND person_id = $2 RETURNING id"
END_OTHERS: Final = "DELETE FROM sessions WHERE person_id = $1 AND id IS DISTINCT FROM $2"

# By sessions_person_id_idx.
LIST_SESSIONS: Final = """
SELECT id, user_agent, created_at, used_at
FROM sessions
WHERE person_id = $1 AND expires_at > now() AND ($2::uuid IS NULL OR id < $2)
ORDER BY id DESC
LIMIT $3
"""


@post("/login", status_code=200)
async def log_in(request: AnyRequest, context: Ctx, write: Transaction, data: JSONBody[SignIn]) -> Response[Credentials]:
    """Sign in; the answer is the same, and takes as long, whether the account exists or not."""
    login = data.login.strip().lower().removeprefix("@") if "@" not in data.login[1:] else data.login.strip().casefold()
    row = await write.fetchrow(FIND_BY_EMAIL if "@" in login else FIND_BY_HANDLE, login)
    matches = await password_matches(data.password, None if row is None else row["password_hash"])
    if row is None or not matches:
        raise Problem("wrong_credentials")
    if row["suspended_at"] is not None:
        raise Problem("forbidden", "This account is suspended.")
    await require_second_factor(write, row, data.code)
    if needs_rehash(row["password_hash"]):
        await write.execute(REHASH, row["id"], await hash_password(data.password))
    return await begin_session(request, context, write, SignedInPerson(row["id"], row["handle"], row["display_name"]))


@post("/refresh", status_code=200)
async def refresh(request: AnyRequest, context: Ctx, write: Transaction) -> Response[Credentials]:
    """Exchange the refresh cookie for a new one and a new access token; the old one is used up."""
    token = _presented(request)
    hashed = token_hash(token)
    row = await write.fetchrow(LOCK_SESSION, hashed)
    if row is None:
        await write.execute(END_FAMILY, hashed)
        await write.commit()  # the answer is an error, and the end of the session must stand all the same
        raise Problem("invalid_token", "Sign in again.")
    if row["expires_at"] < now() or row["suspended_at"] is not None:
        raise Problem("invalid_token", "Sign in again.")
    fresh = new_token()
    await write.execute(RETIRE_TOKEN, hashed, row["id"])
    await write.execute(ROTATE, row["id"], token_hash(fresh), now(), now() + timedelta(days=REFRESH_DAYS))
    person = SignedInPerson(row["person_id"], row["handle"], row["display_name"])
    return _answer(context, person, row["id"], fresh, status=200)


@post("/logout", status_code=204)
async def log_out(request: AnyRequest, context: Ctx, write: Transaction) -> Response[None]:
    """End this session and forget its cookies."""
    token = request.cookies.get(REFRESH_COOKIE)
    viewer = request.scope["call"].viewer  # pyright: ignore[reportGeneralTypeIssues]
    if token is not None:
        require_same_site(dict(request.scope["headers"]))
        await write.execute(END_BY_TOKEN, token_hash(token))
    elif viewer is not None and viewer.session is not None:
        await write.fetchrow(END_BY_ID, viewer.session, viewer.id)
    response: Response[None] = Response(None, status_code=204)
    for name in (REFRESH_COOKIE, SESSION_COOKIE):
        response.set_cookie(name, "", max_age=0, path="/", httponly=True, samesite="lax", secure=_secure(context))
    return response


@get("/sessions")
async def list_sessions(
    request: AnyRequest, db: Db, account: SignedIn, limit: Limit = DEFAULT_LIMIT, cursor: CursorText = None
) -> Response[Page[Session]]:
    """List where you are signed in, newest first."""
    rows = await db.fetch(LIST_SESSIONS, account.id, after_id(cursor), limit + 1)

    def item(row: asyncpg.Record) -> Session:
        current = row["id"] == account.session
        return Session(row["id"], row["user_agent"], row["created_at"].isoformat(), row["used_at"].isoformat(), current)

    return answer_page(request, page_of(rows, limit, item, lambda row: (row["id"],)))


@delete("/sessions/{session_id:uuid}", status_code=204)
async def end_session(write: Transaction, account: SignedIn, session_id: FromPath[UUID]) -> None:
    """Sign out somewhere else."""
    if await write.fetchrow(END_BY_ID, session_id, account.id) is None:
        raise not_found()


@delete("/sessions", status_code=204)
async def end_other_sessions(write: Transaction, account: SignedIn) -> None:
    """Sign out everywhere but here."""
    await write.execute(END_OTHERS, account.id, account.session)


async def begin_session(
    request: AnyRequest, context: Context, write: Write, person: SignedInPerson, *, status: int = 200
) -> Response[Credentials]:
    """Start a session in the caller's transaction, and answer its credentials and cookies."""
    session, token, at = new_id(), new_token(), now()
    agent = request.headers.get("user-agent", "")[:300]
    await write.execute(ADD_SESSION, session, person.id, token_hash(token), agent, at, at + timedelta(days=REFRESH_DAYS))
    return _answer(context, person, session, token, status=status)


def _presented(request: AnyRequest) -> str:
    token = request.cookies.get(REFRESH_COOKIE)
    if not token:
        raise Problem("unauthenticated", "There is no refresh cookie; sign in.")
    require_same_site(dict(request.scope["headers"]))
    return token


def _answer(
    context: Context, person: SignedInPerson, session: UUID, refresh_token: str, *, status: int
) -> Response[Credentials]:
    access = context.signer.sign(person.id, person.handle, person.display_name, session)
    response = Response(Credentials(person, access, ACCESS_SECONDS), status_code=status)
    for name, value, seconds in (
        (REFRESH_COOKIE, refresh_token, REFRESH_DAYS * 86_400),
        (SESSION_COOKIE, access, ACCESS_SECONDS),
    ):
        response.set_cookie(name, value, max_age=seconds, path="/", httponly=True, samesite="lax", secure=_secure(context))
    response.headers["Cache-Control"] = "no-store"
    return response


def _secure(context: Context) -> bool:
    return context.settings.public_url.startswith("https://")


ROUTES: Final = (log_in, refresh, log_out, list_sessions, end_session, end_other_sessions)
