"""Accounts as the operator sees them: found, looked at, helped, suspended, deleted.

Called by the command line. Who is suspended can neither sign in nor refresh a session nor use a personal token, and their
sessions end; an access token that they hold is good for the rest of its five minutes. Their profile and posts
stay as they are: to take these away, delete the account as well, which also keeps its owner from coming back.
"""

from datetime import datetime, timedelta
from typing import Final, Literal, TypeAlias
from uuid import UUID

from msgspec import Struct

from townsquare.kit.clock import now
from townsquare.kit.database import Database, rows_affected
from townsquare.kit.pages import Page, after_id, page_of
from townsquare.kit.writes import Write
from townsquare.services.users.accounts import GRACE, begin_leaving, undo_leaving
from townsquare.services.users.email import END_SESSIONS, END_TOKENS, VOID_TOKENS, email_key, make_token
from townsquare.services.users.proof import lock_account
from townsquare.services.users.second_factor import DISABLE, FORGET_RECOVERY

NO_GRACE: Final = timedelta(0)
State: TypeAlias = Literal["active", "unverified", "leaving", "suspended"]


class AccountItem(Struct, frozen=True):
    """An account in a list. The gravest of its states counts."""

    id: UUID
    handle: str
    display_name: str
    email: str
    state: State
    created_at: datetime


class AccountDetails(Struct, frozen=True, kw_only=True):
    """What the operator may know of an account."""

    id: UUID
    handle: str
    display_name: str
    email: str
    email_verified_at: datetime | None
    second_factor: bool
    suspended_at: datetime | None
    delete_after: datetime | None
    hidden_at: datetime | None
    created_at: datetime
    last_seen: datetime | None
    sessions: int
    personal_tokens: int
    followers: int
    following: int
    posts: int


ITEM_COLUMNS: Final = """
    p.id, p.handle, p.display_name, a.email, p.created_at,
    CASE
        WHEN a.suspended_at IS NOT NULL THEN 'suspended'
        WHEN a.delete_after IS NOT NULL THEN 'leaving'
        WHEN a.email_verified_at IS NULL THEN 'unverified'
        ELSE 'active'
    END AS state
"""
"""What an `AccountItem` needs, from `people AS p` joined with `accounts AS a`."""

# From the newest on, by the primary keys of people and accounts.
LIST_ACCOUNTS: Final = f"""
SELECT *
FROM (
    SELECT {ITEM_COLUMNS}
    FROM people AS p
    JOIN accounts AS a ON a.person_id = p.id
) AS account
WHERE ($1::uuid IS NULL OR id < $1) AND ($2::text IS NULL OR state = $2)
ORDER BY id DESC
LIMIT $3
"""

# The same of those whom people_names_key_idx or accounts_email_key_idx finds; sorts what it finds.
SEARCH_ACCOUNTS: Final = f"""
WITH found AS (
    SELECT n.person AS id
    FROM people_names AS n
    WHERE search_key($4) <> ''
      AND n.key >= search_key($4)
      AND n.key < search_key($4) || chr(1114111)
    UNION
    SELECT a.person_id
    FROM accounts AS a
    WHERE a.email_key = $5
)
SELECT *
FROM (
    SELECT {ITEM_COLUMNS}
    FROM found
    JOIN people AS p ON p.id = found.id
    JOIN accounts AS a ON a.person_id = p.id
) AS account
WHERE ($1::uuid IS NULL OR id < $1) AND ($2::text IS NULL OR state = $2)
ORDER BY id DESC
LIMIT $3
"""

# Each of these reads one row by a unique index, whatever the others are: people_pkey, people_handle_idx,
# accounts_email_key_idx.
IDENTIFY_BY_ID: Final = "SELECT id FROM people WHERE id = $1"
IDENTIFY_BY_HANDLE: Final = "SELECT id FROM people WHERE handle = $1"
IDENTIFY_BY_EMAIL: Final = "SELECT person_id AS id FROM accounts WHERE email_key = $1"

# One row by primary keys; a person's sessions and tokens by sessions_person_id_idx and personal_tokens_person_id_idx.
SHOW_ACCOUNT: Final = """
SELECT
    p.id, p.handle, p.display_name, p.hidden_at, p.created_at, p.followers, p.following, p.posts,
    a.email, a.email_verified_at, a.totp_confirmed_at IS NOT NULL AS second_factor, a.suspended_at, a.delete_after,
    (SELECT count(*) FROM sessions AS s WHERE s.person_id = p.id AND s.expires_at > now()) AS sessions,
    (SELECT max(s.used_at) FROM sessions AS s WHERE s.person_id = p.id) AS last_seen,
    (SELECT count(*) FROM personal_tokens AS t WHERE t.person_id = p.id) AS personal_tokens
FROM people AS p
JOIN accounts AS a ON a.person_id = p.id
WHERE p.id = $1
"""

