"""What the pool and its workers say to each other: one message a frame, its length in four bytes before it."""

from typing import Final, TypeAlias

import msgspec
from msgspec import Struct

from townsquare.images.model import Format, Limits, Processed, Reason, SizeName

LENGTH_BYTES: Final = 4
LONGEST: Final = 1 << 20
"""More than any answer has. A worker that a picture took over can at least not fill the memory of the one who asks."""


class Start(Struct, frozen=True, tag=True):
    """The first word: within these limits you work."""

    limits: Limits


class Job(Struct, frozen=True, tag=True):
    """A picture, by its path, and what is to be made of it."""

    source: str
    folder: str
    wanted: list[tuple[SizeName, Format]]


class Go(Struct, frozen=True, tag=True):
    """There is room for a picture of this weight: begin."""


class Ready(Struct, frozen=True, tag=True):
    """The worker has loaded what it needs."""


class Missing(Struct, frozen=True, tag=True):
    """The worker cannot work here: pyvips or libvips is not there."""

    why: str


class Taken(Struct, frozen=True, tag=True):
    """The job has arrived. A worker that ends before this word was ended by something else than the picture."""


class Weighed(Struct, frozen=True, tag=True):
    """So many pixels, over all its frames, the picture has."""

    pixels: int


class Done(Struct, frozen=True, tag=True):
    """All is made."""

    processed: Processed


class Refused(Struct, frozen=True, tag=True):
    """The picture is refused."""

    reason: Reason
    message: str


class Failed(Struct, frozen=True, tag=True):
    """Nothing foreseen. It is `ours` when files cannot be read or written; else the picture found a way to go wrong."""

    why: str
    ours: bool


ToWorker: TypeAlias = Start | Job | Go
FromWorker: TypeAlias = Ready | Missing | Taken | Weighed | Done | Refused | Failed

to_worker: Final = msgspec.msgpack.Decoder(ToWorker)
from_worker: Final = msgspec.msgpack.Decoder(FromWorker)


def frame(message: ToWorker | FromWorker) -> bytes:
    """Return the message as it is sent."""
    body = msgspec.msgpack.encode(message)
    return len(body).to_bytes(LENGTH_BYTES) + body
