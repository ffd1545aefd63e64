"""Unguessable tokens, of which only a hash is kept."""

import hashlib
import secrets


def new_token() -> str:
    """Make a token of 256 bits."""
    return secrets.token_urlsafe(32)


def token_hash(token: str) -> bytes:
    """Return what is kept of a token; it is random enough to need no salt."""
    return hashlib.sha256(token.encode()).digest()
