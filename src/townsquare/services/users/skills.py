"""Skills: what people say they can do, and how many others say so too.

A person has up to 100, each name once, whatever its case and spaces. The list is in alphabetical order, which
endorsements do not change, so it stays put while it is read page by page.
"""

import unicodedata
from typing import Annotated, Final, Literal, TypeAlias
from uuid import UUID

import asyncpg
from litestar import Response, delete, get, post
from litestar.params import FromPath, JSONBody
from msgspec import Meta, Struct

from townsquare.kit.asgi import AnyRequest
from townsquare.kit.cached_routes import cached, changes
from townsquare.kit.clock import now
from townsquare.kit.dependencies import Db, DependsOn, MaybeViewer, SignedIn, Transaction
from townsquare.kit.identity import Viewer
from townsquare.kit.ids import new_id
from townsquare.kit.pages import (
    DEFAULT_LIMIT,
    CursorText,
    Limit,
    Page,
    answer_page,
    decode_cursor,
    page_of,
)
from townsquare.kit.problems import FieldError, Problem, invalid, not_found
from townsquare.kit.text_types import LINE
from townsquare.kit.writes import Write
from townsquare.services.users.people import LEFT, find_person
from townsquare.services.users.skill_names import forget_name, name_key, remember_name
from townsquare.strategies import USER_SKILLS

MAX_SKILLS: Final = 100
MAX_NAME: Final = 50
MAX_KEY_BYTES: Final = 200
"""Of the key in UTF-8: it must fit into a cursor."""

SkillName: TypeAlias = Annotated[str, Meta(min_length=1, max_length=MAX_NAME, pattern=LINE)]
Level: TypeAlias = Literal["beginner", "intermediate", "advanced", "expert"]


class NewSkill(Struct, frozen=True, forbid_unknown_fields=True):
    """A skill as its owner names it."""

    name: SkillName
    level: Level


class Skill(Struct, frozen=True):
    """A skill of a person; `endorsements` is how many others say so too."""

    id: UUID
    name: str
    level: Level
    endorsements: int


# skills_person_name_key_idx, walked from the cursor on.
LIST_SKILLS: Final = """
SELECT id, name, name_key, level, endorsements
FROM skills
WHERE person = $1 AND name_key > $2
ORDER BY name_key
LIMIT $3
"""

# By primary key.
READ_SKILL: Final = """
SELECT id, name, level, endorsements
FROM skills
WHERE id = $1 AND person = $2
"""

# One row by primary key: who adds a skill waits here, so that the count below stays true.
LOCK_OWNER: Final = """
SELECT true
FROM people
WHERE id = $1
FOR NO KEY UPDATE
"""

# At most 100 entries of skills_person_name_key_idx.
COUNT_SKILLS: Final = "SELECT count(*) FROM skills WHERE person = $1"

ADD_SKILL: Final = """
INSERT INTO skills (id, person, name, name_key, level, created_at)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (person, name_key) DO NOTHING
RETURNING id, name, level, endorsements
"""

# By primary key; endorsements of it go by their own.
DELETE_SKILL: Final = """
DELETE FROM skills
WHERE id = $1 AND person = $2
RETURNING name_key
"""


@get(
    "/users/{user_id:str}/skills",
    opt=cached(USER_SKILLS, "plain", "limit", "cursor", tags=("skills:{person}", LEFT)),
)
async def list_skills(
    request: AnyRequest,
    db: Db,
    viewer: MaybeViewer,
    depends: DependsOn,
    user_id: FromPath[str],
    limit: Limit = DEFAULT_LIMIT,
    cursor: CursorText = None,
) -> Response[Page[Skill]]:
    """List a person's skills, in alphabetical order."""
    (after,) = decode_cursor(cursor, tuple[str]) or ("",)
    owner = await find_person(db, user_id, viewer)
    depends.on(f"skills:{owner}", LEFT.format(person=owner))
    rows = await db.fetch(LIST_SKILLS, owner, after, limit + 1)
    return answer_page(request, page_of(rows, limit, _skill, lambda row: (row["name_key"],)))


@get("/users/{user_id:str}/skills/{skill_id:uuid}")
async def read_skill(db: Db, viewer: MaybeViewer, user_id: FromPath[str], skill_id: FromPath[UUID]) -> Skill:
    """Read one skill of a person."""
    owner = await find_person(db, user_id, viewer)
    row = await db.fetchrow(READ_SKILL, skill_id, owner)
    if row is None:
        raise not_found()
    return _skill(row)


@post("/users/{user_id:str}/skills", status_code=201, opt=changes("skills:{person}", "skills"))
async def add_skill(
    write: Transaction, person: SignedIn, user_id: FromPath[str], data: JSONBody[NewSkill]
) -> Response[Skill]:
    """Add a skill to your own; the same name twice is refused, whatever its case and spaces."""
    owner = await _own(write, user_id, person)
    name, key = _normal(data.name)
    await write.execute(LOCK_OWNER, owner)
    row = await write.fetchrow(ADD_SKILL, new_id(), owner, name, key, data.level, now())
    if row is None:
        raise Problem("taken", "You have this skill already.", errors=[FieldError("/name", "You have it already.")])
    if await write.fetchval(COUNT_SKILLS, owner) > MAX_SKILLS:
        raise Problem("invalid", f"You have {MAX_SKILLS} skills already; nobody can have more.")
    await remember_name(write, key, name)
    skill = _skill(row)
    write.emit("skill", skill.id, {"id": skill.id, "person": owner, "name": name, "level": skill.level}, _tags(owner))
    return Response(skill, headers={"Location": f"/users/{owner}/skills/{skill.id}"})


@delete("/users/{user_id:str}/skills/{skill_id:uuid}", status_code=204, opt=changes("skills:{person}", "skills"))
async def delete_skill(write: Transaction, person: SignedIn, user_id: FromPath[str], skill_id: FromPath[UUID]) -> None:
    """Take a skill from your own, and its endorsements with it."""
    owner = await _own(write, user_id, person)
    await write.execute(LOCK_OWNER, owner)
    key = await write.fetchval(DELETE_SKILL, skill_id, owner)
    if key is None:
        raise not_found()
    await forget_name(write, key)
    write.emit("skill", skill_id, {"id": skill_id, "person": owner, "deleted": True}, _tags(owner))


async def _own(write: Write, user_id: str, person: Viewer) -> UUID:
    owner = await find_person(write, user_id, person)
    if owner != person.id:
        raise Problem("forbidden", "Only their owner can change somebody's skills.")
    return owner


def _normal(name: str) -> tuple[str, str]:
    """Return the name as it is shown, and the key under which it is the same as others."""
    shown = " ".join(unicodedata.normalize("NFKC", name).split())
    key = name_key(shown)
    if not key:
        raise invalid("/name", "A skill needs a name.")
    # A few signs become many when they are normalised.
    if len(shown) > MAX_NAME or len(key.encode()) > MAX_KEY_BYTES:
        raise invalid("/name", f"The name of a skill has at most {MAX_NAME} characters.")
    return shown, key


def _tags(owner: UUID) -> tuple[str, str]:
    return f"skills:{owner}", "skills"


def _skill(row: asyncpg.Record) -> Skill:
    return Skill(row["id"], row["name"], row["level"], row["endorsements"])


ROUTES: Final = (list_skills, read_skill, add_skill, delete_skill)
