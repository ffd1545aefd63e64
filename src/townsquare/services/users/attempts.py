"""Attempts to sign in are counted, so that no password can be guessed: by address, and by the account that is named.

Counted by account alone, anybody could lock somebody else out by failing in their name. So whoever has once signed in to an
account from a device keeps a cookie there that says so, and attempts with it are counted for that device: strangers use up
the strangers' share only. Whoever has no such device left can still set a new password by mail, which makes one.
"""

import time
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from joserfc import jwt
from joserfc.errors import JoseError
from litestar import Response

from townsquare.kit.asgi import AnyRequest
from townsquare.kit.calls import call_of
from townsquare.kit.context import Context
from townsquare.kit.identity import ALGORITHM
from townsquare.kit.ids import new_id
from townsquare.kit.limits import network_of
from townsquare.services.users.tokens import token_hash

DEVICE_COOKIE: Final = "townsquare_device"
DEVICE_KEPT: Final = timedelta(days=365)
_AUDIENCE: Final = "townsquare device"
_CLAIMS: Final = jwt.JWTClaimsRegistry(
    aud={"essential": True, "value": _AUDIENCE}, exp={"essential": True}, sub={"essential": True}, jti={"essential": True}
)


def count_from_here(request: AnyRequest, context: Context) -> None:
    """Count what may be tried only so often from one address; raises the problem `rate_limited`."""
    call = call_of(request.scope)
    context.limits.sign_in.require(call, network_of(call.address))


def count_sign_in(request: AnyRequest, context: Context, login: str, person: UUID | None) -> None:
    """Count an attempt to sign in as `login`, who is `person` if there is such an account; raises `rate_limited`.

    The answer does not tell whether there is: a name that nobody has is counted like any other.
    """
    device, owner = _device(request, context)  # looked at for nobody too: how long it takes tells nothing
    known = person is not None and owner == str(person)
    key = f"device {device}" if known else f"name {token_hash(login.strip().casefold()).hex()}"
    context.limits.sign_in.require(call_of(request.scope), key)


def count_proof(request: AnyRequest, context: Context, person: UUID) -> None:
    """Count that somebody who is signed in shows the password again: who stole a session must not guess it."""
    context.limits.sign_in.require(call_of(request.scope), f"proof {person}")


def remember_device(response: Response[Any], context: Context, person: UUID) -> None:
    """Let the browser keep that this person has signed in here."""
    assert context.signing_key is not None  # noqa: S101  (this service signs tokens)
    claims: dict[str, object] = {
        "aud": _AUDIENCE,
        "sub": str(person),
        "jti": str(new_id()),
        "exp": int(time.time() + DEVICE_KEPT.total_seconds()),
    }
    token = jwt.encode({"alg": ALGORITHM}, claims, context.signing_key, algorithms=[ALGORITHM])
    age, secure = int(DEVICE_KEPT.total_seconds()), context.settings.public_url.startswith("https://")
    response.set_cookie(DEVICE_COOKIE, token, max_age=age, path="/", httponly=True, samesite="lax", secure=secure)


def _device(request: AnyRequest, context: Context) -> tuple[str, str]:
    """Return the id of the device, and whose it is; both empty where its cookie is none of ours."""
    token = request.cookies.get(DEVICE_COOKIE)
    if token is None or context.signing_key is None:
        return "", ""
    try:
        claims = jwt.decode(token, context.signing_key, algorithms=[ALGORITHM]).claims
        _CLAIMS.validate(claims)
    except (JoseError, ValueError, TypeError, UnicodeError, RecursionError):
        return "", ""
    return str(claims["jti"]), str(claims["sub"])
