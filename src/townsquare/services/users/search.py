"""Finding people by handle and name, best first.

First come those whose handle or name, from any of its words on, begins with what was typed, in alphabetical order, so that
who is called exactly so stands before the longer ones, and a handle before an equal name. Then come those who are
one typo away: in one word a letter is missing, one too many, another one, or two are swapped, and the other words
begin as they were typed. Accents, case, punctuation and the order of the words make no difference. A word of
fewer than three letters is not taken for a typo of another.
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
# shown once, for the first of their keys that begins so. The constant inner limit tells the planner that only a page
# is wanted, also in a plan for any $6. `chr(1114111)` is the last character there is.
FIND_BEGINNING: Final = """
SELECT *
FROM (
    SELECT false AS typo, n.key, n.of_name, p.id, p.handle, p.display_name, p.avatar
    FROM people_names AS n
    JOIN people AS p ON p.id = n.person
    WHERE search_key($1) <> ''
      AND n.key >= search_key($1)
      AND n.key < search_key($1) || chr(1114111)
      AND (n.key, n.of_name, n.person) > ($3, $4, $5)
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

# Each order of the words that were typed is looked up by its first word, in people_names_short_word_idx and
# people_names_long_word_idx; reads all that may be one typo away from it (the trigrams' default threshold of 0.3 lets
# every typo in nine letters or more pass), and sorts those that are.
FIND_TYPOS: Final = """
WITH asked AS (
    SELECT key, split_part(key, ' ', 1) AS word
    FROM search_keys($1) AS key
    WHERE char_length(split_part(key, ' ', 1)) >= 3
), near AS (
    SELECT n.person, n.key, n.word, asked.word AS asked_word, asked.key AS asked_key
    FROM asked
    JOIN people_names AS n ON char_length(n.word) <= 8 AND one_letter_less(n.word) && one_letter_less(asked.word)
    UNION ALL
    SELECT n.person, n.key, n.word, asked.word, asked.key
    FROM asked
    JOIN people_names AS n ON char_length(n.word) > 8 AND n.word % asked.word
), found AS (
    SELECT person, min(key) AS key
    FROM near
    WHERE abs(char_length(word) - char_length(asked_word)) <= 1
      AND starts_with(key, word || substr(asked_key, char_length(asked_word) + 1))
      AND one_typo_apart(word, asked_word)
    GROUP BY person
)
SELECT true AS typo, f.key, true AS of_name, p.id, p.handle, p.display_name, p.avatar
FROM found AS f
JOIN people AS p ON p.id = f.person
WHERE (f.key, f.person) > ($3, $4)
  AND NOT EXISTS (
      SELECT FROM people_names AS n
      WHERE n.person = f.person AND n.key >= search_key($1) AND n.key < search_key($1) || chr(1114111)
  )
  AND p.hidden_at IS NULL
  AND NOT EXISTS (SELECT FROM blocks AS b WHERE b.blocked = $2 AND b.blocker = p.id)
ORDER BY f.key, f.person
LIMIT $5
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
        rows += await db.fetch(FIND_TYPOS, wanted, viewer, after.key, after.person, count - len(rows))
    return rows


def _place(row: asyncpg.Record) -> Place:
    return Place(row["typo"], row["key"], row["of_name"], row["id"])


ROUTES: Final = (search_people,)
