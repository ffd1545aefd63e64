"""The home feed: one's own posts and those of the people one follows, newest first, for oneself alone.

It is read when it is asked for, and nothing is stored for it (`docs/design/feeds.md`). Who follows many finds a page among
the newest posts of all; for everybody else, and where that finds too little, the newest posts of each person followed
are merged. Both give the same answer.
"""

from typing import Final
from uuid import UUID

import asyncpg
from litestar import Response, get
from litestar.params import FromPath

from townsquare.cache.cache import Cache
from townsquare.kit.asgi import AnyRequest
from townsquare.kit.cached_routes import cached
from townsquare.kit.database import Database
from townsquare.kit.dependencies import Ctx, Db, DependsOn, SignedIn
from townsquare.kit.identity import Viewer
from townsquare.kit.kept import Read, kept, kept_strategy
from townsquare.kit.pages import DEFAULT_LIMIT, CursorText, Limit, Page, after_id, answer_page, page_of
from townsquare.kit.problems import Problem, not_found
from townsquare.services.content.people import RETURNED, find_person
from townsquare.services.content.post_view import (
    LISTED_TAGS,
    NEWEST,
    POST_COLUMNS,
    Post,
    depend_on_posts,
    post_keys,
    post_of,
)
from townsquare.services.content.visibility import LISTED
from townsquare.strategies import POST_FEED

FEW_FOLLOWS: Final = 250
"""Up to so many follows are merged at once: that takes about as long as the scan's whole window."""

WINDOW: Final = 2000
"""Posts that the scan looks at: where follows are rare among them, it ends, and has cost 1 or 2 ms."""

# Both take $1 the viewer, $2 the post before which to begin, $3 the rows wanted.

# Walks posts_pkey backwards, with one look at the key of follows for each post, over at most WINDOW posts. Reads nothing
# but the beginning of that key unless more than FEW_FOLLOWS are followed.
SCAN_FEED: Final = f"""
SELECT *
FROM (
    SELECT {POST_COLUMNS}
    FROM (
        SELECT *
        FROM (
            SELECT *
            FROM posts
            WHERE id < $2 AND (
                SELECT count(*) > {FEW_FOLLOWS}
                FROM (
                    SELECT
                    FROM follows
                    WHERE follower = $1::uuid AND active
                    LIMIT {FEW_FOLLOWS + 1}
                ) AS counted
            )
            ORDER BY id DESC
            LIMIT {WINDOW}
        ) AS recent
        WHERE author_id = $1::uuid OR (
            SELECT active
            FROM follows
            WHERE follower = $1::uuid AND followee = recent.author_id
        )
        ORDER BY id DESC
        OFFSET 0
    ) AS p
    JOIN people AS a ON a.id = p.author_id
    WHERE {LISTED}
    ORDER BY p.id DESC
    LIMIT 101
) AS newest
ORDER BY id DESC
LIMIT $3
"""

