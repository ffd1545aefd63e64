"""`townsquare config`: every setting, its value and where it came from."""

from pathlib import Path

import click

from townsquare.commands.shared import data_option, json_option, print_json, print_table
from townsquare.settings import explain_settings


@click.command("config")
@data_option
@json_option
def command(data: Path | None, as_json: bool) -> None:
    """Show the settings; secrets are masked."""
    origins = explain_settings({"data": data})
    if as_json:
        print_json(origins)
    else:
        print_table(("setting", "value", "from"), [(o.name, o.value, o.source) for o in origins])
