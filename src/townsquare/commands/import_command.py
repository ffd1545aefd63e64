"""`townsquare import`: bring in what people have elsewhere, and take it out again."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import click
import msgspec
from msgspec import Struct
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from townsquare import hosting
from townsquare.commands.acting import acting_as
from townsquare.commands.shared import CommandError, Words, data_option, json_option, print_json, run, task_settings
from townsquare.importing.mastodon import SOURCE, ImportReport, forget_import, import_archive
from townsquare.importing.mastodon_archive import ArchiveError
from townsquare.importing.profile import fill_profile
from townsquare.services.content.imports import count_imported
from townsquare.settings import Settings

BATCH_SECONDS = 60.0
"""A batch of posts takes a second at most on any machine that the platform runs well on; a busy one gets a minute."""

REASONS = {
    "boost": "boosts of what others wrote",
    "reply_to_other": "replies to others",
    "direct_to_others": "private messages to others",
    "poll": "polls",
    "too_long": "too long for a post here",
    "empty": "without text and pictures",
    "unreadable": "not readable as a post",
}


class Undone(Struct):
    """What `import undo` has deleted."""

    deleted: int


@click.group("import")
def command() -> None:
    """Bring in what people have elsewhere. Importing the same thing twice adds nothing."""


@command.command("mastodon")
@click.argument("archive", type=click.Path(path_type=Path, exists=True))
@click.option("--as", "handle", type=Words(), required=True, help="Whose posts these become: the handle of a person here.")
@data_option
@json_option
def mastodon(archive: Path, handle: str, data: Path | None, as_json: bool) -> None:
    """Import ARCHIVE (a folder, .zip or .tar.gz that Mastodon gives its users): profile, posts, pictures.

    Boosts and replies to others stay out; they are counted and reported.
    """
    handle = handle.removeprefix("@")
    report = run(_import_mastodon(task_settings(data=data), archive, handle, quiet=as_json))
    if as_json:
        print_json(report)
    else:
        _print(report, handle)


@command.group("undo")
def undo() -> None:
    """Take out again what was imported."""


@undo.command("mastodon")
@click.option("--as", "handle", type=Words(), required=True, help="Whose imported posts are deleted.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@data_option
@json_option
def undo_mastodon(handle: str, yes: bool, data: Path | None, as_json: bool) -> None:
    """Delete every post that was imported from Mastodon, with its comments, reactions and media.

    What was written here stays, and so does the profile.
    """
    if as_json and not yes:
        raise click.UsageError("--json goes together with --yes: nobody is there to answer a question.")
    handle = handle.removeprefix("@")
    deleted = run(_undo_mastodon(task_settings(data=data), handle, ask=not yes, quiet=as_json))
    if as_json:
        print_json(Undone(deleted))
    else:
        click.echo(f"{deleted:,} imported posts of @{handle} deleted.")


async def _import_mastodon(settings: Settings, archive: Path, handle: str, *, quiet: bool) -> ImportReport:
    async with _host(settings) as host:
        person, token = await acting_as(host, handle)
        with _bar(quiet) as bar:
            task = bar.add_task("posts", total=None)
            try:
                actor, report = await import_archive(
                    archive,
                    person,
                    host.services["content"].context,
                    lambda done, total: bar.update(task, completed=done, total=total),
                )
            except ArchiveError as error:
                raise CommandError(f"{error} {_so_far(int(bar.tasks[0].completed))}") from error
        report.profile = await fill_profile(host.upstreams["users"], person, token, actor)
    return report


async def _undo_mastodon(settings: Settings, handle: str, *, ask: bool, quiet: bool) -> int:
    async with _host(settings) as host:
        person, _ = await acting_as(host, handle)
        content = host.services["content"].context
        total = await count_imported(content.database, person.id, SOURCE)
        if ask and total:
            question = f"Delete {total:,} imported posts of @{handle}, with the comments and reactions under them?"
            click.confirm(question, abort=True)
        with _bar(quiet) as bar:
            task = bar.add_task("posts", total=total)
            return await forget_import(person, content, lambda done: bar.update(task, completed=done))


@asynccontextmanager
async def _host(settings: Settings) -> AsyncIterator[hosting.Host]:
    """Lend the services of the platform, beside those that may be running: they hear of every change by the events."""
    patient = msgspec.structs.replace(settings, request_deadline=max(settings.request_deadline, BATCH_SECONDS))
    async with hosting.database_server(patient) as server:
        await hosting.prepare(patient, server)
        host = hosting.Host(hosting.ALL, patient, server, background=False)
        async with host.running():
            yield host


def _bar(quiet: bool) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), disable=quiet)


def _so_far(read: int) -> str:
    if not read:
        return "Nothing was imported."
    return f"The {read:,} items before it are in; run the same again with a whole archive, and it goes on from there."


def _print(report: ImportReport, handle: str) -> None:
    click.echo(f"{report.added:,} posts added as @{handle}, {report.known:,} were here already.")
    if report.threaded:
        click.echo(f"{report.threaded:,} of them continued a thread of your own: here each stands by itself.")
    for reason, count in report.skipped.items():
        click.echo(f"{count:,} left out: {REASONS[reason]}")
    if report.files or report.files_missing:
        click.echo(
            f"{report.files:,} media files kept for the media service, {report.files_missing:,} missing in the archive."
        )
    if report.profile:
        click.echo(f"Profile filled: {', '.join(report.profile)}.")
