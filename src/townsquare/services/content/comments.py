"""Comments: what people answer to a post, and to each other's comments.

A post's comments are one list, oldest first; `parent_id` makes threads of it, and what a comment answers always stands
before it. A comment is never shown without what it answers: in the place of one that was deleted, or that the viewer does
not get to see, stands that it is missing, for as long as it has replies. (To delete the replies with it would let anybody
silence the people who answered; to leave a hole would make every client guess where a thread belongs.)

A post's counter counts the comments that are there, whoever may see them.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Final, Literal, TypeAlias
from uuid import UUID

import asyncpg
from litestar import Response, get, patch, post
from litestar.params import FromPath, JSONBody
from msgspec import UNSET, Meta, Struct, UnsetType

from townsquare.kit.asgi import AnyRequest
from townsquare.kit.cached_routes import cached, changes
from townsquare.kit.clock import now
from townsquare.kit.conditional import require_match
from townsquare.kit.dependencies import Db, DependsOn, MaybeViewer, SignedIn, Transaction
from townsquare.kit.depends import Depends
from townsquare.kit.identity import Viewer
from townsquare.kit.ids import new_id, time_of
from townsquare.kit.pages import DEFAULT_LIMIT, CursorText, Limit, Page, after_id, answer_page, page_of
from townsquare.kit.problems import Problem, invalid, not_found
from townsquare.kit.text_types import TEXT
from townsquare.kit.writes import Write
from townsquare.services.content.comment_view import COMMENT_COLUMNS, COMMENT_TAGS, Comment, cache_tags, comment_of, told
from townsquare.services.content.people import LEFT, RETURNED, ensure_author, ids_of_handles
from townsquare.services.content.post_view import OLDEST
from townsquare.services.content.publishing import checked
from townsquare.services.content.text import MAX_TEXT
from townsquare.services.content.visibility import (
    FOLLOW,
    PARTAKER_LISTED,
    PARTAKER_READABLE,
    READABLE,
    depend_on_follow,
    id_of,
)
from townsquare.strategies import COMMENTS

MAX_DEPTH: Final = 100
"""Replies to replies: more than any conversation needs, and a bound for whoever follows a thread up or down."""

CommentText: TypeAlias = Annotated[str, Meta(min_length=1, max_length=MAX_TEXT, pattern=TEXT)]


class NewComment(Struct, frozen=True, forbid_unknown_fields=True):
    """What somebody answers: to the post, or to the comment `parent_id` under it."""

    text: CommentText
    parent_id: UUID | None = None


class CommentChange(Struct, frozen=True, forbid_unknown_fields=True):
    """What changes; a text that is left out stays."""

    text: CommentText | UnsetType = UNSET


class MissingComment(Struct, frozen=True, omit_defaults=True):
    """Stands in a list for a comment that has replies and was deleted, or is not for this viewer."""

    id: UUID
    post_id: UUID
    missing: Literal[True]
    created_at: datetime
    parent_id: UUID | None = None


Listed: TypeAlias = Comment | MissingComment

# Walks comments_post_key from the cursor; reads a page, and past what is neither shown nor answered. Of one that is
# not shown, comments_parent_idx says whether it has replies. OFFSET 0 keeps `shown` from being worked out twice; the
# constant inner limit tells the planner that only a page is wanted, also in a plan for any $4.
LIST_COMMENTS: Final = f"""
SELECT *
FROM (
    SELECT {COMMENT_COLUMNS}, s.shown, p.author_id AS post_author_id, p.visibility
    FROM posts AS p
    JOIN people AS a ON a.id = p.author_id
    JOIN comments AS c ON c.post_id = p.id
    LEFT JOIN people AS w ON w.id = c.author_id
    CROSS JOIN LATERAL (SELECT {PARTAKER_LISTED} AS shown OFFSET 0) AS s
    WHERE p.id = $2 AND c.id > $3 AND {READABLE}
      AND (s.shown OR (SELECT true FROM comments AS r WHERE r.parent_id = c.id LIMIT 1))
    ORDER BY c.id
    LIMIT 101
) AS oldest
ORDER BY id
LIMIT $4
"""

# By primary keys: what the rows above say of the post, for one without comments.
READ_POST_OF: Final = f"""
SELECT p.author_id AS post_author_id, p.visibility
FROM posts AS p
JOIN people AS a ON a.id = p.author_id
WHERE p.id = $2 AND {READABLE}
"""

# By primary keys.
READ_COMMENT: Final = f"""
SELECT {COMMENT_COLUMNS}
FROM comments AS c
JOIN posts AS p ON p.id = c.post_id
JOIN people AS a ON a.id = p.author_id
JOIN people AS w ON w.id = c.author_id
WHERE c.id = $2 AND {READABLE} AND {PARTAKER_READABLE}
"""

# A change of the text alone takes no lock on the post, so it can be in nobody's way.
LOCK_COMMENT: Final = f"{READ_COMMENT} FOR NO KEY UPDATE OF c"

# By primary keys. The lock that a counter's change needs, at once: who deletes the post waits here, or we for them.
LOCK_POST_TO_COMMENT: Final = f"""
SELECT
    (SELECT b.active FROM blocks AS b WHERE b.blocker = $1 AND b.blocked = p.author_id) IS TRUE AS blocked,
    p.author_id = $1 OR CASE p.reply_policy
        WHEN 'everyone' THEN true
        WHEN 'followers' THEN
            (SELECT f.active FROM follows AS f WHERE f.follower = $1 AND f.followee = p.author_id) IS TRUE
        WHEN 'mentioned' THEN
            (SELECT true FROM post_mentions AS m WHERE m.post_id = p.id AND m.person_id = $1) IS TRUE
        ELSE false
    END AS open
