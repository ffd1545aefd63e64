"""The second factor: time-based one-time codes (RFC 6238), with recovery codes for a lost device.

It counts once it has been confirmed with a first code. A code is good for one sign-in, a recovery code for one ever.
"""

import secrets
import time
from typing import Annotated, Final, TypeAlias
from uuid import UUID

import asyncpg
from litestar import Response, delete, post
from litestar.params import JSONBody
from msgspec import Meta, Struct
from pyotp import random_base32
from pyotp.totp import TOTP

from townsquare.kit.asgi import AnyRequest
from townsquare.kit.clock import now
from townsquare.kit.dependencies import Ctx, SignedIn, Transaction
from townsquare.kit.problems import Problem, invalid
from townsquare.kit.writes import Write
from townsquare.services.users.proof import PasswordProof, lock_account, prove
from townsquare.services.users.tokens import token_hash

STEP_SECONDS: Final = 30
RECOVERY_CODES: Final = 10
NO_STORE: Final = {"Cache-Control": "no-store"}

OneTimeCode: TypeAlias = Annotated[str, Meta(min_length=6, max_length=40)]


class Enrolment(Struct, frozen=True):
    """What an authenticator app needs; `uri` is for a QR code."""

    secret: str
    uri: str


class Code(Struct, frozen=True, forbid_unknown_fields=True):
    """A code from the authenticator app."""

    code: OneTimeCode


class RecoveryCodes(Struct, frozen=True):
    """Shown once: each signs in one time without the device."""

    recovery_codes: list[str]


# Each by primary key.
ENROL: Final = "UPDATE accounts SET totp_secret = $2, totp_confirmed_at = NULL, totp_last_step = 0 WHERE person_id = $1"
CONFIRM: Final = "UPDATE accounts SET totp_confirmed_at = $2, totp_last_step = $3 WHERE person_id = $1"
DISABLE: Final = "UPDATE accounts SET totp_secret = NULL, totp_confirmed_at = NULL WHERE person_id = $1"
TAKE_STEP: Final = "UPDATE accounts SET totp_last_step = $2 WHERE person_id = $1"
TAKE_RECOVERY: Final = "DELETE FROM recovery_codes WHERE person_id = $1 AND code_hash = $2 RETURNING person_id"
FORGET_RECOVERY: Final = "DELETE FROM recovery_codes WHERE person_id = $1"
ADD_RECOVERY: Final = "INSERT INTO recovery_codes (person_id, code_hash) SELECT $1, unnest($2::bytea[])"


@post("/account/second-factor", status_code=201)
async def enrol(
    request: AnyRequest, context: Ctx, write: Transaction, account: SignedIn, data: JSONBody[PasswordProof]
) -> Response[Enrolment]:
    """Begin with a second factor; it counts once a first code has confirmed it."""
    row = await prove(request, context, write, account.id, data.password)
    if row["totp_confirmed_at"] is not None:
        raise Problem("conflict", "There is a second factor already; remove it first.")
    secret = random_base32()
    await write.execute(ENROL, account.id, secret)
    uri = TOTP(secret).provisioning_uri(name=row["handle"], issuer_name="townsquare")
    return Response(Enrolment(secret, uri), status_code=201, headers=NO_STORE)


@post("/account/second-factor/confirm", status_code=200)
async def confirm(write: Transaction, account: SignedIn, data: JSONBody[Code]) -> Response[RecoveryCodes]:
    """Confirm the second factor with a first code; answers the recovery codes, once."""
    row = await lock_account(write, account.id)
    if row is None or row["totp_secret"] is None or row["totp_confirmed_at"] is not None:
        raise Problem("conflict", "There is no second factor waiting to be confirmed.")
    step = _step_of(row["totp_secret"], data.code)
    if step is None:
        raise invalid("/code", "This is not the current code.")
    await write.execute(CONFIRM, account.id, now(), step)
    return await _fresh_codes(write, account.id)


@post("/account/second-factor/recovery-codes", status_code=200)
async def renew_recovery_codes(
    request: AnyRequest, context: Ctx, write: Transaction, account: SignedIn, data: JSONBody[PasswordProof]
) -> Response[RecoveryCodes]:
    """Replace the recovery codes; the old ones are void."""
    row = await prove(request, context, write, account.id, data.password)
    if row["totp_confirmed_at"] is None:
        raise Problem("conflict", "There is no second factor.")
    return await _fresh_codes(write, account.id)


@delete("/account/second-factor", status_code=204)
async def disable(
    request: AnyRequest, context: Ctx, write: Transaction, account: SignedIn, data: JSONBody[PasswordProof]
) -> None:
    """Do without a second factor."""
    await prove(request, context, write, account.id, data.password)
    await write.execute(DISABLE, account.id)
    await write.execute(FORGET_RECOVERY, account.id)


async def require_second_factor(write: Write, account: asyncpg.Record, code: str | None) -> None:
    """Ask for the code where the account, which must be locked, has a second factor; uses the code up.

    Raises the problem `second_factor_required`, also for a wrong code: the password was right, the code is what lacks.
    """
    if account["totp_confirmed_at"] is None:
        return
    if code is None:
        raise Problem("second_factor_required")
    step = _step_of(account["totp_secret"], code)
    if step is not None and step > account["totp_last_step"]:
        await write.execute(TAKE_STEP, account["id"], step)
        return
    if await write.fetchrow(TAKE_RECOVERY, account["id"], token_hash(_plain(code))) is None:
        raise Problem("second_factor_required", "This code is not good, or no longer.")


async def _fresh_codes(write: Write, person: UUID) -> Response[RecoveryCodes]:
    codes = [f"{secrets.token_hex(5)}-{secrets.token_hex(5)}" for _ in range(RECOVERY_CODES)]
    await write.execute(FORGET_RECOVERY, person)
    await write.execute(ADD_RECOVERY, person, [token_hash(_plain(code)) for code in codes])
    return Response(RecoveryCodes(codes), headers=NO_STORE)


def _plain(code: str) -> str:
    return code.replace("-", "").replace(" ", "").lower()


def _step_of(secret: str, code: str) -> int | None:
    """Return the time step that the code is of: now, or one before or after, for clocks that are a little off."""
    current, totp = _current_step(), TOTP(secret)
    entered = code.replace(" ", "").encode()
    for step in (current, current - 1, current + 1):
        if secrets.compare_digest(totp.generate_otp(step).encode(), entered):
            return step
    return None


def _current_step() -> int:
    return int(time.time()) // STEP_SECONDS


ROUTES: Final = (enrol, confirm, renew_recovery_codes, disable)
