"""E-mail addresses: proven by a mailed token, changed only after the new one has been proven, used to reset a password.

A mail is sent by a job that is enqueued in the transaction which makes its token, so there is never one without the other.
Who asks for a new password learns nothing: whether there is such an account is looked up by a job, behind the answer. Nobody
is mailed more often than a few times an hour, whoever asks.
"""

from datetime import timedelta
from typing import Annotated, Final, Literal, Protocol, TypeAlias
from uuid import UUID

import asyncpg
from litestar import Response, post
from litestar.params import JSONBody
from msgspec import Meta, Struct

from townsquare.kit import mail
from townsquare.kit.asgi import AnyRequest
from townsquare.kit.clock import now
from townsquare.kit.dependencies import Ctx, Db, SignedIn, Transaction
from townsquare.kit.jobs import Job, JobContext, enqueue
from townsquare.kit.mail import Mail
from townsquare.kit.problems import FieldError, Problem, invalid
from townsquare.kit.retention import Nothing
from townsquare.kit.writes import Write
from townsquare.services.users.attempts import count_from_here, remember_device
from townsquare.services.users.passwords import GivenPassword, Password, hash_password, refuse_weak
from townsquare.services.users.proof import prove
from townsquare.services.users.tokens import new_token, token_hash
from townsquare.settings import Settings

_ATOM = r"[^\s@<>()\[\],;:\\\".\x00-\x1f\x7f-\x9f]+"
EmailAddress: TypeAlias = Annotated[
    str,
    Meta(min_length=3, max_length=254, pattern=rf"^{_ATOM}(?:\.{_ATOM})*@{_ATOM}(?:\.{_ATOM})+(?![\s\S])"),
]
Purpose = Literal["verify", "reset"]
LIFETIME: Final[dict[Purpose, timedelta]] = {"verify": timedelta(days=3), "reset": timedelta(hours=1)}
MOST_MAILS: Final = 5
"""Mails of one purpose that one account causes in an hour: nobody's mailbox is filled through this platform."""


class TokenProof(Struct, frozen=True, forbid_unknown_fields=True):
    """The token from the mail."""

    token: Annotated[str, Meta(min_length=20, max_length=100)]


class EmailChange(Struct, frozen=True, forbid_unknown_fields=True):
    """The new address, and the account's password."""

    email: EmailAddress
    password: GivenPassword


class ResetRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Whose password is to be set anew."""

    email: EmailAddress


class NewPassword(Struct, frozen=True, forbid_unknown_fields=True):
    """The token from the mail, and the new password."""

    token: Annotated[str, Meta(min_length=20, max_length=100)]
    password: Password


class Accepted(Struct, frozen=True):
    """Said whether or not there is such an account."""

    detail: str


class MailedToken(Struct, frozen=True):
    """The job's payload. The token itself has to be in it: the mail must carry it, and the job is deleted when done."""

    purpose: Purpose
    email: str
    token: str


class Executes(Protocol):
    """What a statement can be run on: a connection, or the transaction of a write."""

    async def execute(self, sql: str, /, *arguments: object) -> str:
        """Run a statement; returns PostgreSQL's status."""
        ...


class Notice(Struct, frozen=True):
    """The payload of a mail that only tells."""

    email: str
    subject: str
    text: str


