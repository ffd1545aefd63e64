"""The public timeline: everybody's public posts, newest first; with `?tag=`, those under one tag."""

from typing import Annotated, Final

from litestar import Response, get
from litestar.params import QueryParameter

from townsquare.kit.asgi import AnyRequest
from townsquare.kit.cached_routes import cached
from townsquare.kit.dependencies import Db, DependsOn, MaybeViewer
from townsquare.kit.pages import DEFAULT_LIMIT, CursorText, Limit, Page, after_id, answer_page, page_of
from townsquare.kit.problems import invalid
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
from townsquare.services.content.text import tag_key
from townsquare.services.content.visibility import LISTED, id_of
from townsquare.strategies import POST_FEED

# The constant inner limit tells the planner that only a page is wanted, also in a plan for any $3: it walks the index
# from its end and stops, where it would else expect a tenth of the table and read it all.

# Walks posts_public_idx backwards; reads a page, and past whom the viewer has blocked or muted.
LIST_PUBLIC: Final = f"""
SELECT *
FROM (
    SELECT {POST_COLUMNS}
    FROM posts AS p
    JOIN people AS a ON a.id = p.author_id
    WHERE p.visibility = 'public' AND p.id < $2 AND {LISTED}
    ORDER BY p.id DESC
    LIMIT 101
) AS newest
ORDER BY id DESC
LIMIT $3
"""

# Walks post_tags_tag_idx backwards, which holds public posts alone.
LIST_TAGGED: Final = f"""
SELECT *
FROM (
    SELECT {POST_COLUMNS}
    FROM post_tags AS t
    JOIN posts AS p ON p.id = t.post_id
    JOIN people AS a ON a.id = p.author_id
    WHERE t.tag = $4 AND t.post_id < $2 AND {LISTED}
    ORDER BY t.post_id DESC
    LIMIT 101
) AS newest
ORDER BY id DESC
LIMIT $3
"""

TagText = Annotated[
    str | None, QueryParameter(min_length=1, max_length=100, description="A tag, with or without its `#`, in any case.")
]


@get(
    "/public/posts",
    opt=cached(POST_FEED, "plain", "tag", "limit", "cursor", tags=("public", "tag:{tag}", RETURNED, *LISTED_TAGS)),
)
async def list_public_posts(
    request: AnyRequest,
    db: Db,
    viewer: MaybeViewer,
    depends: DependsOn,
    tag: TagText = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: CursorText = None,
) -> Response[Page[Post]]:
    """List public posts, newest first, all of them or those under a tag."""
    asking, after = id_of(viewer), after_id(cursor) or NEWEST
    if tag is None:
        depends.on("public")
        rows = await db.fetch(LIST_PUBLIC, asking, after, limit + 1)
    else:
        key = _key_of(tag)
        depends.on(f"tag:{key}")
        rows = await db.fetch(LIST_TAGGED, asking, after, limit + 1, key)
    depends.on(RETURNED)
    depend_on_posts(depends, rows, limit)
    return answer_page(request, page_of(rows, limit, post_of, post_keys))


def _key_of(tag: str) -> str:
    key = tag_key(tag.removeprefix("#"))
    if key is None:
        raise invalid("?tag", "A tag is made of letters, digits and underscores, with at least one letter.")
    return key


ROUTES: Final = (list_public_posts,)