# A page's posts are by the $3 people who wrote last, so one id for each follow is enough to know them (`authors`, by
# posts_feed_idx), and of theirs, what is not older than the last of these (`reach`). Sorts one id for each follow. What
# is shown to $1 of somebody's `followers` posts, to $1 who follows them, is whatever is not private.
MERGE_FEED: Final = f"""
WITH authors AS MATERIALIZED (
    SELECT p.author_id, p.id
    FROM (
        SELECT f.followee AS author_id, 'followers' AS visibility, newest.id
        FROM follows AS f
        CROSS JOIN LATERAL (
            SELECT id
            FROM posts
            WHERE author_id = f.followee AND id < $2 AND visibility <> 'private'
            ORDER BY id DESC
            LIMIT 1
        ) AS newest
        WHERE f.follower = $1::uuid AND f.active
        ORDER BY newest.id DESC
        OFFSET 0
    ) AS p
    JOIN people AS a ON a.id = p.author_id
    WHERE {LISTED}
    ORDER BY p.id DESC
    LIMIT $3
), reach AS MATERIALIZED (
    SELECT id
    FROM authors
    ORDER BY id DESC
    OFFSET $3 - 1
), candidates AS (
    SELECT newest.id
    FROM authors
    CROSS JOIN LATERAL (
        SELECT id
        FROM posts
        WHERE author_id = authors.author_id AND id <= authors.id AND visibility <> 'private'
          AND id >= coalesce((SELECT id FROM reach), '00000000-0000-0000-0000-000000000000')
        ORDER BY id DESC
        LIMIT $3
    ) AS newest
    UNION ALL (
        -- One's own, by posts_author_idx.
        SELECT id
        FROM posts
        WHERE author_id = $1::uuid AND id < $2
        ORDER BY id DESC
        LIMIT $3
    )
    UNION ALL (
        -- Private ones that mention $1, by post_mentions_private_idx.
        SELECT m.post_id
        FROM post_mentions AS m
        JOIN posts AS p ON p.id = m.post_id
        JOIN people AS a ON a.id = p.author_id
        WHERE m.person_id = $1::uuid AND m.private AND m.post_id < $2 AND {LISTED}
          AND (SELECT active FROM follows WHERE follower = $1::uuid AND followee = p.author_id)
        ORDER BY m.post_id DESC
        LIMIT $3
    )
)
SELECT *
FROM (
    SELECT {POST_COLUMNS}
    FROM (SELECT id FROM candidates ORDER BY id DESC OFFSET 0) AS c
    JOIN posts AS p ON p.id = c.id
    JOIN people AS a ON a.id = p.author_id
    WHERE {LISTED}
    ORDER BY c.id DESC
    LIMIT 101
) AS newest
ORDER BY id DESC
LIMIT $3
"""

# By the beginning of the key of follows; up to 7,500 entries of it, which are kept.
LIST_FOLLOWED: Final = "SELECT followee FROM follows WHERE follower = $1 AND active"

FOLLOWED: Final = kept_strategy("FOLLOWED")


@get(
    "/feed/{user_id:str}",
    opt=cached(POST_FEED, "viewer", "limit", "cursor", tags=("posts:{person}", "follows:{person}", RETURNED, *LISTED_TAGS)),
)
async def read_feed(
    request: AnyRequest,
    db: Db,
    context: Ctx,
    person: SignedIn,
    depends: DependsOn,
    user_id: FromPath[str],
    limit: Limit = DEFAULT_LIMIT,
    cursor: CursorText = None,
) -> Response[Page[Post]]:
    """Read one's own home feed, newest first."""
    before = after_id(cursor) or NEWEST
    await _require_own(db, person, user_id)
    rows = await newest_posts(db, person.id, before, limit + 1)
    depend_on_posts(depends, rows, limit)
    if context.cache is not None:
        depends.on(f"follows:{person.id}", RETURNED)
        depends.watch(await _authors(context.cache, db, person.id))
    return answer_page(request, page_of(rows, limit, post_of, post_keys))


async def newest_posts(db: Database, viewer: UUID, before: UUID, most: int) -> list[asyncpg.Record]:
    """Return the `most` newest rows of the viewer's feed before a post."""
    rows = await db.fetch(SCAN_FEED, viewer, before, most)
    return rows if len(rows) == most else await db.fetch(MERGE_FEED, viewer, before, most)


async def _authors(cache: Cache, db: Database, viewer: UUID) -> frozenset[str]:
    """Return the tags of everybody whose posts come to a feed. They do not change from page to page, and seldom at all."""

    async def read() -> Read[frozenset[str]]:
        rows = await db.fetch(LIST_FOLLOWED, viewer)
        tags = frozenset({f"posts:{viewer}", *(f"posts:{row['followee']}" for row in rows)})
        return Read(tags, 0, lent=tags)

    return await kept(cache, FOLLOWED, f"followed {viewer.hex}", frozenset({f"follows:{viewer}"}), read)


async def _require_own(db: Database, person: Viewer, user_id: str) -> None:
    """Refuse another's feed. Oneself is known from the token, also before the event about a newcomer has arrived."""
    if user_id in (str(person.id), f"@{person.handle}"):
        return
    asked = await find_person(db, user_id, person.id)
    if asked is None:
        raise not_found()
    if asked != person.id:
        raise Problem("forbidden", "A feed is shown to its owner alone.")


ROUTES: Final = (read_feed,)
