"""A process that works on pictures, one after the other, for the pool that started it: `python -m townsquare.images.worker`.

It reads jobs from its standard input and answers on its standard output. A picture may crash it, hang it or make it swell:
the kernel and the pool end it, and nobody else notices.
"""

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from townsquare.images import confinement
from townsquare.images.model import Limits, Processed, Reason, Rejected, Unavailable, Wanted
from townsquare.images.protocol import (
    LENGTH_BYTES,
    Done,
    Failed,
    FromWorker,
    Go,
    Job,
    Missing,
    Ready,
    Refused,
    Start,
    Taken,
    ToWorker,
    Weighed,
    frame,
    to_worker,
)


class Craft(NamedTuple):
    """What a worker can do: tell how many pixels a picture has without decoding it, and make what is wanted of it."""

    weigh: Callable[[Path, Limits], int]
    process: Callable[[Path, Path, Wanted, Limits], Processed]


def main() -> None:
    """Work on pictures until nobody asks any more."""
    serve(_pyvips)


def _pyvips() -> Craft:
    from townsquare.images import pipeline, reading

    reading.vips()
    return Craft(_pixels, pipeline.process)


def _pixels(source: Path, limits: Limits) -> int:
    from townsquare.images.reading import open_picture

    facts = open_picture(source, limits).facts
    return facts.width * facts.height * facts.frames


def serve(learn: Callable[[], Craft]) -> None:
    """Answer jobs with the craft that `learn` returns; it raises `ImportError` or `OSError` where a library is missing."""
    confinement.confine()
    line = _Line()
    start = line.hear()
    if not isinstance(start, Start):
        return
    try:
        craft = learn()
    except (ImportError, OSError, Unavailable) as error:
        line.say(Missing(f"{type(error).__name__}: {error}"))
        return
    confinement.confine_memory(start.limits.memory)
    line.say(Ready())
    while isinstance(job := line.hear(), Job):
        line.say(Taken())
        line.say(_answer(craft, job, start.limits, line))


class _Line:
    """The two ends of the pool's pipes, out of the reach of whatever prints or reads in this process."""

    def __init__(self) -> None:
        self._in, self._out = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
        nothing = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1):
            os.dup2(nothing, standard)
        os.close(nothing)

    def hear(self) -> ToWorker | None:
        """Return the next message, None when there will be none."""
        length = self._in.read(LENGTH_BYTES)
        return to_worker.decode(self._in.read(int.from_bytes(length))) if length else None

    def say(self, message: FromWorker) -> None:
        self._out.write(frame(message))
        self._out.flush()


def _answer(craft: Craft, job: Job, limits: Limits, line: _Line) -> FromWorker:
    source, folder = Path(job.source), Path(job.folder)
    # libvips looks here each time that it wants to put something aside: it may be found nowhere else.
    os.environ["TMPDIR"] = job.folder
    confinement.confine_time(limits.seconds)
    try:
        line.say(Weighed(craft.weigh(source, limits)))
        if not isinstance(line.hear(), Go):
            sys.exit()
        return Done(craft.process(source, folder, frozenset(job.wanted), limits))
    except Rejected as refused:
        return Refused(refused.reason, str(refused))
    except MemoryError:
        return Refused(Reason.SIZE, "The picture takes too much memory.")
    except OSError as error:
        if error.errno == errno.EFBIG:
            return Refused(Reason.SIZE, "What would be made of the picture is too large.")
        return Failed(f"{type(error).__name__}: {os.strerror(error.errno or errno.EIO)}", ours=True)
    except Exception as error:
        # Not its message: that may tell what is in the picture.
        return Failed(type(error).__name__, ours=False)


if __name__ == "__main__":
    main()
