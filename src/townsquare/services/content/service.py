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
    imported_media,
    marks,
    media,
    people,
    post_history,
    posts,
    public_posts,
    reactions,
    search,
    trending,
    user_posts,
)
from townsquare.services.content.comment_view import COMMENT_TAGS
from townsquare.services.content.publishing import POST_TAGS
from townsquare.services.content.reactions import REACTION_TAGS
from townsquare.services.content.visibility import FOLLOW

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
    jobs=(*departures.JOBS, *imported_media.JOBS),
    readers=(people.READER, media.READER),
    standing=STANDING,
    watched=frozenset({"posts"}),
    changes={
        "users tells how somebody is called and looks, that they left or are back": (
            "author:{person}",
            "handle:{handle}",
            people.LEFT,
            people.RETURNED,
            "trending",
        ),
        "users tells that a follow began or ended": ("follows:{person}", FOLLOW),
        "users tells that a block began or ended": ("blocks:{person}",),
        "users tells that a mute began or ended": ("mutes:{person}",),
        "media tells that a file is otherwise, or gone": ("post:{post}",),
        "what somebody left is deleted for good": (*POST_TAGS, *COMMENT_TAGS, *REACTION_TAGS),
        "posts are imported, or forgotten again": POST_TAGS,
    },
)
