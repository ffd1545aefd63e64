"""Imported posts: many at once, with their own time, each once however often the import is run.

A post's `source_id` is its address where it came from; one that its author has already is left as it is. A whole batch is a
handful of statements in one transaction. What was imported can be forgotten again, as if its author had deleted each post.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from msgspec import Struct

from townsquare.kit.database import Database
from townsquare.kit.identity import Viewer
from townsquare.kit.ids import new_id
from townsquare.kit.writes import Write
from townsquare.services.content.imported_media import ImportedMedia, Registered, register, tell_forgotten
from townsquare.services.content.people import ensure_author, ids_of_handles
from townsquare.services.content.post_view import POST_COLUMNS, MediaReference, Visibility, post_of
from townsquare.services.content.publishing import add_media, cache_tags, count_posts, counted, told
from townsquare.services.content.text import Rendered, clean_text, render


class ImportedPost(Struct, frozen=True):
    """A post as it was elsewhere; `text` is Markdown of 1 to 5,000 characters."""

    source_id: str
    published: datetime
    text: str
    visibility: Visibility
    content_warning: str | None = None
    edited: datetime | None = None
    media: tuple[ImportedMedia, ...] = ()


# What is new of a batch, by posts_source_idx: one look for each post.
KNOWN: Final = "SELECT source_id FROM posts WHERE author_id = $1 AND source_id = ANY($2)"

# One row for each element of the JSON array. Who imports the same archive twice at once finds the other's rows.
ADD_POSTS: Final = """
INSERT INTO posts (id, author_id, text, html, content_warning, visibility, tags, media, created_at, edited_at, source_id)
SELECT r.id, $1, r.text, r.html, r.content_warning, r.visibility, r.tags, r.media, r.created_at, r.edited_at, r.source_id
FROM jsonb_to_recordset($2::jsonb) AS r (
    id uuid, text text, html text, content_warning text, visibility text, tags text [], media jsonb,
    created_at timestamptz, edited_at timestamptz, source_id text
)
ON CONFLICT (author_id, source_id) WHERE source_id IS NOT NULL DO NOTHING
RETURNING id
"""

ADD_TAGS: Final = (
    "INSERT INTO post_tags (post_id, author_id, tag) SELECT p, $2, t FROM unnest($1::uuid[], $3::text[]) AS r (p, t)"
)

ADD_MENTIONS: Final = """
INSERT INTO post_mentions (post_id, person_id, private)
SELECT p.id, r.m, p.visibility = 'private'
FROM unnest($1::uuid[], $2::uuid[]) AS r (p, m)
JOIN posts AS p ON p.id = r.p
ON CONFLICT DO NOTHING
"""

# The oldest first by posts_author_idx, past what was written here. What hangs on them goes by the foreign keys.
FORGET_POSTS: Final = f"""
DELETE FROM posts AS p
USING people AS a
WHERE a.id = p.author_id
  AND p.id IN (
      SELECT o.id
      FROM posts AS o
      WHERE o.author_id = $1 AND starts_with(o.source_id, $2)
      ORDER BY o.id
      LIMIT $3
      FOR UPDATE
  )