FROM posts AS p
JOIN people AS a ON a.id = p.author_id
WHERE p.id = $2 AND {READABLE}
FOR NO KEY UPDATE OF p
"""

# By primary keys; the post is locked.
READ_PARENT: Final = f"""
SELECT c.depth
FROM comments AS c
JOIN posts AS p ON p.id = c.post_id
JOIN people AS w ON w.id = c.author_id
WHERE c.id = $3 AND c.post_id = $2 AND {PARTAKER_READABLE}
"""

ADD_COMMENT: Final = f"""
WITH c AS (
    INSERT INTO comments (id, post_id, parent_id, depth, author_id, text, html, created_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
    RETURNING *
), counted AS (
    UPDATE posts SET comments = comments + 1 WHERE id = $2
)
SELECT {COMMENT_COLUMNS}
FROM c
JOIN people AS w ON w.id = c.author_id
"""

CHANGE_COMMENT: Final = f"""
UPDATE comments AS c
SET text = $2, html = $3, edited_at = $4
FROM people AS w
WHERE c.id = $1 AND w.id = c.author_id
RETURNING {COMMENT_COLUMNS}
"""

LIST_TAGS: Final = ("comments:{post}", "author:{person}", LEFT, RETURNED, "blocks:{person}", FOLLOW)


@get("/posts/{post_id:uuid}/comments", opt=cached(COMMENTS, "plain", "limit", "cursor", tags=LIST_TAGS))
async def list_comments(
    request: AnyRequest,
    db: Db,
    viewer: MaybeViewer,
    depends: DependsOn,
    post_id: FromPath[UUID],
    limit: Limit = DEFAULT_LIMIT,
    cursor: CursorText = None,
) -> Response[Page[Listed]]:
    """List a post's comments, oldest first, threaded by `parent_id`."""
    asking, after = id_of(viewer), after_id(cursor) or OLDEST
    rows = await db.fetch(LIST_COMMENTS, asking, post_id, after, limit + 1)
    post = rows[0] if rows else await db.fetchrow(READ_POST_OF, asking, post_id)
    if post is None:
        raise not_found()
    _depend(depends, viewer, post_id, post, rows)
    return answer_page(request, page_of(rows, limit, _listed, _keys))


@get("/comments/{comment_id:uuid}")
async def read_comment(db: Db, viewer: MaybeViewer, comment_id: FromPath[UUID]) -> Comment:
    """Read a comment."""
    row = await db.fetchrow(READ_COMMENT, id_of(viewer), comment_id)
    if row is None:
        raise not_found()
    return comment_of(row)


@post("/posts/{post_id:uuid}/comments", status_code=201, opt=changes(*COMMENT_TAGS))
async def create_comment(
    write: Transaction, person: SignedIn, post_id: FromPath[UUID], data: JSONBody[NewComment]
) -> Response[Comment]:
    """Comment on a post, or answer a comment under it, where the post's `reply_policy` lets you."""
    text, rendered = checked(data.text)
    await ensure_author(write, person)
    await _lock_open_post(write, person, post_id)
    depth = 0 if data.parent_id is None else await _depth_below(write, person, post_id, data.parent_id)
    # The id is made behind the post's lock: comments come into the list in the order of their ids.
    identifier, at = _id_after(data.parent_id), now()
    row = await write.fetchrow(ADD_COMMENT, identifier, post_id, data.parent_id, depth, person.id, text, rendered.html, at)
    assert row is not None  # noqa: S101  (INSERT ... RETURNING one row)
    created = comment_of(row)
    await _tell(write, created, rendered.mentions, cache_tags(created))
    return Response(created, status_code=201, headers={"Location": f"/comments/{created.id}"})


@patch("/comments/{comment_id:uuid}", opt=changes("comments:{post}"))
async def change_comment(
    request: AnyRequest, write: Transaction, person: SignedIn, comment_id: FromPath[UUID], data: JSONBody[CommentChange]
) -> Comment:
    """Change one's own comment."""
    row = await write.fetchrow(LOCK_COMMENT, person.id, comment_id)
    if row is None:
        raise not_found()
    current = comment_of(row)
    if current.author.id != person.id:
        raise Problem("forbidden", "Only its author can change a comment.")
    require_match(request, current)
    if data.text is UNSET:
        return current
    text, rendered = checked(data.text)
    if text == current.text:
        return current
    row = await write.fetchrow(CHANGE_COMMENT, comment_id, text, rendered.html, now())
    assert row is not None  # noqa: S101  (its row is locked)
    changed = comment_of(row)
    await _tell(write, changed, rendered.mentions, [f"comments:{changed.post_id}"])
    return changed


async def _lock_open_post(write: Write, person: Viewer, post_id: UUID) -> None:
    """Lock a post for a new comment of this person. Raises `not_found`, `conflict` and `forbidden`."""
    row = await write.fetchrow(LOCK_POST_TO_COMMENT, person.id, post_id)
    if row is None:
        raise not_found()
    if row["blocked"]:
        raise Problem("conflict", "You have blocked this person. Unblock them to answer them.")
    if not row["open"]:
        raise Problem("forbidden", "The author of this post has limited who can comment.")


async def _depth_below(write: Write, person: Viewer, post_id: UUID, parent_id: UUID) -> int:
    depth = await write.fetchval(READ_PARENT, person.id, post_id, parent_id)
    if depth is None:
        raise invalid("/parent_id", "There is no such comment under this post.")
    if depth >= MAX_DEPTH:
        raise invalid("/parent_id", "This thread cannot go deeper; answer a comment further up.")
    return depth + 1


def _id_after(parent_id: UUID | None) -> UUID:
    """Make an id; a reply's is above its parent's, also where another machine's clock is ahead of this one's."""
    identifier = new_id()
    if parent_id is not None and identifier < parent_id:
        return new_id(time_of(parent_id) + timedelta(milliseconds=1))
    return identifier


def _depend(
    depends: Depends, viewer: Viewer | None, post_id: UUID, post: asyncpg.Record, rows: Sequence[asyncpg.Record]
) -> None:
    """Say what a list depends on. Whom the post's author blocks, nobody sees under the post any more."""
    author: UUID = post["post_author_id"]
    depends.on(f"comments:{post_id}", LEFT.format(person=author), f"blocks:{author}", RETURNED)
    depends.on(*(f"author:{row['author_id']}" for row in rows if row["author_id"] is not None))
    if post["visibility"] == "followers":
        depend_on_follow(depends, viewer, author)


def _listed(row: asyncpg.Record) -> Listed:
    if row["shown"]:
        return comment_of(row)
    return MissingComment(row["id"], row["post_id"], True, row["created_at"], row["parent_id"])


def _keys(row: asyncpg.Record) -> tuple[UUID]:
    return (row["id"],)


# --- events --------------------------------------------------------------------------------------------------------
# Whoever tells somebody that they were mentioned asks first whether they may see the comment.


async def _tell(write: Write, comment: Comment, handles: tuple[str, ...], tags: Sequence[str]) -> None:
    """Tell a comment and whom it mentions, as the handles stand now."""
    mentions = sorted(set(await ids_of_handles(write, handles)) - {comment.author.id})
    write.emit("comment", comment.id, {**told(comment), "mentions": mentions}, tags)


ROUTES: Final = (list_comments, read_comment, create_comment, change_comment)
