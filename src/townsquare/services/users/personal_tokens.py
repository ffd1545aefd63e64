"""Personal tokens (`pat_...`): for programs that act for somebody, with less than their whole power.

Only the owner's own session makes and lists them. A service that meets one exchanges it here for an access token of five
minutes, and remembers it as long: so a token is exchanged at most once in five minutes by each process, `used_at` is as
exact as that, and a token that was deleted or has expired is not exchanged again, and good for five minutes at most.
"""

from datetime import datetime
from typing import Annotated, Final, Literal
from uuid import UUID

import asyncpg
from litestar import Response, delete, get, post
from litestar.params import FromPath, JSONBody
from msgspec import Meta, Struct

from townsquare.kit.asgi import AnyRequest
from townsquare.kit.calls import internal_only
from townsquare.kit.clock import now
from townsquare.kit.dependencies import Ctx, Db, SignedIn, Transaction
from townsquare.kit.identity import PERSONAL_PREFIX
from townsquare.kit.ids import new_id
from townsquare.kit.pages import DEFAULT_LIMIT, CursorText, Limit, Page, after_id, answer_page, page_of
from townsquare.kit.personal_tokens import EXCHANGE_PATH, ExchangeAnswer, ExchangeRequest
from townsquare.kit.problems import Problem, invalid, not_found
from townsquare.kit.text_types import LINE
from townsquare.services.users.proof import lock_account
from townsquare.services.users.tokens import new_token, token_hash

Scope = Literal["read", "write"]
MOST: Final = 50


class NewPersonalToken(Struct, frozen=True, forbid_unknown_fields=True):
    """What the token is called, what it may do and until when."""

    name: Annotated[str, Meta(min_length=1, max_length=100, pattern=LINE)]
    scopes: Annotated[list[Scope], Meta(min_length=1, max_length=2)]
    expires_at: Annotated[datetime, Meta(tz=True)] | None = None


class PersonalToken(Struct, frozen=True, omit_defaults=True):
    """A token as it is listed: without the token itself."""

    id: UUID
    name: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None = None
    used_at: datetime | None = None
    token: str | None = None
    """Shown once, when it is made."""


# By personal_tokens_person_id_idx.
LIST: Final = """
SELECT id, name, scopes, created_at, expires_at, used_at
FROM personal_tokens
WHERE person_id = $1 AND ($2::uuid IS NULL OR id < $2)
ORDER BY id DESC
LIMIT $3
"""
READ: Final = """
SELECT id, name, scopes, created_at, expires_at, used_at
FROM personal_tokens
WHERE id = $1 AND person_id = $2
"""
COUNT: Final = "SELECT count(*) FROM personal_tokens WHERE person_id = $1"
ADD: Final = """
INSERT INTO personal_tokens (id, person_id, name, token_hash, scopes, created_at, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7)
"""
DELETE: Final = "DELETE FROM personal_tokens WHERE id = $1 AND person_id = $2 RETURNING id"

# By personal_tokens_token_hash_idx.
USE: Final = """
UPDATE personal_tokens AS t SET used_at = now()
FROM people AS p, accounts AS a
WHERE t.token_hash = $1 AND (t.expires_at IS NULL OR t.expires_at > now())
  AND p.id = t.person_id AND a.person_id = t.person_id AND p.hidden_at IS NULL AND a.suspended_at IS NULL
RETURNING p.id, p.handle, p.display_name, t.scopes
"""


@get("/tokens")
async def list_tokens(
    request: AnyRequest, db: Db, account: SignedIn, limit: Limit = DEFAULT_LIMIT, cursor: CursorText = None
) -> Response[Page[PersonalToken]]:
    """List your personal tokens, newest first."""
    rows = await db.fetch(LIST, account.id, after_id(cursor), limit + 1)
    return answer_page(request, page_of(rows, limit, _token, lambda row: (row["id"],)))


@get("/tokens/{token_id:uuid}")
async def read_token(db: Db, account: SignedIn, token_id: FromPath[UUID]) -> PersonalToken:
    """Read what one of your personal tokens may do; not the token itself."""
    row = await db.fetchrow(READ, token_id, account.id)
    if row is None:
        raise not_found()
    return _token(row)


@post("/tokens", status_code=201)
async def create_token(write: Transaction, account: SignedIn, data: JSONBody[NewPersonalToken]) -> Response[PersonalToken]:
    """Make a personal token; it is shown this once."""
    if data.expires_at is not None and data.expires_at <= now():
        raise invalid("/expires_at", "This moment has passed.")
    if await lock_account(write, account.id) is None:  # locked, or two who count at once would both find room
        raise not_found()
    if await write.fetchval(COUNT, account.id) >= MOST:
        raise Problem("conflict", f"{MOST} tokens are the most; delete one first.")
    token, key, at = PERSONAL_PREFIX + new_token(), new_id(), now()
    scopes = sorted(set(data.scopes))
    await write.execute(ADD, key, account.id, data.name, token_hash(token), scopes, at, data.expires_at)
    made = PersonalToken(key, data.name, list(scopes), at, data.expires_at, token=token)
    return Response(made, status_code=201, headers={"Location": f"/tokens/{key}", "Cache-Control": "no-store"})


@delete("/tokens/{token_id:uuid}", status_code=204)
async def delete_token(write: Transaction, account: SignedIn, token_id: FromPath[UUID]) -> None:
    """Delete a personal token."""
    if await write.fetchrow(DELETE, token_id, account.id) is None:
        raise not_found()


@post(EXCHANGE_PATH, status_code=200, guards=[internal_only], include_in_schema=False)
async def exchange_token(context: Ctx, write: Transaction, data: JSONBody[ExchangeRequest]) -> ExchangeAnswer:
    """Exchange a personal token for an access token of its scopes."""
    row = await write.fetchrow(USE, token_hash(data.token))
    if row is None:
        raise Problem("invalid_token")
    scopes = frozenset(row["scopes"])
    return ExchangeAnswer(context.signer.sign(row["id"], row["handle"], row["display_name"], None, scopes))


def _token(row: asyncpg.Record) -> PersonalToken:
    return PersonalToken(row["id"], row["name"], row["scopes"], row["created_at"], row["expires_at"], row["used_at"])


ROUTES: Final = (list_tokens, read_token, create_token, delete_token, exchange_token)
