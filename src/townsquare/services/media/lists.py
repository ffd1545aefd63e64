"""Lists of files, newest first: one person's, and everybody's public ones; all, or those of one kind.

In one's own list stands everything that one has uploaded, what is private with addresses that expire; in another's, what is
public. Who has blocked the viewer is not there at all.
"""

from collections.abc import Sequence
from typing import Annotated, Final
from uuid import UUID

import asyncpg
from litestar import Response, get
from litestar.params import FromPath, QueryParameter

from townsquare.kit.asgi import AnyRequest
from townsquare.kit.cached_routes import cached
from townsquare.kit.context import Context
from townsquare.kit.dependencies import Ctx, Db, DependsOn, MaybeViewer
from townsquare.kit.depends import Depends
from townsquare.kit.pages import DEFAULT_LIMIT, CursorText, Limit, Page, after_id, answer_page, page_of
from townsquare.services.media.addresses import signed_addresses
from townsquare.services.media.file_view import FILE_COLUMNS, File, Kind, file_of
from townsquare.services.media.people import OWNER, RETURNED, asking, find_person, handle_tag
from townsquare.services.media.visibility import LISTED
from townsquare.strategies import VIDEOS

NEWEST: Final = UUID(int=(1 << 128) - 1)
"""Stands for "before nothing": the cursor of the first page."""

LISTED_TAGS: Final = ("file:{file}", OWNER)
"""What every list depends on."""

OfKind = Annotated[Kind | None, QueryParameter(description="Only files of this kind.")]

# Walks files_owner_idx backwards; reads a page, and past what the viewer may not see. The constant inner limit tells the
# planner that only a page is wanted, also in a plan for any $4.
LIST_FILES_OF: Final = f"""
SELECT *
FROM (
    SELECT {FILE_COLUMNS}
    FROM files AS f
    JOIN people AS o ON o.id = f.owner_id
    WHERE f.owner_id = $2 AND f.id < $3 AND (f.visibility = 'public' OR f.owner_id = $1::uuid) AND {LISTED}
    ORDER BY f.id DESC
    LIMIT 101
) AS newest
ORDER BY id DESC
LIMIT $4
"""

# The same along files_owner_kind_idx. Said as a range over the pair, which that index alone has in order: with `f.kind = $5`
# the other one would do as well to a plan for any kind, and be walked through everything for a rare one.
LIST_KIND_OF: Final = f"""
SELECT *
FROM (
    SELECT {FILE_COLUMNS}
    FROM files AS f
    JOIN people AS o ON o.id = f.owner_id
    WHERE f.owner_id = $2 AND f.kind >= $5 AND (f.kind, f.id) < ($5, $3)
      AND (f.visibility = 'public' OR f.owner_id = $1::uuid) AND {LISTED}
    ORDER BY f.kind DESC, f.id DESC
    LIMIT 101
) AS newest
ORDER BY id DESC
LIMIT $4
"""

# Walks files_public_idx backwards; reads a page, and past whom the viewer has blocked.
LIST_PUBLIC: Final = f"""
SELECT *
FROM (
    SELECT {FILE_COLUMNS}
    FROM files AS f
    JOIN people AS o ON o.id = f.owner_id
    WHERE f.visibility = 'public' AND f.id < $2 AND {LISTED}
    ORDER BY f.id DESC
    LIMIT 101
) AS newest
ORDER BY id DESC
LIMIT $3
"""

# The same along files_public_kind_idx.
LIST_PUBLIC_KIND: Final = f"""
SELECT *
FROM (
    SELECT {FILE_COLUMNS}
    FROM files AS f
    JOIN people AS o ON o.id = f.owner_id
    WHERE f.visibility = 'public' AND f.kind = $4 AND f.id < $2 AND {LISTED}
    ORDER BY f.id DESC
    LIMIT 101
) AS newest
ORDER BY id DESC
LIMIT $3
"""


# Owners get more than everybody, so who signed in has an entry of their own.
@get(
    "/users/{user_id:str}/files",
    opt=cached(VIDEOS, "own", "kind", "limit", "cursor", tags=("files:{person}", "handle:{handle}", *LISTED_TAGS)),
)
async def list_files_of(
    request: AnyRequest,
    context: Ctx,
    db: Db,
    viewer: MaybeViewer,
    depends: DependsOn,
    user_id: FromPath[str],
    kind: OfKind = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: CursorText = None,
) -> Response[Page[File]]:
    """List one person's files, newest first: one's own all, another's public ones."""
    who, after = asking(viewer), after_id(cursor) or NEWEST
    owner = await find_person(db, user_id, who)
    if kind is None:
        rows = await db.fetch(LIST_FILES_OF, who, owner, after, limit + 1)
    else:
        rows = await db.fetch(LIST_KIND_OF, who, owner, after, limit + 1, kind)
    depends.on(f"files:{owner}", OWNER.format(person=owner), *handle_tag(user_id))
    return _answer(request, context, depends, rows, limit)


@get(
    "/public/files",
    opt=cached(VIDEOS, "plain", "kind", "limit", "cursor", tags=("files", RETURNED, *LISTED_TAGS)),
)
async def list_public_files(
    request: AnyRequest,
    context: Ctx,
    db: Db,
    viewer: MaybeViewer,
    depends: DependsOn,
    kind: OfKind = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: CursorText = None,
) -> Response[Page[File]]:
    """List everybody's public files, newest first."""
    who, after = asking(viewer), after_id(cursor) or NEWEST
    if kind is None:
        rows = await db.fetch(LIST_PUBLIC, who, after, limit + 1)
    else:
        rows = await db.fetch(LIST_PUBLIC_KIND, who, after, limit + 1, kind)
    depends.on("files", RETURNED)
    return _answer(request, context, depends, rows, limit)


def _answer(
    request: AnyRequest, context: Context, depends: Depends, rows: Sequence[asyncpg.Record], limit: int
) -> Response[Page[File]]:
    """Answer a page. The row too many is not shown, but while its owner is there, there is more."""
    depends.on(*(f"file:{row['id']}" for row in rows[:limit]))
    depends.on(*(OWNER.format(person=row["owner_id"]) for row in rows))
    addresses = signed_addresses(context, request)
    return answer_page(request, page_of(rows, limit, lambda row: file_of(row, addresses), _keys))


def _keys(row: asyncpg.Record) -> tuple[UUID]:
    return (row["id"],)


ROUTES: Final = (list_files_of, list_public_files)
