"""Uploads that go wrong: cut, slow, hostile, many; the disk full, a worker killed or stopped, pyvips missing.

Each gets a clear answer in time, what others ask for goes on, and nothing is left behind.
"""

import asyncio
import io
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from PIL import Image

from testbed import hostile_files
from testbed.leftovers import Studio, start_of_form, studio
from testbed.pictures import noise
from testbed.platforms import frozen, until
from testbed.raw import RawAnswer, connected, request_of
from townsquare.images import pool
from townsquare.kit.jobs import enqueue
from townsquare.kit.retention import Nothing
from townsquare.services.media import processing, receiving

UPLOAD = "/api/media/upload"


@pytest.fixture(scope="module")
async def here(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Studio]:
    """A town that keeps its files in a folder."""
    async with studio(tmp_path_factory.mktemp("folder")) as running:
        yield running


def large_photo() -> bytes:
    """A picture that is worked on for a second or so."""
    target = io.BytesIO()
    noise(1_600, 1_200).save(target, "JPEG", quality=90)
    return target.getvalue()


def original_came(here: Studio, size: int = 1) -> bool:
    """Whether so many bytes of an upload are in a draft."""
    return any(path.stat().st_size >= size for draft in here.drafts for path in draft.glob("original"))


async def as_condition(value: bool) -> bool:
    return value


def workers(here: Studio) -> list[psutil.Process]:
    return [psutil.Process(pid) for pid in here.held.pool.pids]


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """Mount a disk of that size there, for real."""
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("only who may mount can make a disk that is full")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


# --- who sends ---------------------------------------------------------------------------------------------------------


async def half_an_upload(here: Studio, *, stay: bool) -> RawAnswer | None:
    """Send the first half of a form; then leave, or stay silent and read the answer."""
    body, boundary = start_of_form(bytes(1_000_000), "half.jpg")
    headers = [
        ("Authorization", f"Bearer {here.ada.token}"),
        ("Content-Type", f"multipart/form-data; boundary={boundary}"),
        ("Content-Length", str(2 * len(body))),
    ]
    async with connected(here.town.base) as connection:
        await connection.send(request_of("POST", UPLOAD, headers, body))
        if stay:
            return await connection.answer()
        await until(lambda: as_condition(original_came(here, 400_000)))
    return None


async def test_an_upload_that_is_cut_off_leaves_nothing(here: Studio) -> None:
    before = await here.names()
    await half_an_upload(here, stay=False)
    await here.nothing_is_left()
    assert await here.names() == before
    await here.works()


async def test_who_stands_still_is_told_so_and_leaves_nothing(here: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiving, "SILENCE_SECONDS", 0.3)
    before = await here.names()
    answer = await half_an_upload(here, stay=True)
    assert answer is not None
    assert (answer.status, answer.code) == (408, "request_timeout")
    await here.nothing_is_left()
    assert await here.names() == before


async def test_fifty_at_once_are_all_kept_by_a_few_workers(here: Studio) -> None:
    most = 0

    async def watch() -> None:
        nonlocal most
        while True:
            most = max(most, len(here.held.pool.pids), here.held.pool.working)
            await asyncio.sleep(0.01)

    watching = asyncio.create_task(watch())
    answers = await asyncio.gather(*(here.send(tiny(number), f"{number}.png") for number in range(50)))
    watching.cancel()
    assert {answer.status for answer in answers} == {201}
    assert 1 <= most <= here.town.settings.image_workers
    for answer in answers:
        await until(lambda id_=answer.json["id"]: here.becomes_ready(id_))
    await here.nothing_is_left()


def tiny(number: int) -> bytes:
    target = io.BytesIO()
    Image.new("RGB", (24, 24), (number, 100, 200)).save(target, "PNG")
    return target.getvalue()


