"""What the commands share: the `--data` and `--json` options, running the event loop, printing, and failing."""

import asyncio
import signal
import sys
import threading
import unicodedata
from collections.abc import Callable, Coroutine, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import click
import msgspec
import uvloop

from townsquare.importing.archive_files import ArchiveError
from townsquare.kit.database import DatabaseUnavailable
from townsquare.kit.keys import KeyMissingError
from townsquare.kit.logs import configure
from townsquare.kit.mail import MailError
from townsquare.kit.migrations import MigrationError
from townsquare.kit.postgres_errors import PostgresError
from townsquare.kit.problems import Problem
from townsquare.settings import Settings, SettingsError, load_settings, unknown_variables


class CommandError(Exception):
    """A command cannot do what it was asked to; the message is the sentence to print."""


FORESEEN = (
    CommandError,
    SettingsError,
    PostgresError,
    MigrationError,
    KeyMissingError,
    DatabaseUnavailable,
    ArchiveError,
    MailError,
    Problem,
    asyncpg.PostgresError,
    asyncpg.exceptions.ClientConfigurationError,
    OSError,
)

EXIT_FAILED = 1
WIDEST = 10_000

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


def sentence_of(error: BaseException) -> str:
    """Say a foreseen error in one sentence; for PostgreSQL's with the server's own words."""
    match error:
        case asyncpg.PostgresError() | asyncpg.exceptions.ClientConfigurationError():
            return f"PostgreSQL: {error}"
        case DatabaseUnavailable() if error.__cause__ is not None:
            return f"{error} ({type(error.__cause__).__name__}: {error.__cause__})"
        case Problem():
            return error.detail
        case OSError() if error.filename is not None and error.strerror:
            return f"{error.filename}: {error.strerror}"
        case _:
            return str(error) or f"it failed with {type(error).__name__}"


class Words(click.ParamType[str]):
    """Text that can be stored and sent: an argument that is no UTF-8 is a usage error."""

    name = "text"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text as it is."""
        if not value or not value.isprintable():
            self.fail("expected text without control characters, in UTF-8", param, ctx)
        return value


def data_option(function: F) -> F:
    """Add `--data DIR`; a command of a group takes the group's where it has none of its own."""
    return click.option(
        "--data",
        type=click.Path(path_type=Path, file_okay=False),
        callback=_or_the_group_s,
        help="The data folder (or TOWNSQUARE_DATA); default: ./data",
    )(function)


def json_option(function: F) -> F:
    """Add `--json`; likewise."""
    return click.option("--json", "as_json", is_flag=True, callback=_or_the_group_s, help="Print JSON for programs.")(
        function
    )


def _or_the_group_s(context: click.Context, parameter: click.Parameter, value: object) -> object:
    inherited = context.parent.params.get(parameter.name or "") if context.parent is not None else None
    return value or inherited or value


def settings_for(**overrides: object) -> Settings:
    """Load the settings of a command that serves, with its options on top; the log goes to standard output."""
    settings = load_settings(overrides)
    warn_of_unknown_variables()
    configure(settings)
    return settings


def task_settings(**overrides: object) -> Settings:
    """Load the settings of a command that does one thing and prints it; warnings go to standard error."""
    settings = load_settings(overrides)
    warn_of_unknown_variables()
    level = "warning" if settings.log_level == "info" else settings.log_level
    configure(msgspec.structs.replace(settings, log_level=level), sys.stderr)
    return settings


def warn_of_unknown_variables() -> None:
    """Tell of variables that look like settings and are none."""
    for sentence in unknown_variables():
        click.echo(f"townsquare: warning: {sentence}", err=True)


def run(work: Coroutine[object, object, T]) -> T:
    """Run a command's work to its end, or until Ctrl-C or SIGTERM, which let it close what it opened."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_until_told_to_stop(work))


async def _until_told_to_stop(work: Coroutine[object, object, T]) -> T:
    # Left to itself SIGTERM would end the process and leave behind the PostgreSQL that it has started.
    task = asyncio.current_task()
    assert task is not None  # noqa: S101  (a coroutine that runs is in a task)
    if threading.current_thread() is threading.main_thread():  # no other one may
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await work


def print_json(value: object) -> None:
    """Print one JSON document."""
    click.echo(msgspec.json.format(msgspec.json.encode(value)).decode())


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table, or a sentence when it is empty. Beside a terminal no line is folded, so that programs can read it."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, box=box.SIMPLE)
    for row in rows:
        table.add_row(*(Text(shown(cell)) for cell in row))
    if table.row_count:
        Console(width=None if sys.stdout.isatty() else WIDEST).print(table)
    else:
        click.echo("Nothing to show.")


def print_facts(facts: Sequence[tuple[str, object]]) -> None:
    """Print names and values under each other, without those that have none."""
    width = max(len(name) for name, _ in facts)
    for name, value in facts:
        if value is not None and value != "":
            click.echo(f"{name:<{width}}  {shown(value)}")


def shown(value: object) -> str:
    """Return a value as people read it. What others wrote cannot steer the terminal."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case datetime():
            return f"{value:%Y-%m-%d %H:%M:%S} UTC"
        case _:
            return "".join(sign for sign in str(value) if sign in "\n\t" or unicodedata.category(sign)[0] != "C")
