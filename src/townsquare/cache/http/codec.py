"""Kept answers as bytes, for a level that processes share. Only the plain body travels."""

import msgspec
from msgspec import Struct

from townsquare.cache.http.responses import StoredResponse


class _Written(Struct, frozen=True, array_like=True):
    headers: list[tuple[bytes, bytes]]
    etag: bytes
    body: bytes


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(_Written)


class ResponseCodec:
    """Turns a StoredResponse into bytes and back."""

    def encode(self, value: object) -> bytes:
        """Return the answer as bytes."""
        assert isinstance(value, StoredResponse)  # noqa: S101  (nothing else is shared)
        return _ENCODER.encode(_Written(value.headers, value.etag, value.plain))

    def decode(self, data: bytes) -> StoredResponse:
        """Return the answer; raises ValueError for what was never one."""
        try:
            written = _DECODER.decode(data)
        except msgspec.MsgspecError as error:
            raise ValueError("This was never an answer.") from error
        return StoredResponse(written.headers, written.etag, written.body)
