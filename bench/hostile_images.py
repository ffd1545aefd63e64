"""What becomes of a corpus of broken and hostile pictures: `python -m bench.hostile_images FOLDER_OR_GIT_DIRECTORY...`

Every file of every folder goes through real workers, to be made into every size and format. Made for libvips' fuzz corpus
and Pillow's test pictures; a git directory (`REPOSITORY.git:PATH`) is unpacked first.
"""

import asyncio
import logging
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from townsquare.images.model import Limits, Rejected, wanted
from townsquare.images.pool import Pool

LIMITS = Limits(seconds=20)


@dataclass
class Tally:
    """What became of the files of one folder."""

    became: Counter[str] = field(default_factory=Counter)
    slowest: tuple[float, str] = (0.0, "")
    peak: int = 0
    lost: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        refused = ", ".join(f"{reason} {count}" for reason, count in sorted(self.became.items()) if reason != "accepted")
        return (
            f"{self.became.total()} files; accepted {self.became['accepted']}; "
            f"refused: {refused}; workers lost {len(self.lost)}; "
            f"slowest {self.slowest[0]:.2f} s ({self.slowest[1]}); a worker's peak {self.peak >> 20} MiB"
        )


async def tally(folder: Path) -> Tally:
    """Send every file below a folder through the workers."""
    result = Tally()
    async with Pool(2, LIMITS) as pool:
        queue = iter(sorted(path for path in folder.rglob("*") if path.is_file()))

        async def take() -> None:
            for path in queue:
                await _one(pool, path, path.relative_to(folder).as_posix(), result)

        await asyncio.gather(take(), take())
    return result


async def _one(pool: Pool, path: Path, name: str, result: Tally) -> None:
    started, crashes = time.perf_counter(), pool.crashes
    with tempfile.TemporaryDirectory() as made:
        try:
            await pool.process(path, Path(made), wanted())
            result.became["accepted"] += 1
        except Rejected as refused:
            result.became[refused.reason.value] += 1
    if pool.crashes > crashes:
        result.lost.append(name)
    result.slowest = max(result.slowest, (time.perf_counter() - started, name))
    result.peak = max([result.peak, *map(_peak, pool.pids)])


def _peak(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmHWM")), 0)


def unpacked(source: str, into: Path) -> Path:
    """Return a folder as it is, and a path inside of a git directory unpacked."""
    if Path(source).is_dir():
        return Path(source)
    repository, _, path = source.rpartition(":")
    git = ["git", "-C", repository]
    listing = subprocess.run([*git, "ls-tree", "-r", "HEAD", path + "/"], check=True, capture_output=True, text=True).stdout
    for number, line in enumerate(listing.splitlines()):
        facts, _, name = line.partition("\t")
        # A copy of a repository may lack its largest files, or have a pointer in their place.
        content = subprocess.run([*git, "cat-file", "blob", facts.split()[2]], check=False, capture_output=True)
        if not content.returncode and not content.stdout.startswith(b"version https://git-lfs"):
            (into / f"{number} {Path(name).name}").write_bytes(content.stdout)
    return into


def main(sources: list[str]) -> None:
    """Print a line for each source, and the names of the pictures that cost a worker."""
    logging.disable()
    for source in sources:
        with tempfile.TemporaryDirectory() as scratch:
            result = asyncio.run(tally(unpacked(source, Path(scratch))))
        print(f"{source.rpartition(':')[2]}: {result}")
        for name in result.lost:
            print(f"  cost a worker: {name}")


if __name__ == "__main__":
    main(sys.argv[1:])
