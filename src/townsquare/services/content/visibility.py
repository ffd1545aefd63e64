"""Who may see a post: the one place that says so, for every query of this service.

The conditions are SQL over `p` (the post), `a` (its author's row of `people`) and `$1` (who asks; NULL for nobody).

- The author always may, and nobody sees anything of an author who is hidden.
- Whom the author has blocked sees nothing.
- `public`: everybody else. `followers`: those who follow now. `private`: those whom the post mentions.
- Lists leave out, besides, whom the viewer has blocked or muted; what is asked for by its id is shown.
"""

from typing import Final
from uuid import UUID

from townsquare.kit.identity import Viewer

# Each look at a relation is a scalar subquery on its primary key. EXISTS would say the same, but then the planner may
# read the whole table once to hash it, which is right for a report and wrong for a page of 20.
READABLE: Final = """
    NOT a.hidden
    AND (p.author_id = $1::uuid
         OR ((SELECT b.active FROM blocks AS b
              WHERE b.blocker = p.author_id AND b.blocked = $1::uuid) IS NOT TRUE
             AND CASE p.visibility
                 WHEN 'public' THEN true
                 WHEN 'followers' THEN
                     (SELECT f.active FROM follows AS f
                      WHERE f.follower = $1::uuid AND f.followee = p.author_id) IS TRUE
                 ELSE
                     (SELECT true FROM post_mentions AS m
                      WHERE m.post_id = p.id AND m.person_id = $1::uuid) IS TRUE
                 END))
"""
"""True for a post that `$1` may see."""

UNBLOCKED: Final = """
    (SELECT b.active FROM blocks AS b
     WHERE b.blocker = $1::uuid AND b.blocked = p.author_id) IS NOT TRUE
"""
"""True unless `$1` has blocked the author."""

UNMUTED: Final = """
    (SELECT m.active FROM mutes AS m
     WHERE m.muter = $1::uuid AND m.muted = p.author_id) IS NOT TRUE
"""
"""True unless `$1` has muted the author."""

LISTED: Final = f"{READABLE} AND {UNBLOCKED} AND {UNMUTED}"
"""True for a post that a feed, a timeline or a search shows to `$1`."""


def id_of(viewer: Viewer | None) -> UUID | None:
    """Return what `$1` is for this viewer."""
    return None if viewer is None else viewer.id
