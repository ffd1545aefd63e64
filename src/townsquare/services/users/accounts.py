"""Accounts: registering, one's own data, changing the password, leaving.

Who leaves is hidden at once and gone after thirty days; until then signing in and `POST /account/restore` undo it. A handle
that was somebody's is never given to somebody else: old links and mentions would lead to a stranger.
"""

from datetime import datetime, timedelta
from typing import Annotated, Final
from uuid import UUID

import asyncpg
from litestar import Response, delete, get, post, put
from litestar.params import JSONBody
from msgspec import Meta, Struct

from townsquare.kit.asgi import AnyRequest
from townsquare.kit.cached_routes import changes
from townsquare.kit.clock import now
from townsquare.kit.database import Connection, DatabaseUnavailable
from townsquare.kit.dependencies import Ctx, Db, SignedIn, Transaction
from townsquare.kit.ids import new_id
from townsquare.kit.jobs import Job, JobContext
from townsquare.kit.outbox import NewEvent, insert_events
from townsquare.kit.problems import FieldError, Problem, not_found
from townsquare.kit.retention import Nothing
from townsquare.kit.writes import Write
from townsquare.services.users.attempts import count_from_here
from townsquare.services.users.email import (
    EmailAddress,
    email_key,
    password_changed,
    require_mailable,
    send_verification,
)
from townsquare.services.users.endorsements import withdraw_all_endorsements
from townsquare.services.users.follows import end_all_follows
from townsquare.services.users.passwords import GivenPassword, Password, hash_password, refuse_weak
from townsquare.services.users.people import LEFT, PERSON_TAGS, RETURNED, person_tags, tell_person
from townsquare.services.users.profile import DisplayName
from townsquare.services.users.proof import PasswordProof, lock_account, prove
from townsquare.services.users.sessions import END_OTHERS, Credentials, SignedInPerson, begin_session
from townsquare.services.users.skill_names import forget_names_of

GRACE: Final = timedelta(days=30)
AT_ONCE: Final = 1_000
"""Accounts that one run of the hourly purge takes."""


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

    current: GivenPassword
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
SET_PASSWORD: Final = "UPDATE accounts SET password_hash = $2, updated_at = now() WHERE person_id = $1"
SET_DELETION: Final = "UPDATE accounts SET delete_after = $2, updated_at = now() WHERE person_id = $1"
HIDE: Final = "UPDATE people SET hidden_at = $2 WHERE id = $1"

# By accounts_delete_after_idx; each in a transaction of its own, which looks again: somebody may have come back.
DUE: Final = "SELECT person_id FROM accounts WHERE delete_after < now() ORDER BY delete_after LIMIT $1"
LOCK_DUE: Final = "SELECT true FROM accounts WHERE person_id = $1 AND delete_after < now() FOR UPDATE"
RETIRE_HANDLE: Final = """
INSERT INTO retired_handles (handle, retired_at) SELECT handle, now() FROM people WHERE id = $1 ON CONFLICT DO NOTHING
"""
# By the primary keys, and blocks_blocker_since_idx and mutes_muter_since_idx.
RELATIONS: Final = """
SELECT 'block' AS topic, 'blocks' AS tag, blocker AS one, blocked AS other FROM blocks WHERE blocker = $1 OR blocked = $1
UNION ALL
SELECT 'mute', 'mutes', muter, muted FROM mutes WHERE muter = $1 OR muted = $1
"""
PURGE: Final = "DELETE FROM people WHERE id = $1"


@post("/register", status_code=201, opt=changes(*PERSON_TAGS))
async def register(
    request: AnyRequest, context: Ctx, db: Db, write: Transaction, data: JSONBody[Registration]
) -> Response[Credentials]:
    """Join the community."""
    count_from_here(request, context)
    handle = data.handle.lower()
    require_mailable(data.email)
    await refuse_weak(data.password, handle, data.email)
    taken = await db.fetchrow(IS_TAKEN, handle, email_key(data.email))
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
    return _account(await db.fetchrow(READ, account.id))


