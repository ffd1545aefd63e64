"""`townsquare export`: everything of one person as a ZIP file, the same that `GET /account/export` gives them."""

import os
import shutil
import sys
import zipfile
from pathlib import Path
from typing import IO

import click
from msgspec import Struct

from townsquare import hosting
from townsquare.commands.database import existing_server, refuse_outdated
from townsquare.commands.shared import CommandError, Words, data_option, json_option, print_json, run, task_settings
from townsquare.services.users.administration import identify, show_account
from townsquare.services.users.export import build_export
from townsquare.settings import Settings

OUTPUT = Path("-")


class Exported(Struct, frozen=True):
    """What was written."""

    handle: str
    file: str
    bytes: int
    parts: list[str]


@click.command("export")
@click.argument("who", type=Words(), metavar="HANDLE")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="The file to write, or - for standard output; default: townsquare-HANDLE.zip here.",
)
@click.option("--force", is_flag=True, help="Replace the file if there is one.")
@data_option
@json_option
def command(who: str, out: Path | None, force: bool, data: Path | None, as_json: bool) -> None:
    """Write everything of the person HANDLE (or an id, or an e-mail address) into a ZIP file that only you can read.

    Hidden and suspended people have a right to their data too.
    """
    to_output = out == OUTPUT
    if to_output and as_json:
        raise click.UsageError("--json and --out - would write to the same place")
    exported = run(_export(task_settings(data=data), who, out, force=force))
    if as_json:
        print_json(exported)
    elif not to_output:
        click.echo(f"{exported.file}: {exported.bytes} bytes, {len(exported.parts)} files about @{exported.handle}.")


async def _export(settings: Settings, who: str, out: Path | None, *, force: bool) -> Exported:
    async with existing_server(settings) as server:
        await refuse_outdated(settings, server)
        host = hosting.Host(hosting.ALL, settings, server, background=False)
        async with host.running():
            context = host.services["users"].context
            person = await identify(context.database, who)
            account = None if person is None else await show_account(context.database, person)
            if account is None:
                raise CommandError(f"there is nobody called {who} here")
            target = out or Path(f"townsquare-{account.handle}.zip")
            _refuse_existing(target, force=force)
            with await build_export(context, account.id) as archive:
                with zipfile.ZipFile(archive) as written:
                    parts = written.namelist()
                size = archive.seek(0, os.SEEK_END)
                archive.seek(0)
                _write(archive, target)
    return Exported(account.handle, str(target), size, parts)


def _refuse_existing(target: Path, *, force: bool) -> None:
    if target != OUTPUT and target.exists() and not force:
        raise CommandError(f"{target} is there already; --force replaces it")


def _write(archive: IO[bytes], target: Path) -> None:
    """Write the file under another name first: it is there whole or not at all."""
    if target == OUTPUT:
        shutil.copyfileobj(archive, sys.stdout.buffer)
        return
    unfinished = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            shutil.copyfileobj(archive, file)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)
