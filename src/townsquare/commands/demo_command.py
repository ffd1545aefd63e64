"""`townsquare demo`: a community to look at, and its removal."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from msgspec import Struct
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from townsquare import demo, hosting
from townsquare.commands.shared import data_option, json_option, print_json, run, task_settings
from townsquare.demo.community import PEOPLE, SEED
from townsquare.settings import Settings


class Removed(Struct):
    """What `demo --remove` has deleted."""

    people: int


@click.command("demo")
@click.option("--people", type=click.IntRange(2, 5_000), default=PEOPLE, show_default=True, help="How many people.")
@click.option("--seed", type=click.IntRange(0), default=SEED, show_default=True, help="Another seed, another community.")
@click.option("--remove", is_flag=True, help="Delete the demo people and all they wrote instead.")
@data_option
@json_option
def command(people: int, seed: int, remove: bool, data: Path | None, as_json: bool) -> None:
    """Fill the community with believable people and posts. Doing so twice adds nothing.

    All of them share the password `townsquare demo`, so this is not for a platform that strangers can reach.
    """
    settings = task_settings(data=data)
    if remove:
        removed = Removed(run(_remove(settings, quiet=as_json)))
        if as_json:
            print_json(removed)
        else:
            click.echo(f"{removed.people} demo people deleted, with all they wrote.")
        return
    report = run(_fill(settings, people, seed, quiet=as_json))
    if as_json:
        print_json(report)
    else:
        print_report(report)


def print_report(report: demo.DemoReport) -> None:
    """Say what was added and as whom to sign in."""
    if report.already and not report.posts:
        click.echo("A demo community is here already; nothing was added.")
    else:
        click.echo(
            f"{report.people:,} people with {report.follows:,} follows wrote {report.posts:,} posts and "
            f"{report.comments:,} comments, and left {report.reactions:,} reactions."
        )
    click.echo(f"Sign in as {report.handle} (or any of them) with the password: {report.password}")


@contextmanager
def progress_bar(*, quiet: bool) -> Iterator[demo.Progress]:
    """Lend the function that shows how far the filling is."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=Console(stderr=True), disable=quiet) as bar:

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done)

        yield show


async def _fill(settings: Settings, people: int, seed: int, *, quiet: bool) -> demo.DemoReport:
    async with hosting.database_server(settings) as server:
        await hosting.prepare(settings, server)
        with progress_bar(quiet=quiet) as progress:
            return await demo.fill(settings, server, people, seed, progress)


async def _remove(settings: Settings, *, quiet: bool) -> int:
    async with hosting.database_server(settings) as server:
        await hosting.prepare(settings, server)
        with progress_bar(quiet=quiet) as progress:
            return await demo.remove(settings, server, progress)
