"""Marks: what the viewer has left on posts, for a whole page of them in one call.

A post is the same for everybody who may see it, so that its answer can be shared; what is the viewer's own (their
reaction, their bookmark) stands here beside it.
"""

from typing import Annotated, Final, TypeAlias
from uuid import UUID

import asyncpg
from litestar import get
from litestar.params import QueryParameter
from msgspec import Struct

from townsquare.kit.dependencies import Db, SignedIn
from townsquare.kit.pages import Page
from townsquare.services.content.post_view import ReactionKind

PostIds: TypeAlias = Annotated[
    list[UUID], QueryParameter(min_items=1, max_items=100, description="The posts, one parameter for each.")
]


class Mark(Struct, frozen=True, omit_defaults=True):
    """What the viewer has left on a post."""

    post_id: UUID
    reaction: ReactionKind | None = None
    bookmarked: bool = False


# By the primary keys of reactions and bookmarks, once for each post. Joins would say the same, but then the planner may
# read all that the viewer has ever left, to hash it.
LIST_MARKS: Final = """
SELECT
    m.post_id,
    (SELECT r.kind FROM reactions AS r WHERE r.post_id = m.post_id AND r.person_id = $1) AS kind,
    (SELECT true FROM bookmarks AS k WHERE k.post_id = m.post_id AND k.person_id = $1) IS TRUE AS bookmarked
FROM unnest($2::uuid[]) AS m (post_id)
"""


@get("/marks")
async def list_marks(db: Db, person: SignedIn, post: PostIds) -> Page[Mark]:
    """List your own reactions and bookmarks on these posts; posts without any are left out. There is one page."""
    rows = await db.fetch(LIST_MARKS, person.id, list(dict.fromkeys(post)))
    return Page([_mark(row) for row in rows if row["kind"] or row["bookmarked"]], None)


def _mark(row: asyncpg.Record) -> Mark:
    return Mark(row["post_id"], row["kind"], row["bookmarked"])


ROUTES: Final = (list_marks,)
