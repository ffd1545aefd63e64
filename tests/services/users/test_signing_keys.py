"""The published keys: enough to verify an access token with, and nothing to make one."""

from joserfc import jwt
from joserfc.jwk import KeySet

from testbed.town import Town
from townsquare.kit.identity import ALGORITHM


async def test_an_access_token_is_verified_with_the_published_keys(town: Town) -> None:
    ada = await town.register("ada")
    published = (await town.users.get("/.well-known/jwks.json")).json
    token = jwt.decode(ada.token, KeySet.import_key_set(published), algorithms=[ALGORITHM])
    assert token.claims["sub"] == str(ada.id)
    assert token.claims["exp"] - token.claims["iat"] == 300
    assert "example.org" not in str(token.claims)


async def test_no_private_key_is_published(town: Town) -> None:
    keys = (await town.users.get("/.well-known/jwks.json")).json["keys"]
    assert keys
    assert all(key.keys() == {"kty", "crv", "x", "kid"} for key in keys)
