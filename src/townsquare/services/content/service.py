"""content: posts, feeds, comments and reactions. What it consists of."""

from pathlib import Path
from typing import Final

from townsquare.kit.app import Definition
from townsquare.services.content import (
    bookmarks,
    comment_deletion,
    comments,
    departures,
    drafts,
    export,
    feed,
    marks,
    people,
    post_history,
    posts,
    public_posts,
    reactions,
    search,
    trending,
    user_posts,
)

# By the primary keys of blocks and mutes, and by blocks_blocked_idx; stops at the first row of each.
STANDING: Final = """
SELECT NOT EXISTS (SELECT FROM blocks WHERE blocker = $1 AND active)
   AND NOT EXISTS (SELECT FROM blocks WHERE blocked = $1 AND active)
   AND NOT EXISTS (SELECT FROM mutes WHERE muter = $1 AND active)
"""

DEFINITION: Final = Definition(
    name="content",
    schema=Path(__file__).parent / "schema",
    routes=(
        *posts.ROUTES,
        *post_history.ROUTES,
        *comments.ROUTES,
        *comment_deletion.ROUTES,
        *reactions.ROUTES,
        *bookmarks.ROUTES,
        *marks.ROUTES,
        *drafts.ROUTES,
        *feed.ROUTES,
        *public_posts.ROUTES,
        *user_posts.ROUTES,
        *search.ROUTES,
        *trending.ROUTES,
        *export.ROUTES,
    ),
    jobs=departures.JOBS,
    readers=(people.READER,),
    standing=STANDING,
    watched=frozenset({"posts"}),
)
