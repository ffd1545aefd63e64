"""What a post said before: the versions that edits replaced, newest first.

Whoever may see the post may see them, but for one thing: a version that was for fewer people, or for those alone whom it
mentioned, stays with its author. So neither widening a post nor mentioning somebody more shows what was written for a few.
"""

from datetime import datetime
from typing import Final
from uuid import UUID

import asyncpg
from litestar import Response, get
from litestar.params import FromPath
from msgspec import Struct

from townsquare.kit.asgi import AnyRequest
from townsquare.kit.dependencies import Db, MaybeViewer
from townsquare.kit.pages import DEFAULT_LIMIT, CursorText, Limit, Page, after_id, answer_page, page_of
from townsquare.services.content.post_view import NEWEST, Visibility
from townsquare.services.content.visibility import READABLE, id_of, require_readable


class Version(Struct, frozen=True, omit_defaults=True):
    """A version of a post, from when it was written until an edit replaced it."""

    id: UUID
    text: str
    html: str
    visibility: Visibility
    written_at: datetime
    replaced_at: datetime
    content_warning: str | None = None


# By primary key, which holds one post's versions in order; reads past the versions that were for others.
LIST_VERSIONS: Final = f"""
SELECT e.id, e.text, e.html, e.visibility, e.written_at, e.replaced_at, e.content_warning
FROM posts AS p
JOIN people AS a ON a.id = p.author_id
JOIN post_edits AS e ON e.post_id = p.id
WHERE p.id = $2 AND {READABLE}
  AND e.id < $3
  AND (p.author_id = $1::uuid OR e.visibility = 'public' OR (e.visibility = 'followers' AND p.visibility = 'followers'))
ORDER BY e.id DESC
LIMIT $4
"""


@get("/posts/{post_id:uuid}/history")
async def list_history(
    request: AnyRequest,
    db: Db,
    viewer: MaybeViewer,
    post_id: FromPath[UUID],
    limit: Limit = DEFAULT_LIMIT,
    cursor: CursorText = None,
) -> Response[Page[Version]]:
    """List the earlier versions of a post, newest first; none if it was never edited."""
    asking, after = id_of(viewer), after_id(cursor) or NEWEST
    await require_readable(db, asking, post_id)
    rows = await db.fetch(LIST_VERSIONS, asking, post_id, after, limit + 1)
    return answer_page(request, page_of(rows, limit, _version, _keys))


def _version(row: asyncpg.Record) -> Version:
    return Version(**row)


def _keys(row: asyncpg.Record) -> tuple[UUID]:
    return (row["id"],)


ROUTES: Final = (list_history,)
