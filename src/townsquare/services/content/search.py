"""Search: public posts that hold the words, newest first. `"a phrase"`, `or` and `-not` mean what people expect.

Newest first is stable from page to page, and it can be read in the order of an index where a rank must be worked out
for every match. A common word is found among the newest posts at once; a rare one by its index, when it is known to be rare.
"""

from typing import Annotated, Final
from uuid import UUID

import asyncpg
from litestar import Response, get
from litestar.params import QueryParameter

from townsquare.kit.asgi import AnyRequest
from townsquare.kit.cached_routes import cached
from townsquare.kit.database import Database
from townsquare.kit.dependencies import Db, DependsOn, MaybeViewer
from townsquare.kit.pages import DEFAULT_LIMIT, CursorText, Limit, Page, after_id, answer_page, page_of
from townsquare.services.content.people import RETURNED
from townsquare.services.content.post_view import (
    LISTED_TAGS,
    NEWEST,
    POST_COLUMNS,
    Post,
    depend_on_posts,
    post_keys,
    post_of,
)
from townsquare.services.content.visibility import LISTED, id_of
from townsquare.strategies import SEARCH_RESULTS

# Empty, or `T`, where no word must be there: then no index can help, and such a search finds nothing.
REQUIRED_WORDS: Final = "SELECT querytree(websearch_to_tsquery('plain_words', $1))"

# Walks posts_public_idx backwards over at most 1,000 posts.
SEARCH_RECENT: Final = f"""
SELECT {POST_COLUMNS}
FROM (
    SELECT *
    FROM posts
    WHERE visibility = 'public' AND id < $2
    ORDER BY id DESC
    LIMIT 1000
) AS p
JOIN people AS a ON a.id = p.author_id
WHERE p.search @@ websearch_to_tsquery('plain_words', $4) AND {LISTED}
ORDER BY p.id DESC
LIMIT $3
"""

# By posts_search_idx; reads and sorts every match, of which there are few: fewer than a page in the newest 1,000.
SEARCH_ALL: Final = f"""
WITH matches AS MATERIALIZED (
    SELECT id
    FROM posts
    WHERE visibility = 'public' AND search @@ websearch_to_tsquery('plain_words', $4) AND id < $2
)
SELECT *
FROM (
    SELECT {POST_COLUMNS}
    FROM (SELECT id FROM matches ORDER BY id DESC) AS m
    JOIN posts AS p ON p.id = m.id
    JOIN people AS a ON a.id = p.author_id
    WHERE {LISTED}
    ORDER BY p.id DESC
    LIMIT 101
) AS newest
ORDER BY id DESC
LIMIT $3
"""

Query = Annotated[str, QueryParameter(min_length=1, max_length=200, description="Words that the posts hold.")]


@get("/search", opt=cached(SEARCH_RESULTS, "plain", "q", "limit", "cursor", tags=("search", RETURNED, *LISTED_TAGS)))
async def search_posts(
    request: AnyRequest,
    db: Db,
    viewer: MaybeViewer,
    depends: DependsOn,
    q: Query,
    limit: Limit = DEFAULT_LIMIT,
    cursor: CursorText = None,
) -> Response[Page[Post]]:
    """Search public posts for words, newest first."""
    rows = await _found(db, id_of(viewer), after_id(cursor) or NEWEST, limit + 1, q)
    depends.on("search", RETURNED)
    depend_on_posts(depends, rows, limit)
    return answer_page(request, page_of(rows, limit, post_of, post_keys))


async def _found(db: Database, viewer: UUID | None, before: UUID, most: int, q: str) -> list[asyncpg.Record]:
    if await db.fetchval(REQUIRED_WORDS, q) in ("", "T"):
        return []
    rows = await db.fetch(SEARCH_RECENT, viewer, before, most, q)
    return rows if len(rows) == most else await db.fetch(SEARCH_ALL, viewer, before, most, q)


ROUTES: Final = (search_posts,)
