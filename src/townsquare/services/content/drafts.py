"""Drafts: posts in the making, which nobody but their author ever sees. Publishing one makes a post of it.

A draft may say anything that can be kept, also nothing yet; what a post must be is asked when it is published.
"""

from datetime import datetime
from typing import Annotated, Final, TypeAlias
from uuid import UUID

import asyncpg
from litestar import Response, delete, get, patch, post
from litestar.params import FromPath, JSONBody
from msgspec import UNSET, Meta, Struct, UnsetType

from townsquare.kit.asgi import AnyRequest
from townsquare.kit.cached_routes import changes
from townsquare.kit.changes import given
from townsquare.kit.clock import now
from townsquare.kit.conditional import require_match
from townsquare.kit.dependencies import Ctx, Db, SignedIn, Transaction
from townsquare.kit.identity import Viewer
from townsquare.kit.ids import new_id
from townsquare.kit.pages import DEFAULT_LIMIT, CursorText, Limit, Page, after_id, answer_page, page_of
from townsquare.kit.problems import not_found
from townsquare.kit.text_types import TEXT
from townsquare.kit.writes import Write
from townsquare.services.content.media import described
from townsquare.services.content.people import ensure_author
from townsquare.services.content.post_view import (
    NEWEST,
    MediaReference,
    Post,
    ReplyPolicy,
    Visibility,
    media_column,
    media_of,
)
from townsquare.services.content.posts import answer_created
from townsquare.services.content.publishing import POST_TAGS, ContentWarning, MediaIds, NewPost, publish
from townsquare.services.content.text import MAX_TEXT

DraftText: TypeAlias = Annotated[str, Meta(max_length=MAX_TEXT, pattern=TEXT)]


class NewDraft(Struct, frozen=True, forbid_unknown_fields=True):
    """The beginning of a post."""

    text: DraftText = ""
    media_ids: MediaIds = []
    visibility: Visibility = "public"
    reply_policy: ReplyPolicy = "everyone"
    content_warning: ContentWarning | None = None


class DraftChange(Struct, frozen=True, forbid_unknown_fields=True):
    """What changes; a field that is left out stays. `content_warning` null takes it away."""

    text: DraftText | UnsetType = UNSET
    media_ids: MediaIds | UnsetType = UNSET
    visibility: Visibility | UnsetType = UNSET
    reply_policy: ReplyPolicy | UnsetType = UNSET
    content_warning: ContentWarning | UnsetType | None = UNSET


class Draft(Struct, frozen=True, omit_defaults=True):
    """A post in the making."""

    id: UUID
    text: str
    media: list[MediaReference]
    visibility: Visibility
    reply_policy: ReplyPolicy
    created_at: datetime
    updated_at: datetime
    content_warning: str | None = None


DRAFT_COLUMNS: Final = "id, text, media, visibility, reply_policy, created_at, updated_at, content_warning"

# By drafts_author_idx, which holds one author's drafts in order.
LIST_DRAFTS: Final = f"""
SELECT {DRAFT_COLUMNS}
FROM drafts
WHERE author_id = $1 AND id < $2
ORDER BY id DESC
LIMIT $3
"""

# By primary key.
READ_DRAFT: Final = f"SELECT {DRAFT_COLUMNS} FROM drafts WHERE id = $1 AND author_id = $2"

LOCK_DRAFT: Final = f"{READ_DRAFT} FOR UPDATE"

ADD_DRAFT: Final = f"""
INSERT INTO drafts (
    id, author_id, text, media, visibility, reply_policy, content_warning, created_at, updated_at
)
VALUES ($1, $2, $3, $4::jsonb, $5, $6, $7, $8, $8)
RETURNING {DRAFT_COLUMNS}
"""

CHANGE_DRAFT: Final = f"""
UPDATE drafts
SET text = $2, media = $3::jsonb, visibility = $4, reply_policy = $5, content_warning = $6, updated_at = $7
WHERE id = $1
RETURNING {DRAFT_COLUMNS}
"""

DELETE_DRAFT: Final = "DELETE FROM drafts WHERE id = $1"


