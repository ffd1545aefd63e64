"""The commit that enqueues a job wakes the jobs of its process."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from testbed.notes import Notes, running_notes
from townsquare.kit.job_runner import JobRunner
from townsquare.kit.postgres import EmbeddedPostgres
from townsquare.kit.retention import Nothing
from townsquare.kit.writes import Write

HOUR = 3600.0


@pytest.fixture
async def patient(postgres: EmbeddedPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Notes]:
    """A service that looks for jobs once, and then not for an hour, unless it is woken."""
    assert JobRunner.__init__.__kwdefaults__ is not None
    monkeypatch.setitem(JobRunner.__init__.__kwdefaults__, "look", HOUR)
    # In a database of its own: the other notes service of this test process looks every second, and would take the job.
    await postgres.ensure_databases(["tasks"])
    async with running_notes(tmp_path, postgres.url("postgres"), name="tasks") as notes:
        yield notes


async def succeeded(notes: Notes) -> float:
    text = (await notes.client.get("/metrics")).body.decode()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    wanted = {"job": "forget-answers", "outcome": "succeeded"}
    return sum(s.value for s in samples if s.name == "jobs_processed_total" and wanted.items() <= s.labels.items())


async def until_succeeded(notes: Notes, times: float) -> None:
    async with asyncio.timeout(20):
        while await succeeded(notes) < times:
            await asyncio.sleep(0.02)


async def test_a_committed_job_is_run_without_waiting_for_the_next_look(patient: Notes) -> None:
    context = patient.app.context
    write = Write(context.database, context.outbox, context.name)
    for _ in range(2):
        known = await succeeded(patient)
        await write.enqueue("forget-answers", Nothing())
        await write.commit()
        await until_succeeded(patient, known + 1)
