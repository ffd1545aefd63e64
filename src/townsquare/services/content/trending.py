"""Trending: the tags of the last day, by how many people used them; one who repeats a tag counts once."""

from datetime import timedelta
from typing import Final

import asyncpg
from litestar import get
from msgspec import Struct

from townsquare import strategies
from townsquare.kit.cached_routes import cached
from townsquare.kit.clock import now
from townsquare.kit.dependencies import Db, DependsOn
from townsquare.kit.ids import new_id
from townsquare.kit.pages import DEFAULT_LIMIT, Limit, Page

PERIOD: Final = timedelta(days=1)


class TrendingTag(Struct, frozen=True):
    """A tag, how many people used it in public posts of the last day, and in how many posts."""

    tag: str
    authors: int
    posts: int


# By the primary key of post_tags alone: ids carry their time, and the key includes the author. Reads the uses of the
# last day, and of a day with more than 20,000 the newest 20,000, which is enough to know a trend by. Each author is looked
# up by primary key: a join would read all people to know the few hundred of one day.
TRENDING: Final = """
SELECT t.tag, count(DISTINCT t.author_id) AS authors, count(*) AS posts
FROM (
    SELECT tag, author_id
    FROM post_tags
    WHERE post_id > $1
    ORDER BY post_id DESC
    LIMIT 20000
) AS t
WHERE (SELECT a.hidden FROM people AS a WHERE a.id = t.author_id) IS FALSE
GROUP BY t.tag
ORDER BY authors DESC, posts DESC, t.tag
LIMIT $2
"""


@get("/trending", opt=cached(strategies.TRENDING, "everybody", "limit", tags=("trending",)))
async def list_trending(db: Db, depends: DependsOn, limit: Limit = DEFAULT_LIMIT) -> Page[TrendingTag]:
    """List the tags of the last day, those with the most people first; there is one page."""
    depends.on("trending")
    rows = await db.fetch(TRENDING, new_id(now() - PERIOD), limit)
    return Page([_trending_tag(row) for row in rows], None)


def _trending_tag(row: asyncpg.Record) -> TrendingTag:
    return TrendingTag(row["tag"], row["authors"], row["posts"])


ROUTES: Final = (list_trending,)
