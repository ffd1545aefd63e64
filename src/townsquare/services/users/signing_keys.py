"""The public keys that access tokens are verified with, as a JSON Web Key Set (RFC 7517)."""

from typing import Any, Final

from litestar import get

from townsquare.kit import keys
from townsquare.kit.dependencies import Ctx


@get("/.well-known/jwks.json")
async def list_signing_keys(context: Ctx) -> dict[str, Any]:
    """List the public keys of access tokens."""
    return dict(keys.public_keys(context.settings.data).as_dict(private=False))


ROUTES: Final = (list_signing_keys,)
