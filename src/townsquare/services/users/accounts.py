"""Accounts: registering, one's own data, changing the password, leaving.

Who leaves is hidden at once and gone after thirty days; until then signing in and `POST /account/restore` undo it. A handle
that was somebody's is never given to somebody else: old links and mentions would lead to a stranger.
"""

import re
from datetime import datetime, timedelta
from typing import Annotated, Final
from uuid import UUID

import asyncpg
from litestar import Response, delete, get, post, put
from litestar.params import JSONBody
from msgspec import Meta, Struct

from townsquare.kit.asgi import AnyRequest
from townsquare.kit.clock import now
from townsquare.kit.dependencies import Ctx, Db, SignedIn, Transaction
from townsquare.kit.ids import new_id
from townsquare.kit.jobs import Job, JobContext
from townsquare.kit.outbox import NewEvent, insert_events
from townsquare.kit.problems import FieldError, Problem, invalid, not_found
from townsquare.kit.retention import Nothing
from townsquare.kit.writes import Write
from townsquare.services.users.email import EmailAddress, email_key, send_verification
from townsquare.services.users.passwords import Password, hash_password, password_matches, refuse_weak
from townsquare.services.users.people import tell_person
from townsquare.services.users.profile import DisplayName
from townsquare.services.users.second_factor import PasswordProof
from townsquare.services.users.sessions import END_OTHERS, Credentials, SignedInPerson, begin_session

GRACE: Final = timedelta(days=30)
HANDLE: Final = re.compile(r"[a-z0-9_]{2,30}")


class Registration(Struct, frozen=True, forbid_unknown_fields=True):
    """Who joins. A handle is 2 to 30 of a-z, 0-9 and _; capitals become small."""

    handle: Annotated[str, Meta(min_length=2, max_length=30, pattern=r"^[A-Za-z0-9_]+(?![\s\S])")]
    email: EmailAddress
    password: Password
    display_name: DisplayName | None = None


class Account(Struct, frozen=True, omit_defaults=True):
    """What only you may know of your account."""

    id: UUID
    handle: str
    email: str
    email_verified: bool
    second_factor: bool
    created_at: datetime
    delete_after: datetime | None = None


class PasswordChange(Struct, frozen=True, forbid_unknown_fields=True):
    """The password there was, and the one there shall be."""

    current: Annotated[str, Meta(min_length=1, max_length=200)]
    new: Password


class Farewell(Struct, frozen=True):
    """When the account will be gone."""

    delete_after: datetime


# Each by a unique index.
IS_TAKEN: Final = """
SELECT EXISTS (SELECT FROM people WHERE handle = $1) OR EXISTS (SELECT FROM retired_handles WHERE handle = $1) AS handle,
       EXISTS (SELECT FROM accounts WHERE email_key = $2) AS email
"""
ADD_PERSON: Final = "INSERT INTO people (id, handle, display_name, created_at) VALUES ($1, $2, $3, $4)"
ADD_ACCOUNT: Final = """
INSERT INTO accounts (person_id, email, email_key, password_hash, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $5)
"""
READ: Final = """
SELECT p.id, p.handle, a.email, a.email_verified_at, a.totp_confirmed_at, a.created_at, a.delete_after
FROM people AS p JOIN accounts AS a ON a.person_id = p.id
WHERE p.id = $1
"""
LOCK: Final = """
SELECT p.id, p.handle, p.display_name, p.avatar, a.password_hash, a.delete_after
FROM people AS p JOIN accounts AS a ON a.person_id = p.id
WHERE p.id = $1
FOR UPDATE
"""
SET_PASSWORD: Final = "UPDATE accounts SET password_hash = $2, updated_at = now() WHERE person_id = $1"
SET_DELETION: Final = "UPDATE accounts SET delete_after = $2, updated_at = now() WHERE person_id = $1"
HIDE: Final = "UPDATE people SET hidden_at = $2 WHERE id = $1"

# By accounts_delete_after_idx; a few at a time, each in a transaction of its own.
DUE: Final = "SELECT person_id FROM accounts WHERE delete_after < now() ORDER BY delete_after LIMIT 100"
RETIRE_HANDLE: Final = """
INSERT INTO retired_handles (handle, retired_at) SELECT handle, now() FROM people WHERE id = $1 ON CONFLICT DO NOTHING
"""
UNCOUNT_FOLLOWED: Final = """
UPDATE people SET followers = followers - 1 WHERE id IN (SELECT followee FROM follows WHERE follower = $1)
"""
UNCOUNT_FOLLOWERS: Final = """
UPDATE people SET following = following - 1 WHERE id IN (SELECT follower FROM follows WHERE followee = $1)
"""
RELATIONS: Final = """
SELECT 'follow' AS topic, follower::text || ':' || followee AS key FROM follows WHERE follower = $1 OR followee = $1
UNION ALL
SELECT 'block', blocker::text || ':' || blocked FROM blocks WHERE blocker = $1 OR blocked = $1
UNION ALL
SELECT 'mute', muter::text || ':' || muted FROM mutes WHERE muter = $1 OR muted = $1
"""
PURGE: Final = "DELETE FROM people WHERE id = $1"


