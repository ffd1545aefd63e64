"""What one person wrote and left here, for the export of their account: asked by the users service, never from outside.

`?kind=` names one kind of thing; each page is in the order of writing, and `cursor` goes on where one ended.
"""

from typing import Annotated, Final, Literal, TypeAlias
from uuid import UUID

import msgspec
from litestar import Response, get
from litestar.params import FromPath, FromQuery, QueryParameter

from townsquare.kit.calls import internal_only
from townsquare.kit.dependencies import Db
from townsquare.kit.pages import CursorText, after_id, page_of
from townsquare.services.content.post_view import OLDEST

Kind: TypeAlias = Literal["posts", "drafts", "comments", "reactions", "bookmarks"]
ExportLimit: TypeAlias = Annotated[int, QueryParameter(ge=1, le=500)]

# By posts_author_idx, and by primary key for the versions of each post.
EXPORT_POSTS: Final = """
SELECT p.id AS key, json_strip_nulls(json_build_object(
    'id', p.id, 'text', p.text, 'html', p.html, 'content_warning', p.content_warning, 'visibility', p.visibility,
    'reply_policy', p.reply_policy, 'tags', p.tags, 'media', p.media, 'created_at', p.created_at,
    'edited_at', p.edited_at, 'comments', p.comments, 'versions', (
        SELECT json_agg(json_build_object(
            'text', e.text, 'content_warning', e.content_warning, 'visibility', e.visibility,
            'written_at', e.written_at, 'replaced_at', e.replaced_at
        ) ORDER BY e.id)
        FROM post_edits AS e
        WHERE e.post_id = p.id
    )
)) AS item
FROM posts AS p
WHERE p.author_id = $1 AND p.id > $2
ORDER BY p.id
LIMIT $3
"""

# By drafts_author_idx.
EXPORT_DRAFTS: Final = """
SELECT id AS key, json_strip_nulls(json_build_object(
    'id', id, 'text', text, 'content_warning', content_warning, 'visibility', visibility,
    'reply_policy', reply_policy, 'media', media, 'created_at', created_at, 'updated_at', updated_at
)) AS item
FROM drafts
WHERE author_id = $1 AND id > $2
ORDER BY id
LIMIT $3
"""

# By comments_author_idx.
EXPORT_COMMENTS: Final = """
SELECT id AS key, json_strip_nulls(json_build_object(
    'id', id, 'post_id', post_id, 'parent_id', parent_id, 'text', text, 'html', html, 'created_at', created_at,
    'edited_at', edited_at
)) AS item
FROM comments
WHERE author_id = $1 AND id > $2
ORDER BY id
LIMIT $3
"""

# By reactions_person_idx.
EXPORT_REACTIONS: Final = """
SELECT id AS key, json_build_object('post_id', post_id, 'kind', kind, 'created_at', created_at) AS item
FROM reactions
WHERE person_id = $1 AND id > $2
ORDER BY id
LIMIT $3
"""

# By bookmarks_person_idx.
EXPORT_BOOKMARKS: Final = """
SELECT id AS key, json_build_object('post_id', post_id, 'created_at', created_at) AS item
FROM bookmarks
WHERE person_id = $1 AND id > $2
ORDER BY id
LIMIT $3
"""

EXPORTS: Final[dict[Kind, str]] = {
    "posts": EXPORT_POSTS,
    "drafts": EXPORT_DRAFTS,
    "comments": EXPORT_COMMENTS,
    "reactions": EXPORT_REACTIONS,
    "bookmarks": EXPORT_BOOKMARKS,
}


@get("/export/{person_id:uuid}", guards=[internal_only], include_in_schema=False)
async def export_content(
    db: Db, person_id: FromPath[UUID], kind: FromQuery[Kind], limit: ExportLimit = 500, cursor: CursorText = None
) -> Response[bytes]:
    """Answer a page of what a person wrote or left, oldest first."""
    rows = await db.fetch(EXPORTS[kind], person_id, after_id(cursor) or OLDEST, limit + 1)
    page = page_of(rows, limit, lambda row: msgspec.Raw(row["item"].encode()), lambda row: (row["key"],))
    return Response(msgspec.json.encode(page), media_type="application/json")


ROUTES: Final = (export_content,)
