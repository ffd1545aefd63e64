"""Publishing: a checked and rendered text becomes a post, found under its tags and by those it mentions.

Whoever publishes, now (`posts.py`), from a draft (`drafts.py`) or from an archive, does it through `publish`. What a
changed or deleted post takes back and tells stands here too, so that the two cannot drift apart.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Annotated, Any, Final, TypeAlias
from uuid import UUID

from msgspec import Meta, Struct

from townsquare.kit.clock import now
from townsquare.kit.identity import Viewer
from townsquare.kit.ids import new_id
from townsquare.kit.problems import invalid
from townsquare.kit.text_types import LINE, TEXT
from townsquare.kit.writes import Write
from townsquare.services.content.people import ensure_author, ids_of_handles
from townsquare.services.content.post_view import (
    POST_COLUMNS,
    MediaReference,
    Post,
    ReplyPolicy,
    Visibility,
    column_of,
    post_of,
)
from townsquare.services.content.text import MAX_TEXT, Rendered, TextError, clean_text, render

PostText: TypeAlias = Annotated[str, Meta(min_length=1, max_length=MAX_TEXT, pattern=TEXT)]
ContentWarning: TypeAlias = Annotated[str, Meta(min_length=1, max_length=200, pattern=LINE)]
MediaIds: TypeAlias = Annotated[list[UUID], Meta(max_length=10)]


class NewPost(Struct, frozen=True, forbid_unknown_fields=True):
    """What somebody writes. `media_ids` name what was uploaded, in the order to show it."""

    text: PostText
    media_ids: MediaIds = []
    visibility: Visibility = "public"
    reply_policy: ReplyPolicy = "everyone"
    content_warning: ContentWarning | None = None


ADD_POST: Final = f"""
WITH p AS (
    INSERT INTO posts (
        id, author_id, text, html, content_warning, visibility, reply_policy, tags, media, created_at, source_id
    )
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9::jsonb, $10, $11)
    RETURNING *
)
SELECT {POST_COLUMNS}
FROM p
JOIN people AS a ON a.id = p.author_id
"""

# By the primary key's first column; a post has at most 30 of either.
FORGET_TAGS: Final = "DELETE FROM post_tags WHERE post_id = $1"

ADD_TAGS: Final = "INSERT INTO post_tags (post_id, author_id, tag) SELECT $1, $2, unnest($3::text[])"

FORGET_MENTIONS: Final = "DELETE FROM post_mentions WHERE post_id = $1"

ADD_MENTIONS: Final = "INSERT INTO post_mentions (post_id, person_id, private) SELECT $1, unnest($2::uuid[]), $3"

# By the primary key's first column.
MARK_MENTIONS: Final = "UPDATE post_mentions SET private = $2 WHERE post_id = $1 AND private <> $2"

ADD_MEDIA: Final = "INSERT INTO post_media (media_id, post_id) SELECT m, p FROM unnest($1::uuid[], $2::uuid[]) AS r (m, p)"

COUNT_POSTS: Final = "UPDATE people SET posts = posts + $2 WHERE id = $1 RETURNING posts"


async def publish(
    write: Write,
    author: Viewer,
    new: NewPost,
    media: Sequence[MediaReference] = (),
    *,
    at: datetime | None = None,
    source_id: str | None = None,
) -> Post:
    """Publish a post in the caller's transaction.

    `media` is what `new.media_ids` names, checked and described (`media.py`).
    `at` and `source_id` are those of an imported post; a `source_id` that the author has already raises asyncpg's
    UniqueViolationError.
    """
    text, rendered = checked(new.text)
    await ensure_author(write, author)
    row = await write.fetchrow(
        ADD_POST,
        new_id(at),
        author.id,
        text,
        rendered.html,
        new.content_warning,
        new.visibility,
        new.reply_policy,
        list(rendered.tags),
        column_of(media),
        at or now(),
        source_id,
    )
    assert row is not None  # noqa: S101  (INSERT ... RETURNING one row)
    created = post_of(row)
    await add_tags(write, created)
    await add_mentions(write, created, rendered.mentions)
    await add_media(write, [(reference.id, created.id) for reference in created.media])
    await count_posts(write, author.id, counted(created))
    write.emit("post", created.id, told(created), cache_tags(created))
    return created


def checked(text: str) -> tuple[str, Rendered]:
    """Return a post's text as it is kept and its rendering; raises the 422 for `/text`."""
    try:
        cleaned = clean_text(text)
    except TextError as error:
        raise invalid("/text", str(error)) from None
    return cleaned, render(cleaned)


async def add_tags(write: Write, post: Post) -> None:
    """Have the post found under its tags, if everybody may find it."""
    if tags := _public_tags(post):
        await write.execute(ADD_TAGS, post.id, post.author.id, tags)


async def add_mentions(write: Write, post: Post, handles: Iterable[str]) -> None:
    """Note whom the post mentions, as the handles stand now: one that changes hands later gives nobody access."""
    people = set(await ids_of_handles(write, list(handles))) - {post.author.id}
    if people:
        await write.execute(ADD_MENTIONS, post.id, list(people), post.visibility == "private")


async def add_media(write: Write, shown: Sequence[tuple[UUID, UUID]]) -> None:
    """Have posts found by the files that they show; pairs of a file and a post."""
    if shown:
        await write.execute(ADD_MEDIA, [media for media, _ in shown], [post for _, post in shown])


def counted(post: Post) -> int:
    """Return 1 for a post that its author's counter counts, else 0."""
    return 0 if post.visibility == "private" else 1


async def count_posts(write: Write, author: UUID, change: int) -> None:
    """Change the author's counter, under the lock of the author's row, and tell it."""
    if change:
        posts = await write.fetchval(COUNT_POSTS, author, change)
        write.emit("post_count", author, {"person": author, "posts": posts})


def told(post: Post) -> dict[str, Any]:
    """Return what the event says of a post: enough to follow it, and nothing of what it says."""
    return {
        "id": post.id,
        "author": post.author.id,
        "visibility": post.visibility,
        "media": [reference.id for reference in post.media],
        "created_at": post.created_at,
    }


POST_TAGS: Final = (
    "post:{post}",
    "posts:{person}",
    "comments:{post}",
    "public",
    "search",
    "tag:{tag}",
    "trending",
)
"""What may change with a post; `cache_tags` says which of them do."""


def cache_tags(*versions: Post) -> list[str]:
    """Name the cached answers that change with a post; `versions` are the post before and after."""
    post = versions[-1]
    tags = {f"post:{post.id}", f"posts:{post.author.id}"}
    if versions[0].visibility != post.visibility or len(versions) == 1:
        tags.add(f"comments:{post.id}")
    for version in versions:
        if version.visibility == "public":
            tags |= {"public", "search", *(f"tag:{tag}" for tag in version.tags)}
        if _public_tags(version):
            tags.add("trending")
    return sorted(tags)


def _public_tags(post: Post) -> list[str]:
    return post.tags if post.visibility == "public" else []
