"""`Idempotency-Key`: the same answer again for 24 hours, stored in the transaction that made it true.

The key is scoped to the caller. A concurrent repetition finds the advisory lock taken and gets 409; one with another body
gets 422. Stored answers are encrypted under the key itself, of which the table holds only a hash: an answer may carry
what only its receiver should read, such as a token.
"""

import hashlib
import os

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec import Struct

from townsquare.kit.problems import Problem, invalid
from townsquare.kit.writes import Write

MAX_KEY = 255
_NONCE = 12

LOCK = "SELECT pg_try_advisory_xact_lock(hashtextextended($1, 0))"

# Served by the primary key.
FIND = """
SELECT fingerprint, status, answer FROM idempotency_keys
WHERE owner = $1 AND key_hash = $2 AND created_at > now() - interval '24 hours'
"""

STORE = """
INSERT INTO idempotency_keys (owner, key_hash, fingerprint, status, answer) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (owner, key_hash) DO UPDATE
SET fingerprint = excluded.fingerprint, status = excluded.status, answer = excluded.answer, created_at = now()
"""

# Served by idempotency_keys_created_at_idx.
FORGET = "DELETE FROM idempotency_keys WHERE created_at < now() - interval '24 hours'"


class Answer(Struct, frozen=True):
    """A kept answer: status, headers (name, value) and body."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class IdempotentCall:
    """One call with an `Idempotency-Key`, by `owner` (a person's id, or `anonymous`)."""

    def __init__(self, owner: str, key: str, method: str, path: str, body: bytes) -> None:
        if not 1 <= len(key) <= MAX_KEY or not key.isprintable() or not key.isascii():
            raise invalid("/Idempotency-Key", f"An Idempotency-Key is 1 to {MAX_KEY} printable ASCII characters.")
        self._owner = owner
        self._hash = hashlib.sha256(key.encode()).digest()
        self._fingerprint = hashlib.sha256(b"\0".join((method.encode(), path.encode(), body))).digest()
        self._cipher = AESGCM(hashlib.sha256(b"townsquare answer\0" + key.encode() + b"\0" + body).digest())

    async def recall(self, write: Write) -> Answer | None:
        """Return the answer that was given before, if any; raises `in_flight` and `key_reused`."""
        if not await write.fetchval(LOCK, f"{self._owner}:{self._hash.hex()}"):
            raise Problem("in_flight", headers={"Retry-After": "1"})
        row = await write.fetchrow(FIND, self._owner, self._hash)
        if row is None:
            return None
        if row["fingerprint"] != self._fingerprint:
            raise Problem("key_reused")
        return self._open(row["answer"])

    async def keep(self, write: Write, answer: Answer) -> None:
        """Store the answer in the call's own transaction."""
        nonce = os.urandom(_NONCE)
        sealed = nonce + self._cipher.encrypt(nonce, msgspec.msgpack.encode(answer), None)
        await write.execute(STORE, self._owner, self._hash, self._fingerprint, answer.status, sealed)

    def _open(self, sealed: bytes) -> Answer:
        try:
            plain = self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], None)
        except InvalidTag:
            raise Problem("key_reused") from None
        return msgspec.msgpack.decode(plain, type=Answer)