@post("/register", status_code=201)
async def register(
    request: AnyRequest, context: Ctx, write: Transaction, data: JSONBody[Registration]
) -> Response[Credentials]:
    """Join the community."""
    handle = data.handle.lower()
    refuse_weak(data.password, handle, data.email)
    taken = await write.fetchrow(IS_TAKEN, handle, email_key(data.email))
    assert taken is not None  # noqa: S101  (a row of two booleans)
    _refuse_taken(handle=taken["handle"], email=taken["email"])
    person, at = SignedInPerson(new_id(), handle, data.display_name or handle), now()
    hashed = await hash_password(data.password)
    try:
        await write.execute(ADD_PERSON, person.id, person.handle, person.display_name, at)
        await write.execute(ADD_ACCOUNT, person.id, data.email, email_key(data.email), hashed, at)
    except asyncpg.UniqueViolationError as error:  # somebody was faster between the look and the write
        constraint = str(getattr(error, "constraint_name", ""))
        _refuse_taken(handle="handle" in constraint, email="email" in constraint)
        raise
    tell_person(write, person.id, person.handle, person.display_name, None)
    await send_verification(write, person.id, data.email)
    answer = await begin_session(request, context, write, person, status=201)
    answer.headers["Location"] = f"/profile/{person.id}"
    return answer


@get("/account")
async def read_account(db: Db, account: SignedIn) -> Account:
    """Read what only you may know of your account."""
    row = await db.fetchrow(READ, account.id)
    if row is None:
        raise not_found()
    return Account(
        row["id"],
        row["handle"],
        row["email"],
        row["email_verified_at"] is not None,
        row["totp_confirmed_at"] is not None,
        row["created_at"],
        row["delete_after"],
    )


@put("/account/password", status_code=204)
async def change_password(write: Transaction, account: SignedIn, data: JSONBody[PasswordChange]) -> None:
    """Change your password; every other session ends."""
    row = await _proven(write, account.id, data.current)
    refuse_weak(data.new, row["handle"])
    await write.execute(SET_PASSWORD, account.id, await hash_password(data.new))
    await write.execute(END_OTHERS, account.id, account.session)


@delete("/account", status_code=202)
async def leave(write: Transaction, account: SignedIn, data: JSONBody[PasswordProof]) -> Farewell:
    """Leave: hidden at once, gone after thirty days, undone by signing in again until then."""
    row = await _proven(write, account.id, data.password)
    until = row["delete_after"] or now() + GRACE
    await begin_leaving(write, account.id, until)
    return Farewell(until)


@post("/account/restore", status_code=200)
async def restore(write: Transaction, account: SignedIn) -> Account:
    """Stay after all, within the thirty days."""
    row = await write.fetchrow(LOCK, account.id)
    if row is None:
        raise not_found()
    if row["delete_after"] is None:
        raise Problem("conflict", "This account is not about to be deleted.")
    await undo_leaving(write, row)
    fresh = await write.fetchrow(READ, account.id)
    assert fresh is not None  # noqa: S101  (its row is locked)
    verified, factor = fresh["email_verified_at"] is not None, fresh["totp_confirmed_at"] is not None
    return Account(fresh["id"], fresh["handle"], fresh["email"], verified, factor, fresh["created_at"])


async def begin_leaving(write: Write, person: UUID, until: datetime) -> None:
    """Hide somebody at once and sign them out everywhere; `until` then, it can be undone."""
    await write.execute(SET_DELETION, person, until)
    await write.execute(HIDE, person, now())
    await write.execute(END_OTHERS, person, None)
    write.emit("person", person, {"id": person, "deleted": True}, [f"profile:{person}", "people"])


async def undo_leaving(write: Write, row: asyncpg.Record) -> None:
    """Show somebody again who was about to leave; `row` is that of LOCK."""
    await write.execute(SET_DELETION, row["id"], None)
    await write.execute(HIDE, row["id"], None)
    tell_person(write, row["id"], row["handle"], row["display_name"], row["avatar"])


async def purge_deleted(context: JobContext, _: Nothing) -> None:
    """Delete for good whoever left thirty days ago, and tell every relation that ends with them."""
    for due in await context.db.fetch(DUE):
        async with context.db.transaction(deadline=60) as connection:
            person: UUID = due["person_id"]
            relations = await connection.fetch(RELATIONS, person)
            events = [NewEvent(row["topic"], row["key"], (), {"deleted": True}) for row in relations]
            events.append(NewEvent("person", str(person), (f"profile:{person}", "people"), {"deleted": True}))
            for sql in (UNCOUNT_FOLLOWED, UNCOUNT_FOLLOWERS, RETIRE_HANDLE, PURGE):
                await connection.execute(sql, person)
            await insert_events(connection, events)


def _refuse_taken(*, handle: bool, email: bool) -> None:
    errors = [FieldError("/handle", "This handle is taken.")] if handle else []
    errors += [FieldError("/email", "This address is in use.")] if email else []
    if errors:
        raise Problem("taken", errors[0].detail, errors=errors)


async def _proven(write: Transaction, person: UUID, password: str) -> asyncpg.Record:
    row = await write.fetchrow(LOCK, person)
    if row is None or not await password_matches(password, row["password_hash"]):
        raise invalid("/password", "This is not the account's password.")
    return row


ROUTES: Final = (register, read_account, change_password, leave, restore)
JOBS: Final = (Job("purge-deleted-accounts", Nothing, purge_deleted, every=timedelta(hours=1)),)
