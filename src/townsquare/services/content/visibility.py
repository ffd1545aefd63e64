"""Who may see a post, and what others left under it: the one place that says so, for every query of this service.

The conditions are SQL over `p` (the post), `a` (its author's row of `people`), `w` (the row of who commented or
reacted) and `$1` (who asks; NULL for nobody).

- The author always may, and nobody sees anything of an author who is hidden.
- Whom the author has blocked sees nothing.
- `public`: everybody else. `followers`: those who follow now. `private`: those whom the post mentions.
- Lists leave out, besides, whom the viewer has blocked or muted; what is asked for by its id is shown.
- Comments and reactions are seen by those who may see the post, but for those of people who are hidden, whom the post's
  author has blocked (a block clears one's own posts, for everybody), or who have blocked the viewer. The post's author
  sees the last all the same: a block must not hide from them what stands under their post.
"""

from typing import Final, Protocol
from uuid import UUID

from townsquare.kit.depends import Depends
from townsquare.kit.identity import Viewer
from townsquare.kit.problems import not_found

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

PARTAKER_READABLE: Final = """
    (w.hidden IS FALSE
     AND (w.id = $1::uuid
          OR ((SELECT b.active FROM blocks AS b
               WHERE b.blocker = p.author_id AND b.blocked = w.id) IS NOT TRUE
              AND (p.author_id = $1::uuid
                   OR (SELECT b.active FROM blocks AS b
                       WHERE b.blocker = w.id AND b.blocked = $1::uuid) IS NOT TRUE))))
"""
"""True when `$1`, who may see the post, may see what `w` left under it; false also where there is no `w`."""

PARTAKER_LISTED: Final = f"""
    ({PARTAKER_READABLE}
     AND (SELECT b.active FROM blocks AS b
          WHERE b.blocker = $1::uuid AND b.blocked = w.id) IS NOT TRUE
     AND (SELECT m.active FROM mutes AS m
          WHERE m.muter = $1::uuid AND m.muted = w.id) IS NOT TRUE)
"""
"""True when a list shows it to `$1`, too."""

# By primary key.
POST_IS_READABLE: Final = f"""
SELECT true
FROM posts AS p
JOIN people AS a ON a.id = p.author_id
WHERE p.id = $2 AND {READABLE}
"""


class Source(Protocol):
    """What a value can be read from: the pool, or the transaction of a write."""

    async def fetchval(self, sql: str, *arguments: object) -> object:
        """Return the first column of the first row, or None."""
        ...


async def require_readable(source: Source, viewer: UUID | None, post_id: UUID) -> None:
    """Raise the 404 for a post that does not exist or that the viewer may not see."""
    if await source.fetchval(POST_IS_READABLE, viewer, post_id) is None:
        raise not_found()


FOLLOW: Final = "follow:{person}:{other}"


def depend_on_follow(depends: Depends, viewer: Viewer | None, author: UUID) -> None:
    """Say that what the viewer gets depends on whether they follow the author. Nobody follows anybody, nor oneself."""
    if viewer is not None and viewer.id != author:
        depends.on(FOLLOW.format(person=viewer.id, other=author))


def id_of(viewer: Viewer | None) -> UUID | None:
    """Return what `$1` is for this viewer."""
    return None if viewer is None else viewer.id