ADD_TOKEN: Final = (
    "INSERT INTO mailed_tokens (token_hash, person_id, purpose, email, expires_at) VALUES ($1, $2, $3, $4, $5)"
)
# By primary key, all three; a token is good once.
READ_TOKEN: Final = """
SELECT p.handle, a.email
FROM mailed_tokens AS t
JOIN people AS p ON p.id = t.person_id
JOIN accounts AS a ON a.person_id = t.person_id
WHERE t.token_hash = $1 AND t.purpose = $2 AND t.void_at IS NULL AND t.expires_at > now()
"""
TAKE_TOKEN: Final = """
DELETE FROM mailed_tokens
WHERE token_hash = $1 AND purpose = $2 AND void_at IS NULL AND expires_at > now()
RETURNING person_id, email
"""
# By mailed_tokens_person_id_idx, all four; an account has a dozen.
VOID_TOKENS: Final = "UPDATE mailed_tokens SET void_at = now() WHERE person_id = $1 AND purpose = $2 AND void_at IS NULL"
VOID_ELSEWHERE: Final = """
UPDATE mailed_tokens SET void_at = now() WHERE person_id = $1 AND email <> $2 AND void_at IS NULL
"""
VOID_ALL_TOKENS: Final = "UPDATE mailed_tokens SET void_at = now() WHERE person_id = $1 AND void_at IS NULL"
COUNT_MAILS: Final = """
SELECT count(*)
FROM mailed_tokens
WHERE person_id = $1 AND purpose = $2 AND created_at > now() - interval '1 hour'
"""
# By mailed_tokens_expires_at_idx, sessions_expires_at_idx and used_refresh_tokens_used_at_idx. A refresh token that has
# outlived its cookie, which lasts 30 days, opens nothing more, used or not.
FORGET_EXPIRED: Final = "DELETE FROM mailed_tokens WHERE expires_at < now()"
FORGET_SESSIONS: Final = "DELETE FROM sessions WHERE expires_at < now()"
FORGET_USED: Final = "DELETE FROM used_refresh_tokens WHERE used_at < now() - interval '30 days'"
# By accounts_email_key_idx.
IN_USE: Final = "SELECT person_id FROM accounts WHERE email_key = $1"
LOCK_BY_EMAIL: Final = "SELECT person_id, email FROM accounts WHERE email_key = $1 FOR NO KEY UPDATE"
# Each changes one row by primary key. A password that was set with a mail proves the address that it was sent to.
VERIFY: Final = """
UPDATE accounts SET email = $2, email_key = $3, email_verified_at = now(), updated_at = now() WHERE person_id = $1
"""
RESET_PASSWORD: Final = """
UPDATE accounts
SET password_hash = $2,
    email_verified_at = CASE WHEN email_key = $3 THEN coalesce(email_verified_at, now()) ELSE email_verified_at END,
    updated_at = now()
WHERE person_id = $1
"""
# By sessions_person_id_idx and personal_tokens_person_id_idx.
END_SESSIONS: Final = "DELETE FROM sessions WHERE person_id = $1"
END_TOKENS: Final = "DELETE FROM personal_tokens WHERE person_id = $1"


@post("/email/verify", status_code=204)
async def verify_email(write: Transaction, data: JSONBody[TokenProof]) -> None:
    """Prove an address with the token that was mailed to it."""
    row = await write.fetchrow(TAKE_TOKEN, token_hash(data.token), "verify")
    if row is None:
        raise _bad_token()
    try:
        await write.execute(VERIFY, row["person_id"], row["email"], email_key(row["email"]))
    except asyncpg.UniqueViolationError:
        raise Problem("taken", "This address is in use.") from None
    # Who can read the old address, no longer the owner's, must not set a new password with what lies there.
    await write.execute(VOID_ELSEWHERE, row["person_id"], row["email"])


@post("/email", status_code=202)
async def change_email(
    request: AnyRequest, context: Ctx, write: Transaction, account: SignedIn, data: JSONBody[EmailChange]
) -> Accepted:
    """Change your address: it counts once the mail sent to it has been answered; the old one is told."""
    require_mailable(data.email)
    row = await prove(request, context, write, account.id, data.password)
    if await write.fetchval(IN_USE, email_key(data.email)) not in (None, account.id):
        raise Problem("taken", "This address is in use.", errors=[FieldError("/email", "This address is in use.")])
    if await write.fetchval(COUNT_MAILS, account.id, "verify") >= MOST_MAILS:
        raise Problem("rate_limited", "Too many mails were sent; try again in an hour.", headers={"Retry-After": "3600"})
    await write.execute(VOID_TOKENS, account.id, "verify")
    await send_verification(write, account.id, data.email)
    if row["email_key"] != email_key(data.email):
        await write.enqueue("send-notice", Notice(row["email"], "Your address is being changed", CHANGING))
    return Accepted("A mail is on its way to the new address.")


@post("/password-reset", status_code=202)
async def ask_for_reset(request: AnyRequest, context: Ctx, write: Transaction, data: JSONBody[ResetRequest]) -> Accepted:
    """Ask for a mail that lets you set a new password; the answer is the same whether there is such an account."""
    count_from_here(request, context)
    await write.enqueue("mail-reset", data)
    return Accepted("If there is an account with this address, a mail is on its way.")


@post("/password-reset/confirm", status_code=204)
async def reset_password(
    request: AnyRequest, context: Ctx, db: Db, write: Transaction, data: JSONBody[NewPassword]
) -> Response[None]:
    """Set a new password with the token from the mail; every session and personal token ends."""
    count_from_here(request, context)
    hashed_token = token_hash(data.token)
    shown = await db.fetchrow(READ_TOKEN, hashed_token, "reset")
    if shown is None:
        raise _bad_token()
    await refuse_weak(data.password, shown["handle"], shown["email"])
    password = await hash_password(data.password)
    row = await write.fetchrow(TAKE_TOKEN, hashed_token, "reset")
    if row is None:
        raise _bad_token()
    person: UUID = row["person_id"]
    await write.execute(RESET_PASSWORD, person, password, email_key(row["email"]))
    for sql in (END_SESSIONS, END_TOKENS):
        await write.execute(sql, person)
    await password_changed(write, person, shown["email"])
    answer: Response[None] = Response(None, status_code=204)
    remember_device(answer, context, person)  # strangers may have used up the attempts of whoever comes next
    return answer


