"""Media that came in an archive: registered with their posts, kept as files in `data/imports`, told when they are there.

The media service takes them up by the event `imported_media`, of which the key is the medium's id and the name of its file.
A row without `kept_at` is a promise that an import which was cut off has not kept yet; the next one does.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias
from uuid import UUID

import msgspec
from msgspec import Struct

from townsquare.kit.clock import now
from townsquare.kit.database import Database
from townsquare.kit.ids import new_id
from townsquare.kit.jobs import Job, JobContext
from townsquare.kit.outbox import NewEvent
from townsquare.kit.writes import Write
from townsquare.settings import Settings

FORGET_FILES: Final = "forget-imported-files"

Purpose: TypeAlias = Literal["post", "avatar", "banner"]


class ImportedMedia(Struct, frozen=True):
    """A picture, film or sound in an archive; `source` is its file's name there."""

    source: str
    media_type: str
    alt: str | None = None
    width: int | None = None
    height: int | None = None


class ForgottenMedia(Struct, frozen=True):
    """Media that are gone, of which the files are to go too."""

    media: list[UUID]


class Registered(Struct, frozen=True):
    """A medium under its id here; `post_id` is None for a picture of the profile."""

    id: UUID
    medium: ImportedMedia
    post_id: UUID | None = None
    purpose: Purpose = "post"


# The conflict is that of a profile's picture which was registered before: it stays.
REGISTER: Final = """
INSERT INTO imported_media (id, author_id, post_id, purpose, source, media_type, alt, width, height)
SELECT r.id, $1, r.post_id, r.purpose, r.source, r.media_type, r.alt, r.width, r.height
FROM jsonb_to_recordset($2::jsonb) AS r (
    id uuid, post_id uuid, purpose text, source text, media_type text, alt text, width integer, height integer
)
ON CONFLICT (author_id, purpose) WHERE post_id IS NULL DO NOTHING
"""

# By imported_media_missing_idx.
MISSING: Final = "SELECT id, source FROM imported_media WHERE author_id = $1 AND kept_at IS NULL"

# By primary key.
KEEP: Final = """
UPDATE imported_media
SET kept_at = $2
WHERE id = ANY($1::uuid[])
RETURNING id, author_id, post_id, purpose, media_type, alt, width, height
"""

# By imported_media_post_idx.
IMPORTED_WITH: Final = "SELECT id FROM imported_media WHERE post_id = $1"

# By imported_media_profile_idx, and by posts_author_idx and imported_media_post_idx, once for each post.
IMPORTED_BY: Final = """
SELECT id FROM imported_media WHERE author_id = $1 AND post_id IS NULL
UNION ALL
SELECT m.id
FROM posts AS p
CROSS JOIN LATERAL (SELECT id FROM imported_media WHERE post_id = p.id OFFSET 0) AS m
WHERE p.author_id = $1
"""

# By imported_media_profile_idx.
FORGET_PROFILE_PICTURES: Final = "DELETE FROM imported_media WHERE author_id = $1 AND post_id IS NULL RETURNING id"


async def register(write: Write, author: UUID, media: Sequence[Registered]) -> None:
    """Register media; their files are still to be kept."""
    if media:
        rows = [
            {
                "id": item.id,
                "post_id": item.post_id,
                "purpose": item.purpose,
                **msgspec.structs.asdict(item.medium),
            }
            for item in media
        ]
        await write.execute(REGISTER, author, msgspec.json.encode(rows).decode())


async def register_profile_pictures(
    write: Write, author: UUID, avatar: ImportedMedia | None, banner: ImportedMedia | None
) -> None:
    """Register a profile's pictures, unless it has some from an earlier import."""
    offered: list[tuple[Purpose, ImportedMedia | None]] = [("avatar", avatar), ("banner", banner)]
    found = [Registered(new_id(), medium, None, purpose) for purpose, medium in offered if medium]
    await register(write, author, found)


async def missing_files(database: Database, author: UUID) -> dict[str, list[UUID]]:
    """Return the media of a person whose files are still to be kept: the ids, by the file's name in the archive."""
    missing: dict[str, list[UUID]] = {}
    for row in await database.fetch(MISSING, author):
        missing.setdefault(row["source"], []).append(row["id"])
    return missing


async def files_kept(write: Write, media: Iterable[UUID]) -> None:
    """Note that the files of these media are in `data/imports` now, and tell it."""
    for row in await write.fetch(KEEP, list(media), now()):
        payload: dict[str, Any] = {
            "id": row["id"],
            "author": row["author_id"],
            "post": row["post_id"],
            "purpose": row["purpose"],
            "media_type": row["media_type"],
            "alt": row["alt"],
            "width": row["width"],
            "height": row["height"],
        }
        write.emit("imported_media", row["id"], payload)


async def forget_profile_pictures(write: Write, author: UUID) -> list[UUID]:
    """Forget the pictures that came for a profile; returns the ids, under which their files are kept."""
    gone = [row["id"] for row in await write.fetch(FORGET_PROFILE_PICTURES, author)]
    tell_forgotten(write, gone)
    return gone


async def forget_with_post(write: Write, post_id: UUID) -> None:
    """Tell that what came with a post is gone, as the post will be, and have the files deleted behind the commit."""
    gone = [row["id"] for row in await write.fetch(IMPORTED_WITH, post_id)]
    if gone:
        tell_forgotten(write, gone)
        await write.enqueue(FORGET_FILES, ForgottenMedia(gone))


def tell_forgotten(write: Write, media: Iterable[UUID]) -> None:
    """Tell that media are not to be taken up any more."""
    for medium in media:
        event = forgotten(medium)
        write.emit(event.topic, event.key, event.payload)


def forgotten(medium: UUID) -> NewEvent:
    """Make the event that a medium is not to be taken up any more."""
    return NewEvent("imported_media", str(medium), (), {"id": medium, "deleted": True})


def folder_of(settings: Settings) -> Path:
    """Return where the files are kept."""
    return settings.data / "imports"


async def delete_files(context: JobContext, payload: ForgottenMedia) -> None:
    """Delete the files of media that are gone."""
    forget_files(context.settings, payload.media)


def forget_files(settings: Settings, media: Iterable[UUID]) -> None:
    """Delete the files of media that are gone."""
    for medium in media:
        (folder_of(settings) / str(medium)).unlink(missing_ok=True)


JOBS: Final = (Job(FORGET_FILES, ForgottenMedia, delete_files),)
