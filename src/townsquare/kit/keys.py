"""The platform's keys, kept in `<data>/keys`: the signing key of access tokens and the services' shared secret.

A service that only verifies needs `identity.public.json` alone; where services run on different machines, mount just that.
"""

import json
import os
import secrets
from pathlib import Path

from joserfc.jwk import KeySet, OKPKey

from townsquare.settings import Settings

PRIVATE = "identity.json"
PUBLIC = "identity.public.json"
INTERNAL = "internal.secret"


class KeyMissingError(Exception):
    """A key that this process needs is not in the data folder."""


def ensure_keys(data: Path) -> None:
    """Make what is missing. Safe when several processes start together: the first one's files stand."""
    folder = data / "keys"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not (folder / PUBLIC).exists():
        key = OKPKey.generate_key("Ed25519", auto_kid=True)
        _create(folder / PRIVATE, json.dumps(key.as_dict(private=True)))
        standing = OKPKey.import_key(json.loads((folder / PRIVATE).read_text("utf-8")))
        _create(folder / PUBLIC, json.dumps(KeySet([standing]).as_dict(private=False)))
    _create(folder / INTERNAL, secrets.token_urlsafe(32))


def signing_key(data: Path) -> OKPKey:
    """Return the private key; raises KeyMissingError."""
    return OKPKey.import_key(json.loads(_read(data / "keys" / PRIVATE)))


def public_keys(data: Path) -> KeySet:
    """Return the keys that tokens are verified with; raises KeyMissingError."""
    return KeySet.import_key_set(json.loads(_read(data / "keys" / PUBLIC)))


def internal_secret(settings: Settings) -> str:
    """Return what services show each other; raises KeyMissingError."""
    path = settings.data / "keys" / INTERNAL
    secret = settings.internal_secret or _read(path).strip()
    if not secret:  # anybody could show that
        raise KeyMissingError(f"{path} is empty; delete it, and `townsquare up` makes it anew.")
    return secret


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        raise KeyMissingError(f"{path} is missing; `townsquare up` makes it.") from None


def _create(path: Path, content: str) -> None:
    """Write a private file whole, or leave the one that is there."""
    if path.exists():
        return
    draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)
    except FileExistsError:
        return
    finally:
        draft.unlink()
