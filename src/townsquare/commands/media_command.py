"""`townsquare media`: what the files take, whether all of them are there, and what can be thrown away or made anew."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Final
from uuid import UUID

import click
from msgspec import Struct

from townsquare.commands.database import database_of, existing_server
from townsquare.commands.shared import (
    EXIT_FAILED,
    CommandError,
    data_option,
    json_option,
    print_facts,
    print_json,
    print_table,
    run,
    task_settings,
)
from townsquare.kit.database import Database
from townsquare.kit.jobs import enqueue
from townsquare.services.media.accounting import Usage, usage
from townsquare.services.media.processing import PROCESS, ProcessFile
from townsquare.services.media.storage import open_storage
from townsquare.services.media.sweep import Swept, sweep
from townsquare.services.media.verification import Repaired, Verified, repair, verify
from townsquare.settings import Settings

PAGE: Final = 500
SHOWN: Final = 20

# By primary key.
FIND_PICTURES: Final = "SELECT id FROM files WHERE id = ANY($1) AND kind = 'image'"

# Walks the primary key once.
NEXT_PICTURES: Final = """
SELECT id
FROM files
WHERE kind = 'image' AND id > $1 AND ($2 OR status = 'processing' OR variants = '{}')
ORDER BY id
LIMIT $3
"""


class Examined(Struct, frozen=True):
    """What was found, and what was mended."""

    well: bool
    found: Verified
    repaired: Repaired | None


class Enqueued(Struct, frozen=True):
    """How many pictures will be made anew."""

    pictures: int


@click.group("media", invoke_without_command=True)
@data_option
@json_option
@click.pass_context
def command(context: click.Context, data: Path | None, as_json: bool) -> None:
    """Look after the files that people upload. Without a command: what they take."""
    if context.invoked_subcommand is None:
        context.invoke(show_usage, limit=SHOWN, data=data, as_json=as_json)


@command.command("usage")
@click.option("--limit", type=click.IntRange(1, 100_000), default=SHOWN, show_default=True, help="How many people at most.")
@data_option
@json_option
def show_usage(limit: int, data: Path | None, as_json: bool) -> None:
    """Show what the files take: by person, by kind, and in the storage."""
    found = run(_usage(task_settings(data=data), limit))
    if as_json:
        print_json(found)
        return
    click.echo("Whose files take the most:")
    print_table(
        ("handle", "id", "files", "size"), [(one.handle, one.id, one.files, _size(one.bytes)) for one in found.people]
    )
    click.echo("What kinds there are:")
    print_table(
        ("kind", "files", "size", "waiting"),
        [(one.kind, one.files, _size(one.bytes), one.waiting) for one in found.kinds],
    )
    stored = found.stored
    print_facts(
        [
            ("in the storage", f"{stored.objects} objects, {_size(stored.bytes)}"),
            ("of no file", f"{stored.unused} objects, {_size(stored.unused_bytes)}"),
        ]
    )


async def _usage(settings: Settings, limit: int) -> Usage:
    async with _database(settings) as database:
        return await usage(database, limit)


@command.command("sweep")
@click.option(
    "--older-than",
    type=click.IntRange(1, 1_000_000),
    default=60,
    show_default=True,
    metavar="MINUTES",
    help="How long no file has used it.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be deleted, and delete nothing.")
@data_option
@json_option
def sweep_(older_than: int, dry_run: bool, data: Path | None, as_json: bool) -> None:
    """Delete what no file uses any more, and uploads that were given up. It happens by itself once an hour."""
    swept = run(_sweep(task_settings(data=data), timedelta(minutes=older_than), dry_run=dry_run))
    if as_json:
        print_json(swept)
        return
    click.echo("Would be deleted:" if dry_run else "Deleted:")
    print_facts(
        [
            ("of no file", f"{swept.objects} objects, {_size(swept.bytes)}"),
            ("half written", f"{swept.unfinished}"),
            ("drafts", f"{swept.drafts}"),
            ("uploads in pieces", f"{swept.uploads}"),
        ]
    )


async def _sweep(settings: Settings, older: timedelta, *, dry_run: bool) -> Swept:
    async with _database(settings) as database:
        return await sweep(database, open_storage(settings), settings.data / "media-drafts", older=older, dry_run=dry_run)


@command.command("verify")
@click.option("--deep", is_flag=True, help="Read every byte, and compare it with its name.")
@click.option("--repair", "mend", is_flag=True, help="Count again, and let what no row knows be swept.")
@data_option
@json_option
def verify_(deep: bool, mend: bool, data: Path | None, as_json: bool) -> None:
    """Check that every file's bytes are in the storage, and that nothing is counted wrongly. Status 1 says: look at this."""
    examined = run(_verify(task_settings(data=data), deep=deep, mend=mend))
    if as_json:
        print_json(examined)
    else:
        _tell(examined)
    if not examined.well:
        raise click.exceptions.Exit(EXIT_FAILED)


