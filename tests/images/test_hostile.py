"""Whatever comes in, there is a picture or a reason, in time and within memory; no worker is lost, nothing else touched."""

import asyncio
import contextlib
import sys
import tempfile
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import psutil
import pytest
from PIL import Image

from testbed import hostile_files
from townsquare.images.model import Facts, Limits, Reason, Rejected, wanted
from townsquare.images.pool import Pool

LIMITS = Limits(seconds=10)
QUICK = wanted(sizes=["thumbnail"], formats=["webp", "png"])
MEMORY = 700 << 20
"""Bytes that a worker may have at its fullest, within its limit of a gigabyte."""

CANARY = (255, 0, 0)
"""The colour of a picture that nothing may read."""


@pytest.fixture(scope="module")
async def pool() -> AsyncIterator[Pool]:
    async with Pool(2, LIMITS) as pool:
        yield pool


async def outcome(pool: Pool, content: bytes, place: Path) -> Facts | Reason:
    """Return what became of a picture, once all that must hold whatever became of it was looked at."""
    with tempfile.TemporaryDirectory(dir=place) as scratch:
        source, folder = Path(scratch) / "picture.jpg", Path(scratch) / "made"
        source.write_bytes(content)
        folder.mkdir()
        try:
            made = (await pool.process(source, folder, QUICK)).facts
        except Rejected as refused:
            made = refused.reason
        else:
            for file in folder.iterdir():
                Image.open(file).load()
                assert CANARY not in {colour for _, colour in Image.open(file).convert("RGB").getcolors(1 << 20) or []}
        assert {entry.name for entry in Path(scratch).iterdir()} == {"picture.jpg", "made"}
        assert {file.name for file in folder.iterdir()} <= {"thumbnail.webp", "thumbnail.png"}
        assert source.read_bytes() == content
    for pid in pool.pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            assert psutil.Process(pid).memory_info().rss < MEMORY
    return made


async def outcomes(pool: Pool, files: Iterable[tuple[str, bytes]], place: Path) -> dict[str, Facts | Reason]:
    found = {name: await outcome(pool, content, place) for name, content in files}
    assert isinstance(await outcome(pool, hostile_files.whole("JPEG"), place), Facts)
    assert pool.crashes == 0
    return found


async def test_a_bomb_is_refused_for_its_size_before_it_goes_off(pool: Pool, tmp_path: Path) -> None:
    found = await outcomes(pool, hostile_files.bombs(), tmp_path)
    large = ("60,000 x 60,000", "65,535 x 65,535", "65,500", "16,383", "500 frames", "5,000 frames")
    for name, became in found.items():
        if any(word in name for word in large):
            assert became is Reason.SIZE, name


async def test_what_was_cut_off_is_refused(pool: Pool, tmp_path: Path) -> None:
    found = await outcomes(pool, hostile_files.cut(), tmp_path)
    assert not [name for name, became in found.items() if isinstance(became, Facts)]


async def test_lying_lengths_and_circles_do_no_harm(pool: Pool, tmp_path: Path) -> None:
    await outcomes(pool, hostile_files.liars(), tmp_path)


async def test_flipped_bytes_do_no_harm(pool: Pool, tmp_path: Path) -> None:
    await outcomes(pool, hostile_files.flipped(seed=4, many=15), tmp_path)


async def test_what_is_no_picture_is_refused_for_what_it_is(pool: Pool, tmp_path: Path) -> None:
    found = await outcomes(pool, hostile_files.mistaken(), tmp_path)
    for name, became in found.items():
        if name.startswith("a picture"):
            assert isinstance(became, Facts), name
        else:
            assert became is Reason.TYPE, name


async def test_a_drawing_reads_no_file_and_calls_nobody(pool: Pool, tmp_path: Path) -> None:
    calls: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        calls.append(await reader.readline())
        writer.close()

    canary = tmp_path / "canary.png"
    Image.new("RGB", (99, 99), CANARY).save(canary)
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        await outcomes(pool, hostile_files.drawings(str(canary), f"http://{host}:{port}"), tmp_path)
    assert calls == []


ASKING = """
import asyncio, sys
from pathlib import Path
from townsquare.images.model import wanted
from townsquare.images.pool import Pool
async def main():
    async with Pool(1) as pool:
        assert (await pool.process(Path(sys.argv[1]), Path(sys.argv[2]), wanted(["small"], ["png"]))).variants
asyncio.run(main())
print(*sys.modules)
"""


async def test_the_process_that_asks_never_loads_the_decoder(tmp_path: Path) -> None:
    (tmp_path / "picture").write_bytes(hostile_files.whole("PNG"))
    asking = await asyncio.create_subprocess_exec(
        sys.executable, "-c", ASKING, tmp_path / "picture", tmp_path, stdout=asyncio.subprocess.PIPE
    )
    loaded = (await asking.communicate())[0].decode().split()
    assert "townsquare.images.pool" in loaded
    assert not [name for name in loaded if "pyvips" in name]
