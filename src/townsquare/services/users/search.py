"""Finding people by handle and name, best first.

First come those whose handle or name, from any of its words on, begins with what was typed, in alphabetical order, so that
who is called exactly so stands before the longer ones, and a handle before an equal name. Then come those who are
one typo away: in one word a letter is missing, one too many, another one, or two are swapped, and the other words
begin as they were typed. Accents, case, punctuation and the order of the words make no difference. A word of
fewer than three letters is not taken for a typo of another. Where names go on with more than 200 different characters
(as Chinese ones begin), the last of them are not tried in the place of what was typed.
"""

from typing import Annotated, Final, NamedTuple
from uuid import UUID

import asyncpg
from litestar import Response, get
from litestar.params import QueryParameter

from townsquare.kit.asgi import AnyRequest
from townsquare.kit.cached_routes import cached
from townsquare.kit.database import Database
from townsquare.kit.dependencies import Db, DependsOn, MaybeViewer
from townsquare.kit.pages import DEFAULT_LIMIT, CursorText, Limit, Page, answer_page, decode_cursor, page_of
from townsquare.kit.problems import invalid
from townsquare.services.users.people import PersonItem, asking, person_item
from townsquare.strategies import SEARCH_RESULTS

MAX_QUERY: Final = 100

# Walks people_names_key_idx from the cursor on, and for each key one look into people_names' primary key: a person is
# shown once, for the first of their keys that begins so. It starts at the later of the key and the cursor: of two lower
# bounds PostgreSQL takes the row's, and would walk there from the first name of all. The constant inner limit tells the
# planner that only a page is wanted, also in a plan for any $6. `chr(1114111)` is the last character there is.
FIND_BEGINNING: Final = """
SELECT *
FROM (
    SELECT false AS typo, n.key, n.of_name, p.id, p.handle, p.display_name, p.avatar
    FROM people_names AS n
    JOIN people AS p ON p.id = n.person
    WHERE search_key($1) <> ''
      AND (n.key, n.of_name, n.person) > (greatest(search_key($1) COLLATE "C", $3), $4, $5)
      AND n.key < search_key($1) || chr(1114111)
      AND NOT EXISTS (
          SELECT FROM people_names AS earlier
          WHERE earlier.person = n.person AND earlier.key >= search_key($1) AND earlier.key < n.key
      )
      AND p.hidden_at IS NULL
      AND NOT EXISTS (SELECT FROM blocks AS b WHERE b.blocked = $2 AND b.blocker = p.id)
    ORDER BY n.key, n.of_name, n.person
    LIMIT 101
) AS found
ORDER BY key, of_name, id
LIMIT $6
"""

# What may have been meant, as far as somebody is called so: the ranges [key, past) of people_names_key_idx. Each order
# of the words is tried with each typo in its first word: `before` it all is right, then a letter is left out, swapped
# with the next, put in or replaced. Which letters that can be the index itself tells, by one look for each letter with
# which a name goes on after `before` ('!' is the first character after the blank): a hundred or two for a common name,
# however many people have it. At most 200 are tried in a place, in the order of their codes: all of several alphabets, but
# not each of the thousands of Chinese characters that may begin a name. The limit of 61 tells the planner how few places
# a word has.
FIND_SPELLINGS: Final = """
WITH RECURSIVE asked AS (
    SELECT word, substr(key, char_length(word) + 1) AS rest, CASE key WHEN word THEN '!' ELSE chr(1114111) END AS past
    FROM search_keys($1) AS key, split_part(key, ' ', 1) AS word
    WHERE char_length(word) >= 3
), places AS (
    SELECT asked.*, place, left(word, place) COLLATE "C" AS before
    FROM asked, LATERAL (SELECT generate_series(0, char_length(word)) AS place LIMIT 61) AS of_word
), letters AS (
    SELECT places.*, NULL COLLATE "C" AS letter, before || '!' AS next, 0 AS tried
    FROM places
    UNION ALL
    SELECT word, rest, past, place, before, n.letter, before || n.letter || chr(1114111), tried + 1
    FROM letters, LATERAL (
        SELECT substr(key, place + 1, 1) AS letter
        FROM people_names
        WHERE key >= next AND key < before || chr(1114111)
        ORDER BY key
        LIMIT 1
    ) AS n
    WHERE tried < 200
), spelled AS (
    SELECT before || substr(word, place + 2) || rest AS key, past FROM places
    UNION
    SELECT before || reverse(substr(word, place + 1, 2)) || substr(word, place + 3) || rest, past FROM places
    UNION
    SELECT before || letter || substr(word, place + 1) || rest, past FROM letters WHERE letter IS NOT NULL
    UNION
    SELECT before || letter || substr(word, place + 2) || rest, past FROM letters WHERE letter IS NOT NULL
)
SELECT s.key, s.key || s.past AS past
FROM spelled AS s
WHERE NOT starts_with(s.key, (SELECT search_key($1)))
  AND EXISTS (SELECT FROM people_names AS n WHERE n.key >= s.key AND n.key < s.key || s.past)
"""

