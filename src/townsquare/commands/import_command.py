"""`townsquare import`: bring in what people have elsewhere."""

from pathlib import Path
from typing import Any

import click
import msgspec
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from townsquare import hosting
from townsquare.commands.acting import acting_as
from townsquare.commands.shared import data_option, json_option, print_json, run, settings_for
from townsquare.importing.mastodon import ImportReport, import_archive
from townsquare.importing.mastodon_archive import ArchivedActor
from townsquare.kit.identity import Viewer
from townsquare.kit.upstream import Upstream
from townsquare.settings import Settings

MAX_BIO = 2000
MAX_NAME = 100
MAX_FIELDS = 8


@click.group("import")
def command() -> None:
    """Bring in what people have elsewhere. Importing the same thing twice adds nothing."""


@command.command("mastodon")
@click.argument("archive", type=click.Path(path_type=Path, exists=True))
@click.option("--as", "handle", required=True, help="Whose posts these become: the handle of a person here.")
@data_option
@json_option
def mastodon(archive: Path, handle: str, data: Path | None, as_json: bool) -> None:
    """Import ARCHIVE (a folder, .zip or .tar.gz that Mastodon gives its users): profile, posts, pictures.

    Boosts and replies to others stay out; they are counted and reported.
    """
    report = run(_import_mastodon(settings_for(data=data), archive, handle.removeprefix("@"), quiet=as_json))
    if as_json:
        print_json(report)
    else:
        _print(report, handle)


async def _import_mastodon(settings: Settings, archive: Path, handle: str, *, quiet: bool) -> ImportReport:
    async with hosting.database_server(settings) as server:
        await hosting.prepare(settings, server)
        host = hosting.Host(hosting.ALL, settings, server, background=False)
        async with host.running():
            person, token = await acting_as(host, handle)
            content = host.services["content"].context.database
            with _bar(quiet) as bar:
                task = bar.add_task("posts", total=None)
                actor, report = await import_archive(
                    archive,
                    person,
                    content,
                    settings.data,
                    lambda done, total: bar.update(task, completed=done, total=total),
                )
            report.profile = await _fill_profile(host.upstreams["users"], person, token, actor)
    return report


def _bar(quiet: bool) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, disable=quiet)


async def _fill_profile(users: Upstream, person: Viewer, token: str, actor: ArchivedActor) -> list[str]:
    """Fill what is still empty in the profile; what somebody has written here stays. Returns the filled fields' names."""
    path = f"/profile/{person.id}"
    current: dict[str, Any] = msgspec.json.decode((await users.call("GET", path, token=token)).body)
    fields = [{"name": name[:60], "value": value[:300]} for name, value in actor.fields[:MAX_FIELDS] if name and value]
    offered: dict[str, Any] = {"bio": actor.bio[:MAX_BIO], "fields": fields}
    if current["display_name"] == current["handle"]:
        offered["display_name"] = actor.display_name[:MAX_NAME]
    changes = {name: value for name, value in offered.items() if value and (name == "display_name" or not current.get(name))}
    if not changes:
        return []
    reply = await users.call("PATCH", path, body=msgspec.json.encode(changes), token=token)
    return sorted(changes) if reply.status == 200 else []


def _print(report: ImportReport, handle: str) -> None:
    click.echo(f"{report.added} posts added as @{handle.removeprefix('@')}, {report.known} were here already.")
    for reason, count in report.skipped.items():
        click.echo(f"{count} left out: {reason.replace('_', ' ')}")
    if report.files or report.files_missing:
        click.echo(f"{report.files} media files kept for the media service, {report.files_missing} missing in the archive.")
    if report.profile:
        click.echo(f"Profile filled: {', '.join(report.profile)}.")