@put("/account/password", status_code=204)
async def change_password(
    request: AnyRequest, context: Ctx, db: Db, write: Transaction, account: SignedIn, data: JSONBody[PasswordChange]
) -> None:
    """Change your password; every other session ends."""
    known = _account(await db.fetchrow(READ, account.id))
    await refuse_weak(data.new, known.handle, known.email, pointer="/new")
    hashed = await hash_password(data.new)
    row = await prove(request, context, write, account.id, data.current, "/current")
    await write.execute(SET_PASSWORD, account.id, hashed)
    await write.execute(END_OTHERS, account.id, account.session)
    await password_changed(write, account.id, row["email"])


@delete("/account", status_code=202, opt=changes(*PERSON_TAGS, LEFT))
async def leave(
    request: AnyRequest, context: Ctx, write: Transaction, account: SignedIn, data: JSONBody[PasswordProof]
) -> Farewell:
    """Leave: hidden at once, gone after thirty days; until then, sign in and `POST /account/restore` to stay."""
    row = await prove(request, context, write, account.id, data.password)
    until = row["delete_after"] or now() + GRACE
    await begin_leaving(write, account.id, until)
    return Farewell(until)


@post("/account/restore", status_code=200, opt=changes(*PERSON_TAGS, RETURNED))
async def restore(write: Transaction, account: SignedIn) -> Account:
    """Stay after all, within the thirty days."""
    row = await lock_account(write, account.id)
    if row is None:
        raise not_found()
    if row["suspended_at"] is not None:
        raise Problem("forbidden", "This account is suspended.")
    if row["delete_after"] is None:
        raise Problem("conflict", "This account is not about to be deleted.")
    await undo_leaving(write, row)
    return _account(await write.fetchrow(READ, account.id))


async def begin_leaving(write: Write, person: UUID, until: datetime) -> None:
    """Hide somebody at once and sign them out everywhere; `until` then, it can be undone."""
    await write.execute(SET_DELETION, person, until)
    await write.execute(HIDE, person, now())
    await write.execute(END_OTHERS, person, None)
    write.emit("person", person, {"id": person, "deleted": True}, person_tags(person, LEFT))


async def undo_leaving(write: Write, row: asyncpg.Record) -> None:
    """Show somebody again who was about to leave; `row` is the locked account."""
    await write.execute(SET_DELETION, row["id"], None)
    await write.execute(HIDE, row["id"], None)
    tell_person(write, row["id"], row["handle"], row["display_name"], row["avatar"], RETURNED)


async def purge_deleted(context: JobContext, _: Nothing) -> None:
    """Delete for good whoever left thirty days ago. One who cannot be deleted does not keep the others."""
    failed: Exception | None = None
    for due in await context.db.fetch(DUE, AT_ONCE):
        try:
            async with context.db.transaction(deadline=60) as connection:
                await purge_account(connection, due["person_id"])
        except (DatabaseUnavailable, asyncpg.PostgresError) as error:
            context.log.exception("an account could not be deleted", person=str(due["person_id"]))
            failed = error
    if failed is not None:
        raise failed


async def purge_account(connection: Connection, person: UUID) -> None:
    """Delete one person whose time has come, and tell every relation that ends with them.

    Locks are taken in the order in which everybody takes them: people, then skills, then names of skills.
    """
    if await connection.fetchval(LOCK_DUE, person) is None:
        return
    await end_all_follows(connection, person)
    await withdraw_all_endorsements(connection, person)
    await forget_names_of(connection, person)
    events = [_ended(row) for row in await connection.fetch(RELATIONS, person)]
    gone = {"id": person, "deleted": True, "purged": True}
    events.append(NewEvent("person", str(person), tuple(person_tags(person, LEFT)), gone))
    await connection.execute(RETIRE_HANDLE, person)
    await connection.execute(PURGE, person)
    await insert_events(connection, events)


def _ended(row: asyncpg.Record) -> NewEvent:
    topic, tag, one, other = row
    return NewEvent(topic, f"{one}:{other}", (f"{tag}:{one}", f"{tag}:{other}"), {"deleted": True})


def _refuse_taken(*, handle: bool, email: bool) -> None:
    errors = [FieldError("/handle", "This handle is taken.")] if handle else []
    errors += [FieldError("/email", "This address is in use.")] if email else []
    if errors:
        raise Problem("taken", errors[0].detail, errors=errors)


def _account(row: asyncpg.Record | None) -> Account:
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


ROUTES: Final = (register, read_account, change_password, leave, restore)
JOBS: Final = (Job("purge-deleted-accounts", Nothing, purge_deleted, every=timedelta(hours=1)),)
