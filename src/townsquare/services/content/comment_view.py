"""A comment as everybody gets it, how it is read from a row, and what is told of it."""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

import asyncpg
from msgspec import Struct

from townsquare.services.content.post_view import Author


class Comment(Struct, frozen=True, omit_defaults=True):
    """A comment, the same for everybody who may see it; `html` is sanitised."""

    id: UUID
    post_id: UUID
    author: Author
    text: str
    html: str
    created_at: datetime
    parent_id: UUID | None = None
    edited_at: datetime | None = None


COMMENT_COLUMNS: Final = """
    c.id, c.post_id, c.parent_id, c.text, c.html, c.created_at, c.edited_at,
    c.author_id, w.handle, w.display_name, w.avatar
"""
"""What `comment_of` needs, from `comments AS c` joined with its author `people AS w`."""


def comment_of(row: asyncpg.Record) -> Comment:
    """Make a comment from a row of COMMENT_COLUMNS."""
    return Comment(
        id=row["id"],
        post_id=row["post_id"],
        author=Author(row["author_id"], row["handle"], row["display_name"], row["avatar"]),
        text=row["text"],
        html=row["html"],
        created_at=row["created_at"],
        parent_id=row["parent_id"],
        edited_at=row["edited_at"],
    )


def told(comment: Comment) -> dict[str, Any]:
    """Return what the event says of a comment: enough to follow it, and nothing of what it says."""
    return {
        "id": comment.id,
        "post": comment.post_id,
        "parent": comment.parent_id,
        "author": comment.author.id,
        "created_at": comment.created_at,
    }


COMMENT_TAGS: Final = ("comments:{post}", "post:{post}")
"""What changes when a comment comes or goes: its thread, and the post that counts it."""


def cache_tags(comment: Comment) -> tuple[str, str]:
    """Name the cached answers that change when a comment comes or goes."""
    return f"comments:{comment.post_id}", f"post:{comment.post_id}"
