"""Pictures: sixteen files, a placeholder and colours of one photo beside sharp, and what a visitor no longer has to load.

Time and memory: each contender makes all of it in a process of its own (seconds from when its library is loaded until the
last file is written; memory is the greatest resident size that the kernel saw), on all cores, nothing bound. sharp runs in
its usual way, a pipeline for each output, all started at once; once with the platform's encoder settings, where the bytes
of both show that the work is equal, and once as it comes, its AVIF effort being 4.

The answer to an upload waits for all but PNG: that is measured through the pool of workers, as the media service uses it.

Bytes: `large` and `medium` beside the original file, and how much alike they look to SSIMULACRA2 (90: no difference is
seen; 70: high quality), the original being shrunk to their size without loss, as a browser would show it.

The photos are listed in bench/photos.py, with who made them and the licence.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyvips

from bench.cluster import cache_folder
from bench.contenders import PEERS, python_of_peers
from bench.harness import Report, Row, Spread, ratios, rounds, version_of
from bench.node import install, node_and_npm
from bench.photos import LARGE_4K, PHOTOS, SIX_MEGAPIXELS, Photo
from townsquare.images.model import Format, SizeName, wanted
from townsquare.images.pipeline import process
from townsquare.images.pool import Pool

OURS, EQUAL, DEFAULT = "townsquare", "sharp, equal settings", "sharp, as it comes"
FIRST: tuple[Format, ...] = ("avif", "webp", "jpeg")
"""What an answer waits for."""
ALIKE = 0.05
"""By so much the bytes of a format may differ for the settings to be equal."""


def run(count: int) -> Report:
    """Measure time and memory in `count` rounds, then bytes and quality once: they do not vary."""
    sharp = _Sharp()
    rows: list[Row] = []
    for name, photo, goal in (("6.3 megapixels", SIX_MEGAPIXELS, 1.4), ("4K, 8.5 MB", LARGE_4K, 2.5)):
        rows += _beside_sharp(name, photo, sharp, count, goal)
    rows.append(_answer(SIX_MEGAPIXELS, count))
    rows += _lighter()
    return Report("images", rows, sharp.versions | _versions())


@dataclass
class _Sharp:
    """The peer, installed in the cache folder, and what it says it is made with."""

    versions: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._node, npm = node_and_npm()
        self._folder = cache_folder() / "sharp"
        install(PEERS / "sharp", self._folder, npm)
        self.versions["Node"] = version_of(self._node, "--version")

    def once(self, photo: Path, settings: str) -> dict[str, Any]:
        """Make the files of a photo; returns seconds, peak memory and bytes by format."""
        said = _once([self._node, str(self._folder / "process.js"), str(photo)], settings)
        self.versions |= {"sharp": said["versions"]["sharp"], "libvips of sharp": said["versions"]["libvips"]}
        return said


def _once(command: list[str], *settings: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([*command, folder, *settings], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"bench: {' '.join(command)} failed: {done.stderr.strip()}")
    return json.loads(done.stdout)


def _beside_sharp(name: str, photo: Photo, sharp: _Sharp, count: int, goal: float) -> list[Row]:
    said: dict[str, list[dict[str, Any]]] = {OURS: [], EQUAL: [], DEFAULT: []}

    def timed(contender: str, once: Callable[[], dict[str, Any]]) -> Callable[[], float]:
        def measure() -> float:
            said[contender].append(once())
            return said[contender][-1]["seconds"]

        return measure

    ours = [sys.executable, "-m", "bench.images_once", str(photo.file)]
    contenders = {
        OURS: timed(OURS, lambda: _once(ours)),
        EQUAL: timed(EQUAL, lambda: sharp.once(photo.file, "equal")),
        DEFAULT: timed(DEFAULT, lambda: sharp.once(photo.file, "default")),
    }
    seconds = rounds(contenders, count)
    memory = {contender: [each["peak"] / 1e6 for each in answers] for contender, answers in said.items()}
    sums = {contender: answers[-1]["bytes"] for contender, answers in said.items()}
    _require_equal(sums[OURS], sums[EQUAL])
    return [
        _faster(f"{name}: 16 files, placeholder and colours, equal encoder settings", seconds, EQUAL, sums, goal),
        _faster(f"{name}: the same, each as it comes", seconds, DEFAULT, sums, 8.0),
        _less(f"{name}: peak memory", memory, EQUAL, 0.6),
    ]


def _require_equal(ours: Mapping[str, int], theirs: Mapping[str, int]) -> None:
    for name in FIRST:  # PNG differs by its filter
        if abs(ours[name] / theirs[name] - 1) > ALIKE:
            sys.exit(f"bench: the settings of {name} are not equal any more: {ours[name]} and {theirs[name]} bytes")


def _faster(what: str, series: dict[str, list[float]], peer: str, sums: Mapping[str, Mapping[str, int]], goal: float) -> Row:
    figures = {who: f"{Spread.of(series[who]).text('s')}; {_kilobytes(sums[who])}" for who in (OURS, peer)}
    speed = ratios(series, peer, OURS)
    return Row(what, figures, speed.text().strip() + "x", f"at least {goal}x", speed.median >= goal)


def _less(what: str, series: dict[str, list[float]], peer: str, goal: float) -> Row:
    figures = {who: Spread.of(series[who]).text("MB") for who in (OURS, peer)}
    part = ratios(series, OURS, peer)
    return Row(what, figures, part.text().strip() + "x", f"at most {goal}x", part.median <= goal)


def _kilobytes(sums: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {bytes_ // 1000:,} kB" for name, bytes_ in sums.items())


def _answer(photo: Photo, count: int) -> Row:
    spread = Spread.of(asyncio.run(_through_the_pool(photo.file, count)))
    what = "6.3 megapixels: all but PNG, through the pool of workers (no HTTP, no storage)"
    return Row(what, {OURS: spread.text("s")}, "", "under 0.8 s", spread.median < 0.8)


async def _through_the_pool(photo: Path, count: int) -> list[float]:
    seconds: list[float] = []
    async with Pool() as pool:
        for number in range(count + 1):
            with tempfile.TemporaryDirectory() as folder:
                started = time.perf_counter()
                await pool.process(photo, Path(folder), wanted(formats=FIRST))
                # The first starts the worker.
                seconds += [time.perf_counter() - started] if number else []
    return seconds


@dataclass(frozen=True)
class _Made:
    """A file of a photo: its part of the original's bytes, and its SSIMULACRA2 score."""

    part: float
    score: float
    bytes: int