# What each of them becomes is said in tests/images/test_hostile.py; here it is that each has an answer.
async def test_whatever_is_sent_has_an_answer_that_is_no_fault_of_ours(here: Studio, tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(tiny(0))
    drawn = list(hostile_files.drawings(str(secret), here.town.base))[::5]
    files = [*hostile_files.bombs(), *hostile_files.mistaken(), *drawn]
    turn = asyncio.Semaphore(4)

    async def send(name: str, data: bytes) -> tuple[str, int]:
        async with turn:
            answer = await here.send(data, "photo.jpg")
        return name, answer.status

    became = dict(await asyncio.gather(*(send(name, data) for name, data in files)))
    assert set(became.values()) == {201, 413, 415, 422}, became
    assert {became[name] for name in became if "60,000 x 60,000" in name or "65,535 x" in name} == {413}
    await here.works()
    await here.nothing_is_left()


# --- who works ---------------------------------------------------------------------------------------------------------


async def test_a_worker_that_is_killed_over_a_picture_costs_that_picture_alone(here: Studio) -> None:
    before = await here.names()
    sending = asyncio.create_task(here.send(large_photo(), "large.jpg"))
    await until(lambda: as_condition(any(len(list(draft.iterdir())) > 1 for draft in here.drafts)))
    for worker in workers(here):
        worker.kill()
    answer = await sending
    assert (answer.status, answer.code) == (422, "invalid")
    assert await here.names() == before
    await here.works()
    await here.nothing_is_left()


async def test_a_worker_that_dies_between_pictures_is_not_noticed(here: Studio) -> None:
    await here.works()
    for worker in workers(here):
        worker.kill()
    await here.works()


async def test_a_worker_that_stands_still_lets_its_picture_be_made_later(
    here: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processing, "PATIENCE_SECONDS", 0.5)
    await here.works()
    with frozen(workers(here)):
        answer = await here.send(name="later.jpg")
    assert (answer.status, answer.json["status"], answer.json["sizes"]) == (201, "processing", {})
    await until(lambda: here.becomes_ready(answer.json["id"]))
    await here.nothing_is_left()


async def test_a_file_that_is_deleted_while_it_is_worked_on_stays_deleted(
    here: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processing, "PATIENCE_SECONDS", 0.01)
    file = (await here.send(large_photo(), "soon gone.jpg")).json
    assert file["status"] == "processing"
    await until(lambda: as_condition(here.held.pool.working > 0))
    with frozen(workers(here)):
        assert (await here.media.delete(f"/files/{file['id']}", as_=here.ada)).status == 204
    await until(lambda: jobs_are_done(here))
    assert (await here.facts(file["id"])).status == 404
    assert "soon gone.jpg" not in await here.names()
    await here.nothing_is_left()


async def jobs_are_done(here: Studio) -> bool:
    return not await here.db.fetchval("SELECT count(*) FROM pgqueuer WHERE entrypoint = $1", processing.PROCESS)


# A worker that finds pyvips while a file is there.
WHEN_THERE = """
import sys
from pathlib import Path
from townsquare.images import worker

def learn():
    if not Path(sys.argv[1]).exists():
        raise ImportError("No module named 'pyvips'")
    return worker._pyvips()

worker.serve(learn)
"""


async def test_pictures_that_came_without_pyvips_are_made_once_it_is_there(
    here: Studio, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    there = tmp_path / "pyvips"
    monkeypatch.setattr(here.held.pool, "_command", (sys.executable, "-c", WHEN_THERE, str(there)))
    monkeypatch.setattr(pool, "ABSENCE_SECONDS", 0.0)
    for worker in workers(here):
        worker.kill()
    await until(lambda: as_condition(not here.held.pool.pids))
    files = [await here.send(name=name) for name in ("first.jpg", "second.jpg")]
    assert {(file.status, file.json["status"], str(file.json["sizes"])) for file in files} == {(201, "processing", "{}")}
    told = await last_event(here)
    there.touch()
    await make_what_waits(here)
    for file in files:
        await until(lambda id_=file.json["id"]: here.becomes_ready(id_))
    assert await events_after(here, told) == {file.json["id"] for file in files}
    await here.nothing_is_left()


async def make_what_waits(here: Studio) -> None:
    """Do now what is done every ten minutes."""
    async with here.db.transaction() as connection:
        await enqueue(connection, "process-waiting", Nothing())


async def last_event(here: Studio) -> int:
    return int(str(await here.db.fetchval("SELECT coalesce(max(id), 0) FROM outbox")))


async def events_after(here: Studio, last: int) -> set[str]:
    rows = await here.db.fetch("SELECT key FROM outbox WHERE id > $1 AND payload::jsonb ->> 'ready' = 'true'", last)
    return {row["key"] for row in rows}


# --- where it is kept --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("where", "size"), [("drafts", "8k"), ("folder", "32k")])
async def test_a_disk_that_is_full_is_said_so_and_is_no_end(here: Studio, where: str, size: str) -> None:
    before = await here.names()
    kept = (await here.send(name="before.jpg")).json
    with small_disk(here.held.drafts if where == "drafts" else here.folder, size):
        answer = await here.send(name="too large for it.jpg")
        assert (answer.status, answer.code) == (503, "unavailable")
        assert int(answer.headers["Retry-After"]) > 0
        assert (await here.facts(kept["id"])).status == 200
        assert not here.drafts
    assert await here.names() == ["before.jpg", *before]
    await here.works()
    await here.nothing_is_left()


async def test_a_disk_that_has_room_for_the_photo_alone_keeps_that_and_makes_the_rest_later(here: Studio) -> None:
    with small_disk(here.held.drafts, "24k"):
        answer = await here.send(name="heavy.jpg")
    assert (answer.status, answer.json["status"], answer.json["sizes"]) == (201, "processing", {})
    await make_what_waits(here)
    await until(lambda: here.becomes_ready(answer.json["id"]))
    await here.nothing_is_left()
