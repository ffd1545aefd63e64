"""Who is asking: EdDSA access tokens, verified by every service; personal tokens, exchanged for them.

Identity comes from a verified token alone: a bearer token or the session cookie that holds one. No header that a client
could set is trusted. A verified token is remembered for its remaining life, so that the signature is checked once.
"""

import time
import warnings
from collections.abc import Awaitable, Callable, Mapping
from typing import Final
from urllib.parse import urlsplit
from uuid import UUID

from joserfc import jwt
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import KeySet, OKPKey
from msgspec import Struct

from townsquare.kit.problems import Problem

ACCESS_SECONDS: Final = 300
AUDIENCE: Final = "townsquare"
SESSION_COOKIE: Final = "townsquare_session"
PERSONAL_PREFIX: Final = "pat_"
ALGORITHM: Final = "EdDSA"
MAX_REMEMBERED: Final = 20_000
MAX_TOKEN_LENGTH: Final = 4096
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})

# The contract names the algorithm `EdDSA`; RFC 9864 has since preferred `Ed25519` for the very same signature.
warnings.filterwarnings("ignore", message=".*EdDSA is deprecated", category=SecurityWarning)


class Viewer(Struct, frozen=True):
    """The person who asks.

    `scopes` is None for somebody who signed in, and the granted scopes (`read`, `write`) for a personal token.
    `expires` is the token's end in seconds since the epoch.
    """

    id: UUID
    handle: str
    name: str
    session: UUID | None
    scopes: frozenset[str] | None
    expires: float

    @property
    def signed_in(self) -> bool:
        """True for a session of the person's own, which alone may touch the account itself."""
        return self.scopes is None


class Signer:
    """Makes access tokens; only the service that owns accounts has one."""

    def __init__(self, key: OKPKey) -> None:
        self._key = key

    def sign(self, person: UUID, handle: str, name: str, session: UUID | None, scopes: frozenset[str] | None = None) -> str:
        """Return a token for `ACCESS_SECONDS`."""
        now = int(time.time())
        claims: dict[str, object] = {
            "iss": AUDIENCE,
            "aud": AUDIENCE,
            "sub": str(person),
            "handle": handle,
            "name": name,
            "iat": now,
            "exp": now + ACCESS_SECONDS,
        }
        if session is not None:
            claims["sid"] = str(session)
        if scopes is not None:
            claims["scope"] = " ".join(sorted(scopes))
        header = {"alg": ALGORITHM, "typ": "at+jwt", "kid": self._key.kid}
        return jwt.encode(header, claims, self._key, algorithms=[ALGORITHM])


Exchange = Callable[[str], Awaitable[str]]


class Verifier:
    """Turns a token into a viewer; remembers what it verified until the token ends.

    `exchange` turns a personal token into an access token by asking the service that owns accounts.
    """

    def __init__(self, keys: KeySet, exchange: Exchange | None = None) -> None:
        self._keys = keys
        self._exchange = exchange
        self._remembered: dict[str, Viewer] = {}
        self._registry = jwt.JWTClaimsRegistry(
            iss={"essential": True, "value": AUDIENCE},
            aud={"essential": True, "value": AUDIENCE},
            exp={"essential": True},
            sub={"essential": True},
        )

    def known(self, token: str) -> Viewer | None:
        """Return who the token speaks for if it was verified before and has not ended."""
        known = self._remembered.get(token)
        return known if known is not None and known.expires > time.time() else None

    async def viewer(self, token: str) -> Viewer:
        """Return who the token speaks for; raises the 401 problem `invalid_token`."""
        known = self.known(token)
        if known is not None:
            return known
        if len(token) > MAX_TOKEN_LENGTH:
            raise Problem("invalid_token")
        access = await self._access_token(token)
        viewer = self._verify(access)
        self._remember(token, viewer)
        return viewer

    async def _access_token(self, token: str) -> str:
        if not token.startswith(PERSONAL_PREFIX):
            return token
        if self._exchange is None:
            raise Problem("invalid_token")
        return await self._exchange(token)

    def _verify(self, token: str) -> Viewer:
        try:
            claims = jwt.decode(token, self._keys, algorithms=[ALGORITHM]).claims
            self._registry.validate(claims)
            return _viewer(claims)
        except (JoseError, ValueError, KeyError, TypeError, UnicodeError, RecursionError):
            raise Problem("invalid_token", headers={"WWW-Authenticate": 'Bearer error="invalid_token"'}) from None

    def _remember(self, token: str, viewer: Viewer) -> None:
        if len(self._remembered) >= MAX_REMEMBERED:
            now = time.time()
            self._remembered = {text: known for text, known in self._remembered.items() if known.expires > now}
            if len(self._remembered) >= MAX_REMEMBERED:
                self._remembered.clear()
        self._remembered[token] = viewer


def _viewer(claims: Mapping[str, object]) -> Viewer:
    scope, session = claims.get("scope"), claims.get("sid")
    return Viewer(
        id=UUID(str(claims["sub"])),
        handle=str(claims["handle"]),
        name=str(claims["name"]),
        session=None if session is None else UUID(str(session)),
        scopes=None if scope is None else frozenset(str(scope).split()),
        expires=float(str(claims["exp"])),
    )


def token_of(headers: Mapping[bytes, bytes], method: str) -> str | None:
    """Find the token in the request: the bearer token, else the session cookie.

    A cookie is sent by the browser whoever made it ask, so it counts for an unsafe method only when the request
    comes from this site (Fetch Metadata, else `Origin`). Raises the problems `invalid_token` and `cross_site`.
    """
    authorization = headers.get(b"authorization")
    if authorization is not None:
        scheme, _, token = authorization.decode("latin-1").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise Problem("invalid_token", "The Authorization header must be `Bearer <token>`.")
        return token.strip()
    cookie = headers.get(b"cookie")
    token = None if cookie is None else read_cookie(cookie.decode("latin-1"), SESSION_COOKIE)
    if token is not None and method not in SAFE_METHODS:
        require_same_site(headers)
    return token


def read_cookie(header: str, name: str) -> str | None:
    """Return one cookie of a Cookie header."""
    for part in header.split(";"):
        key, _, value = part.strip().partition("=")
        if key == name and value:
            return value
    return None


def require_same_site(headers: Mapping[bytes, bytes]) -> None:
    """Refuse a request that another site made the browser send; raises the problem `cross_site`."""
    fetch_site = headers.get(b"sec-fetch-site")
    if fetch_site is not None:
        if fetch_site in (b"same-origin", b"none"):
            return
        raise Problem("cross_site")
    origin = headers.get(b"origin")
    if origin is not None and _host_of(origin.decode("latin-1")) != headers.get(b"host", b"").decode("latin-1"):
        raise Problem("cross_site")


def _host_of(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc
    except ValueError:  # `http://[` is nobody's origin
        return None
