"""One picture in, all that is wanted of it out: decoded once, each size from the next larger one, encoded side by side."""

import os
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from msgspec import structs

from townsquare.images.analysis import analyse
from townsquare.images.encoding import encode
from townsquare.images.model import FORMATS, SIZES, Format, Limits, Processed, SizeName, Variant, Wanted
from townsquare.images.pixels import SIDE
from townsquare.images.reading import open_picture
from townsquare.images.rendering import Rendered, decode, fitting, pixels_of

_LARGEST_FIRST: Final[tuple[SizeName, ...]] = ("large", "medium", "small", "thumbnail")
_SLOWEST_FIRST: Final[tuple[Format, ...]] = ("avif", "webp", "jpeg", "png")
"""The order of the work: what takes longest starts first, so that no core is idle at the end."""


def process(source: Path, folder: Path, wanted: Wanted, limits: Limits | None = None) -> Processed:
    """Write what is wanted of a picture into a folder as `{size}.{format}`, and tell what the picture is.

    Made for a process of its own: a hostile picture may crash or hang the decoder. Raises `Rejected`, `Unavailable` where
    there is no pyvips, and `OSError` when the folder cannot be written to.
    """
    stages: dict[str, float] = {}
    sizes: list[SizeName] = [size for size in _LARGEST_FIRST if any(size == each for each, _ in wanted)]
    with _timed(stages, "read"):
        picture = open_picture(source, limits or Limits())
        moving = picture.facts.frames > 1 and any(name == "webp" for _, name in wanted)
        rendered = decode(picture, SIZES[sizes[0]] if sizes else SIDE, moving=moving)
    facts = structs.replace(picture.facts, alpha=rendered.alpha)
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads, _timed(stages, "encode"):
        work = _Work(threads, folder, wanted)
        for size in sizes:
            with _timed(stages, "resize"):
                rendered = rendered.shrunk(*fitting(facts.width, facts.height, SIZES[size], facts.frames))
            work.start(rendered, size)
        with _timed(stages, "analyse"):
            analysis = analyse(pixels_of(rendered))
        variants = work.finish()
    return Processed(facts, analysis, variants, stages)


@dataclass
class _Encoding:
    """One file under way, and the sizes that it serves: a small picture is the same in several."""

    rendered: Rendered
    format: Format
    sizes: list[SizeName]
    written: Future[int]


@dataclass
class _Work:
    """The encodes of one picture; each starts as soon as its size is there."""

    threads: ThreadPoolExecutor
    folder: Path
    wanted: Wanted
    under_way: list[_Encoding] = field(default_factory=list[_Encoding])

    def start(self, rendered: Rendered, size: SizeName) -> None:
        """Have a size encoded in each format that is wanted of it, unless a larger one was no larger."""
        for name in _SLOWEST_FIRST:
            if (size, name) in self.wanted:
                same = (each for each in self.under_way if each.rendered is rendered and each.format == name)
                if twin := next(same, None):
                    twin.sizes.append(size)
                else:
                    written = self.threads.submit(_encode, rendered, self._path(size, name), name)
                    self.under_way.append(_Encoding(rendered, name, [size], written))

    def finish(self) -> list[Variant]:
        """Wait for all; returns them from the smallest to the largest."""
        variants = [variant for encoding in self.under_way for variant in self._variants(encoding)]
        order = {size: number for number, size in enumerate(SIZES)}
        return sorted(variants, key=lambda each: (order[each.size], FORMATS.index(each.format)))

    def _variants(self, encoding: _Encoding) -> Iterator[Variant]:
        written, made = encoding.written.result(), encoding.rendered
        first = self._path(encoding.sizes[0], encoding.format)
        for number, size in enumerate(encoding.sizes):
            if number:
                shutil.copyfile(first, self._path(size, encoding.format))
            yield Variant(size, encoding.format, made.width, made.height, written)

    def _path(self, size: SizeName, name: Format) -> Path:
        return self.folder / f"{size}.{name}"


def _encode(rendered: Rendered, path: Path, name: Format) -> int:
    # WebP alone moves for whoever looks: animated AVIF and PNG are larger, or not shown everywhere.
    return encode(rendered.image if name == "webp" else rendered.still, path, name, profile=rendered.wide)


@contextmanager
def _timed(stages: dict[str, float], name: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    stages[name] = stages.get(name, 0.0) + time.perf_counter() - started
