"""Identity comes from a verified token alone."""

import base64
import time
from pathlib import Path
from uuid import UUID, uuid4

import msgspec
import pytest
from joserfc import jwt
from joserfc.jwk import OctKey, OKPKey

from testbed.notes import Notes
from townsquare.kit import keys
from townsquare.kit.identity import SESSION_COOKIE
from townsquare.settings import Settings

ADA = UUID("0190c9a2-0000-7000-8000-000000000001")


def token(notes: Notes) -> str:
    return notes.signer.sign(ADA, "ada", "Ada", uuid4())


def claims(**changes: object) -> dict[str, object]:
    now = int(time.time())
    whole: dict[str, object] = {
        "iss": "townsquare",
        "aud": "townsquare",
        "sub": str(ADA),
        "handle": "ada",
        "name": "Ada",
        "iat": now,
        "exp": now + 60,
    }
    return {name: value for name, value in (whole | changes).items() if value is not ...}


def signed(notes: Notes, payload: dict[str, object]) -> str:
    key = keys.signing_key(notes.settings.data)
    return jwt.encode({"alg": "EdDSA", "kid": key.kid}, payload, key, algorithms=["EdDSA"])


def unsigned(payload: dict[str, object]) -> str:
    parts = [msgspec.json.encode({"alg": "none"}), msgspec.json.encode(payload)]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts) + "."


async def test_a_token_speaks_for_its_person(notes: Notes) -> None:
    answer = await notes.client.get("/me", as_=token(notes))
    assert answer.json == {"id": str(ADA), "handle": "ada"}


async def test_the_session_cookie_holds_the_same_token(notes: Notes) -> None:
    answer = await notes.client.get("/me", headers={"Cookie": f"other=1; {SESSION_COOKIE}={token(notes)}"})
    assert answer.status == 200


async def test_nobody_is_asked_to_sign_in(notes: Notes) -> None:
    answer = await notes.client.get("/me")
    assert (answer.status, answer.code) == (401, "unauthenticated")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


async def test_every_forged_or_stale_token_is_401_also_where_reading_is_public(notes: Notes) -> None:
    other = OKPKey.generate_key("Ed25519", auto_kid=True)
    shared = OctKey.import_key("townsquare" * 4)
    good = token(notes)
    head, body, signature = good.split(".")
    forged = {
        "alg none": unsigned(claims()),
        "alg none with a signature": unsigned(claims()) + signature,
        "another key": jwt.encode({"alg": "EdDSA", "kid": other.kid}, claims(), other, algorithms=["EdDSA"]),
        "hmac": jwt.encode({"alg": "HS256"}, claims(), shared, algorithms=["HS256"]),
        "expired": signed(notes, claims(exp=int(time.time()) - 1)),
        "no expiry": signed(notes, claims(exp=...)),
        "another audience": signed(notes, claims(aud="elsewhere")),
        "another issuer": signed(notes, claims(iss="elsewhere")),
        "no subject": signed(notes, claims(sub=...)),
        "no uuid": signed(notes, claims(sub="ada")),
        "changed": f"{head}.{body[:-2]}xx.{signature}",
        "cut": good[:-10],
        "garbage": "garbage",
        "long": "a" * 5000,
        "personal token of nobody": "pat_" + "a" * 40,
    }
    for what, value in forged.items():
        for path in ("/me", "/notes"):
            answer = await notes.client.get(path, as_=value)
            # Nobody hosts accounts here, so whether a personal token is good cannot be known.
            expected = 503 if value.startswith("pat_") else 401
            assert answer.status == expected, (what, answer.body)


@pytest.mark.parametrize("header", ["Basic YTpi", "Bearer", "Bearer ", "x"])
async def test_another_authorization_is_refused(notes: Notes, header: str) -> None:
    assert (await notes.client.get("/notes", headers={"Authorization": header})).status == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, 201),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://["}, 403),
    ],
)
async def test_a_cookie_does_not_count_from_another_site(notes: Notes, headers: dict[str, str], status: int) -> None:
    sent = {"Cookie": f"{SESSION_COOKIE}={token(notes)}", **headers}
    assert (await notes.client.post("/notes", json={"text": "x"}, headers=sent)).status == status


def test_an_empty_secret_is_none_for_anybody_could_show_it(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path)
    keys.ensure_keys(tmp_path)
    assert keys.internal_secret(settings)
    (tmp_path / "keys" / keys.INTERNAL).write_text("\n", "utf-8")
    with pytest.raises(keys.KeyMissingError):
        keys.internal_secret(settings)


async def test_scopes_of_a_token_are_held(notes: Notes) -> None:
    reader = notes.signer.sign(ADA, "ada", "Ada", None, frozenset({"read"}))
    assert (await notes.client.get("/notes", as_=reader)).status == 200
    answer = await notes.client.post("/notes", json={"text": "x"}, as_=reader)
    assert (answer.status, answer.code) == (403, "insufficient_scope")


async def test_no_header_that_a_client_can_set_is_trusted(notes: Notes) -> None:
    for name in ("Townsquare-Forwarded", "Townsquare-Internal", "X-User-Id", "X-Forwarded-User"):
        assert (await notes.client.get("/me", headers={name: str(ADA)})).status == 401
