"""The skills that somebody has, by name, with how many have each: what a person who adds one is offered.

The most common come first. A count may change while the list is read page by page, and a name then moves: it can be seen
twice or not at all, as in every list that is sorted by what changes.
"""

import unicodedata
from typing import Annotated, Final, TypeAlias
from uuid import UUID

import asyncpg
from litestar import Response, get
from litestar.params import QueryParameter
from msgspec import Meta, Struct

from townsquare.kit.asgi import AnyRequest
from townsquare.kit.cached_routes import cached
from townsquare.kit.database import Connection
from townsquare.kit.dependencies import Db, DependsOn
from townsquare.kit.outbox import NewEvent, insert_events
from townsquare.kit.pages import DEFAULT_LIMIT, CursorText, Limit, Page, answer_page, decode_cursor, page_of
from townsquare.kit.writes import Write
from townsquare.strategies import SKILLS

_SortedPeople: TypeAlias = Annotated[int, Meta(ge=-(2**31), lt=2**31)]


class KnownSkill(Struct, frozen=True):
    """A skill's name, spelled as by the first who had it, and how many have it."""

    name: str
    people: int


# Both walk an index from the cursor on: skill_names_people_idx, and skill_names_initial_people_idx past the names that
# begin with the same letter but not as they should. The constant inner limit tells the planner that only a page is
# wanted, also in a plan for any last argument.
LIST_NAMES: Final = """
SELECT *
FROM (
    SELECT name, name_key, people
    FROM skill_names
    WHERE (-people, name_key) > ($1::int, $2)
    ORDER BY -people, name_key
    LIMIT 101
) AS names
ORDER BY -people, name_key
LIMIT $3
"""

LIST_NAMES_BEGINNING: Final = """
SELECT *
FROM (
    SELECT name, name_key, people
    FROM skill_names
    WHERE left(name_key, 1) = left($4, 1)
      AND name_key >= $4
      AND name_key < $4 || chr(1114111)
      AND (-people, name_key) > ($1::int, $2)
    ORDER BY -people, name_key
    LIMIT 101
) AS names
ORDER BY -people, name_key
LIMIT $3
"""

# By primary key, both; the last lock that adding or deleting a skill takes.
REMEMBER: Final = """
INSERT INTO skill_names (name_key, name, people)
VALUES ($1, $2, 1)
ON CONFLICT (name_key) DO UPDATE SET people = skill_names.people + 1
"""

FORGET: Final = "UPDATE skill_names SET people = people - 1 WHERE name_key = $1"

FORGET_UNUSED: Final = "DELETE FROM skill_names WHERE name_key = $1 AND people = 0"

# At most 100 names, by skills_person_name_key_idx and the primary key, locked in the order of the sort.
LOCK_NAMES_OF: Final = """
SELECT name_key
FROM skill_names
WHERE name_key IN (SELECT name_key FROM skills WHERE person = $1)
ORDER BY name_key
FOR UPDATE
"""

_FIRST: Final = (-(2**31), "")


@get("/skills", opt=cached(SKILLS, "everybody", "q", "limit", "cursor", tags=("skills",)))
async def list_skill_names(
    request: AnyRequest,
    db: Db,
    depends: DependsOn,
    q: Annotated[str, QueryParameter(max_length=100, description="How the name begins.")] = "",
    limit: Limit = DEFAULT_LIMIT,
    cursor: CursorText = None,
) -> Response[Page[KnownSkill]]:
    """List the names of skills that people have, the most common first."""
    depends.on("skills")
    place = decode_cursor(cursor, tuple[_SortedPeople, str]) or _FIRST
    if beginning := name_key(q):
        rows = await db.fetch(LIST_NAMES_BEGINNING, *place, limit + 1, beginning)
    else:
        rows = await db.fetch(LIST_NAMES, *place, limit + 1)
    return answer_page(request, page_of(rows, limit, _known_skill, _place))


def name_key(name: str) -> str:
    """Return the key under which names that differ in case, width and spaces are the same."""
    shown = " ".join(unicodedata.normalize("NFKC", name).split())
    return unicodedata.normalize("NFKC", shown.casefold())


async def remember_name(write: Write, key: str, name: str) -> None:
    """Count one more person who has the skill."""
    await write.execute(REMEMBER, key, name)


async def forget_name(write: Write, key: str) -> None:
    """Count one person less; a name that nobody has is not known any more."""
    await write.execute(FORGET, key)
    await write.execute(FORGET_UNUSED, key)


async def forget_names_of(connection: Connection, person: UUID) -> None:
    """Count somebody who is about to be deleted out of the names of their skills."""
    keys = [row["name_key"] for row in await connection.fetch(LOCK_NAMES_OF, person)]
    for key in keys:
        await connection.execute(FORGET, key)
        await connection.execute(FORGET_UNUSED, key)
    if keys:
        told = NewEvent("skills_left", str(person), ("skills", f"skills:{person}"), {"person": person})
        await insert_events(connection, [told])


def _known_skill(row: asyncpg.Record) -> KnownSkill:
    return KnownSkill(row["name"], row["people"])


def _place(row: asyncpg.Record) -> tuple[int, str]:
    return -row["people"], row["name_key"]


ROUTES: Final = (list_skill_names,)
