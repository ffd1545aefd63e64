"""Two people between whom something changes: found, and locked in one order.

Follows and blocks change the counts of both. Whoever locks two people locks the one with the lower id first, so that no two
requests ever wait for each other.
"""

from typing import Final
from uuid import UUID

from townsquare.kit.identity import Viewer
from townsquare.kit.problems import Problem, not_found
from townsquare.kit.writes import Write
from townsquare.services.users.people import FIND_BY_HANDLE, FIND_BY_ID, find_person, person_key

# Two rows by the primary key, locked in the order of the sort below the lock.
LOCK_PAIR: Final = """
SELECT id, following
FROM people
WHERE id = ANY($1::uuid[])
ORDER BY id
FOR NO KEY UPDATE
"""

# One row by the primary key.
IS_BLOCKED: Final = "SELECT true FROM blocks WHERE blocked = $1 AND blocker = $2"


async def find_other(write: Write, user_id: str, person: Viewer, verb: str) -> UUID:
    """Return the id of somebody else whom the person may see; raises the 404, and the 422 for oneself.

    `verb` is for the sentence, for example `follow`.
    """
    other = await find_person(write, user_id, person)
    if other == person.id:
        raise Problem("invalid", f"You cannot {verb} yourself.")
    return other


async def find_undoable(write: Write, user_id: str, person: Viewer, verb: str) -> UUID:
    """Return the id of somebody else, though they may have blocked the person; raises as `find_other` does.

    What one did to somebody can be undone whatever they do: see `undo`.
    """
    by_id, handle = person_key(user_id)
    row = await write.fetchrow(FIND_BY_ID if handle is None else FIND_BY_HANDLE, by_id or handle, None)
    if row is None:
        raise not_found()
    if row["id"] == person.id:
        raise Problem("invalid", f"You cannot {verb} yourself.")
    return row["id"]


async def lock_pair(write: Write, person: UUID, other: UUID) -> int:
    """Lock both people until the transaction ends; returns how many `person` follows. Raises the 404.

    What a write decides by (blocks, follows, counts) must be read behind this lock.
    """
    rows = await write.fetch(LOCK_PAIR, [person, other])
    following = {row["id"]: row["following"] for row in rows}
    if len(following) != 2:
        raise not_found()
    return following[person]


async def has_blocked(write: Write, blocker: UUID, blocked: UUID) -> bool:
    """True when `blocker` has blocked `blocked`."""
    return await write.fetchval(IS_BLOCKED, blocked, blocker) is not None


async def undo(write: Write, statement: str, person: UUID, other: UUID) -> bool:
    """Run a `DELETE` of what `person` did to `other`; False when there was nothing.

    Raises the 404 when there was nothing and the other has blocked the person, to whom they must not seem to exist.
    """
    if await write.fetchval(statement, person, other):
        return True
    if await has_blocked(write, other, person):
        raise not_found()
    return False