async def password_changed(write: Write, person: UUID, email: str) -> None:
    """Void what was mailed under the old password, a change of address included, and tell the owner."""
    await write.execute(VOID_ALL_TOKENS, person)
    await write.enqueue("send-notice", Notice(email, "Your password has been changed", CHANGED))


async def send_verification(write: Write, person: UUID, email: str) -> None:
    """Mail a token that proves the address."""
    token = await make_token(write, person, email, "verify")
    await write.enqueue("send-mailed-token", MailedToken("verify", email, token))


async def send_reset(write: Write, person: UUID, email: str) -> None:
    """Mail a token that sets a new password."""
    token = await make_token(write, person, email, "reset")
    await write.enqueue("send-mailed-token", MailedToken("reset", email, token))


def require_mailable(email: str) -> None:
    """Refuse what looks like an address and cannot be written to; raises the 422 for `/email`."""
    try:
        Mail(email, "To see whether it can be sent", "")
    except ValueError:
        raise invalid("/email", "No mail can be sent to this address.") from None


def email_key(email: str) -> str:
    """Return what makes two addresses the same: their letters, whatever their case."""
    return email.strip().casefold()


async def make_token(to: Executes, person: UUID, email: str, purpose: Purpose) -> str:
    """Make a token that is good once, for whoever can show it."""
    token = new_token()
    await to.execute(ADD_TOKEN, token_hash(token), person, purpose, email, now() + LIFETIME[purpose])
    return token


def link_of(settings: Settings, purpose: Purpose, token: str) -> str:
    """Return where a person takes a token."""
    return f"{settings.public_url}/{purpose}?token={token}"


def _bad_token() -> Problem:
    return invalid("/token", "This token is not good, or no longer; ask for another.")


async def mail_reset(context: JobContext, payload: ResetRequest) -> None:
    """Mail a token to the account's own address, as it stands there: the one that was typed may be a look-alike.

    Tokens mailed before stay good, so that nobody can void them by asking again.
    """
    async with context.db.transaction() as connection:
        account = await connection.fetchrow(LOCK_BY_EMAIL, email_key(payload.email))
        if account is None or await connection.fetchval(COUNT_MAILS, account["person_id"], "reset") >= MOST_MAILS:
            return
        token = await make_token(connection, account["person_id"], account["email"], "reset")
        await enqueue(connection, "send-mailed-token", MailedToken("reset", account["email"], token))


async def send_mailed_token(context: JobContext, payload: MailedToken) -> None:
    """Send the mail with a token."""
    subject, text = _MAILS[payload.purpose]
    url = link_of(context.settings, payload.purpose, payload.token)
    await mail.send(context.settings, Mail(payload.email, subject, text.format(url=url, token=payload.token)))


async def send_notice(context: JobContext, payload: Notice) -> None:
    """Send a mail that only tells."""
    await mail.send(context.settings, Mail(payload.email, payload.subject, payload.text))


async def forget_expired(context: JobContext, _: Nothing) -> None:
    """Delete tokens and sessions that have ended."""
    async with context.db.connection(deadline=300) as connection:
        for sql in (FORGET_EXPIRED, FORGET_SESSIONS, FORGET_USED):
            await connection.execute(sql)


_MAILS: Final[dict[Purpose, tuple[str, str]]] = {
    "verify": (
        "Please confirm your address",
        "Hello,\n\nthis address was given at townsquare. If that was you, please confirm it:\n\n{url}\n\n"
        "or enter this code: {token}\n\nIf it was not you, you need do nothing.\n",
    ),
    "reset": (
        "A new password for townsquare",
        "Hello,\n\nsomebody asked to set a new password for your account. If that was you:\n\n{url}\n\n"
        "or enter this code: {token}\n\nIt is good for an hour. If it was not you, you need do nothing.\n",
    ),
}
CHANGING: Final = (
    "Hello,\n\nsomebody has asked to replace this address of your townsquare account by another.\n"
    "If that was you, you need do nothing. If not, change your password now.\n"
)
CHANGED: Final = (
    "Hello,\n\nthe password of your townsquare account has been changed, and other sign-ins have ended.\n"
    "If that was you, you need do nothing. If not, set a new one: ask for it where one signs in.\n"
)
JOBS: Final = (
    Job("mail-reset", ResetRequest, mail_reset),
    Job("send-mailed-token", MailedToken, send_mailed_token),
    Job("send-notice", Notice, send_notice),
    Job("forget-expired", Nothing, forget_expired, every=timedelta(hours=1)),
)
ROUTES: Final = (verify_email, change_email, ask_for_reset, reset_password)
