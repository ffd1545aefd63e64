"""Bookmarks: posts that somebody wants to find again. Nobody else learns of them, not even their number.

A post that its owner may not see any more is left out of the list, and is back in it when they may.
"""

from typing import Any, Final
from uuid import UUID

import asyncpg
from litestar import Response, delete, get, put
from litestar.params import FromPath

from townsquare.kit.asgi import AnyRequest
from townsquare.kit.cached_routes import changes
from townsquare.kit.clock import now
from townsquare.kit.database import rows_affected
from townsquare.kit.dependencies import Db, SignedIn, Transaction
from townsquare.kit.identity import Viewer
from townsquare.kit.ids import new_id
from townsquare.kit.pages import DEFAULT_LIMIT, CursorText, Limit, Page, after_id, answer_page, page_of
from townsquare.kit.problems import not_found
from townsquare.kit.writes import Write
from townsquare.services.content.people import ensure_author
from townsquare.services.content.post_view import NEWEST, POST_COLUMNS, Post, post_of
from townsquare.services.content.visibility import POST_IS_READABLE, READABLE, UNBLOCKED, require_readable

# Walks bookmarks_person_idx backwards; reads a page, and past what the viewer may not see. Somebody muted is shown: it
# was the viewer who put them here. The constant inner limit tells the planner that only a page is wanted.
LIST_BOOKMARKS: Final = f"""
SELECT *
FROM (
    SELECT k.id AS bookmark_id, {POST_COLUMNS}
    FROM bookmarks AS k
    JOIN posts AS p ON p.id = k.post_id
    JOIN people AS a ON a.id = p.author_id
    WHERE k.person_id = $1 AND k.id < $2 AND {READABLE} AND {UNBLOCKED}
    ORDER BY k.id DESC
    LIMIT 101
) AS newest
ORDER BY bookmark_id DESC
LIMIT $3
"""

# By primary key. The lock is the one that the row's foreign key would take: here a post that goes meanwhile is a 404.
HOLD_POST: Final = f"{POST_IS_READABLE} FOR KEY SHARE OF p"

# Both by primary key.
ADD_BOOKMARK: Final = """
INSERT INTO bookmarks (post_id, person_id, id, created_at)
VALUES ($1, $2, $3, $4)
ON CONFLICT DO NOTHING
"""

DELETE_BOOKMARK: Final = "DELETE FROM bookmarks WHERE post_id = $1 AND person_id = $2"


@get("/bookmarks")
async def list_bookmarks(
    request: AnyRequest, db: Db, person: SignedIn, limit: Limit = DEFAULT_LIMIT, cursor: CursorText = None
) -> Response[Page[Post]]:
    """List the posts that you have bookmarked, the last bookmarked first."""
    rows = await db.fetch(LIST_BOOKMARKS, person.id, after_id(cursor) or NEWEST, limit + 1)
    return answer_page(request, page_of(rows, limit, post_of, _keys))


@put("/posts/{post_id:uuid}/bookmark", status_code=204, opt=changes("bookmarks:{person}", "marks:{person}"))
async def add_bookmark(write: Transaction, person: SignedIn, post_id: FromPath[UUID]) -> None:
    """Bookmark a post; nothing changes for who has it already."""
    await ensure_author(write, person)
    if await write.fetchval(HOLD_POST, person.id, post_id) is None:
        raise not_found()
    if rows_affected(await write.execute(ADD_BOOKMARK, post_id, person.id, new_id(), now())):
        _tell(write, post_id, person, {})


@delete("/posts/{post_id:uuid}/bookmark", status_code=204, opt=changes("bookmarks:{person}", "marks:{person}"))
async def delete_bookmark(write: Transaction, person: SignedIn, post_id: FromPath[UUID]) -> None:
    """Take a bookmark away, also where you cannot see the post any more; nothing changes for who has none."""
    if rows_affected(await write.execute(DELETE_BOOKMARK, post_id, person.id)):
        _tell(write, post_id, person, {"deleted": True})
    else:
        await require_readable(write, person.id, post_id)


def _keys(row: asyncpg.Record) -> tuple[UUID]:
    return (row["bookmark_id"],)


def _tell(write: Write, post_id: UUID, person: Viewer, state: dict[str, Any]) -> None:
    payload = {"post": post_id, "person": person.id, **state}
    write.emit("bookmark", f"{post_id}:{person.id}", payload, (f"bookmarks:{person.id}", f"marks:{person.id}"))


ROUTES: Final = (list_bookmarks, add_bookmark, delete_bookmark)
