"""Reactions: how people take a post, in one of six kinds. Each person has one for each post; another kind replaces it.

A reaction can be set and taken back any number of times with the same result. The post carries the counts, the same for
everybody; which one is one's own is in `marks.py`.
"""

from datetime import datetime
from typing import Annotated, Any, Final, TypeAlias
from uuid import UUID

import asyncpg
from litestar import Response, delete, get, put
from litestar.params import FromPath, QueryParameter
from msgspec import Struct

from townsquare.kit.asgi import AnyRequest
from townsquare.kit.cached_routes import changes
from townsquare.kit.clock import now
from townsquare.kit.dependencies import Db, MaybeViewer, SignedIn, Transaction
from townsquare.kit.identity import Viewer
from townsquare.kit.ids import new_id
from townsquare.kit.outbox import NewEvent
from townsquare.kit.pages import DEFAULT_LIMIT, CursorText, Limit, Page, after_id, answer_page, page_of
from townsquare.kit.problems import Problem, not_found
from townsquare.kit.writes import Write
from townsquare.services.content.people import ensure_author
from townsquare.services.content.post_view import NEWEST, Author, ReactionKind
from townsquare.services.content.visibility import PARTAKER_LISTED, READABLE, id_of, require_readable

OfKind: TypeAlias = Annotated[ReactionKind | None, QueryParameter(description="Only reactions of this kind.")]


class Reaction(Struct, frozen=True):
    """Somebody's reaction to a post."""

    person: Author
    kind: ReactionKind
    created_at: datetime


# Both walk an index backwards from the cursor; they read a page, and past what the viewer may not see. The constant
# inner limit tells the planner that only a page is wanted, also in a plan for any $4. Here by reactions_post_idx:
LIST_REACTIONS: Final = f"""
SELECT *
FROM (
    SELECT r.id, r.kind, r.created_at, r.person_id, w.handle, w.display_name, w.avatar
    FROM posts AS p
    JOIN people AS a ON a.id = p.author_id
    JOIN reactions AS r ON r.post_id = p.id
    JOIN people AS w ON w.id = r.person_id
    WHERE p.id = $2 AND r.id < $3 AND {READABLE} AND {PARTAKER_LISTED}
    ORDER BY r.id DESC
    LIMIT 101
) AS newest
ORDER BY id DESC
LIMIT $4
"""

# By reactions_kind_idx: compared as a pair, since the planner, which thinks that a post has a few reactions, would as soon
# read them all by reactions_post_idx.
LIST_REACTIONS_OF_KIND: Final = f"""
SELECT *
FROM (
    SELECT r.id, r.kind, r.created_at, r.person_id, w.handle, w.display_name, w.avatar
    FROM posts AS p
    JOIN people AS a ON a.id = p.author_id
    JOIN reactions AS r ON r.post_id = p.id
    JOIN people AS w ON w.id = r.person_id
    WHERE p.id = $2 AND r.kind = $5 AND (r.kind, r.id) < ($5, $3) AND {READABLE} AND {PARTAKER_LISTED}
    ORDER BY r.id DESC
    LIMIT 101
) AS newest
ORDER BY id DESC
LIMIT $4
"""

# By primary keys. The lock that a counter's change needs, at once: who deletes the post waits here, or we for them.
LOCK_POST_TO_REACT: Final = f"""
SELECT
    {READABLE} AS readable,
    (SELECT b.active FROM blocks AS b WHERE b.blocker = $1 AND b.blocked = p.author_id) IS TRUE AS blocked
FROM posts AS p
JOIN people AS a ON a.id = p.author_id
WHERE p.id = $2
FOR NO KEY UPDATE OF p
"""

# One reaction by its primary key and, if it changed, the post, which is locked already: so `before` is what stands.
REACT: Final = """
WITH before AS (
    SELECT kind
    FROM reactions
    WHERE post_id = $1 AND person_id = $2
), made AS (
    INSERT INTO reactions (post_id, person_id, id, kind, created_at)
    VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (post_id, person_id) DO UPDATE
    SET id = excluded.id, kind = excluded.kind, created_at = excluded.created_at
    WHERE reactions.kind <> excluded.kind
    RETURNING kind
)
UPDATE posts AS p
SET like_count = p.like_count + (made.kind = 'like')::int - coalesce(before.kind = 'like', false)::int,
    love_count = p.love_count + (made.kind = 'love')::int - coalesce(before.kind = 'love', false)::int,
    haha_count = p.haha_count + (made.kind = 'haha')::int - coalesce(before.kind = 'haha', false)::int,
    wow_count = p.wow_count + (made.kind = 'wow')::int - coalesce(before.kind = 'wow', false)::int,
    sad_count = p.sad_count + (made.kind = 'sad')::int - coalesce(before.kind = 'sad', false)::int,
    angry_count = p.angry_count + (made.kind = 'angry')::int - coalesce(before.kind = 'angry', false)::int
FROM made
LEFT JOIN before ON true
WHERE p.id = $1
RETURNING true
"""