def _lighter() -> list[Row]:
    made: dict[tuple[SizeName, Format], list[_Made]] = {}
    originals = 0
    for photo in PHOTOS:
        print(f"  {photo.name}", flush=True)
        originals += photo.file.stat().st_size
        for which, file in _variants_of(photo.file):
            made.setdefault(which, []).append(file)
    rows = [_lighter_row(size, name, files) for (size, name), files in sorted(made.items())]
    page = sum(file.bytes for file in made["medium", "avif"])
    saved = 100 * (1 - page / originals)
    figures = {"originals": f"{originals / 1e6:.1f} MB", "srcset": f"{page / 1e6:.2f} MB"}
    what = f"a page of these {len(PHOTOS)} photos on a telephone (360 points, 3 pixels each: `medium` AVIF)"
    return [*rows, Row(what, figures, f"{saved:.1f} % less", "at least 70 % less", saved >= 70)]


def _lighter_row(size: SizeName, name: Format, files: list[_Made]) -> Row:
    less = Spread.of([100 * (1 - file.part) for file in files])
    score = Spread.of([file.score for file in files])
    what = f"`{size}` {name.upper()}: bytes against the original file, {len(files)} photos"
    met = less.median >= 70 if size == "large" else None
    return Row(what, {"SSIMULACRA2": score.text()}, f"{less.text()} % less", "at least 70 % less", met)


def _variants_of(photo: Path) -> Iterator[tuple[tuple[SizeName, Format], _Made]]:
    whole = photo.stat().st_size
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        processed = process(photo, folder, wanted(("medium", "large"), FIRST))
        for size in ("medium", "large"):
            made = [each for each in processed.variants if each.size == size]
            with _reference(photo, made[0].width, made[0].height, folder) as reference:
                scores = _scores(reference, [folder / f"{size}.{each.format}" for each in made])
            for each, score in zip(made, scores, strict=True):
                yield (size, each.format), _Made(each.bytes / whole, score, each.bytes)


@contextmanager
def _reference(photo: Path, width: int, height: int, folder: Path) -> Iterator[Path]:
    """Shrink the original without shrink-on-load and without loss."""
    image = pyvips.Image.new_from_file(str(photo)).autorot()
    file = folder / "reference.png"
    image.resize(width / image.width, vscale=height / image.height).pngsave(str(file), compression=1, keep="none")
    yield file
    file.unlink()


def _scores(reference: Path, files: list[Path]) -> list[float]:
    decoded = [file.with_name(f"{file.name}.png") for file in files]
    for file, png in zip(files, decoded, strict=True):
        pyvips.Image.new_from_file(str(file)).pngsave(str(png), compression=1, keep="none")
    command = [python_of_peers("quality"), str(PEERS / "quality" / "score.py"), str(reference), *map(str, decoded)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"bench: no scores: {done.stderr.strip()}")
    return json.loads(done.stdout)


def _versions() -> dict[str, str]:
    requirements = (PEERS / "quality" / "requirements.txt").read_text("utf-8").split()
    quality = dict(line.split("==") for line in requirements)
    return {
        "Python": version_of(sys.executable, "--version").split(" ")[-1],
        "libvips of townsquare": ".".join(str(pyvips.version(part)) for part in range(3)),
        "ssimulacra2": quality["ssimulacra2"],
        "photos": "; ".join(f"{photo.name} ({photo.licence}, {photo.package})" for photo in PHOTOS),
    }
