"""Signing in: sessions with rotating refresh tokens, and the access tokens that every service accepts.

A session is a family of refresh tokens of which only the newest is good. One that is used a second time has been copied: the
whole session ends, and so does whatever the thief made of it. An access token lives five minutes, also after a sign-out.

Two tabs of one browser may refresh at the same moment with the one cookie they share. The second is then told to try again
(409, `Retry-After`), and does so with the cookie that the first has got. For these seconds a replay ends nothing, but
it gives nothing either; what is not accepted is to answer both, for then a copied token would be worth a session.
"""

from datetime import datetime, timedelta
from typing import Annotated, Final
from uuid import UUID

import asyncpg
from litestar import Response, delete, get, post
from litestar.params import FromPath, JSONBody
from msgspec import Meta, Struct

from townsquare.kit.asgi import AnyRequest
from townsquare.kit.calls import call_of
from townsquare.kit.clock import now
from townsquare.kit.context import Context
from townsquare.kit.database import Database
from townsquare.kit.dependencies import Ctx, Db, SignedIn, Transaction
from townsquare.kit.identity import ACCESS_SECONDS, SESSION_COOKIE, require_same_site
from townsquare.kit.ids import new_id
from townsquare.kit.logs import get_logger
from townsquare.kit.pages import DEFAULT_LIMIT, CursorText, Limit, Page, after_id, answer_page, page_of
from townsquare.kit.problems import Problem, not_found
from townsquare.kit.writes import Write
from townsquare.services.users.attempts import count_from_here, count_sign_in, remember_device
from townsquare.services.users.email import email_key
from townsquare.services.users.passwords import GivenPassword, hash_password, needs_rehash, password_matches
from townsquare.services.users.proof import lock_verified
from townsquare.services.users.second_factor import require_second_factor
from townsquare.services.users.tokens import new_token, token_hash

REFRESH_COOKIE: Final = "townsquare_refresh"
REFRESH_DAYS: Final = 30
MOST_SESSIONS: Final = 100
"""Of one person; the oldest end. A script that signs in anew each time must not fill the table."""
COOKIE_SECONDS: Final = ACCESS_SECONDS - 10
"""The browser drops the cookie before its token ends: an expired one would be refused where no one at all is let in."""


class SignIn(Struct, frozen=True, forbid_unknown_fields=True):
    """Who signs in: by handle or e-mail address; `code` is of the second factor, where there is one."""

    login: Annotated[str, Meta(min_length=1, max_length=320)]
    password: GivenPassword
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
    created_at: datetime
    used_at: datetime
    current: bool


# By people_handle_idx or accounts_email_key_idx.
FIND_ACCOUNT: Final = """
SELECT p.id, a.password_hash
FROM people AS p
JOIN accounts AS a ON a.person_id = p.id
"""
FIND_BY_HANDLE: Final = FIND_ACCOUNT + "WHERE p.handle = $1"
FIND_BY_EMAIL: Final = FIND_ACCOUNT + "WHERE a.email_key = $1"

REHASH: Final = "UPDATE accounts SET password_hash = $2 WHERE person_id = $1"

# The newest are the first of sessions_person_id_idx, read backward.
END_OLDEST: Final = """
DELETE FROM sessions
WHERE person_id = $1
  AND id <= (SELECT id FROM sessions WHERE person_id = $1 ORDER BY id DESC OFFSET $2 LIMIT 1)
"""

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

# By primary key, both. Seconds by the database's clock, which wrote `used_at`.
FIND_USED: Final = """
SELECT session_id, used_at > now() - interval '10 seconds' AS just_now
FROM used_refresh_tokens
WHERE refresh_hash = $1
"""
END_FAMILY: Final = "DELETE FROM sessions WHERE id = $1"