# Each changes one row by its primary key, or none when it is so already.
SUSPEND: Final = """
UPDATE accounts SET suspended_at = now(), updated_at = now()
WHERE person_id = $1 AND suspended_at IS NULL
"""
UNSUSPEND: Final = """
UPDATE accounts SET suspended_at = NULL, updated_at = now()
WHERE person_id = $1 AND suspended_at IS NOT NULL
"""
CONFIRM_EMAIL: Final = """
UPDATE accounts SET email_verified_at = now(), updated_at = now()
WHERE person_id = $1 AND email_verified_at IS NULL
"""
HAS_SECOND_FACTOR: Final = "SELECT totp_secret IS NOT NULL FROM accounts WHERE person_id = $1 FOR UPDATE"


async def list_accounts(
    database: Database, *, search: str | None = None, state: State | None = None, cursor: str | None = None, limit: int = 20
) -> Page[AccountItem]:
    """List accounts, the newest first.

    `search` is how a handle or a name (or one of its words) begins, or a whole e-mail address. Raises the 422 for a
    cursor of another making.
    """
    arguments = (after_id(cursor), state, limit + 1)
    if search is None:
        rows = await database.fetch(LIST_ACCOUNTS, *arguments)
    else:
        rows = await database.fetch(SEARCH_ACCOUNTS, *arguments, search[:100], email_key(search))
    return page_of(rows, limit, lambda row: AccountItem(**row), lambda row: (row["id"],))


async def identify(database: Database, who: str) -> UUID | None:
    """Return whose handle (`@` or not), id or e-mail address this is; hidden and suspended people too."""
    try:
        sql, value = IDENTIFY_BY_ID, UUID(who)
    except ValueError:
        if "@" in who[1:]:
            sql, value = IDENTIFY_BY_EMAIL, email_key(who)
        else:
            sql, value = IDENTIFY_BY_HANDLE, who.removeprefix("@").lower()
    row = await database.fetchrow(sql, value)
    return None if row is None else row["id"]


async def show_account(database: Database, person: UUID) -> AccountDetails | None:
    """Return what the operator may know of an account."""
    row = await database.fetchrow(SHOW_ACCOUNT, person)
    return None if row is None else AccountDetails(**row)


async def suspend(write: Write, person: UUID) -> bool:
    """Keep somebody out, from now on; False when they were out already."""
    changed = await _changes(write, SUSPEND, person)
    await write.execute(END_SESSIONS, person)
    return changed


async def unsuspend(write: Write, person: UUID) -> bool:
    """Let somebody in again; False when they were not out."""
    return await _changes(write, UNSUSPEND, person)


async def confirm_email(write: Write, person: UUID) -> bool:
    """Take an address as proven; False when it was."""
    return await _changes(write, CONFIRM_EMAIL, person)


async def disable_second_factor(write: Write, person: UUID) -> bool:
    """Let somebody sign in without the device they have lost; False when they needed none."""
    if not await write.fetchval(HAS_SECOND_FACTOR, person):
        return False
    await write.execute(DISABLE, person)
    await write.execute(FORGET_RECOVERY, person)
    return True


async def end_sessions(write: Write, person: UUID, *, tokens: bool) -> bool:
    """Sign somebody out everywhere, and with `tokens` delete their personal tokens; False when there was nothing to end."""
    ended = await _changes(write, END_SESSIONS, person)
    return (tokens and await _changes(write, END_TOKENS, person)) or ended


async def make_reset_token(write: Write, account: AccountDetails) -> str:
    """Make a token that sets a new password; those made before are void."""
    await write.execute(VOID_TOKENS, account.id, "reset")
    return await make_token(write, account.id, account.email, "reset")


async def delete_account(write: Write, person: UUID, *, grace: timedelta = GRACE) -> bool:
    """Hide somebody at once and delete them for good after `grace`; False when that was so already."""
    row = await lock_account(write, person)
    until = now() + grace
    if row is None or (row["delete_after"] is not None and row["delete_after"] <= until):
        return False
    await begin_leaving(write, person, until)
    return True


async def restore_account(write: Write, person: UUID) -> bool:
    """Show somebody again who was about to be deleted; False when nobody was."""
    row = await lock_account(write, person)
    if row is None or row["delete_after"] is None:
        return False
    await undo_leaving(write, row)
    return True


async def _changes(write: Write, sql: str, person: UUID) -> bool:
    return rows_affected(await write.execute(sql, person)) > 0
