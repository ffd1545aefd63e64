"""Endorsements: others say that somebody can do what they say they can. Each person once for each skill.

An endorsement can be given and withdrawn any number of times with the same result. Nobody endorses themselves.
"""

from typing import Final
from uuid import UUID

from litestar import delete, put
from litestar.params import FromPath

from townsquare.kit.cached_routes import changes
from townsquare.kit.clock import now
from townsquare.kit.database import Connection
from townsquare.kit.dependencies import SignedIn, Transaction
from townsquare.kit.identity import Viewer
from townsquare.kit.outbox import NewEvent, insert_events
from townsquare.kit.problems import Problem, not_found
from townsquare.kit.writes import Write

# By primary key. Who is being deleted is not there: what they endorse meanwhile would be counted for ever.
HOLD_ENDORSER: Final = "SELECT true FROM people WHERE id = $1 FOR SHARE"

# One skill, its owner and perhaps a block, each by primary key. The lock keeps the count and the order of events true.
LOCK_SKILL: Final = """
SELECT s.person
FROM skills AS s
JOIN people AS p ON p.id = s.person
WHERE s.id = $1
  AND p.hidden_at IS NULL
  AND NOT EXISTS (SELECT FROM blocks AS b WHERE b.blocked = $2 AND b.blocker = p.id)
FOR NO KEY UPDATE OF s
"""

# Both touch one row by the primary key and, if it changed, the skill, which is locked already.
ENDORSE: Final = """
WITH made AS (
    INSERT INTO endorsements (skill, endorser, since)
    VALUES ($1, $2, $3)
    ON CONFLICT DO NOTHING
    RETURNING skill
)
UPDATE skills AS s
SET endorsements = s.endorsements + 1
FROM made
WHERE s.id = made.skill
RETURNING true
"""

WITHDRAW: Final = """
WITH ended AS (
    DELETE FROM endorsements
    WHERE skill = $1 AND endorser = $2
    RETURNING skill
)
UPDATE skills AS s
SET endorsements = s.endorsements - 1
FROM ended
WHERE s.id = ended.skill
RETURNING true
"""

# By endorsements_endorser_idx and the primary key of skills, locked in the order of the sort.
LOCK_ENDORSED: Final = """
SELECT id
FROM skills
WHERE id IN (SELECT skill FROM endorsements WHERE endorser = $1)
ORDER BY id
FOR NO KEY UPDATE
"""

WITHDRAW_ALL: Final = """
WITH ended AS (
    DELETE FROM endorsements
    WHERE endorser = $1
    RETURNING skill
)
UPDATE skills AS s
SET endorsements = s.endorsements - 1
FROM ended
WHERE s.id = ended.skill
RETURNING s.id, s.person
"""


@put("/skills/{skill_id:uuid}/endorsement", status_code=204, opt=changes("skills:{person}"))
async def endorse(write: Transaction, person: SignedIn, skill_id: FromPath[UUID]) -> None:
    """Endorse somebody's skill; nothing changes for who did so already."""
    if await write.fetchval(HOLD_ENDORSER, person.id) is None:
        raise not_found()
    owner = await _lock(write, skill_id, person)
    if await write.fetchval(ENDORSE, skill_id, person.id, now()):
        _tell(write, skill_id, owner, person.id, deleted=False)


@delete("/skills/{skill_id:uuid}/endorsement", status_code=204, opt=changes("skills:{person}"))
async def withdraw_endorsement(write: Transaction, person: SignedIn, skill_id: FromPath[UUID]) -> None:
    """Withdraw your endorsement of a skill; nothing changes for who gave none."""
    owner = await _lock(write, skill_id, person)
    if await write.fetchval(WITHDRAW, skill_id, person.id):
        _tell(write, skill_id, owner, person.id, deleted=True)


async def withdraw_all_endorsements(connection: Connection, person: UUID) -> None:
    """Withdraw what somebody who is about to be deleted has endorsed: the tables' cascade would not count."""
    await connection.execute(LOCK_ENDORSED, person)
    ended = await connection.fetch(WITHDRAW_ALL, person)
    if ended:
        await insert_events(connection, [_event(row["id"], row["person"], person, deleted=True) for row in ended])


async def _lock(write: Write, skill: UUID, person: Viewer) -> UUID:
    owner = await write.fetchval(LOCK_SKILL, skill, person.id)
    if owner is None:
        raise not_found()
    if owner == person.id:
        raise Problem("forbidden", "Only others can endorse your skills.")
    return owner


def _tell(write: Write, skill: UUID, owner: UUID, endorser: UUID, *, deleted: bool) -> None:
    event = _event(skill, owner, endorser, deleted=deleted)
    write.emit(event.topic, event.key, event.payload, event.tags)


def _event(skill: UUID, owner: UUID, endorser: UUID, *, deleted: bool) -> NewEvent:
    payload: dict[str, object] = {"skill": skill, "person": owner, "endorser": endorser}
    return NewEvent(
        "endorsement", f"{skill}:{endorser}", (f"skills:{owner}",), payload | ({"deleted": True} if deleted else {})
    )


ROUTES: Final = (endorse, withdraw_endorsement)
