"""PostgreSQL frozen, killed and restarted under load: clear 503s within the deadline, recovery by itself, nothing lost."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from testbed.notes import Notes, running_notes
from testbed.platforms import frozen
from testbed.town import Answer
from townsquare.kit.postgres import EmbeddedPostgres, find_programs

DEADLINE = 1.5
SLACK = 1.0


@pytest.fixture
async def durable(tmp_path: Path) -> AsyncIterator[EmbeddedPostgres]:
    """A PostgreSQL that keeps what it acknowledges, and its supervisor."""
    server = EmbeddedPostgres(tmp_path / "data", find_programs(None))
    (tmp_path / "data").mkdir()
    await server.start()
    watch = asyncio.create_task(server.supervise())
    try:
        await server.ensure_databases(["messages"])
        yield server
    finally:
        watch.cancel()
        await server.stop()


@pytest.fixture
async def notes(durable: EmbeddedPostgres, tmp_path: Path) -> AsyncIterator[Notes]:
    async with running_notes(tmp_path / "notes", durable.url("postgres"), request_deadline=DEADLINE, pool_size=4) as running:
        yield running


def processes_of(server: EmbeddedPostgres) -> list[psutil.Process]:
    """Every process of the server."""
    assert server.pid is not None
    master = psutil.Process(server.pid)
    return [master, *master.children(recursive=True)]


async def timed(notes: Notes, path: str) -> tuple[Answer, float]:
    started = time.monotonic()
    return await notes.client.get(path), time.monotonic() - started


async def until_ready(notes: Notes, seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while (await notes.client.get("/notes")).status != 200:
            await asyncio.sleep(0.05)


async def test_a_frozen_database_gives_503_in_time_and_recovers_by_itself(notes: Notes, durable: EmbeddedPostgres) -> None:
    await until_ready(notes)
    with frozen(processes_of(durable)):
        answers = await asyncio.gather(*(timed(notes, "/notes") for _ in range(12)))
        for answer, seconds in answers:
            assert (answer.status, answer.code) == (503, "unavailable")
            assert int(answer.headers["Retry-After"]) >= 1
            assert seconds < DEADLINE + SLACK
        ready, seconds = await timed(notes, "/health/ready")
        assert ready.status == 503
        assert seconds < 5
        assert (await notes.client.get("/health")).status == 200
        later, seconds = await timed(notes, "/notes")
        assert later.status == 503
        assert seconds < DEADLINE + SLACK
    await until_ready(notes)
    assert (await notes.client.post("/notes", json={"text": "after the thaw"})).status == 201


class Load:
    """Writers that note what was acknowledged and what they were told otherwise."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self.acknowledged: list[str] = []
        self.refused: set[int] = set()
        self._stop = asyncio.Event()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(self._write())

    def stop(self) -> None:
        self._stop.set()

    async def acknowledge(self, count: int) -> None:
        """Wait until so many more writes have been acknowledged."""
        goal = len(self.acknowledged) + count
        async with asyncio.timeout(30):
            while len(self.acknowledged) < goal:
                await asyncio.sleep(0.01)

    async def _write(self) -> None:
        while not self._stop.is_set():
            answer = await self._notes.client.post("/notes", json={"text": "load"})
            if answer.status == 201:
                self.acknowledged.append(answer.json["id"])
            else:
                self.refused.add(answer.status)
                await asyncio.sleep(0.02)


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGQUIT, signal.SIGINT], ids=["killed", "crashed", "restarted"])
async def test_no_acknowledged_write_is_lost(notes: Notes, durable: EmbeddedPostgres, blow: signal.Signals) -> None:
    load = Load(notes)
    running = asyncio.create_task(load.run())
    for _ in range(2):
        await load.acknowledge(20)
        assert durable.pid is not None
        psutil.Process(durable.pid).send_signal(blow)
        await load.acknowledge(20)
    load.stop()
    await running
    rows = await notes.app.context.database.fetch("SELECT id::text FROM notes")
    kept = {row["id"] for row in rows}
    assert set(load.acknowledged) <= kept
    assert load.refused <= {503}
    await copied(notes, kept)


async def copied(notes: Notes, kept: set[str]) -> None:
    """Every event has taken effect, exactly once."""
    async with asyncio.timeout(20):
        while True:
            rows = await notes.app.context.database.fetch("SELECT id::text, times FROM copies")
            if {row["id"] for row in rows} >= kept:
                break
            await asyncio.sleep(0.05)
    assert {row["times"] for row in rows} == {1}
