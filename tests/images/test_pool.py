"""Workers may crash, hang, swell or be killed: each picture gets its answer, and the pool goes on."""

import asyncio
import contextlib
import errno
import itertools
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import psutil
import pytest

import testbed
from townsquare.images import pool as pool_module
from townsquare.images.admission import Admission
from townsquare.images.model import Limits, Processed, Reason, Rejected, Unavailable, wanted
from townsquare.images.pool import Pool, TooBusy

COMMAND = (sys.executable, "-I", str(Path(next(iter(testbed.__path__))) / "worker_that.py"))
WANTED = wanted()
PATIENT = Limits(seconds=30)
HASTY = Limits(seconds=0.5)


class Bench:
    """A pool of obedient workers, and pictures that tell them what to do."""

    def __init__(self, pool: Pool, folder: Path) -> None:
        self.pool, self.folder = pool, folder
        self._numbers = itertools.count()

    async def work(self, *lines: str) -> Processed:
        number = next(self._numbers)
        source, folder = self.folder / f"{number}.txt", self.folder / f"out{number}"
        source.write_text("\n".join(lines) + "\n")
        folder.mkdir()
        return await self.pool.process(source, folder, WANTED)

    def start(self, *lines: str) -> asyncio.Task[Processed]:
        return asyncio.create_task(self.work(*lines))

    async def refusal(self, *lines: str) -> Reason:
        with pytest.raises(Rejected) as caught:
            await self.work(*lines)
        return caught.value.reason

    def sign(self, name: str) -> Path:
        return self.folder / name

    async def seen(self, *names: str) -> None:
        await until(lambda: all(self.sign(name).exists() for name in names))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


def gone(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    return True


Open = Callable[..., Awaitable[Bench]]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Open]:
    async with contextlib.AsyncExitStack() as stack:

        async def open_(limits: Limits = PATIENT, argument: str = "", workers: int = 1, **options: object) -> Bench:
            command = (*COMMAND, argument)
            pool = Pool(workers, limits, command=command, **options)  # type: ignore[arg-type]
            return Bench(await stack.enter_async_context(pool), tmp_path)

        yield open_


async def test_no_worker_lives_before_the_first_picture_nor_after_idle_minutes(bench: Open) -> None:
    it = await bench(idle_seconds=0.05)
    assert it.pool.pids == []
    await it.work("go")
    (pid,) = it.pool.pids
    await until(lambda: gone(pid) and it.pool.pids == [])
    await it.work("go")


async def test_one_worker_takes_one_picture_after_the_other(bench: Open) -> None:
    it = await bench()
    await it.work("go")
    first = it.pool.pids
    await asyncio.gather(*(it.work("go") for _ in range(5)))
    assert it.pool.pids == first


@pytest.mark.parametrize("when", ["weighed", "worked on"])
@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL])
async def test_a_crash_refuses_the_picture_and_the_next_one_gets_a_new_worker(bench: Open, when: str, number: int) -> None:
    it = await bench()
    await it.work("go")
    (before,) = it.pool.pids
    lines = (f"die {number}", "go") if when == "weighed" else ("go", f"die {number}")
    assert await it.refusal(*lines) is Reason.BROKEN
    assert gone(before)
    assert it.pool.crashes == 1
    await it.work("go")


@pytest.mark.parametrize("lines", [("hang", "go"), ("go", "hang"), ("go", "burn"), ("go", f"die {signal.SIGSTOP}")])
async def test_what_takes_too_long_is_ended_at_the_deadline(bench: Open, lines: tuple[str, ...]) -> None:
    it = await bench(HASTY)
    async with asyncio.timeout(10):
        assert await it.refusal(*lines) is Reason.SIZE
        await it.work("go")


async def test_a_worker_ends_its_own_burning_when_nobody_is_there_to_do_it(bench: Open) -> None:
    it = await bench(HASTY)
    burning = it.start("touch " + str(it.sign("burning")), "go", "burn")
    await it.seen("burning")
    (pid,) = it.pool.pids
    limit = psutil.Process(pid).rlimit(psutil.RLIMIT_CPU)[0]
    assert 0 < limit <= 3 + HASTY.seconds * (os.cpu_count() or 1)
    with pytest.raises(Rejected):
        await burning