async def _verify(settings: Settings, *, deep: bool, mend: bool) -> Examined:
    async with _database(settings) as database:
        storage = open_storage(settings)
        found = await verify(database, storage, deep=deep)
        if not mend or found.well:
            return Examined(found.well, found, None)
        repaired = await repair(database, found)
        left = await verify(database, storage, deep=deep)
        return Examined(left.well, left, repaired)


def _tell(examined: Examined) -> None:
    found, repaired = examined.found, examined.repaired
    click.echo(f"{found.objects} objects were looked at, {_size(found.bytes)}.")
    if repaired is not None:
        click.echo(
            f"Mended: {repaired.counts} counts of objects, {repaired.usage} people's, "
            f"{repaired.adopted} objects that no row knew."
        )
    _list("are used, and not in the storage", found.missing)
    _list("are not what they should be", found.damaged)
    lost = [one.id for one in found.files if one.original]
    _list("files have lost their original: bring it back from a backup, or delete them", lost)
    made = [one.id for one in found.files if not one.original]
    _list("files have lost what was made of them: `townsquare media reprocess --id ID`", made)
    counts = [f"{one.name}: {one.counted} for {one.used}" for one in found.miscounted]
    _list("are counted wrongly: `townsquare media verify --repair`", counts)
    _list("people's files are counted wrongly: `townsquare media verify --repair`", found.usage)
    strange = [one.name for one in found.unknown]
    _list("are of no row: `townsquare media verify --repair`; an hour later they are swept", strange)
    if examined.well:
        click.echo("All is well.")


def _list(what: str, found: Sequence[object]) -> None:
    """Say how many there are, and name the first ones."""
    if found:
        click.echo(f"{len(found)} {what}:")
        for one in found[:SHOWN]:
            click.echo(f"  {one}")


@command.command("reprocess")
@click.option("--id", "ids", type=click.UUID, multiple=True, help="These pictures.")
@click.option("--missing", is_flag=True, help="All pictures of which nothing has been made yet.")
@click.option("--all", "all_", is_flag=True, help="All pictures.")
@data_option
@json_option
def reprocess(ids: tuple[UUID, ...], missing: bool, all_: bool, data: Path | None, as_json: bool) -> None:
    """Have pictures made anew from their originals, by jobs of the media service."""
    if (bool(ids), missing, all_).count(True) != 1:
        raise click.UsageError("name pictures with --id, or say --missing or --all")
    enqueued = run(_reprocess(task_settings(data=data), ids, all_=all_))
    if as_json:
        print_json(enqueued)
    else:
        click.echo(f"{enqueued.pictures} {'picture' if enqueued.pictures == 1 else 'pictures'} will be made anew.")


async def _reprocess(settings: Settings, ids: Sequence[UUID], *, all_: bool) -> Enqueued:
    async with _database(settings) as database:
        if ids:
            found = {row["id"] for row in await database.fetch(FIND_PICTURES, list(ids))}
            if strange := sorted(set(ids) - found):
                raise CommandError(f"there is no picture {', '.join(map(str, strange))}")
            return Enqueued(await _enqueue(database, sorted(found)))
        pictures, last = 0, UUID(int=0)
        while page := [row["id"] for row in await database.fetch(NEXT_PICTURES, last, all_, PAGE)]:
            pictures, last = pictures + await _enqueue(database, page), page[-1]
        return Enqueued(pictures)


async def _enqueue(database: Database, ids: Sequence[UUID]) -> int:
    async with database.transaction() as connection:
        for one in ids:
            await enqueue(connection, PROCESS, ProcessFile(one))
    return len(ids)


@asynccontextmanager
async def _database(settings: Settings) -> AsyncIterator[Database]:
    async with existing_server(settings) as server, database_of("media", settings, server) as database:
        yield database


def _size(size: int) -> str:
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= factor:
            return f"{size / factor:,.1f} {unit}"
    return f"{size} bytes"
