"""`python -m bench.images_once PHOTO FOLDER`: make all sixteen files of one photo, as a worker of the platform does.

Prints seconds, peak memory and bytes by format as JSON: what bench/peers/sharp/process.js prints of the same work.
"""

import json
import re
import sys
import time
from pathlib import Path

import pyvips

from townsquare.images.model import FORMATS, wanted
from townsquare.images.pipeline import process


def main() -> None:
    """Make them and tell."""
    photo, folder = map(Path, sys.argv[1:3])
    started = time.perf_counter()
    processed = process(photo, folder, wanted())
    seconds = time.perf_counter() - started
    found = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text("utf-8"))
    sums = {name: sum(each.bytes for each in processed.variants if each.format == name) for name in FORMATS}
    version = ".".join(str(pyvips.version(part)) for part in range(3))
    peak = int(found[1]) * 1024 if found else 0
    print(
        json.dumps(
            {"seconds": seconds, "peak": peak, "bytes": sums, "stages": processed.stages, "versions": {"libvips": version}}
        )
    )


if __name__ == "__main__":
    main()
