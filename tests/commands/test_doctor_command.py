"""`townsquare doctor`: what is wrong is found and said with how to mend it, and nothing is left behind."""

import asyncio
import json
import shutil
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from testbed.command_line import CommandLine, Ran
from testbed.postgres_users import data_folder, programs_on
from testbed.town import Town
from testbed.valkey import running_valkey
from townsquare import hosting
from townsquare.kit.keys import ensure_keys

FREE = ["--port", "0"]


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    """The command line on a community that does not run."""
    with data_folder() as data:
        made = CommandLine(data)
        assert made("migrate").status == 0
        yield made


def findings(ran: Ran) -> dict[str, dict[str, str]]:
    """The findings by name; whatever needs mending says how."""
    report = json.loads(ran.out)
    found = {finding["name"]: finding for finding in report["checks"]}
    assert report["healthy"] is (ran.status == 0) is all(one["status"] != "failed" for one in found.values())
    for one in found.values():
        assert bool(one.get("mend")) is (one["status"] in ("warning", "failed")), one
    return found


def statuses(ran: Ran) -> dict[str, str]:
    return {name: finding["status"] for name, finding in findings(ran).items()}


@contextmanager
def changed(path: Path, mode: int) -> Iterator[None]:
    """Give a file other rights for a while."""
    before = path.stat().st_mode
    path.chmod(mode)
    try:
        yield
    finally:
        path.chmod(before)


