"""`townsquare config`: every setting, its value and where it came from."""

from pathlib import Path

import click

from townsquare.commands.shared import data_option, json_option, print_json, print_table, warn_of_unknown_variables
from townsquare.settings import explain_settings


@click.command("config")
@data_option
@json_option
def command(data: Path | None, as_json: bool) -> None:
    """Show every setting, its value and where it came from; secrets are masked.

    Variables (TOWNSQUARE_PORT and so on) win over the file (townsquare.toml in the data folder, or the one that
    TOWNSQUARE_CONFIG names), and that over the defaults.
    """
    origins = explain_settings({"data": data})
    warn_of_unknown_variables()
    if as_json:
        print_json(origins)
    else:
        print_table(("setting", "value", "from"), [(o.name, o.value, o.source) for o in origins])
