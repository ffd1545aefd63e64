"""Addresses of what is private: signed, and good until they expire.

`?expires=<seconds since 1970>&signature=<base64url>`: an HMAC-SHA256 over the path and the time, under a key that is derived
from the services' shared secret. Whoever has such an address can read what it names until then, signed in or not.
"""

import base64
import hashlib
import hmac
import time
from datetime import UTC, datetime
from typing import Annotated, Final
from uuid import UUID

from litestar import Response, get
from litestar.params import FromPath, QueryParameter
from msgspec import Struct

from townsquare.kit import keys
from townsquare.kit.asgi import AnyRequest
from townsquare.kit.calls import call_of
from townsquare.kit.context import Context
from townsquare.kit.dependencies import Ctx, Db, SignedIn
from townsquare.kit.problems import not_found
from townsquare.services.media.file_view import Addresses
from townsquare.settings import Settings

DAY: Final = 86_400

# By primary key.
OWN_FILE: Final = "SELECT true FROM files WHERE id = $1 AND owner_id = $2"


class SignedAddress(Struct, frozen=True):
    """An address for whoever is given it, until it expires."""

    url: str
    expires_at: datetime


class Signer:
    """Signs and checks the paths of this service."""

    def __init__(self, secret: str) -> None:
        self._key = hmac.digest(secret.encode(), b"townsquare media addresses", "sha256")

    @classmethod
    def of(cls, settings: Settings) -> "Signer":
        """Return the platform's signer."""
        return cls(keys.internal_secret(settings))

    def query(self, path: str, expires: int) -> str:
        """Return the query that opens `path` until `expires` (seconds since 1970)."""
        return f"expires={expires}&signature={self._signature(path, expires)}"

    def opens(self, path: str, expires: int | None, signature: str | None) -> bool:
        """Say whether this query opens the path now."""
        if expires is None or signature is None or expires <= time.time():
            return False
        return hmac.compare_digest(self._signature(path, expires).encode(), signature.encode())

    def _signature(self, path: str, expires: int) -> str:
        digest = hmac.new(self._key, f"{path}\n{expires}".encode(), hashlib.sha256).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


class SignedAddresses(Addresses):
    """Plain addresses, and signed ones of what is private."""

    def __init__(self, prefix: str, signer: Signer, expires: int) -> None:
        super().__init__(prefix)
        self._signer = signer
        self._expires = expires

    def of(self, file_id: UUID, what: str, *, private: bool) -> str:
        """Return the address, signed when it must be."""
        plain = super().of(file_id, what, private=private)
        return f"{plain}?{self._signer.query(path_of(file_id, what), self._expires)}" if private else plain


def path_of(file_id: UUID, what: str) -> str:
    """Return the path that is signed: this service's own, whatever stands before it outside."""
    return f"/files/{file_id}/{what}"


def signed_addresses(context: Context, request: AnyRequest) -> Addresses:
    """Return what makes the addresses of an answer to this request.

    They are good until the end of tomorrow (UTC): far longer than a cache keeps the answer, and the same all day, so that
    the answer's ETag stands for what is in it.
    """
    return SignedAddresses(call_of(request.scope).prefix, Signer.of(context.settings), (int(time.time()) // DAY + 2) * DAY)


@get("/files/{file_id:uuid}/address")
async def show_address(
    request: AnyRequest,
    context: Ctx,
    db: Db,
    person: SignedIn,
    file_id: FromPath[UUID],
    of: Annotated[str, QueryParameter(pattern=r"^(original|(thumbnail|small|medium|large)\.(avif|webp|jpeg|png))$")],
    seconds: Annotated[int, QueryParameter(ge=60, le=7 * DAY, description="How long it is to be good.")] = 3600,
) -> Response[SignedAddress]:
    """Make an address of your own file that opens it for whoever has the address, until it expires."""
    if not await db.fetchval(OWN_FILE, file_id, person.id):
        raise not_found()
    expires = int(time.time()) + seconds
    query = Signer.of(context.settings).query(path_of(file_id, of), expires)
    url = f"{call_of(request.scope).prefix}{path_of(file_id, of)}?{query}"
    return Response(SignedAddress(url, datetime.fromtimestamp(expires, UTC)), headers={"Cache-Control": "no-store"})


ROUTES: Final = (show_address,)
