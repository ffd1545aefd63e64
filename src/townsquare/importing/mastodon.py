"""`townsquare import mastodon`: a person's profile, posts and pictures from the archive that Mastodon gave them.

It works through the services' own code on their own databases, so an imported post is a post like any other. Running it
again adds nothing: a post is known by its address, and a profile is filled only where it is still empty.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from townsquare.importing.mastodon_archive import Archive, ArchivedActor, open_archive
from townsquare.importing.mastodon_posts import ArchivedPost, Skipped, SkipReason
from townsquare.kit.database import Database
from townsquare.kit.identity import Viewer
from townsquare.kit.outbox import Outbox
from townsquare.kit.writes import Write
from townsquare.services.content.imports import ImportedMedia, ImportedPost, Registered, import_posts
from townsquare.services.content.text import MAX_TEXT

BATCH = 500
CHUNK = 1 << 20
MEDIA_ALONE = "\N{FRAME WITH PICTURE}"
"""Text of a post that was a picture without a description."""
SENSITIVE = "Sensitive content"
T = TypeVar("T")


class ImportReport(Struct):
    """What became of an archive: posts added and known before, what was left out and why, files kept."""

    read: int = 0
    added: int = 0
    known: int = 0
    skipped: dict[str, int] = msgspec.field(default_factory=dict[str, int])
    files: int = 0
    files_missing: int = 0
    profile: list[str] = msgspec.field(default_factory=list[str])


Progress = Callable[[int, int | None], None]


async def import_archive(
    path: Path, person: Viewer, content: Database, data: Path, progress: Progress
) -> tuple[ArchivedActor, ImportReport]:
    """Import the posts of the archive at `path` as `person`'s; the files of their media go to `data/imports`.

    `progress` is told how many items were read, of how many (None where the archive does not say).
    Raises ArchiveError; batches before the damaged place stay imported, and a repetition goes on from there.
    """
    report = ImportReport()
    skipped: Counter[SkipReason] = Counter()
    registered: list[Registered] = []
    outbox = Outbox(content)
    with open_archive(path) as archive:
        total = archive.count()
        for items in _batches(archive.posts(), BATCH):
            posts = [item for item in items if isinstance(item, ArchivedPost)]
            skipped.update(item.reason for item in items if isinstance(item, Skipped))
            added, media = await _add(content, outbox, person, posts)
            registered += media
            report.read += len(items)
            report.added += added
            report.known += len(posts) - added
            progress(report.read, total)
        report.files = await asyncio.to_thread(_keep_files, archive, registered, data / "imports")
        report.files_missing = len(registered) - report.files
        report.skipped = {str(reason): count for reason, count in sorted(skipped.items())}
        return archive.actor(), report


def _batches(items: Iterator[T], size: int) -> Iterator[list[T]]:
    while batch := list(islice(items, size)):
        yield batch


async def _add(
    content: Database, outbox: Outbox, person: Viewer, posts: Iterable[ArchivedPost]
) -> tuple[int, list[Registered]]:
    """Add one batch in a transaction of its own, short enough to hold nobody up."""
    write = Write(content, outbox, "content")
    try:
        result = await import_posts(write, person, [_imported(post) for post in posts])
        await write.commit()
    finally:
        await write.rollback()
    return result


def _imported(post: ArchivedPost) -> ImportedPost:
    media = tuple(
        ImportedMedia(medium.path or "", medium.media_type, medium.alt, medium.width, medium.height) for medium in post.media
    )
    described = next((medium.alt for medium in media if medium.alt), None)
    return ImportedPost(
        source_id=post.source_id,
        published=post.published,
        text=post.text or (described or MEDIA_ALONE)[:MAX_TEXT],
        visibility=post.visibility,
        content_warning=post.content_warning or (SENSITIVE if post.sensitive else None),
        edited=post.edited,
        media=media,
    )


def _keep_files(archive: Archive, registered: Iterable[Registered], folder: Path) -> int:
    """Copy the media out of the archive in one pass, each under its id; returns how many were there."""
    wanted: dict[str, list[Registered]] = {}
    for medium in registered:
        if medium.source:
            wanted.setdefault(medium.source, []).append(medium)
    if not wanted:
        return 0
    folder.mkdir(parents=True, exist_ok=True)
    kept = 0
    for file in archive.files(wanted):
        first, *others = (folder / str(medium.id) for medium in wanted[file.path])
        draft = first.with_suffix(".part")
        with draft.open("wb") as target:
            while chunk := file.stream.read(CHUNK):
                target.write(chunk)
        draft.rename(first)
        for other in others:
            other.hardlink_to(first)
        kept += 1 + len(others)
    return kept
