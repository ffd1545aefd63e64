"""What the commands share: the `--data` and `--json` options, running the event loop, and printing."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec
import uvloop

from townsquare.kit.database import DatabaseUnavailable
from townsquare.kit.keys import KeyMissingError
from townsquare.kit.logs import configure
from townsquare.kit.migrations import MigrationError
from townsquare.kit.postgres_errors import PostgresError
from townsquare.settings import Settings, SettingsError, load_settings

FORESEEN = (SettingsError, PostgresError, MigrationError, KeyMissingError, DatabaseUnavailable)

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


def data_option(function: F) -> F:
    """Add `--data DIR`."""
    return click.option(
        "--data",
        type=click.Path(path_type=Path, file_okay=False),
        help="The data folder (or TOWNSQUARE_DATA); default: ./data",
    )(function)


def json_option(function: F) -> F:
    """Add `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")(function)


def settings_for(**overrides: object) -> Settings:
    """Load the settings with the command line's options on top, and set up logging."""
    settings = load_settings(overrides)
    configure(settings)
    return settings


def run(work: Coroutine[object, object, T]) -> T:
    """Run a command's work to its end."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def print_json(value: object) -> None:
    """Print one JSON document."""
    click.echo(msgspec.json.format(msgspec.json.encode(value)).decode())


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table, or a sentence when it is empty."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(*columns, box=box.SIMPLE)
    for row in rows:
        table.add_row(*("" if cell is None else str(cell) for cell in row))
    if table.row_count:
        Console().print(table)
    else:
        click.echo("Nothing to show.")
