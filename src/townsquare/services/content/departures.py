"""Departures: what is left of somebody whose account was deleted for good goes too, and comes out of every count.

Until then, for the thirty days in which they may come back, all of it is hidden and counts stay as they are.

One thing a transaction: nobody waits behind somebody's ten thousand comments, what was done stays done when the job is
cut off, and no lock is held while another is waited for but in the order of every request (the post, then its comment).
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final
from uuid import UUID

from townsquare.kit.database import Connection, Database
from townsquare.kit.jobs import Job, JobContext
from townsquare.kit.outbox import NewEvent, insert_events
from townsquare.services.content import publishing
from townsquare.services.content.comment_deletion import LOCK_POST_OF, LOCK_TO_DELETE, take_out
from townsquare.services.content.comment_view import comment_of
from townsquare.services.content.imported_media import FORGET_PROFILE_PICTURES, IMPORTED_BY, forget_files, forgotten
from townsquare.services.content.people import FORGET_PERSON, Departed
from townsquare.services.content.post_view import POST_COLUMNS, post_of
from townsquare.services.content.posts import DELETE_POST
from townsquare.services.content.reactions import WITHDRAW, event_of

# The first of posts_author_idx.
LOCK_NEXT_POST: Final = f"""
SELECT {POST_COLUMNS}
FROM posts AS p
JOIN people AS a ON a.id = p.author_id
WHERE p.author_id = $1
ORDER BY p.id
LIMIT 1
FOR UPDATE OF p
"""

# The first of comments_author_idx, and of reactions_person_idx.
NEXT_COMMENT: Final = "SELECT id FROM comments WHERE author_id = $1 ORDER BY id LIMIT 1"
NEXT_REACTION: Final = "SELECT post_id, kind FROM reactions WHERE person_id = $1 ORDER BY id LIMIT 1"

# By primary key.
LOCK_POST: Final = "SELECT id FROM posts WHERE id = $1 FOR NO KEY UPDATE"

# By bookmarks_person_idx and drafts_author_idx; nobody else has ever seen these.
DELETE_BOOKMARKS: Final = "DELETE FROM bookmarks WHERE person_id = $1"
DELETE_DRAFTS: Final = "DELETE FROM drafts WHERE author_id = $1"

NO_POSTS: Final = "UPDATE people SET posts = 0 WHERE id = $1"

Step = Callable[[Connection, UUID], Awaitable[bool]]


async def forget_person(context: JobContext, departed: Departed) -> None:
    """Delete what somebody has written and left here."""
    imported = [row["id"] for row in await context.db.fetch(IMPORTED_BY, departed.id)]
    await asyncio.to_thread(forget_files, context.settings, imported)  # as long as their rows say which they are
    for step in (_delete_post, _delete_comment, _withdraw_reaction, _forget_pictures):
        await _repeat(context.db, step, departed.id)
    for sql in (DELETE_BOOKMARKS, DELETE_DRAFTS, NO_POSTS):
        await context.db.execute(sql, departed.id)


async def _repeat(db: Database, step: Step, person: UUID) -> None:
    more = True
    while more:
        async with db.transaction() as connection:
            more = await step(connection, person)


async def _delete_post(connection: Connection, person: UUID) -> bool:
    row = await connection.fetchrow(LOCK_NEXT_POST, person)
    if row is None:
        return False
    post = post_of(row)
    await connection.execute(DELETE_POST, post.id)
    payload = {**publishing.told(post), "deleted": True}
    await insert_events(connection, [NewEvent("post", str(post.id), tuple(publishing.cache_tags(post)), payload)])
    return True


async def _delete_comment(connection: Connection, person: UUID) -> bool:
    comment_id = await connection.fetchval(NEXT_COMMENT, person)
    if comment_id is None:
        return False
    await connection.execute(LOCK_POST_OF, comment_id)
    row = await connection.fetchrow(LOCK_TO_DELETE, person, comment_id)
    if row is not None:  # else it has just been deleted with its post, or by the post's author
        await insert_events(connection, [await take_out(connection, comment_of(row))])
    return True


async def _withdraw_reaction(connection: Connection, person: UUID) -> bool:
    row = await connection.fetchrow(NEXT_REACTION, person)
    if row is None:
        return False
    await connection.execute(LOCK_POST, row["post_id"])
    if await connection.fetchval(WITHDRAW, row["post_id"], person, row["kind"]):
        await insert_events(connection, [event_of(row["post_id"], person, {"deleted": True})])
    return True


async def _forget_pictures(connection: Connection, person: UUID) -> bool:
    gone = await connection.fetch(FORGET_PROFILE_PICTURES, person)
    if gone:
        await insert_events(connection, [forgotten(row["id"]) for row in gone])
    return False


JOBS: Final = (Job(FORGET_PERSON, Departed, forget_person, timeout=timedelta(hours=1)),)
