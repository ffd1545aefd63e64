"""Asking for the password again before something grave, and the account's row while it changes."""

from typing import Final
from uuid import UUID

import asyncpg
from msgspec import Struct

from townsquare.kit.asgi import AnyRequest
from townsquare.kit.context import Context
from townsquare.kit.problems import invalid
from townsquare.kit.writes import Write
from townsquare.services.users.attempts import count_proof
from townsquare.services.users.passwords import GivenPassword, password_matches


class PasswordProof(Struct, frozen=True, forbid_unknown_fields=True):
    """The account's password, asked again before something grave."""

    password: GivenPassword


ACCOUNT_COLUMNS: Final = """
    p.id, p.handle, p.display_name, p.avatar, a.email, a.email_key, a.password_hash, a.totp_secret, a.totp_confirmed_at,
    a.totp_last_step, a.suspended_at, a.delete_after
"""
"""What whoever changes an account may need of it, from `accounts AS a` joined with `people AS p`."""

# By primary key, all three.
READ_HASH: Final = "SELECT password_hash FROM accounts WHERE person_id = $1"
LOCK_ACCOUNT: Final = f"""
SELECT {ACCOUNT_COLUMNS}
FROM accounts AS a
JOIN people AS p ON p.id = a.person_id
WHERE a.person_id = $1
FOR NO KEY UPDATE OF a
"""
LOCK_ACCOUNT_IF: Final = f"""
SELECT {ACCOUNT_COLUMNS}
FROM accounts AS a
JOIN people AS p ON p.id = a.person_id
WHERE a.person_id = $1 AND a.password_hash = $2
FOR NO KEY UPDATE OF a
"""


async def lock_account(write: Write, person: UUID) -> asyncpg.Record | None:
    """Return the account, locked until the transaction ends, or None."""
    return await write.fetchrow(LOCK_ACCOUNT, person)


async def lock_verified(write: Write, person: UUID, verified: str) -> asyncpg.Record | None:
    """Lock the account whose password was `verified` (the hash) a moment ago; None when it has changed since.

    The hash is compared without a connection in hand, so that a crowd that signs in does not hold them all. A password
    that is reset meanwhile must not be signed in with: the reset ends the sessions there are, and this one would come after.
    """
    return await write.fetchrow(LOCK_ACCOUNT_IF, person, verified)


async def prove(
    request: AnyRequest, context: Context, write: Write, person: UUID, password: str, pointer: str = "/password"
) -> asyncpg.Record:
    """Return the person's account, locked, if the password is theirs; raises the 422 for `pointer`, or `rate_limited`."""
    count_proof(request, context, person)
    row = await context.database.fetchrow(READ_HASH, person)
    if row is not None and await password_matches(password, row["password_hash"]):
        account = await lock_verified(write, person, row["password_hash"])
        if account is not None:
            return account
    raise invalid(pointer, "This is not the account's password.")
