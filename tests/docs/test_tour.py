"""The README's tour, pasted line by line into a shell beside a platform that was started as the README says."""

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "docs" / "tutorial" / "first-community.md"]
MARK = "-- end of block --"


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture
def platform(tmp_path: Path, port: int) -> Iterator[Path]:
    """Run `townsquare up` on an empty data folder, in the background of a shell's folder as a reader has it."""
    command = [sys.executable, "-m", "townsquare", "up", "--data", str(tmp_path / "data"), "--port", str(port)]
    with (tmp_path / "up.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, cwd=ROOT)
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if b"is ready" in line:
                break
        else:
            pytest.fail((tmp_path / "up.log").read_text())
        yield tmp_path / "data"
    finally:
        process.terminate()
        process.communicate(timeout=60)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_every_block_prints_what_the_page_says(page: Path, platform: Path, port: int) -> None:
    blocks = re.findall(r"```sh\n(.*?)```(?:\n```text\n(.*?)```)?", page.read_text("utf-8"), re.DOTALL)
    assert blocks, "the page shows no commands"
    printed = _paste([commands for commands, _ in blocks], platform, port)
    for (commands, promised), actual in zip(blocks, printed, strict=True):
        assert _fits(promised, actual), f"after\n{commands}\nthe page promises\n{promised}\nand it printed\n{actual}"


def _paste(blocks: list[str], data: Path, port: int) -> list[str]:
    """Feed the blocks to one shell through its standard input, as pasting does; returns what each printed."""
    lines = f"\necho '{MARK}'\n".join(blocks).replace("127.0.0.1:8000", f"127.0.0.1:{port}")
    lines = lines.replace(".venv/bin/townsquare", f"{sys.executable} -m townsquare")
    shell = subprocess.run(
        [shutil.which("bash") or "sh"],
        input=lines.encode(),
        capture_output=True,
        cwd=ROOT,
        env={**os.environ, "TOWNSQUARE_DATA": str(data), "TOWNSQUARE_PORT": str(port), "COLUMNS": "200"},
        timeout=120,
        check=False,
    )
    return shell.stdout.decode().split(f"{MARK}\n")


def _fits(promised: str, actual: str) -> bool:
    """Compare text in which `...` stands for anything, line breaks included; space at the ends does not count."""
    parts = [re.escape(part) for part in promised.strip().split("...")]
    return re.fullmatch(".*?".join(parts), actual.strip(), re.DOTALL) is not None
