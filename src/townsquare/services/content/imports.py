"""Imported posts: many at once, with their own time, each once however often the import is run.

A post's `source_id` is its address where it came from; one that its author has already is left as it is. A whole batch is a
handful of statements in one transaction.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from msgspec import Struct

from townsquare.kit.identity import Viewer
from townsquare.kit.ids import new_id
from townsquare.kit.writes import Write
from townsquare.services.content.people import ensure_author, ids_of_handles
from townsquare.services.content.post_view import MediaReference, Visibility
from townsquare.services.content.publishing import COUNT_POSTS
from townsquare.services.content.text import Rendered, clean_text, render


class ImportedMedia(Struct, frozen=True):
    """A picture or video of an imported post; `source` is its file's name in the archive."""

    source: str
    media_type: str
    alt: str | None = None
    width: int | None = None
    height: int | None = None


class ImportedPost(Struct, frozen=True):
    """A post as it was elsewhere; `text` is Markdown of 1 to 5,000 characters."""

    source_id: str
    published: datetime
    text: str
    visibility: Visibility
    content_warning: str | None = None
    edited: datetime | None = None
    media: tuple[ImportedMedia, ...] = ()


class Registered(Struct, frozen=True):
    """A medium that was registered: its id here, and its file's name in the archive."""

    id: UUID
    source: str


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
INSERT INTO post_mentions (post_id, person_id)
SELECT p, m FROM unnest($1::uuid[], $2::uuid[]) AS r (p, m)
ON CONFLICT DO NOTHING
"""

ADD_MEDIA: Final = """
INSERT INTO imported_media (id, author_id, post_id, source, media_type, alt, width, height)
SELECT r.id, $1, r.post_id, r.source, r.media_type, r.alt, r.width, r.height
FROM jsonb_to_recordset($2::jsonb) AS r (
    id uuid, post_id uuid, source text, media_type text, alt text, width integer, height integer
)
"""


class _Prepared(Struct, frozen=True):
    """A post with what it will be here."""

    id: UUID
    post: ImportedPost
    text: str
    rendered: Rendered
    media_ids: tuple[UUID, ...]


async def import_posts(write: Write, author: Viewer, posts: Sequence[ImportedPost]) -> tuple[int, list[Registered]]:
    """Add the posts that the author does not have yet; returns how many, and their media.

    Raises the 422 problem `invalid` never: what cannot be a post must have been sorted out before.
    """
    await ensure_author(write, author)
    known = {row["source_id"] for row in await write.fetch(KNOWN, author.id, [post.source_id for post in posts])}
    fresh = {post.source_id: post for post in posts if post.source_id not in known}
    prepared = [_prepare(post) for post in fresh.values()]
    if not prepared:
        return 0, []
    rows = await write.fetch(ADD_POSTS, author.id, _json([_row(item) for item in prepared]))
    added_ids = {row["id"] for row in rows}
    added = [item for item in prepared if item.id in added_ids]
    await _add_tags(write, author, added)
    await _add_mentions(write, author, added)
    registered = await _add_media(write, author, added)
    await _tell(write, author, added)
    return len(added), registered


def _prepare(post: ImportedPost) -> _Prepared:
    text = clean_text(post.text)
    return _Prepared(new_id(post.published), post, text, render(text), tuple(new_id() for _ in post.media))


def _row(item: _Prepared) -> dict[str, Any]:
    references = [MediaReference(key, medium.alt) for key, medium in zip(item.media_ids, item.post.media, strict=True)]
    return {
        "id": item.id,
        "text": item.text,
        "html": item.rendered.html,
        "content_warning": item.post.content_warning,
        "visibility": item.post.visibility,
        "tags": item.rendered.tags,
        "media": references,
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


async def _add_media(write: Write, author: Viewer, added: Sequence[_Prepared]) -> list[Registered]:
    rows = [
        {"id": key, "post_id": item.id, **msgspec.structs.asdict(medium)}
        for item in added
        for key, medium in zip(item.media_ids, item.post.media, strict=True)
    ]
    if rows:
        await write.execute(ADD_MEDIA, author.id, _json(rows))
    return [
        Registered(key, medium.source) for item in added for key, medium in zip(item.media_ids, item.post.media, strict=True)
    ]


async def _tell(write: Write, author: Viewer, added: Sequence[_Prepared]) -> None:
    """Tell each post, as `publish` does, and the author's new count once."""
    counted = sum(item.post.visibility != "private" for item in added)
    if counted:
        total = await write.fetchval(COUNT_POSTS, author.id, counted)
        write.emit("post_count", author.id, {"person": author.id, "posts": total})
    for item in added:
        tags = [f"posts:{author.id}"]
        if item.post.visibility == "public":
            tags += ["public", "search", "trending", *(f"tag:{tag}" for tag in item.rendered.tags)]
        payload = {
            "id": item.id,
            "author": author.id,
            "visibility": item.post.visibility,
            "media": item.media_ids,
            "created_at": item.post.published,
        }
        write.emit("post", item.id, payload, tags)


def _json(rows: list[dict[str, Any]]) -> str:
    return msgspec.json.encode(rows).decode()