@asynccontextmanager
async def answering(line: bytes) -> AsyncIterator[int]:
    """A server that answers whatever it is sent with one line."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(line)
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def test_a_fresh_machine_is_well_and_stays_as_it_is(bare: CommandLine) -> None:
    ran = bare("doctor", *FREE, "--json")
    found = statuses(ran)
    assert ran.status == 0
    assert {name for name, status in found.items() if status == "ok"} == {
        "python",
        "settings",
        "data folder",
        "postgresql",
        "clock",
    }
    assert (found["database"], found["keys"], found["redis"], found["mail"]) == ("skipped",) * 4
    assert list(bare.data.iterdir()) == []


def test_a_folder_that_will_be_made_is_looked_at_where_it_will_stand(bare: CommandLine) -> None:
    ran = bare("doctor", *FREE, "--data", str(bare.data / "later" / "on"), "--json")
    assert "will be made" in findings(ran)["data folder"]["detail"]
    assert list(bare.data.iterdir()) == []


def test_a_community_that_does_not_run_is_looked_at_and_left_as_it_was(settled: CommandLine) -> None:
    ran = settled("doctor", *FREE, "--json")
    found = findings(ran)
    assert ran.status == 0
    assert "data checksums on" in found["database"]["detail"]
    assert "started for this look" in found["database"]["detail"]
    assert [found[f"database {name}"]["status"] for name in ("users", "content")] == ["ok", "ok"]
    assert found["keys"]["status"] == "ok"
    assert programs_on(settled.data) == []


async def test_a_community_that_runs_is_looked_at_and_goes_on(square: Town, cli: CommandLine) -> None:
    port = int(square.base.rpartition(":")[2])
    ran = await cli.beside("doctor", "--port", str(port), "--json")
    found = findings(ran)
    assert ran.status == 0, ran
    assert found[f"port {port}"]["detail"] == "townsquare's gateway answers there"
    assert "running" in found["database"]["detail"]
    assert (await square.users.get("/health/ready")).json["status"] == "ready"


def test_people_read_what_is_wrong_and_how_to_mend_it(settled: CommandLine) -> None:
    with changed(settled.data / "keys" / "identity.json", 0o644):
        ran = settled("doctor", *FREE)
    assert ran.status == 1
    assert "FAILED   keys" in ran.out
    assert f"-> chmod 600 {settled.data / 'keys' / 'identity.json'}" in ran.out
    assert ran.out.endswith("\n1 failed, 0 to see to.\n")
    assert settled("doctor", *FREE).out.endswith("\nAll is well.\n")


@pytest.mark.parametrize("harm", ["readable", "damaged", "missing", "of another", "empty"])
def test_keys_that_are_open_damaged_or_gone_are_found(settled: CommandLine, tmp_path: Path, harm: str) -> None:
    keys = settled.data / "keys"
    shutil.copytree(keys, tmp_path / "keys")
    private, secret = keys / "identity.json", keys / "internal.secret"
    match harm:
        case "readable":
            secret.chmod(0o640)
        case "damaged":
            private.write_text("{")
        case "missing":
            private.unlink()
        case "empty":
            secret.write_text("")
        case "of another":
            (keys / "identity.public.json").unlink()
            stranger = tmp_path / "stranger"
            ensure_keys(stranger)
            shutil.copy(stranger / "keys" / "identity.public.json", keys)
    try:
        ran = settled("doctor", *FREE, "--json")
        assert (ran.status, statuses(ran)["keys"]) == (1, "failed")
    finally:
        shutil.rmtree(keys)
        shutil.copytree(tmp_path / "keys", keys)


def test_a_port_that_somebody_else_has_is_found(bare: CommandLine) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ran = bare("doctor", "--port", str(port), "--json")
    assert ran.status == 1
    assert findings(ran)[f"port {port}"]["status"] == "failed"


def test_a_service_s_port_that_is_taken_is_only_a_warning(bare: CommandLine) -> None:
    with hosting.listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        ran = bare("doctor", "--port", str(port - 1), "--json")
    assert findings(ran)[f"port {port}"]["status"] == "warning"


def test_a_folder_that_cannot_be_written_to_is_found(bare: CommandLine) -> None:
    (bare.data / "a-file").touch()
    ran = bare("doctor", *FREE, "--data", "/proc/townsquare", "--json")
    assert (ran.status, statuses(ran)["data folder"]) == (1, "failed")


def test_too_little_room_is_found(bare: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        free = 100 << 20

    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage)
    ran = bare("doctor", *FREE, "--json")
    assert (ran.status, statuses(ran)["data folder"]) == (1, "failed")


def test_programs_that_are_not_there_are_found(bare: CommandLine) -> None:
    ran = bare("doctor", *FREE, "--json", variables={"TOWNSQUARE_PG_BIN": str(bare.data)})
    assert (ran.status, statuses(ran)["postgresql"]) == (1, "failed")


def test_a_stranger_among_the_variables_is_a_warning(bare: CommandLine) -> None:
    ran = bare("doctor", *FREE, "--json", variables={"TOWNSQUARE_DATABASE": "x"})
    assert (ran.status, statuses(ran)["settings"]) == (0, "warning")


def test_a_database_server_that_is_away_is_found_within_seconds(bare: CommandLine) -> None:
    variables = {"TOWNSQUARE_DATABASE_URL": "postgresql://town:hunter2@127.0.0.1:1"}
    ran = bare("doctor", *FREE, "--json", variables=variables)
    found = statuses(ran)
    assert (ran.status, found["database users"], found["database content"]) == (1, "failed", "failed")
    assert found["postgresql"] == "skipped"
    assert "hunter2" not in ran.out


async def test_a_database_that_is_missing_or_behind_or_ahead_is_found(
    square: Town, cli: CommandLine, bare: CommandLine
) -> None:
    database = square.database("users")
    label = await database.fetchval(
        "SELECT name FROM schema_migrations WHERE component = 'users' ORDER BY version DESC LIMIT 1"
    )

    async def looked_at() -> dict[str, str]:
        return findings(await cli.beside("doctor", *FREE, "--json"))["database users"]

    behind = "UPDATE schema_migrations SET component = $1 WHERE component = $2 AND name = $3"
    await database.execute(behind, "elsewhere", "users", label)
    try:
        ahead = await looked_at()
        assert (ahead["status"], "elsewhere" in ahead["detail"]) == ("failed", True)
    finally:
        await database.execute(behind, "users", "elsewhere", label)
    assert (await looked_at())["status"] == "ok"


def test_a_database_that_is_behind_is_a_warning_for_the_next_start_brings_it_up(bare: CommandLine) -> None:
    assert bare("migrate", "users").status == 0
    ran = bare("doctor", *FREE, "--json")
    found = findings(ran)
    assert (ran.status, found["database users"]["status"]) == (0, "ok")
    assert found["database content"]["status"] == "warning"
    assert "townsquare migrate" in found["database content"]["mend"]


async def test_a_clock_that_was_set_back_is_found(square: Town, cli: CommandLine) -> None:
    database = square.database("users")
    later = """
    INSERT INTO outbox (topic, key, tags, created_at) VALUES ('test', 'clock', '{}', now() + interval '1 day') RETURNING id
    """
    row = await database.fetchval(later)
    try:
        ran = await cli.beside("doctor", *FREE, "--json")
    finally:
        await database.execute("DELETE FROM outbox WHERE id = $1", row)
    assert (ran.status, findings(ran)["clock"]["status"]) == (1, "failed")


@pytest.mark.parametrize(
    ("login", "finding"),
    [("town:s3cret@", ("ok", "it answers")), ("", ("warning", "it does not answer (AuthenticationError)"))],
)
async def test_redis_is_asked_and_never_needed(
    square: Town, cli: CommandLine, tmp_path: Path, login: str, finding: tuple[str, str]
) -> None:
    async with running_valkey(tmp_path, password="s3cret") as valkey:
        await valkey.ask("ACL", "SETUSER", "town", "on", ">s3cret", "~townsquare:*", "+get", "+pttl")
        url = {"TOWNSQUARE_REDIS_URL": f"redis://{login}127.0.0.1:{valkey.port}"}
        ran = await cli.beside("doctor", *FREE, "--json", variables=url)
    found = findings(ran)["redis"]
    assert (ran.status, found["status"], found["detail"]) == (0, *finding)


async def test_something_else_where_redis_should_be_is_a_warning(square: Town, cli: CommandLine) -> None:
    async with answering(b"HTTP/1.1 400 Bad Request\r\n") as port:
        url = {"TOWNSQUARE_REDIS_URL": f"redis://127.0.0.1:{port}"}
        ran = await cli.beside("doctor", *FREE, "--json", variables=url)
    assert (ran.status, statuses(ran)["redis"]) == (0, "warning")


async def test_redis_away_is_a_warning_and_a_mail_server_away_a_failure(square: Town, cli: CommandLine) -> None:
    variables = {"TOWNSQUARE_REDIS_URL": "redis://127.0.0.1:1", "TOWNSQUARE_SMTP_URL": "smtp://127.0.0.1:1"}
    ran = await cli.beside("doctor", *FREE, "--json", variables=variables)
    found = statuses(ran)
    assert (ran.status, found["redis"], found["mail"]) == (1, "warning", "failed")


async def test_a_mail_server_is_greeted_and_sent_nothing(square: Town, cli: CommandLine) -> None:
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 here\r\n")
        while line := await reader.readline():
            heard.append(line.split()[0].upper())
            writer.write(b"221 bye\r\n" if heard[-1] == b"QUIT" else b"250 fine\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = {"TOWNSQUARE_SMTP_URL": f"smtp://127.0.0.1:{server.sockets[0].getsockname()[1]}"}
    async with server:
        ran = await cli.beside("doctor", *FREE, "--json", variables=url)
    assert statuses(ran)["mail"] == "ok"
    assert heard == [b"EHLO", b"QUIT"]
