"""Deleting a comment: by who wrote it, or by who wrote the post that it stands under.

What others answered stays. A comment with replies is emptied, of its author too, and goes for good with the last of them.
"""

from typing import Any, Final, Protocol
from uuid import UUID

from litestar import delete
from litestar.params import FromPath

from townsquare.kit.asgi import AnyRequest
from townsquare.kit.cached_routes import changes
from townsquare.kit.clock import now
from townsquare.kit.conditional import require_match
from townsquare.kit.dependencies import SignedIn, Transaction
from townsquare.kit.outbox import NewEvent
from townsquare.kit.problems import Problem, not_found
from townsquare.services.content.comment_view import COMMENT_COLUMNS, COMMENT_TAGS, Comment, cache_tags, comment_of, told
from townsquare.services.content.visibility import PARTAKER_READABLE, READABLE


class Statements(Protocol):
    """What statements can be run on: the transaction of a write, or that of a job."""

    async def fetchval(self, query: str, /, *arguments: object) -> Any:
        """Return the first column of the first row, or None."""
        ...

    async def execute(self, query: str, /, *arguments: object) -> str:
        """Run a statement."""
        ...


# By primary keys. The post first, then its comment, as everybody who locks both.
LOCK_POST_OF: Final = """
SELECT p.id
FROM comments AS c
JOIN posts AS p ON p.id = c.post_id
WHERE c.id = $1
FOR NO KEY UPDATE OF p
"""

# One's own also where it cannot be seen any more: what one said can be taken back, whatever others do.
LOCK_TO_DELETE: Final = f"""
SELECT {COMMENT_COLUMNS}, p.author_id AS post_author_id
FROM comments AS c
JOIN posts AS p ON p.id = c.post_id
JOIN people AS a ON a.id = p.author_id
JOIN people AS w ON w.id = c.author_id
WHERE c.id = $2 AND (c.author_id = $1::uuid OR ({READABLE} AND {PARTAKER_READABLE}))
FOR UPDATE OF c
"""

# By comments_parent_idx.
HAS_REPLIES: Final = "SELECT true FROM comments WHERE parent_id = $1 LIMIT 1"

EMPTY_COMMENT: Final = """
UPDATE comments
SET author_id = NULL, text = '', html = '', edited_at = NULL, deleted_at = $2
WHERE id = $1
"""

# Up the thread, by primary key, at most MAX_DEPTH rows: with its last reply goes a comment that was deleted before.
REMOVE_COMMENT: Final = """
WITH RECURSIVE gone AS (
    SELECT id, parent_id
    FROM comments
    WHERE id = $1
    UNION ALL
    SELECT c.id, c.parent_id
    FROM gone
    JOIN comments AS c ON c.id = gone.parent_id
    WHERE c.deleted_at IS NOT NULL
      AND (SELECT true FROM comments AS r WHERE r.parent_id = c.id AND r.id <> gone.id LIMIT 1) IS NOT TRUE
)
DELETE FROM comments AS c
USING gone
WHERE c.id = gone.id
"""

UNCOUNT_COMMENT: Final = "UPDATE posts SET comments = comments - 1 WHERE id = $1"


@delete("/comments/{comment_id:uuid}", status_code=204, opt=changes(*COMMENT_TAGS))
async def delete_comment(request: AnyRequest, write: Transaction, person: SignedIn, comment_id: FromPath[UUID]) -> None:
    """Delete one's own comment, or one under one's own post; what others answered to it stays."""
    await write.execute(LOCK_POST_OF, comment_id)
    row = await write.fetchrow(LOCK_TO_DELETE, person.id, comment_id)
    if row is None:
        raise not_found()
    current = comment_of(row)
    if person.id not in (current.author.id, row["post_author_id"]):
        raise Problem("forbidden", "Only its author and the post's author can delete a comment.")
    require_match(request, current)
    gone = await take_out(write, current)
    write.emit(gone.topic, gone.key, gone.payload, gone.tags)


async def take_out(on: Statements, comment: Comment) -> NewEvent:
    """Take a comment out of its thread and its post's count; returns what is to be told. Both must be locked."""
    if await on.fetchval(HAS_REPLIES, comment.id):
        await on.execute(EMPTY_COMMENT, comment.id, now())
    else:
        await on.execute(REMOVE_COMMENT, comment.id)
    await on.execute(UNCOUNT_COMMENT, comment.post_id)
    return NewEvent("comment", str(comment.id), cache_tags(comment), {**told(comment), "deleted": True})


ROUTES: Final = (delete_comment,)