RETURNING {POST_COLUMNS}
"""

# By posts_author_idx.
COUNT_IMPORTED: Final = "SELECT count(*) FROM posts WHERE author_id = $1 AND starts_with(source_id, $2)"


class _Prepared(Struct, frozen=True):
    """A post with what it will be here."""

    id: UUID
    post: ImportedPost
    text: str
    rendered: Rendered
    media: tuple[Registered, ...]


async def import_posts(write: Write, author: Viewer, posts: Sequence[ImportedPost]) -> int:
    """Add the posts that the author does not have yet, and register their media; returns how many were added.

    What cannot be a post must have been sorted out before: raises TextError.
    """
    await ensure_author(write, author)
    known = {row["source_id"] for row in await write.fetch(KNOWN, author.id, [post.source_id for post in posts])}
    fresh = {post.source_id: post for post in posts if post.source_id not in known}
    prepared = [_prepare(post) for post in fresh.values()]
    if not prepared:
        return 0
    rows = await write.fetch(ADD_POSTS, author.id, _json([_row(item) for item in prepared]))
    added_ids = {row["id"] for row in rows}
    added = [item for item in prepared if item.id in added_ids]
    await _add_tags(write, author, added)
    await _add_mentions(write, author, added)
    await register(write, author.id, [medium for item in added for medium in item.media])
    await add_media(write, [(medium.id, item.id) for item in added for medium in item.media])
    await _tell(write, author, added)
    return len(added)


async def forget_imported(write: Write, author: Viewer, source: str, limit: int) -> tuple[int, list[UUID]]:
    """Delete at most `limit` imported posts, the oldest first, with all that hangs on them.

    `source` is how their `source_id`s begin. Returns how many were deleted, and the ids of their media.
    """
    gone = [post_of(row) for row in await write.fetch(FORGET_POSTS, author.id, source, limit)]
    await count_posts(write, author.id, -sum(counted(post) for post in gone))
    for post in gone:
        write.emit("post", post.id, {**told(post), "deleted": True}, cache_tags(post))
    media = [reference.id for post in gone for reference in post.media]
    tell_forgotten(write, media)
    return len(gone), media


async def count_imported(database: Database, author: UUID, source: str) -> int:
    """Count the author's posts whose `source_id` begins with `source`."""
    return int(str(await database.fetchval(COUNT_IMPORTED, author, source)))


def _prepare(post: ImportedPost) -> _Prepared:
    text = clean_text(post.text)
    identifier = new_id(post.published)
    media = tuple(Registered(new_id(), medium, identifier) for medium in post.media)
    return _Prepared(identifier, post, text, render(text), media)


def _row(item: _Prepared) -> dict[str, Any]:
    return {
        "id": item.id,
        "text": item.text,
        "html": item.rendered.html,
        "content_warning": item.post.content_warning,
        "visibility": item.post.visibility,
        "tags": item.rendered.tags,
        "media": [MediaReference(registered.id, registered.medium.alt) for registered in item.media],
        "created_at": item.post.published,
        "edited_at": item.post.edited,
        "source_id": item.post.source_id,
    }


async def _add_tags(write: Write, author: Viewer, added: Sequence[_Prepared]) -> None:
    pairs = [(item.id, tag) for item in added if item.post.visibility == "public" for tag in item.rendered.tags]
    if pairs:
        await write.execute(ADD_TAGS, [post for post, _ in pairs], author.id, [tag for _, tag in pairs])


async def _add_mentions(write: Write, author: Viewer, added: Sequence[_Prepared]) -> None:
    """Mentions of people here alone; `@somebody@elsewhere` is text."""
    pairs = [
        (item.id, person)
        for item in added
        if item.rendered.mentions
        for person in await ids_of_handles(write, list(item.rendered.mentions))
        if person != author.id
    ]
    if pairs:
        await write.execute(ADD_MENTIONS, [post for post, _ in pairs], [person for _, person in pairs])


async def _tell(write: Write, author: Viewer, added: Sequence[_Prepared]) -> None:
    """Tell each post, as `publish` does, and the author's new count once."""
    await count_posts(write, author.id, sum(item.post.visibility != "private" for item in added))
    for item in added:
        tags = [f"posts:{author.id}"]
        if item.post.visibility == "public":
            tags += ["public", "search", "trending", *(f"tag:{tag}" for tag in item.rendered.tags)]
        payload = {
            "id": item.id,
            "author": author.id,
            "visibility": item.post.visibility,
            "media": [registered.id for registered in item.media],
            "created_at": item.post.published,
        }
        write.emit("post", item.id, payload, tags)


def _json(rows: list[dict[str, Any]]) -> str:
    return msgspec.json.encode(rows).decode()
