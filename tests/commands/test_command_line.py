"""What holds for every command: help, mistakes, failures in one sentence, signals."""

import asyncio
import re
import signal
from collections.abc import Iterator

import click
import pytest

from testbed.command_line import CommandLine
from testbed.postgres_users import programs_on
from townsquare.cli import COMMANDS
from townsquare.cli import cli as entry

LOOKING = [
    ["users"],
    ["users", "list"],
    ["users", "show", "ada"],
    ["users", "suspend", "ada"],
    ["users", "delete", "ada", "--yes"],
    ["users", "reset-password", "ada"],
    ["jobs"],
    ["jobs", "list"],
    ["jobs", "show", "users", "1"],
    ["jobs", "retry"],
    ["jobs", "discard", "users", "1"],
    ["export", "ada"],
]


def commands(command: click.Command = entry, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Walk the tree of commands."""
    yield path, command
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            inner = command.get_command(click.Context(command), name)
            assert inner is not None
            yield from commands(inner, (*path, name))


def test_every_command_and_option_says_what_it_is_for() -> None:
    found = dict(commands())
    assert {path[0] for path in found if path} == set(COMMANDS)
    for path, command in found.items():
        assert command.help, f"{path} has no help"
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not parameter.hidden:
                assert parameter.help, f"{path} {parameter.opts} has no help"


def test_every_command_takes_the_data_folder_and_all_but_servers_print_json() -> None:
    serving = {"up", "serve", "worker"}
    for path, command in commands():
        names = {name for parameter in command.params for name in parameter.opts}
        leads_on = isinstance(command, click.Group) and not command.invoke_without_command
        if not leads_on:
            assert "--data" in names, path
            assert path[0] in serving or "--json" in names, path


@pytest.mark.parametrize(
    ("mistake", "meant"),
    [
        (["usres"], "'users'"),
        (["users", "suspnd", "ada"], "'suspend'"),
        (["jobs", "--jsn"], "'--json'"),
        (["expotr"], "'export'"),
    ],
)
def test_a_mistyped_command_is_told_what_may_have_been_meant(bare: CommandLine, mistake: list[str], meant: str) -> None:
    ran = bare(*mistake)
    assert (ran.status, ran.out) == (2, "")
    assert re.search(rf"Did you mean .*{meant}", ran.err)


@pytest.mark.parametrize(
    "arguments",
    [
        ["users", "show"],
        ["users", "list", "--limit", "0"],
        ["jobs", "show", "shop", "1"],
        ["jobs", "list", "--before", "3"],
        ["jobs", "discard", "users"],
        ["export", "a\tb"],
        ["export", "\udcff"],
        ["cache", "purge", "\udcff"],
        ["cache", "explain", "/\udcff"],
        ["cache", "explain", "/api/users/skills", "--as", "\udcff"],
        ["import", "mastodon", ".", "--as", "\udcff"],
        ["import", "undo", "mastodon", "--as", "\udcff"],
        ["mail", "show", "a", "b"],
    ],
)
def test_wrong_usage_is_status_2_and_prints_nothing_on_standard_output(bare: CommandLine, arguments: list[str]) -> None:
    ran = bare(*arguments)
    assert (ran.status, ran.out) == (2, "")
    assert "Usage: townsquare" in ran.err


@pytest.mark.parametrize("arguments", LOOKING, ids=" ".join)
def test_looking_into_an_empty_folder_makes_no_community_there(bare: CommandLine, arguments: list[str]) -> None:
    ran = bare(*arguments)
    assert (ran.status, ran.out) == (1, "")
    assert ran.err.startswith(f"townsquare: there is no community in {bare.data}; ")
    assert ran.err.count("\n") == 1
    assert list(bare.data.iterdir()) == []


def test_a_wrong_setting_is_one_sentence(bare: CommandLine) -> None:
    ran = bare("users", variables={"TOWNSQUARE_POOL_SIZE": "many"})
    assert (ran.status, ran.out, ran.err) == (
        1,
        "",
        "townsquare: setting 'pool_size' (from environment): Expected `int`, got `str`\n",
    )


def test_services_ports_that_there_cannot_be_are_one_sentence(bare: CommandLine) -> None:
    ran = bare("up", "--split", "--port", "65535")
    assert (ran.status, ran.out) == (1, "")
    assert ran.err == (
        "townsquare: cannot listen on 127.0.0.1:65536 (bind(): port must be 0-65535.); choose another with --port\n"
    )


def test_a_variable_that_is_no_setting_is_warned_of_beside_the_answer(bare: CommandLine) -> None:
    ran = bare("config", "--json", variables={"TOWNSQUARE_WROKERS": "2"})
    assert {setting["name"]: setting["value"] for setting in ran.json}["workers"] == "1"
    assert ran.err == "townsquare: warning: TOWNSQUARE_WROKERS is no setting; did you mean TOWNSQUARE_WORKERS?\n"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://nobody@127.0.0.1:1", "cannot be reached"),
        ("postgresql://[::1", "setting 'database_url'"),
        ("postgresql://127.0.0.1:port", "setting 'database_url'"),
    ],
)
@pytest.mark.parametrize("command", ["users", "migrate"])
def test_a_database_that_is_not_there_is_one_sentence(bare: CommandLine, url: str, words: str, command: str) -> None:
    ran = bare(command, variables={"TOWNSQUARE_DATABASE_URL": url})
    assert (ran.status, ran.out) == (1, "")
    assert ran.err.startswith("townsquare: ")
    assert words in ran.err
    assert "Traceback" not in ran.err


def test_a_group_s_options_count_for_its_commands(bare: CommandLine, cli: CommandLine) -> None:
    data = ["--data", str(cli.data)]
    assert (
        bare("users", *data, "--json").json
        == bare("users", *data, "--json", "list").json
        == cli("users", "list", "--json").json
    )


def test_the_version_is_printed(bare: CommandLine) -> None:
    assert bare("--version").out.startswith("townsquare, version ")


async def test_as_a_program_it_ends_with_the_same_status_and_prints_json_alone(cli: CommandLine) -> None:
    listed, wrong, mistaken = await asyncio.gather(
        cli.program("users", "--json"), cli.program("users", "show", "nobody_at_all"), cli.program("usres")
    )
    assert set(listed.json) == {"items", "next_cursor"}
    assert listed.err == ""
    assert (wrong.status, wrong.out, wrong.err) == (1, "", "townsquare: there is nobody called nobody_at_all here\n")
    assert (mistaken.status, mistaken.out) == (2, "")


async def test_a_reader_that_goes_away_is_no_traceback(cli: CommandLine) -> None:
    process = await cli.start("config", "--json")
    assert process.stdout is not None
    process.stdout._transport.close()  # type: ignore[attr-defined]
    assert process.stderr is not None
    said = await process.stderr.read()
    assert await process.wait() == 1
    assert said == b""


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
async def test_a_command_that_is_told_to_stop_stops_the_server_it_started(
    bare: CommandLine, number: signal.Signals, status: int
) -> None:
    process = await bare.start("migrate")
    async with asyncio.timeout(60):
        while not (bare.data / "postgres" / "postmaster.pid").exists():
            await asyncio.sleep(0.005)
        process.send_signal(number)
        _, said = await process.communicate()
    assert process.returncode == status, said
    assert b"Traceback" not in said
    assert programs_on(bare.data) == []