# Walks each of the ranges $7 to $8 in people_names_key_idx from the cursor on, for a page at most, and sorts what it
# finds. In people_names' primary key it sees who was found by a beginning, or by an earlier key, or in an earlier range:
# that of "anna" holds that of "anna b".
FIND_TYPOS: Final = """
WITH near AS MATERIALIZED (
    SELECT key COLLATE "C" AS key, past, key COLLATE "C" <= $3 AS begun
    FROM unnest($7::text[], $8::text[]) AS meant (key, past)
)
SELECT true AS typo, found.*
FROM near, LATERAL (
    SELECT n.key, n.of_name, p.id, p.handle, p.display_name, p.avatar
    FROM people_names AS n
    JOIN people AS p ON p.id = n.person
    WHERE (n.key, n.of_name, n.person) > (
          greatest(near.key, $3),
          begun AND $4,
          CASE WHEN begun THEN $5 ELSE '00000000-0000-0000-0000-000000000000'::uuid END
      )
      AND n.key < near.past
      AND NOT EXISTS (
          SELECT FROM people_names AS better
          WHERE better.person = n.person
            AND better.key >= (SELECT search_key($1)) AND better.key < (SELECT search_key($1)) || chr(1114111)
      )
      AND NOT EXISTS (
          SELECT FROM people_names AS earlier, near AS also
          WHERE earlier.person = n.person AND earlier.key >= also.key AND earlier.key < also.past
            AND earlier.key <= n.key AND (earlier.key, also.key) < (n.key, near.key)
      )
      AND p.hidden_at IS NULL
      AND NOT EXISTS (SELECT FROM blocks AS b WHERE b.blocked = $2 AND b.blocker = p.id)
    ORDER BY n.key, n.of_name, n.person
    LIMIT 101
) AS found
ORDER BY key, of_name, id
LIMIT $6
"""


class Place(NamedTuple):
    """Where somebody stands in the results."""

    typo: bool
    key: str
    of_name: bool
    person: UUID


_FIRST: Final = Place(typo=False, key="", of_name=False, person=UUID(int=0))
_FIRST_TYPO: Final = _FIRST._replace(typo=True)


@get("/search", opt=cached(SEARCH_RESULTS, "plain", "q", "limit", "cursor", tags=("people",)))
async def search_people(
    request: AnyRequest,
    db: Db,
    viewer: MaybeViewer,
    depends: DependsOn,
    q: Annotated[str, QueryParameter(description="A handle or a name, or the beginning of one of its words.")],
    limit: Limit = DEFAULT_LIMIT,
    cursor: CursorText = None,
) -> Response[Page[PersonItem]]:
    """Find people by handle and name, also with a typo, best first."""
    wanted = q.strip()
    if not 1 <= len(wanted) <= MAX_QUERY:
        raise invalid("?q", f"Say in 1 to {MAX_QUERY} characters whom you look for.")
    depends.on("people")
    after = decode_cursor(cursor, Place) or _FIRST
    rows = await _find(db, wanted, asking(viewer), after, limit + 1)
    return answer_page(request, page_of(rows, limit, person_item, _place))


async def _find(db: Database, wanted: str, viewer: UUID | None, after: Place, count: int) -> list[asyncpg.Record]:
    rows: list[asyncpg.Record] = []
    if not after.typo:
        rows = await db.fetch(FIND_BEGINNING, wanted, viewer, after.key, after.of_name, after.person, count)
        after = _FIRST_TYPO
    if len(rows) < count:
        rows += await _find_typos(db, wanted, viewer, after, count - len(rows))
    return rows


async def _find_typos(db: Database, wanted: str, viewer: UUID | None, after: Place, count: int) -> list[asyncpg.Record]:
    near = await db.fetch(FIND_SPELLINGS, wanted)
    if not near:
        return []
    keys, pasts = [row["key"] for row in near], [row["past"] for row in near]
    return await db.fetch(FIND_TYPOS, wanted, viewer, after.key, after.of_name, after.person, count, keys, pasts)


def _place(row: asyncpg.Record) -> Place:
    return Place(row["typo"], row["key"], row["of_name"], row["id"])


ROUTES: Final = (search_people,)