@get("/drafts")
async def list_drafts(
    request: AnyRequest, db: Db, person: SignedIn, limit: Limit = DEFAULT_LIMIT, cursor: CursorText = None
) -> Response[Page[Draft]]:
    """List one's own drafts, newest first."""
    rows = await db.fetch(LIST_DRAFTS, person.id, after_id(cursor) or NEWEST, limit + 1)
    return answer_page(request, page_of(rows, limit, _draft, _keys))


@get("/drafts/{draft_id:uuid}")
async def read_draft(db: Db, person: SignedIn, draft_id: FromPath[UUID]) -> Draft:
    """Read one's own draft."""
    row = await db.fetchrow(READ_DRAFT, draft_id, person.id)
    if row is None:
        raise not_found()
    return _draft(row)


@post("/drafts", status_code=201)
async def create_draft(write: Transaction, person: SignedIn, data: JSONBody[NewDraft]) -> Response[Draft]:
    """Begin a draft."""
    await ensure_author(write, person)
    row = await write.fetchrow(
        ADD_DRAFT,
        new_id(),
        person.id,
        data.text,
        media_column(data.media_ids),
        data.visibility,
        data.reply_policy,
        data.content_warning,
        now(),
    )
    assert row is not None  # noqa: S101  (INSERT ... RETURNING one row)
    created = _draft(row)
    return Response(created, status_code=201, headers={"Location": f"/drafts/{created.id}"})


@post("/drafts/{draft_id:uuid}/publish", status_code=201, opt=changes(*POST_TAGS))
async def publish_draft(
    request: AnyRequest, context: Ctx, write: Transaction, person: SignedIn, draft_id: FromPath[UUID]
) -> Response[Post]:
    """Make a post of one's own draft, which is then gone."""
    draft = await _own_draft(request, write, person, draft_id)
    media_ids = [reference.id for reference in draft.media]
    published = await publish(
        write,
        person,
        NewPost(
            text=draft.text,
            media_ids=media_ids,
            visibility=draft.visibility,
            reply_policy=draft.reply_policy,
            content_warning=draft.content_warning,
        ),
        await described(context, write, person, media_ids, draft.visibility),
    )
    await write.execute(DELETE_DRAFT, draft_id)
    return answer_created(published)


@patch("/drafts/{draft_id:uuid}")
async def change_draft(
    request: AnyRequest, write: Transaction, person: SignedIn, draft_id: FromPath[UUID], data: JSONBody[DraftChange]
) -> Draft:
    """Change one's own draft."""
    current = await _own_draft(request, write, person, draft_id)
    row = await write.fetchrow(
        CHANGE_DRAFT,
        draft_id,
        given(data.text, current.text),
        media_column(given(data.media_ids, [reference.id for reference in current.media])),
        given(data.visibility, current.visibility),
        given(data.reply_policy, current.reply_policy),
        given(data.content_warning, current.content_warning),
        now(),
    )
    assert row is not None  # noqa: S101  (its row is locked)
    return _draft(row)


@delete("/drafts/{draft_id:uuid}", status_code=204)
async def delete_draft(request: AnyRequest, write: Transaction, person: SignedIn, draft_id: FromPath[UUID]) -> None:
    """Throw one's own draft away."""
    await _own_draft(request, write, person, draft_id)
    await write.execute(DELETE_DRAFT, draft_id)


async def _own_draft(request: AnyRequest, write: Write, person: Viewer, draft_id: UUID) -> Draft:
    row = await write.fetchrow(LOCK_DRAFT, draft_id, person.id)
    if row is None:
        raise not_found()
    current = _draft(row)
    require_match(request, current)
    return current


def _draft(row: asyncpg.Record) -> Draft:
    return Draft(
        id=row["id"],
        text=row["text"],
        media=media_of(row["media"]),
        visibility=row["visibility"],
        reply_policy=row["reply_policy"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        content_warning=row["content_warning"],
    )


def _keys(row: asyncpg.Record) -> tuple[UUID]:
    return (row["id"],)


ROUTES: Final = (list_drafts, read_draft, create_draft, publish_draft, change_draft, delete_draft)
