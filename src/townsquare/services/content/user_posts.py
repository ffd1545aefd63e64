"""One person's posts, newest first, as far as the viewer may see them.

Somebody muted is still shown here: who opens a person's page wants to see it. Somebody whom the viewer has blocked is
not, and a person who has blocked the viewer is not there at all.
"""

from typing import Final

from litestar import Response, get
from litestar.params import FromPath

from townsquare.kit.asgi import AnyRequest
from townsquare.kit.cached_routes import cached
from townsquare.kit.dependencies import Db, DependsOn, MaybeViewer
from townsquare.kit.pages import DEFAULT_LIMIT, CursorText, Limit, Page, after_id, answer_page, page_of
from townsquare.kit.problems import not_found
from townsquare.services.content.people import LEFT, find_person, handle_tag
from townsquare.services.content.post_view import (
    LISTED_TAGS,
    NEWEST,
    POST_COLUMNS,
    Post,
    depend_on_posts,
    post_keys,
    post_of,
)
from townsquare.services.content.visibility import FOLLOW, READABLE, UNBLOCKED, depend_on_follow, id_of
from townsquare.strategies import USER_POSTS

# Walks posts_author_idx backwards; reads a page, and past what the viewer may not see. The constant inner limit tells
# the planner that only a page is wanted, also in a plan for any $4.
LIST_POSTS_OF: Final = f"""
SELECT *
FROM (
    SELECT {POST_COLUMNS}
    FROM posts AS p
    JOIN people AS a ON a.id = p.author_id
    WHERE p.author_id = $2 AND p.id < $3 AND {READABLE} AND {UNBLOCKED}
    ORDER BY p.id DESC
    LIMIT 101
) AS newest
ORDER BY id DESC
LIMIT $4
"""


@get(
    "/users/{user_id:str}/posts",
    opt=cached(USER_POSTS, "own", "limit", "cursor", tags=("posts:{person}", *LISTED_TAGS, "handle:{handle}", FOLLOW)),
)
async def list_posts_of(
    request: AnyRequest,
    db: Db,
    viewer: MaybeViewer,
    depends: DependsOn,
    user_id: FromPath[str],
    limit: Limit = DEFAULT_LIMIT,
    cursor: CursorText = None,
) -> Response[Page[Post]]:
    """List one person's posts, newest first."""
    asking, after = id_of(viewer), after_id(cursor) or NEWEST
    author = await find_person(db, user_id, asking)
    if author is None:
        raise not_found()
    rows = await db.fetch(LIST_POSTS_OF, asking, author, after, limit + 1)
    depends.on(f"posts:{author}", LEFT.format(person=author), *handle_tag(user_id))
    depend_on_posts(depends, rows, limit)
    depend_on_follow(depends, viewer, author)
    return answer_page(request, page_of(rows, limit, post_of, post_keys))


ROUTES: Final = (list_posts_of,)