async def test_one_that_swells_is_refused_within_its_memory(bench: Open) -> None:
    it = await bench(Limits(seconds=30, memory=128 << 20))
    assert await it.refusal("go", "swell") is Reason.SIZE
    (pid,) = it.pool.pids
    assert psutil.Process(pid).memory_info().rss < 300 << 20


async def test_one_that_would_fill_the_disk_is_refused_at_the_largest_file_there_may_be(bench: Open) -> None:
    it = await bench()
    assert await it.refusal("go", "fill") is Reason.SIZE
    assert (it.folder / "out0" / "large.png").stat().st_size <= 256 << 20


async def test_a_full_disk_is_not_the_pictures_fault(bench: Open) -> None:
    it = await bench()
    with pytest.raises(Unavailable, match="No space left"):
        await it.work("go", f"errno {errno.ENOSPC}")
    await it.work("go")


async def test_a_refusal_comes_with_its_reason_and_costs_no_worker(bench: Open) -> None:
    it = await bench()
    for reason in ("type", "size", "broken"):
        assert await it.refusal("go", f"refuse {reason}") is Reason(reason)
        assert await it.refusal(f"refuse {reason}", "go") is Reason(reason)
    assert await it.refusal("go", "something unforeseen") is Reason.BROKEN
    assert it.pool.crashes == 0


async def test_a_worker_that_died_between_two_pictures_is_not_noticed(bench: Open) -> None:
    it = await bench()
    await it.work("go")
    os.kill(it.pool.pids[0], signal.SIGKILL)
    # At once, before anybody could see that it is gone; and when that was seen.
    await it.work("go")
    (pid,) = it.pool.pids
    os.kill(pid, signal.SIGKILL)
    await until(lambda: it.pool.pids == [])
    await it.work("go")
    assert it.pool.crashes == 0


async def test_what_a_decoder_prints_does_not_disturb_the_answer(bench: Open) -> None:
    it = await bench()
    await it.work("chatter", "go", "chatter")


