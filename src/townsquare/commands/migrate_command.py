"""`townsquare migrate`: keys and databases up to this release."""

from pathlib import Path

import click

from townsquare import hosting
from townsquare.catalogue import BUILT
from townsquare.commands.shared import data_option, json_option, print_json, run, task_settings
from townsquare.settings import Settings


@click.command("migrate")
@click.argument("service", type=click.Choice(BUILT), required=False)
@data_option
@json_option
def command(service: str | None, data: Path | None, as_json: bool) -> None:
    """Apply what is missing, to SERVICE's database or to all. Safe to run at any time, also by several at once."""
    applied = run(_migrate(task_settings(data=data), (service,) if service else BUILT))
    if as_json:
        print_json(applied)
        return
    for name, files in applied.items():
        click.echo(f"{name}: " + (", ".join(files) if files else "up to date"))


async def _migrate(settings: Settings, services: tuple[str, ...]) -> dict[str, list[str]]:
    async with hosting.database_server(settings) as server:
        return await hosting.prepare(settings, server, services)
