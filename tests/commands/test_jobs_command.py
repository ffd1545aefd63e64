"""`townsquare jobs`: what waits and what has failed is seen, tried again or discarded."""

from collections.abc import AsyncIterator

import msgspec
import pytest

from testbed.command_line import CommandLine
from testbed.town import Town

# Nobody runs jobs of this name, so they stay as a test has put them.
NAME = "water-the-plants"
PAYLOAD = {"token": "not-for-the-operator's-eyes"}
TRACEBACK = {
    "exception_type": "RuntimeError",
    "exception_message": "the tap\nis dry \x1b[31m",
    "traceback": "Traceback (most recent call last):\n  the tap is dry",
}

ADD_JOB = """
INSERT INTO pgqueuer (priority, status, entrypoint, payload, attempts)
VALUES (0, $1::text::pgqueuer_status, $2, $3, 2)
RETURNING id
"""
LOG_FAILURE = """
INSERT INTO pgqueuer_log (job_id, status, priority, entrypoint, traceback)
VALUES ($1, 'failed', 0, $2, $3)
"""


async def add_job(town: Town, status: str, service: str = "users") -> int:
    database = town.database(service)
    job = await database.fetchval(ADD_JOB, status, NAME, msgspec.json.encode(PAYLOAD))
    assert isinstance(job, int)
    if status == "failed":
        await database.execute(LOG_FAILURE, job, NAME, msgspec.json.encode(TRACEBACK).decode())
    return job


@pytest.fixture(autouse=True)
async def empty_queues(square: Town) -> AsyncIterator[None]:
    yield
    for service in ("users", "content"):
        await square.database(service).execute("DELETE FROM pgqueuer WHERE entrypoint = $1", NAME)


async def listed(cli: CommandLine, *options: str) -> dict[str, list[dict[str, object]]]:
    found = (await cli.beside("jobs", "list", "--json", "--job", NAME, *options)).json
    return {one["service"]: one["items"] for one in found}


async def test_it_shows_how_the_jobs_stand_and_why_some_have_failed(square: Town, cli: CommandLine) -> None:
    failed = await add_job(square, "failed")
    await add_job(square, "queued", "content")
    state = {one["service"]: one for one in (await cli.beside("jobs", "--json")).json}
    stands = {service: [job for job in one["jobs"] if job["name"] == NAME] for service, one in state.items()}
    assert [(job["queued"], job["running"], job["failed"]) for job in stands["users"]] == [(0, 0, 1)]
    assert [(job["queued"], job["running"], job["failed"]) for job in stands["content"]] == [(1, 0, 0)]
    assert "forget-answers" in [job["name"] for job in state["users"]["periodic"]]
    shown = (await cli.beside("jobs")).out
    assert "RuntimeError: the tap is dry" in shown
    assert str(failed) in shown
    assert "\x1b" not in shown, "what a job says cannot steer the terminal"


async def test_jobs_are_listed_by_service_and_state_newest_first(square: Town, cli: CommandLine) -> None:
    first, second = await add_job(square, "failed"), await add_job(square, "failed")
    running, waiting = await add_job(square, "picked", "content"), await add_job(square, "queued", "content")
    everything = await listed(cli)
    assert {service: [job["id"] for job in items] for service, items in everything.items()} == {
        "users": [second, first],
        "content": [waiting, running],
        "media": [],
    }
    assert [(job["state"], job["attempts"], job["error"]) for job in everything["users"]] == [
        ("failed", 3, "RuntimeError")
    ] * 2
    assert [job["state"] for job in everything["content"]] == ["queued", "running"]
    assert [job["id"] for job in (await listed(cli, "--state", "running"))["content"]] == [running]
    assert list(await listed(cli, "--service", "users")) == ["users"]
    assert [job["id"] for job in (await listed(cli, "--service", "users", "--limit", "1"))["users"]] == [second]
    assert [job["id"] for job in (await listed(cli, "--service", "users", "--before", str(second)))["users"]] == [first]


async def test_a_job_is_shown_with_its_traceback_and_without_what_it_was_given(square: Town, cli: CommandLine) -> None:
    job = await add_job(square, "failed")
    shown, found = (
        await cli.beside("jobs", "show", "users", str(job)),
        await cli.beside("jobs", "show", "users", str(job), "--json"),
    )
    assert TRACEBACK["traceback"] in shown.out
    assert found.json["traceback"] == TRACEBACK["traceback"]
    assert found.json["message"] == TRACEBACK["exception_message"]
    assert PAYLOAD["token"] not in shown.out + found.out + (await cli.beside("jobs", "list", "--json")).out
    gone = await cli.beside("jobs", "show", "users", "999999999")
    assert (gone.status, gone.out) == (1, "")
    assert gone.err == "townsquare: users has no job 999999999 in its queue: it is done, or there never was one\n"


async def test_failed_jobs_are_tried_again_all_or_some(square: Town, cli: CommandLine) -> None:
    jobs = [await add_job(square, "failed") for _ in range(3)]
    other = await add_job(square, "failed", "content")
    one = await cli.beside("jobs", "retry", "users", str(jobs[0]))
    assert (one.status, one.out) == (0, "1 job of users will be tried again.\n")
    assert {job["id"]: job["state"] for job in (await listed(cli))["users"]} == dict(
        zip(jobs, ["queued", "failed", "failed"], strict=True)
    )
    rest = (await cli.beside("jobs", "retry", "--json")).json
    assert {of["service"]: of["jobs"] for of in rest} == {"users": 2, "content": 1, "media": 0}
    assert [(job["id"], job["state"], job["attempts"]) for job in (await listed(cli))["content"]] == [(other, "queued", 0)]
    assert (await cli.beside("jobs", "retry")).out == "Nothing has failed.\n"


async def test_only_what_has_failed_is_tried_again(square: Town, cli: CommandLine) -> None:
    waiting, failed = await add_job(square, "queued"), await add_job(square, "failed")
    ran = await cli.beside("jobs", "retry", "users", str(failed), str(waiting), "999999999")
    assert (ran.status, ran.out, ran.err) == (1, "", f"townsquare: users: no failed job has the id {waiting}, 999999999\n")
    assert {job["id"]: job["state"] for job in (await listed(cli))["users"]} == {waiting: "queued", failed: "failed"}


async def test_jobs_are_discarded_but_not_while_they_run(square: Town, cli: CommandLine) -> None:
    waiting, running, failed = [await add_job(square, status) for status in ("queued", "picked", "failed")]
    ran = await cli.beside("jobs", "discard", "users", str(waiting), str(running))
    assert (ran.status, ran.err) == (
        1,
        f"townsquare: 1 discarded; users has no waiting or failed job with the id {running}\n",
    )
    assert [job["id"] for job in (await listed(cli))["users"]] == [failed, running]
    ran = await cli.beside("jobs", "discard", "users", "--all-failed")
    assert (ran.status, ran.out) == (0, "1 job of users will not be done.\n")
    assert [job["id"] for job in (await listed(cli))["users"]] == [running]
    log = await square.database("users").fetch(
        "SELECT job_id FROM pgqueuer_log WHERE job_id = ANY($1) AND status = 'deleted' ORDER BY job_id",
        [waiting, running, failed],
    )
    assert [row["job_id"] for row in log] == [waiting, failed]