async def test_a_worker_knows_nothing_of_the_environment(bench: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOWNSQUARE_SECRET", "x")
    it = await bench()
    await it.work(f"environment {it.sign('names')}", "go")
    assert not [name for name in it.sign("names").read_text().split() if name.startswith(("TOWNSQUARE", "PATH", "PYTHON"))]


async def test_without_pyvips_it_says_so_and_looks_again_after_a_while(bench: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    it = await bench(argument="without-pyvips")
    starts = 0
    start = pool_module.WorkerProcess.start

    async def counted(*arguments: object) -> object:
        nonlocal starts
        starts += 1
        return await start(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(pool_module.WorkerProcess, "start", counted)
    for _ in range(3):
        with pytest.raises(Unavailable, match="pyvips"):
            await it.work("go")
    assert starts == 1
    monkeypatch.setattr(it.pool, "_absent_until", 0.0)
    with pytest.raises(Unavailable):
        await it.work("go")
    assert starts == 2


@pytest.mark.parametrize(
    "command", [(*COMMAND, "still-born"), ("/nowhere/python",), ("/bin/true",), ("/bin/echo", "x" * 99)]
)
async def test_workers_that_do_not_start_make_it_unavailable(tmp_path: Path, command: tuple[str, ...]) -> None:
    async with Pool(1, command=command) as pool:
        with pytest.raises(Unavailable):
            await Bench(pool, tmp_path).work("go")


async def test_who_is_cancelled_leaves_no_work_behind(bench: Open) -> None:
    it = await bench()
    job = it.start(f"touch {it.sign('begun')}", "go", "hang")
    await it.seen("begun")
    (pid,) = it.pool.pids
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job
    assert gone(pid)
    await it.work("go")


async def test_more_than_may_wait_are_told_to_come_back(bench: Open) -> None:
    it = await bench(queue=1)
    first = it.start(f"touch {it.sign('begun')}", f"await {it.sign('end')}", "go")
    await it.seen("begun")
    second = it.start("go")
    await until(lambda: it.pool.waiting == 1)
    with pytest.raises(TooBusy):
        await it.work("go")
    assert it.pool.working == 1
    it.sign("end").touch()
    await asyncio.gather(first, second)
    await it.work("go")


async def test_who_has_no_turn_in_the_time_they_have_is_told_so_and_disturbs_nobody(bench: Open, tmp_path: Path) -> None:
    it = await bench(workers=1, limits=PATIENT)
    first = it.start(f"touch {it.sign('begun')}", "go", f"await {it.sign('end')}")
    await it.seen("begun")
    source = tmp_path / "hasty.txt"
    source.write_text("go\n")
    with pytest.raises(TooBusy):
        await it.pool.process(source, tmp_path, WANTED, turn_within=0.01)
    assert (it.pool.waiting, it.pool.working) == (0, 1)
    it.sign("end").touch()
    await first


async def test_closing_ends_every_worker_and_tells_who_waits(bench: Open, tmp_path: Path) -> None:
    pool = Pool(1, PATIENT, command=COMMAND)
    async with pool:
        it = Bench(pool, tmp_path)
        jobs = [it.start(f"touch {it.sign('begun')}", "go", "hang"), it.start("go")]
        await it.seen("begun")
        (pid,) = pool.pids
    assert gone(pid)
    for job in jobs:
        with pytest.raises(Unavailable):
            await job
    with pytest.raises(Unavailable):
        await it.work("go")


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="there are never more workers than processors")
async def test_two_pictures_are_worked_on_side_by_side_but_not_two_of_the_largest(bench: Open) -> None:
    it = await bench(workers=2, pixels_in_flight=100)
    heavy = it.start("weight 90", "go", f"touch {it.sign('heavy')}", f"await {it.sign('end')}")
    await it.seen("heavy")
    await it.work("weight 10", "go")
    other = it.start("weight 20", f"touch {it.sign('weighed')}", "go", f"touch {it.sign('other')}")
    await it.seen("weighed")
    assert not it.sign("other").exists()
    it.sign("end").touch()
    await asyncio.gather(heavy, other)
    # Heavier than all the room there is: alone, but not never.
    await it.work("weight 1000", "go")


async def test_room_is_given_in_the_order_of_asking() -> None:
    admission, order = Admission(10), list[str]()

    async def enter(name: str, weight: int) -> None:
        async with admission.room_for(weight):
            order.append(name)
            await asyncio.sleep(0)

    async with admission.room_for(6):
        tasks = [asyncio.create_task(enter(*who)) for who in (("heavy", 8), ("light", 1), ("cancelled", 9), ("last", 10))]
        await asyncio.sleep(0)
        assert order == []
        tasks[2].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert order == ["heavy", "light", "last"]


async def test_room_that_was_given_and_cancelled_at_once_is_given_on() -> None:
    admission = Admission(1)
    held = admission.room_for(1)
    await held.__aenter__()
    waits = asyncio.create_task(admission.room_for(1).__aenter__())
    await asyncio.sleep(0)
    await held.__aexit__(None, None, None)
    waits.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waits
    async with asyncio.timeout(5), admission.room_for(1):
        pass


PROGRAM = """
import asyncio, sys
from pathlib import Path
from townsquare.images.model import wanted
from townsquare.images.pool import Pool
async def main():
    async with Pool(1, command=sys.argv[3:]) as pool:
        job = asyncio.create_task(pool.process(Path(sys.argv[1]), Path(sys.argv[2]), wanted()))
        while not pool.working:
            await asyncio.sleep(0.01)
        print(*pool.pids, flush=True)
        await job
import uvloop
uvloop.run(main())
"""


async def test_no_worker_outlives_the_one_that_started_it_even_when_that_is_killed(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    (tmp_path / "picture").write_text(f"touch {begun}\ngo\nhang\n")
    service = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "picture"), str(tmp_path), *COMMAND],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert service.stdout
    pid = int(await asyncio.to_thread(service.stdout.readline))
    await until(begun.exists)
    service.kill()
    service.communicate()
    await until(lambda: gone(pid))
