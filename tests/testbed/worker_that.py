"""A picture worker that does what the "picture" tells it, line by line: a decoder that a hostile file took over.

Run as a program. Each line of the source is a word and its argument; the lines before `go` happen while it is weighed.
"""

import os
import signal
import sys
import time
from pathlib import Path

from townsquare.images.model import Analysis, Facts, Limits, Placeholder, Processed, Reason, Rejected, Wanted
from townsquare.images.worker import Craft, serve

NOTHING = Analysis(Placeholder("", ""), [], (0.5, 0.5), "0" * 16)
hoard: list[bytearray] = []


def act(line: str, folder: Path | None) -> None:
    word, _, argument = line.partition(" ")
    match word:
        case "touch":
            Path(argument).touch()
        case "await":
            while not Path(argument).exists():
                time.sleep(0.002)
        case "hang":
            signal.pause()
        case "die":
            os.kill(os.getpid(), int(argument))
        case "swell":
            while True:
                hoard.append(bytearray(16 << 20))
        case "fill":
            assert folder
            with (folder / "large.png").open("wb") as file:
                while True:
                    file.write(bytes(1 << 20))
        case "errno":
            raise OSError(int(argument), "as told")
        case "refuse":
            raise Rejected(Reason(argument), "as told")
        case "burn":
            while True:
                pass
        case "chatter":
            os.write(1, b"\xff" * 100_000)
            print("noise" * 10_000)
        case "environment":
            Path(argument).write_text("\n".join(os.environ))
        case _:
            raise ValueError(word)


def weigh(source: Path, _limits: Limits) -> int:
    before = source.read_text().partition("go\n")[0].splitlines()
    for line in before:
        if not line.startswith("weight"):
            act(line, None)
    return next((int(line.split()[1]) for line in before if line.startswith("weight")), 1)


def process(source: Path, folder: Path, _wanted: Wanted, _limits: Limits) -> Processed:
    for line in source.read_text().partition("go\n")[2].splitlines():
        act(line, folder)
    return Processed(Facts("image/png", 1, 1), NOTHING, [])


def learn() -> Craft:
    match sys.argv[1:]:
        case ["without-pyvips"]:
            raise ImportError("No module named 'pyvips'")
        case ["still-born"]:
            os.kill(os.getpid(), signal.SIGKILL)
        case _:
            pass
    return Craft(weigh, process)


if __name__ == "__main__":
    serve(learn)
