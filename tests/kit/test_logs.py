"""Logs: ECS names, one JSON object a line, and nothing in them that is somebody's secret."""

import subprocess
import sys
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from testbed.notes import Notes

PROGRAM = """
import logging
import msgspec
from townsquare.kit import logs
from townsquare.settings import Settings

logs.configure(msgspec.structs.replace(Settings(), log_format={format!r}, log_level={level!r}))
log = logs.get_logger("test")
{lines}
"""


def logged(lines: str, log_format: str = "json", level: str = "info") -> list[str]:
    """Run a few lines in a process of their own; returns what it wrote."""
    code = PROGRAM.format(format=log_format, level=level, lines=lines)
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.splitlines()


def decoded(line: str) -> dict[str, Any]:
    return msgspec.json.decode(line, type=dict[str, Any])


def test_a_line_is_one_object_in_ecs_names() -> None:
    lines = logged(
        'logs.log_request(log, "GET", "/profile/{user_id}", 200, 0.25, "abc", "users")\n'
        'log.warning("two\\nlines", service="users")'
    )
    request, other = map(decoded, lines)
    assert request["message"] == "request"
    assert request["log.level"] == "info"
    assert request["log.logger"] == "townsquare.test"
    assert request["http.request.method"] == "GET"
    assert request["url.path"] == "/profile/{user_id}"
    assert request["http.response.status_code"] == 200
    assert request["http.request.id"] == "abc"
    assert request["service.name"] == "users"
    assert request["event.duration"] == 250_000_000
    assert request["ecs.version"]
    assert request["@timestamp"].endswith("Z")
    assert (other["message"], other["log.level"]) == ("two\nlines", "warning")


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_secrets_are_masked_whatever_the_format(log_format: str) -> None:
    fields = (
        "password",
        "token",
        "access_token",
        "refresh_token",
        "authorization",
        "cookie",
        "email",
        "secret",
        "query",
        "dsn",
    )
    call = ", ".join(f'{name}="hush"' for name in fields)
    [line] = logged(f'log.info("x", {call}, handle="shown")', log_format)
    assert "hush" not in line
    assert line.count("***") == len(fields)
    assert "shown" in line


def test_an_exception_is_told_with_its_type_and_trace() -> None:
    [line] = logged('try:\n    1 / 0\nexcept ZeroDivisionError as error:\n    log.error("failed", exc_info=error)')
    event = decoded(line)
    assert event["error.type"] == "ZeroDivisionError"
    assert event["error.message"] == "division by zero"
    assert "1 / 0" in event["error.stack_trace"] or "ZeroDivisionError" in event["error.stack_trace"]
    assert "exc_info" not in event


def test_the_standard_library_s_logging_goes_the_same_way() -> None:
    [line] = logged('logging.getLogger("elsewhere").error("said %s", "so")')
    event = decoded(line)
    assert (event["message"], event["log.logger"], event["log.level"]) == ("said so", "elsewhere", "error")


def test_less_than_the_level_is_not_logged() -> None:
    assert logged('log.info("x")\nlog.debug("y")', level="warning") == []


async def test_what_nobody_foresaw_is_logged_once_and_not_told(notes: Notes, caplog: pytest.LogCaptureFixture) -> None:
    caplog.clear()
    with capture_logs() as ours:
        answer = await notes.client.post("/notes?secret=hush", json={"text": "crash"})
    assert (answer.status, answer.code) == (500, "internal")
    assert b"secret that must not leave" not in answer.body
    [unforeseen] = [event for event in ours if event.get("exc_info")]
    assert isinstance(unforeseen["exc_info"], ZeroDivisionError)
    assert unforeseen["request_id"] == answer.headers["X-Request-Id"]
    assert not [record for record in caplog.records if record.exc_info]


async def test_a_request_is_logged_by_its_route_and_never_by_what_it_carried(notes: Notes) -> None:
    with capture_logs() as ours:
        await notes.client.post("/notes?q=hush-query", json={"text": "crash", "hush-body": 1})
        await notes.client.post("/notes?q=hush-query", json={"text": "crash"}, headers={"Cookie": "x=hush-cookie"})
        await notes.client.get("/notes/hush-path?q=hush-query", as_="hush-token")
    requests = [event for event in ours if event["event"] == "request"]
    assert [(event["route"], event["status"]) for event in requests] == [("/notes", 500)]
    assert "hush" not in str(ours)


def test_an_error_of_the_database_does_not_quote_the_row() -> None:
    [line] = logged(
        "import asyncpg\n"
        "told = {'C': '23505', 'M': 'duplicate key', 'D': 'Key (email)=(ada@example.org) already exists.'}\n"
        "try:\n"
        "    try:\n"
        "        raise asyncpg.PostgresError.new(told)\n"
        "    except asyncpg.PostgresError as error:\n"
        "        raise RuntimeError('not saved') from error\n"
        "except RuntimeError as error:\n"
        "    log.error('failed', exc_info=error)\n"
    )
    assert "ada@example.org" not in line
    assert "duplicate key" in decoded(line)["error.stack_trace"]