# By sessions_refresh_hash_idx, or by the primary keys where another tab has just used the token up.
END_BY_TOKEN: Final = """
DELETE FROM sessions
WHERE id IN (
    SELECT id FROM sessions WHERE refresh_hash = $1
    UNION ALL
    SELECT session_id FROM used_refresh_tokens WHERE refresh_hash = $1
)
"""
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
async def log_in(
    request: AnyRequest, context: Ctx, db: Db, write: Transaction, data: JSONBody[SignIn]
) -> Response[Credentials]:
    """Sign in; the answer is the same, and takes as long, whether the account exists or not."""
    count_from_here(request, context)
    found = await _find_account(db, data.login.strip())
    count_sign_in(request, context, data.login, None if found is None else found["id"])
    matches = await password_matches(data.password, None if found is None else found["password_hash"])
    if found is None or not matches:
        raise Problem("wrong_credentials")
    stale = needs_rehash(found["password_hash"])
    rehashed = await hash_password(data.password) if stale else None
    account = await lock_verified(write, found["id"], found["password_hash"])
    if account is None:
        raise Problem("wrong_credentials")
    if account["suspended_at"] is not None:
        raise Problem("forbidden", "This account is suspended.")
    await require_second_factor(write, account, data.code)
    if rehashed is not None:
        await write.execute(REHASH, account["id"], rehashed)
    person = SignedInPerson(account["id"], account["handle"], account["display_name"])
    return await begin_session(request, context, write, person)


@post("/refresh", status_code=200)
async def refresh(request: AnyRequest, context: Ctx, write: Transaction) -> Response[Credentials]:
    """Exchange the refresh cookie for a new one and a new access token; the old one is used up."""
    hashed = token_hash(_presented(request))
    row = await write.fetchrow(LOCK_SESSION, hashed)
    if row is None:
        raise await _unknown_token(write, hashed)
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
    viewer = call_of(request.scope).viewer
    if token is not None:
        require_same_site(dict(request.scope["headers"]))
        await write.execute(END_BY_TOKEN, token_hash(token))
    if viewer is not None and viewer.session is not None:
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
        return Session(row["id"], row["user_agent"], row["created_at"], row["used_at"], current)

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
    """Start a session in the caller's transaction, and answer its credentials and cookies; raises `cross_site`."""
    require_same_site(dict(request.scope["headers"]))  # nobody is signed in to somebody else's account by a page they visit
    session, token, at = new_id(), new_token(), now()
    agent = request.headers.get("user-agent", "")[:300]
    await write.execute(END_OLDEST, person.id, MOST_SESSIONS - 1)
    await write.execute(ADD_SESSION, session, person.id, token_hash(token), agent, at, at + timedelta(days=REFRESH_DAYS))
    answer = _answer(context, person, session, token, status=status)
    remember_device(answer, context, person.id)
    return answer


async def _find_account(db: Database, login: str) -> asyncpg.Record | None:
    if "@" in login[1:]:
        return await db.fetchrow(FIND_BY_EMAIL, email_key(login))
    return await db.fetchrow(FIND_BY_HANDLE, login.removeprefix("@").lower())


async def _unknown_token(write: Write, hashed: bytes) -> Problem:
    """Say why a token is not the newest of any session; one that was used before ends its family."""
    used = await write.fetchrow(FIND_USED, hashed)
    if used is not None and used["just_now"]:
        said = "This session has just been refreshed; send its new cookie."
        return Problem("in_flight", said, headers={"Retry-After": "1"})
    if used is not None:
        get_logger("users").warning("refresh token used twice; its session ends", session=str(used["session_id"]))
        await write.execute(END_FAMILY, used["session_id"])
        await write.commit()  # the answer is an error, and the end of the session must stand all the same
    return Problem("invalid_token", "Sign in again.")


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
        (SESSION_COOKIE, access, COOKIE_SECONDS),
    ):
        response.set_cookie(name, value, max_age=seconds, path="/", httponly=True, samesite="lax", secure=_secure(context))
    response.headers["Cache-Control"] = "no-store"
    return response


def _secure(context: Context) -> bool:
    return context.settings.public_url.startswith("https://")


ROUTES: Final = (log_in, refresh, log_out, list_sessions, end_session, end_other_sessions)
