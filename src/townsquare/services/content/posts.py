"""Posts: written in Markdown, rendered once when they are written, read by whoever may see them.

A change of text or content warning keeps the version that it replaces (`post_history.py`). A deleted post is gone at
once, with all that hangs on it.
"""

from typing import Final
from uuid import UUID

from litestar import Response, delete, get, patch, post
from litestar.params import FromPath, JSONBody
from msgspec import UNSET, Struct, UnsetType

from townsquare.kit.asgi import AnyRequest
from townsquare.kit.cached_routes import cached, changes
from townsquare.kit.changes import given
from townsquare.kit.clock import now
from townsquare.kit.conditional import require_match
from townsquare.kit.dependencies import Ctx, Db, DependsOn, MaybeViewer, SignedIn, Transaction
from townsquare.kit.identity import Viewer
from townsquare.kit.ids import new_id
from townsquare.kit.problems import Problem, not_found
from townsquare.kit.writes import Write
from townsquare.services.content import publishing
from townsquare.services.content.imported_media import forget_with_post
from townsquare.services.content.media import described
from townsquare.services.content.post_view import POST_COLUMNS, Post, ReplyPolicy, Visibility, post_of
from townsquare.services.content.publishing import ContentWarning, NewPost, PostText, publish
from townsquare.services.content.visibility import FOLLOW, READABLE, depend_on_follow, id_of
from townsquare.strategies import POST_DETAILS


class PostChange(Struct, frozen=True, forbid_unknown_fields=True):
    """What changes; a field that is left out stays. `content_warning` null takes it away."""

    text: PostText | UnsetType = UNSET
    visibility: Visibility | UnsetType = UNSET
    reply_policy: ReplyPolicy | UnsetType = UNSET
    content_warning: ContentWarning | UnsetType | None = UNSET


# By primary key, with one look at each relation of the viewer to the author.
READ_POST: Final = f"""
SELECT {POST_COLUMNS}
FROM posts AS p
JOIN people AS a ON a.id = p.author_id
WHERE p.id = $2 AND {READABLE}
"""

# The strongest lock at once: to begin with a weaker one and delete later would wait for a comment that waits for us.
LOCK_POST: Final = f"{READ_POST} FOR UPDATE OF p"

KEEP_VERSION: Final = """
INSERT INTO post_edits (post_id, id, text, html, content_warning, visibility, written_at, replaced_at)
SELECT p.id, $2, p.text, p.html, p.content_warning, p.visibility, coalesce(p.edited_at, p.created_at), $3
FROM posts AS p
WHERE p.id = $1
"""

CHANGE_POST: Final = f"""
UPDATE posts AS p
SET text = $2, html = $3, content_warning = $4, visibility = $5, reply_policy = $6, tags = $7, edited_at = $8
FROM people AS a
WHERE p.id = $1 AND a.id = p.author_id
RETURNING {POST_COLUMNS}
"""

# What hangs on it goes by the foreign keys.
DELETE_POST: Final = "DELETE FROM posts WHERE id = $1"


@get("/posts/{post_id:uuid}", opt=cached(POST_DETAILS, "plain", tags=("post:{post}", "author:{person}", FOLLOW)))
async def read_post(db: Db, viewer: MaybeViewer, depends: DependsOn, post_id: FromPath[UUID]) -> Post:
    """Read a post."""
    row = await db.fetchrow(READ_POST, id_of(viewer), post_id)
    if row is None:
        raise not_found()
    read = post_of(row)
    depends.on(f"post:{read.id}", f"author:{read.author.id}")
    if read.visibility == "followers":
        depend_on_follow(depends, viewer, read.author.id)
    return read


@post("/posts", status_code=201, opt=changes(*publishing.POST_TAGS))
async def create_post(context: Ctx, write: Transaction, person: SignedIn, data: JSONBody[NewPost]) -> Response[Post]:
    """Publish a post."""
    media = await described(context, write, person, data.media_ids, data.visibility)
    return answer_created(await publish(write, person, data, media))


@patch("/posts/{post_id:uuid}", opt=changes(*publishing.POST_TAGS))
async def change_post(
    request: AnyRequest, write: Transaction, person: SignedIn, post_id: FromPath[UUID], data: JSONBody[PostChange]
) -> Post:
    """Change one's own post; the version before stays in its history."""
    current = await _own_post(request, write, person, post_id)
    text, rendered = publishing.checked(given(data.text, current.text))
    warning = given(data.content_warning, current.content_warning)
    edited_at = current.edited_at
    if (text, warning) != (current.text, current.content_warning):
        edited_at = now()
        await write.execute(KEEP_VERSION, post_id, new_id(), edited_at)
    row = await write.fetchrow(
        CHANGE_POST,
        post_id,
        text,
        rendered.html,
        warning,
        given(data.visibility, current.visibility),
        given(data.reply_policy, current.reply_policy),
        list(rendered.tags),
        edited_at,
    )
    assert row is not None  # noqa: S101  (its row is locked)
    changed = post_of(row)
    if text != current.text:
        await write.execute(publishing.FORGET_MENTIONS, post_id)
        await publishing.add_mentions(write, changed, rendered.mentions)
    elif changed.visibility != current.visibility:
        await write.execute(publishing.MARK_MENTIONS, post_id, changed.visibility == "private")
    await write.execute(publishing.FORGET_TAGS, post_id)
    await publishing.add_tags(write, changed)
    await publishing.count_posts(write, person.id, publishing.counted(changed) - publishing.counted(current))
    write.emit("post", post_id, publishing.told(changed), publishing.cache_tags(current, changed))
    return changed


@delete("/posts/{post_id:uuid}", status_code=204, opt=changes(*publishing.POST_TAGS))
async def delete_post(request: AnyRequest, write: Transaction, person: SignedIn, post_id: FromPath[UUID]) -> None:
    """Delete one's own post, with its comments and reactions; the files that it shows stay yours."""
    current = await _own_post(request, write, person, post_id)
    if current.media:
        await forget_with_post(write, post_id)
    await write.execute(DELETE_POST, post_id)
    await publishing.count_posts(write, person.id, -publishing.counted(current))
    write.emit("post", post_id, {**publishing.told(current), "deleted": True}, publishing.cache_tags(current))


def answer_created(created: Post) -> Response[Post]:
    """Answer a post that has just been published."""
    return Response(created, status_code=201, headers={"Location": f"/posts/{created.id}"})


async def _own_post(request: AnyRequest, write: Write, person: Viewer, post_id: UUID) -> Post:
    """Lock a post for its author. Raises `not_found`, `forbidden` for another's, and `precondition_failed`."""
    row = await write.fetchrow(LOCK_POST, person.id, post_id)
    if row is None:
        raise not_found()
    current = post_of(row)
    if current.author.id != person.id:
        raise Problem("forbidden", "Only its author can change a post.")
    require_match(request, current)
    return current


ROUTES: Final = (read_post, create_post, change_post, delete_post)
