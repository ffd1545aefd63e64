"""A post as everybody gets it, and how it is read from a row: the same in every list, in the feed and by itself."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal, TypeAlias
from uuid import UUID

import asyncpg
import msgspec
from msgspec import Struct

from townsquare.kit.depends import Depends
from townsquare.services.content.people import LEFT

Visibility: TypeAlias = Literal["public", "followers", "private"]
ReplyPolicy: TypeAlias = Literal["everyone", "followers", "mentioned", "nobody"]
MediaKind: TypeAlias = Literal["image", "video", "audio", "document", "other"]
ReactionKind: TypeAlias = Literal["like", "love", "haha", "wow", "sad", "angry"]

REACTION_KINDS: Final[tuple[ReactionKind, ...]] = ("like", "love", "haha", "wow", "sad", "angry")
NEWEST: Final = UUID(int=(1 << 128) - 1)
"""Stands for "before nothing": the cursor of a newest-first list's first page."""
OLDEST: Final = UUID(int=0)
"""Stands for "after nothing": the cursor of an oldest-first list's first page."""


class Author(Struct, frozen=True, omit_defaults=True):
    """Who wrote it."""

    id: UUID
    handle: str
    display_name: str
    avatar: str | None = None


class MediaReference(Struct, frozen=True, omit_defaults=True):
    """A picture, video or other file: enough to keep its place. The media service has the rest under its id."""

    id: UUID
    alt: str | None = None
    kind: MediaKind | None = None
    width: int | None = None
    height: int | None = None
    thumbhash: str | None = None


class Counts(Struct, frozen=True):
    """How many comments and reactions a post has."""

    comments: int
    reactions: int


class Post(Struct, frozen=True, omit_defaults=True):
    """A post, the same for everybody who may see it. `html` is sanitised, `reactions` counts by kind."""

    id: UUID
    author: Author
    text: str
    html: str
    media: list[MediaReference]
    visibility: Visibility
    reply_policy: ReplyPolicy
    tags: list[str]
    counts: Counts
    reactions: dict[ReactionKind, int]
    created_at: datetime
    edited_at: datetime | None = None
    content_warning: str | None = None


POST_COLUMNS: Final = """
    p.id, p.text, p.html, p.media, p.visibility, p.reply_policy, p.tags, p.content_warning,
    p.comments, p.like_count, p.love_count, p.haha_count, p.wow_count, p.sad_count, p.angry_count,
    p.created_at, p.edited_at, p.author_id, a.handle, a.display_name, a.avatar
"""
"""What `post_of` needs, from `posts AS p` joined with its author `people AS a`."""


def post_of(row: asyncpg.Record) -> Post:
    """Make a post from a row of POST_COLUMNS."""
    reactions: dict[ReactionKind, int] = {kind: count for kind in REACTION_KINDS if (count := row[f"{kind}_count"]) > 0}
    return Post(
        id=row["id"],
        author=Author(row["author_id"], row["handle"], row["display_name"], row["avatar"]),
        text=row["text"],
        html=row["html"],
        media=media_of(row["media"]),
        visibility=row["visibility"],
        reply_policy=row["reply_policy"],
        tags=row["tags"],
        counts=Counts(row["comments"], sum(reactions.values())),
        reactions=reactions,
        created_at=row["created_at"],
        edited_at=row["edited_at"],
        content_warning=row["content_warning"],
    )


LISTED_TAGS: Final = ("post:{post}", "author:{person}", LEFT)
"""What every list of posts depends on."""


def depend_on_posts(depends: Depends, rows: Sequence[asyncpg.Record], limit: int) -> None:
    """Say that a list was made of these rows; one too many is not shown, but while its author is there, there is more."""
    for row in rows[:limit]:
        depends.on(f"post:{row['id']}", f"author:{row['author_id']}")
    depends.on(*(LEFT.format(person=row["author_id"]) for row in rows[limit:]))


def media_of(column: str) -> list[MediaReference]:
    """Read a `media` column; most are empty."""
    return [] if column == "[]" else msgspec.json.decode(column, type=list[MediaReference])


def media_column(media_ids: list[UUID]) -> str:
    """Make the `media` column of a draft: each once, in the order given, not described yet."""
    return column_of([MediaReference(media_id) for media_id in dict.fromkeys(media_ids)])


def column_of(media: Sequence[MediaReference]) -> str:
    """Make a `media` column."""
    return msgspec.json.encode(media).decode()


def post_keys(row: asyncpg.Record) -> tuple[UUID]:
    """Return the sort keys of a newest-first list of posts."""
    return (row["id"],)
