"""One picture in, all that is wanted of it out: decoded once, each size from the next larger one, encoded side by side."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from msgspec import structs

from townsquare.images.analysis import analyse
from townsquare.images.encoding import encode
from townsquare.images.model import SIZES, Analysis, Facts, Format, Limits, Processed, SizeName, Variant, Wanted
from townsquare.images.pixels import SIDE
from townsquare.images.reading import open_picture
from townsquare.images.rendering import Rendered, decode, fitting, pixels_of

_LARGEST_FIRST: Final[tuple[SizeName, ...]] = ("large", "medium", "small", "thumbnail")
_SLOWEST_FIRST: Final[tuple[Format, ...]] = ("avif", "webp", "jpeg", "png")
"""The order of encoding: what takes longest starts first, so that no core is idle at the end."""


def process(source: Path, folder: Path, wanted: Wanted, limits: Limits | None = None) -> Processed:
    """Write what is wanted of a picture into a folder as `{size}.{format}`, and tell what the picture is.

    Made for a process of its own: a hostile picture may crash or hang the decoder. Raises `Rejected`, `Unavailable` where
    there is no pyvips, and `OSError` when the folder cannot be written to.
    """
    stages: dict[str, float] = {}
    with _timed(stages, "read"):
        picture = open_picture(source, limits or Limits())
        sizes: list[SizeName] = [size for size in _LARGEST_FIRST if any(size == each for each, _ in wanted)]
        moving = picture.facts.frames > 1 and any(name == "webp" for _, name in wanted)
        largest = decode(picture, SIZES[sizes[0]] if sizes else SIDE, moving=moving)
    facts = structs.replace(picture.facts, alpha=largest.alpha)
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as encoders:

        def begin(rendered: Rendered, size: SizeName) -> list[Future[Variant]]:
            names: list[Format] = [name for name in _SLOWEST_FIRST if (size, name) in wanted]
            return [encoders.submit(_variant, rendered, folder, size, name) for name in names]

        encoding = time.perf_counter()
        work, smallest = _start(largest, sizes, begin, stages)
        with _timed(stages, "analyse"):
            analysis = analyse(pixels_of(smallest))
        variants = [each.result() for each in work]
        stages["encode"] = time.perf_counter() - encoding
    return _processed(facts, analysis, variants, stages)


def _start(
    largest: Rendered,
    sizes: list[SizeName],
    begin: Callable[[Rendered, SizeName], list[Future[Variant]]],
    stages: dict[str, float],
) -> tuple[list[Future[Variant]], Rendered]:
    """Make each size and have it encoded while the next is made. Returns the work under way and the smallest size."""
    work: list[Future[Variant]] = []
    rendered = largest
    for size in sizes:
        with _timed(stages, "resize"):
            rendered = rendered.shrunk(*fitting(rendered.width, rendered.height, SIZES[size], rendered.frames))
        work += begin(rendered, size)
    return work, rendered


def _variant(rendered: Rendered, folder: Path, size: SizeName, name: Format) -> Variant:
    image = rendered.image if name == "webp" else rendered.still
    written = encode(image, folder / f"{size}.{name}", name, profile=rendered.wide)
    return Variant(size, name, rendered.width, rendered.height, written)


def _processed(facts: Facts, analysis: Analysis, variants: list[Variant], stages: dict[str, float]) -> Processed:
    order = {size: number for number, size in enumerate(SIZES)}
    variants.sort(key=lambda each: (order[each.size], _SLOWEST_FIRST.index(each.format)))
    return Processed(facts, analysis, variants, stages)


@contextmanager
def _timed(stages: dict[str, float], name: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    stages[name] = stages.get(name, 0.0) + time.perf_counter() - started
