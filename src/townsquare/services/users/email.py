"""E-mail addresses: proven by a mailed token, changed only after the new one has been proven, used to reset a password.

A mail is sent by a job that is enqueued in the transaction which makes its token, so there is never one without the other.
"""

from datetime import timedelta
from typing import Annotated, Final, Literal, TypeAlias
from uuid import UUID

from litestar import post
from litestar.params import JSONBody
from msgspec import Meta, Struct

from townsquare.kit import mail
from townsquare.kit.clock import now
from townsquare.kit.dependencies import SignedIn, Transaction
from townsquare.kit.jobs import Job, JobContext
from townsquare.kit.mail import Mail
from townsquare.kit.problems import Problem, invalid
from townsquare.kit.retention import Nothing
from townsquare.kit.writes import Write
from townsquare.services.users.passwords import Password, hash_password, password_matches
from townsquare.services.users.tokens import new_token, token_hash
from townsquare.settings import Settings

_ATOM = r"[^\s@<>()\[\],;:\\\"\x00-\x1f\x7f-\x9f]+"
EmailAddress: TypeAlias = Annotated[
    str,
    Meta(min_length=3, max_length=254, pattern=rf"^{_ATOM}@{_ATOM}\.[^\s@<>()\[\],;:\\\".\x00-\x1f\x7f-\x9f]+(?![\s\S])"),
]
Purpose = Literal["verify", "reset"]
LIFETIME: Final[dict[Purpose, timedelta]] = {"verify": timedelta(days=3), "reset": timedelta(hours=1)}


class TokenProof(Struct, frozen=True, forbid_unknown_fields=True):
    """The token from the mail."""

    token: Annotated[str, Meta(min_length=20, max_length=100)]


class EmailChange(Struct, frozen=True, forbid_unknown_fields=True):
    """The new address, and the account's password."""

    email: EmailAddress
    password: Annotated[str, Meta(min_length=1, max_length=200)]


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


class Notice(Struct, frozen=True):
    """The payload of a mail that only tells."""

    email: str
    subject: str
    text: str


ADD_TOKEN: Final = (
    "INSERT INTO mailed_tokens (token_hash, person_id, purpose, email, expires_at) VALUES ($1, $2, $3, $4, $5)"
)
# By primary key; a token is good once.
TAKE_TOKEN: Final = """
DELETE FROM mailed_tokens WHERE token_hash = $1 AND purpose = $2 AND expires_at > now() RETURNING person_id, email
"""
FORGET_TOKENS: Final = "DELETE FROM mailed_tokens WHERE person_id = $1 AND purpose = $2"
# By mailed_tokens_expires_at_idx and sessions_expires_at_idx.
FORGET_EXPIRED: Final = "DELETE FROM mailed_tokens WHERE expires_at < now()"
FORGET_SESSIONS: Final = "DELETE FROM sessions WHERE expires_at < now()"
LOCK_ACCOUNT: Final = "SELECT email, password_hash FROM accounts WHERE person_id = $1 FOR UPDATE"
IN_USE: Final = "SELECT person_id FROM accounts WHERE email_key = $1"
VERIFY: Final = """
UPDATE accounts SET email = $2, email_key = $3, email_verified_at = now(), updated_at = now() WHERE person_id = $1
"""
SET_PASSWORD: Final = """
UPDATE accounts SET password_hash = $2, email_verified_at = coalesce(email_verified_at, now()), updated_at = now()
WHERE person_id = $1
"""
END_SESSIONS: Final = "DELETE FROM sessions WHERE person_id = $1"
END_TOKENS: Final = "DELETE FROM personal_tokens WHERE person_id = $1"


@post("/email/verify", status_code=204)
async def verify_email(write: Transaction, data: JSONBody[TokenProof]) -> None:
    """Prove an address with the token that was mailed to it."""
    row = await write.fetchrow(TAKE_TOKEN, token_hash(data.token), "verify")
    if row is None:
        raise invalid("/token", "This token is not good, or no longer; ask for another.")
    holder = await write.fetchval(IN_USE, email_key(row["email"]))
    if holder not in (None, row["person_id"]):
        raise Problem("taken", "This address is in use.")
    await write.execute(VERIFY, row["person_id"], row["email"], email_key(row["email"]))


@post("/email", status_code=202)
async def change_email(write: Transaction, account: SignedIn, data: JSONBody[EmailChange]) -> Accepted:
    """Change your address: it counts once the mail sent to it has been answered; the old one is told."""
    row = await write.fetchrow(LOCK_ACCOUNT, account.id)
    if row is None or not await password_matches(data.password, row["password_hash"]):
        raise invalid("/password", "This is not the account's password.")
    if await write.fetchval(IN_USE, email_key(data.email)) not in (None, account.id):
        raise Problem("taken", "This address is in use.")
    await write.execute(FORGET_TOKENS, account.id, "verify")
    await send_verification(write, account.id, data.email)
    notice = Notice(row["email"], "Your address is being changed", CHANGING)
    await write.enqueue("send-notice", notice)
    return Accepted("A mail is on its way to the new address.")


@post("/password-reset", status_code=202)
async def ask_for_reset(write: Transaction, data: JSONBody[ResetRequest]) -> Accepted:
    """Ask for a mail that lets you set a new password; the answer is the same whether there is such an account."""
    person = await write.fetchval(IN_USE, email_key(data.email))
    if person is not None:
        await send_reset(write, person, data.email)
    return Accepted("If there is an account with this address, a mail is on its way.")


@post("/password-reset/confirm", status_code=204)
async def reset_password(write: Transaction, data: JSONBody[NewPassword]) -> None:
    """Set a new password with the token from the mail; every session and personal token ends."""
    row = await write.fetchrow(TAKE_TOKEN, token_hash(data.token), "reset")
    if row is None:
        raise invalid("/token", "This token is not good, or no longer; ask for another.")
    person: UUID = row["person_id"]
    await write.execute(SET_PASSWORD, person, await hash_password(data.password))
    for sql in (END_SESSIONS, END_TOKENS):
        await write.execute(sql, person)


async def send_verification(write: Write, person: UUID, email: str) -> None:
    """Mail a token that proves the address."""
    await _send(write, person, email, "verify")


async def send_reset(write: Write, person: UUID, email: str) -> None:
    """Mail a token that sets a new password; those mailed before are void."""
    await write.execute(FORGET_TOKENS, person, "reset")
    await _send(write, person, email, "reset")


def email_key(email: str) -> str:
    """Return what makes two addresses the same: their letters, whatever their case."""
    return email.strip().casefold()


async def make_token(write: Write, person: UUID, email: str, purpose: Purpose) -> str:
    """Make a token that is good once, for whoever can show it."""
    token = new_token()
    await write.execute(ADD_TOKEN, token_hash(token), person, purpose, email, now() + LIFETIME[purpose])
    return token


def link_of(settings: Settings, purpose: Purpose, token: str) -> str:
    """Return where a person takes a token."""
    return f"{settings.public_url}/{purpose}?token={token}"


async def _send(write: Write, person: UUID, email: str, purpose: Purpose) -> None:
    token = await make_token(write, person, email, purpose)
    await write.enqueue("send-mailed-token", MailedToken(purpose, email, token))


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
    await context.db.execute(FORGET_EXPIRED)
    await context.db.execute(FORGET_SESSIONS)


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
JOBS: Final = (
    Job("send-mailed-token", MailedToken, send_mailed_token),
    Job("send-notice", Notice, send_notice),
    Job("forget-expired", Nothing, forget_expired, every=timedelta(hours=1)),
)
ROUTES: Final = (verify_email, change_email, ask_for_reset, reset_password)
