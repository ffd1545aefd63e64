"""`townsquare import mastodon`: a person's posts and pictures from the archive that Mastodon gave them, and back out.

It works through the services' own code on their own databases, so an imported post is a post like any other. Running it
again adds nothing: a post is known by its address, and what a run that was cut off has left undone is done by the next.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from townsquare.importing.kept_files import keep_files
from townsquare.importing.markdown import Piece, write_markdown
from townsquare.importing.mastodon_archive import Archive, ArchivedActor, open_archive
from townsquare.importing.mastodon_posts import ArchivedMedia, ArchivedPost, Skipped, SkipReason
from townsquare.kit.context import Context
from townsquare.kit.identity import Viewer
from townsquare.kit.transactions import transaction
from townsquare.services.content.imported_media import (
    ImportedMedia,
    forget_files,
    forget_profile_pictures,
    missing_files,
    register_profile_pictures,
)
from townsquare.services.content.imports import ImportedPost, forget_imported, import_posts
from townsquare.services.content.text import MAX_TEXT, TextError, clean_text

BATCH = 500
SOURCE = "http"
"""How the `source_id` of every imported post begins: its address."""
MAX_WARNING = 200
MAX_ALT = 5_000
MEDIA_ALONE = "\N{FRAME WITH PICTURE}"
"""Text of a post that was a picture without a description."""
SENSITIVE = "Sensitive content"
T = TypeVar("T")


class ImportReport(Struct):
    """What became of an archive.

    `added` and `known` count posts, `threaded` those of both that continued an earlier post of the same person. `skipped`
    counts what was left out, by reason. `files` were kept this time; `files_missing` are named but not in the archive.
    """

    read: int = 0
    added: int = 0
    known: int = 0
    threaded: int = 0
    skipped: dict[str, int] = msgspec.field(default_factory=dict[str, int])
    files: int = 0
    files_missing: int = 0
    profile: list[str] = msgspec.field(default_factory=list[str])


Progress = Callable[[int, int | None], None]


async def import_archive(
    path: Path, person: Viewer, content: Context, progress: Progress
) -> tuple[ArchivedActor, ImportReport]:
    """Import the posts of the archive at `path` as `person`'s; the files of their media go to `data/imports`.

    `progress` is told how many items were read, of how many (None where the archive does not say).
    Raises ArchiveError; batches before the damaged place stay imported, and a repetition goes on from there.
    """
    report, skipped = ImportReport(), Counter[SkipReason]()
    with open_archive(path) as archive:
        actor, total = archive.actor(), archive.count()
        for items in _batches(archive.posts(), BATCH):
            ready = [item if isinstance(item, Skipped) else _imported(item, report) for item in items]
            posts = [item for item in ready if isinstance(item, ImportedPost)]
            skipped.update(item.reason for item in ready if isinstance(item, Skipped))
            async with transaction(content) as write:
                added = await import_posts(write, person, posts)
            report.read += len(items)
            report.added += added
            report.known += len(posts) - added
            report.skipped = {str(reason): count for reason, count in sorted(skipped.items())}
            progress(report.read, total)
        await _import_pictures(archive, actor, person, content)
        missing = await missing_files(content.database, person.id)
        report.files = await keep_files(content, archive.files(missing), missing)
    return actor, report


async def forget_import(person: Viewer, content: Context, progress: Callable[[int], None]) -> int:
    """Delete what was imported as `person`'s, and its files; returns how many posts that were."""
    deleted = 0
    while True:
        async with transaction(content) as write:
            count, media = await forget_imported(write, person, SOURCE, BATCH)
        forget_files(content.settings, media)
        deleted += count
        progress(deleted)
        if not count:
            break
    async with transaction(content) as write:
        pictures = await forget_profile_pictures(write, person.id)
    forget_files(content.settings, pictures)
    return deleted


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    waiting = iter(items)
    while batch := list(islice(waiting, size)):
        yield batch


async def _import_pictures(archive: Archive, actor: ArchivedActor, person: Viewer, content: Context) -> None:
    avatar, banner = (_picture(archive, path) for path in (actor.avatar, actor.banner))
    async with transaction(content) as write:
        await register_profile_pictures(write, person.id, avatar, banner)


_PICTURE_TYPES = {".png": "image/png", ".gif": "image/gif", ".webp": "image/webp", ".avif": "image/avif"}


def _picture(archive: Archive, path: str | None) -> ImportedMedia | None:
    if path is None or not archive.size(path):
        return None
    return ImportedMedia(path, _PICTURE_TYPES.get(Path(path).suffix.lower(), "image/jpeg"))


def _imported(post: ArchivedPost, report: ImportReport) -> ImportedPost | Skipped:
    """Make the post that it will be here; one whose text cannot be kept is skipped."""
    text, warning = _text_and_warning(post)
    try:
        text = clean_text(text)
    except TextError as error:
        return Skipped(SkipReason.TOO_LONG if len(text) > MAX_TEXT else SkipReason.EMPTY, post.source_id, str(error))
    there = [medium for medium in post.media if medium.path]
    report.files_missing += len(post.media) - len(there)
    report.threaded += post.in_reply_to is not None
    return ImportedPost(
        source_id=post.source_id,
        published=post.published,
        text=text,
        visibility=post.visibility,
        content_warning=warning,
        edited=post.edited,
        media=tuple(_medium(medium) for medium in there),
    )


def _text_and_warning(post: ArchivedPost) -> tuple[str, str | None]:
    """Return the text and the content warning; a warning that is too long for one begins the text, too."""
    described = next((medium.alt for medium in post.media if medium.alt), None)
    text = post.text or (described or MEDIA_ALONE)[:MAX_TEXT]
    warning = " ".join((post.content_warning or "").split())
    if not warning:
        return text, SENSITIVE if post.sensitive else None
    if len(warning) <= MAX_WARNING:
        return text, warning
    spelled_out = "\n".join(write_markdown([Piece("text", warning)]))
    return f"{spelled_out}\n\n{text}", warning[: MAX_WARNING - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _medium(medium: ArchivedMedia) -> ImportedMedia:
    alt = medium.alt[:MAX_ALT] if medium.alt else None
    return ImportedMedia(medium.path or "", medium.media_type, alt, medium.width, medium.height)