# The same; a reaction of another kind stays. IS NOT DISTINCT FROM is =, but nothing that an index could answer: by
# reactions_kind_idx all of that kind would be read to find one person's.
WITHDRAW: Final = """
WITH ended AS (
    DELETE FROM reactions
    WHERE post_id = $1 AND person_id = $2 AND kind IS NOT DISTINCT FROM $3
    RETURNING kind
)
UPDATE posts AS p
SET like_count = p.like_count - (ended.kind = 'like')::int,
    love_count = p.love_count - (ended.kind = 'love')::int,
    haha_count = p.haha_count - (ended.kind = 'haha')::int,
    wow_count = p.wow_count - (ended.kind = 'wow')::int,
    sad_count = p.sad_count - (ended.kind = 'sad')::int,
    angry_count = p.angry_count - (ended.kind = 'angry')::int
FROM ended
WHERE p.id = $1
RETURNING true
"""

REACTION_TAGS: Final = ("reactions:{post}", "post:{post}", "marks:{person}")


@get("/posts/{post_id:uuid}/reactions")
async def list_reactions(
    request: AnyRequest,
    db: Db,
    viewer: MaybeViewer,
    post_id: FromPath[UUID],
    kind: OfKind = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: CursorText = None,
) -> Response[Page[Reaction]]:
    """List who reacted to a post, newest first, all of them or those with one kind."""
    asking, after = id_of(viewer), after_id(cursor) or NEWEST
    if kind is None:
        rows = await db.fetch(LIST_REACTIONS, asking, post_id, after, limit + 1)
    else:
        rows = await db.fetch(LIST_REACTIONS_OF_KIND, asking, post_id, after, limit + 1, kind)
    if not rows:
        await require_readable(db, asking, post_id)
    return answer_page(request, page_of(rows, limit, _reaction, _keys))


@put("/posts/{post_id:uuid}/reactions/{kind:str}", status_code=204, opt=changes(*REACTION_TAGS))
async def react(write: Transaction, person: SignedIn, post_id: FromPath[UUID], kind: FromPath[ReactionKind]) -> None:
    """React to a post; another kind of yours is replaced, and nothing changes for who reacted like this already."""
    await ensure_author(write, person)
    post = await _lock_post(write, person, post_id)
    if not post["readable"]:
        raise not_found()
    if post["blocked"]:
        raise Problem("conflict", "You have blocked this person. Unblock them to react to them.")
    if await write.fetchval(REACT, post_id, person.id, new_id(), kind, now()):
        _tell(write, post_id, person, {"kind": kind})


@delete("/posts/{post_id:uuid}/reactions/{kind:str}", status_code=204, opt=changes(*REACTION_TAGS))
async def withdraw_reaction(
    write: Transaction, person: SignedIn, post_id: FromPath[UUID], kind: FromPath[ReactionKind]
) -> None:
    """Take a reaction back, also where you cannot see the post any more; nothing changes for who has not reacted so."""
    post = await _lock_post(write, person, post_id)
    if await write.fetchval(WITHDRAW, post_id, person.id, kind):
        _tell(write, post_id, person, {"deleted": True})
    elif not post["readable"]:
        raise not_found()


async def _lock_post(write: Write, person: Viewer, post_id: UUID) -> asyncpg.Record:
    row = await write.fetchrow(LOCK_POST_TO_REACT, person.id, post_id)
    if row is None:
        raise not_found()
    return row


def _reaction(row: asyncpg.Record) -> Reaction:
    person = Author(row["person_id"], row["handle"], row["display_name"], row["avatar"])
    return Reaction(person, row["kind"], row["created_at"])


def _keys(row: asyncpg.Record) -> tuple[UUID]:
    return (row["id"],)


def event_of(post_id: UUID, person: UUID, state: dict[str, Any]) -> NewEvent:
    """Make the event that somebody's reaction to a post is now in this state."""
    tags = (f"reactions:{post_id}", f"post:{post_id}", f"marks:{person}")
    return NewEvent("reaction", f"{post_id}:{person}", tags, {"post": post_id, "person": person, **state})


def _tell(write: Write, post_id: UUID, person: Viewer, state: dict[str, Any]) -> None:
    event = event_of(post_id, person.id, state)
    write.emit(event.topic, event.key, event.payload, event.tags)


ROUTES: Final = (list_reactions, react, withdraw_reaction)
