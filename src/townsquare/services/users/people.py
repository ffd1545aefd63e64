"""Who is meant by `{user_id}`, who may see them, and how they look in a list.

A person is named by a UUID or by `@handle`. Whoever does not exist, is hidden, or has blocked the one who asks is not
there: 404, and the three look the same.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Final, Protocol, TypeAlias
from uuid import UUID

import asyncpg
from msgspec import Meta, Struct

from townsquare.kit.depends import Depends
from townsquare.kit.identity import Viewer
from townsquare.kit.pages import decode_cursor
from townsquare.kit.problems import not_found
from townsquare.kit.user_ids import read_user_id
from townsquare.kit.writes import Write


class PersonItem(Struct, frozen=True, omit_defaults=True):
    """A person in a list."""

    id: UUID
    handle: str
    display_name: str
    avatar: str | None = None


class Source(Protocol):
    """What a row can be read from: the pool, or the transaction of a write."""

    async def fetchrow(self, sql: str, *arguments: object) -> asyncpg.Record | None:
        """Return the first row, or None."""
        ...


# One row by the primary key, and at most one of blocks by its own. $2 is null for somebody who is not signed in.
FIND_BY_ID: Final = """
SELECT p.id
FROM people AS p
WHERE p.id = $1
  AND p.hidden_at IS NULL
  AND NOT EXISTS (SELECT FROM blocks AS b WHERE b.blocked = $2 AND b.blocker = p.id)
"""

# The same by people_handle_idx.
FIND_BY_HANDLE: Final = """
SELECT p.id
FROM people AS p
WHERE p.handle = $1
  AND p.hidden_at IS NULL
  AND NOT EXISTS (SELECT FROM blocks AS b WHERE b.blocked = $2 AND b.blocker = p.id)
"""


def person_key(user_id: str) -> tuple[UUID | None, str | None]:
    """Read `{user_id}`: the id or the handle, the other is None; raises the 404 for anything else."""
    match read_user_id(user_id):
        case UUID() as by_id:
            return by_id, None
        case str() as handle:
            return None, handle
        case None:
            raise not_found()


async def find_person(source: Source, user_id: str, viewer: Viewer | None) -> UUID:
    """Return the id of the person meant, if the viewer may see them; raises the 404."""
    by_id, handle = person_key(user_id)
    row = await source.fetchrow(FIND_BY_ID if handle is None else FIND_BY_HANDLE, by_id or handle, asking(viewer))
    if row is None:
        raise not_found()
    return row["id"]


def asking(viewer: Viewer | None) -> UUID | None:
    """Return who asks, as the queries take it."""
    return None if viewer is None else viewer.id


def person_item(row: asyncpg.Record) -> PersonItem:
    """Make the list's item from a row that has its four columns."""
    return PersonItem(row["id"], row["handle"], row["display_name"], row["avatar"])


SinceCursor: TypeAlias = tuple[Annotated[datetime, Meta(tz=True)], UUID]
_BEFORE_ALL: Final[SinceCursor] = (datetime(9999, 1, 1, tzinfo=UTC), UUID(int=2**128 - 1))


def before_cursor(cursor: str | None) -> SinceCursor:
    """Read the cursor of a list of people that is newest first: since when the last one shown is in it, and who."""
    return decode_cursor(cursor, SinceCursor) or _BEFORE_ALL


def since_and_id(row: asyncpg.Record) -> SinceCursor:
    """Return a row's place in such a list."""
    return row["since"], row["id"]


PERSON_TAGS: Final = ("profile:{person}", "person:{person}", "people")
"""What changes when somebody comes, or is called or looks otherwise: their profile, what shows them in a list, and what
people are found by. A handle is its owner's for ever, so nothing depends on one."""

LEFT: Final = "left:{person}"
"""What changes, besides, when somebody goes: what is listed under their name."""

RETURNED: Final = "returned"
"""What changes, besides, when somebody is back who had left: every list of people, since a list cannot name whom it does
not show. It happens rarely."""


def person_tags(person: UUID, *more: str) -> list[str]:
    """Name what changes with a person; `more` are LEFT and RETURNED."""
    return [template.format(person=person) for template in (*PERSON_TAGS, *more)]


def depend_on_people(depends: Depends, rows: Sequence[asyncpg.Record], limit: int) -> None:
    """Say that a list was made of these rows. The one too many is not shown, but while it is there, there is more."""
    depends.on(RETURNED, *(f"person:{row['id']}" for row in rows[:limit]))
    depends.on(*(LEFT.format(person=row["id"]) for row in rows[limit:]))


def tell_person(write: Write, person: UUID, handle: str, display_name: str, avatar: str | None, *more: str) -> None:
    """Tell other services how a person is called and looks; whatever shows it, or depends on `more`, is out of date."""
    payload = {"id": person, "handle": handle, "display_name": display_name, "avatar": avatar}
    write.emit("person", person, payload, person_tags(person, *more))
