"""What content keeps of people, follows, blocks and mutes: told by the users service, asked by everything here.

The rows are derived: they can be dropped and read again from the first event. `version` is the event's id, which
grows with each change of one key, so an event that comes late or twice changes nothing.
"""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

import msgspec
from msgspec import Struct

from townsquare.kit.database import Connection, Database, rows_affected
from townsquare.kit.identity import Viewer
from townsquare.kit.jobs import enqueue
from townsquare.kit.outbox import Event, NewEvent, insert_events
from townsquare.kit.problems import Problem
from townsquare.kit.readers import Reader
from townsquare.kit.user_ids import read_user_id
from townsquare.kit.writes import Write


class PersonTold(Struct, frozen=True):
    """The state of a person; of somebody deleted, nothing but that is told, and whether it is for good (`purged`)."""

    handle: str = ""
    display_name: str = ""
    avatar: str | None = None
    deleted: bool = False
    purged: bool = False


class RelationTold(Struct, frozen=True):
    """The state of a follow, a block or a mute; its two people are the event's key."""

    deleted: bool = False


class Departed(Struct, frozen=True):
    """Somebody whose account was deleted for good."""

    id: UUID


LEFT: Final = "left:{person}"
"""What changes when somebody goes: what they wrote, what stands below it, and whether there is more of it."""

RETURNED: Final = "returned"
"""What changes when somebody is back who had left: everything that lists what many wrote, since it cannot name what it does
not show. It happens rarely."""

FORGET_PERSON: Final = "forget-person"
"""The job of `departures.py`, which deletes what a `Departed` has left."""

# Both leave out who has blocked $2, by the primary key of blocks. By primary key:
PERSON_BY_ID: Final = """
SELECT a.id
FROM people AS a
WHERE a.id = $1 AND NOT a.hidden
  AND (SELECT b.active FROM blocks AS b WHERE b.blocker = a.id AND b.blocked = $2) IS NOT TRUE
"""

# By people_handle_idx; more than one row only while a handle changes hands.
PERSON_BY_HANDLE: Final = """
SELECT a.id
FROM people AS a
WHERE a.handle = $1 AND NOT a.hidden
  AND (SELECT b.active FROM blocks AS b WHERE b.blocker = a.id AND b.blocked = $2) IS NOT TRUE
ORDER BY a.version DESC
LIMIT 1
"""

# By people_handle_idx, once for each handle.
IDS_BY_HANDLES: Final = """
SELECT DISTINCT ON (handle) id
FROM people
WHERE handle = ANY($1) AND NOT hidden
ORDER BY handle, version DESC
"""

# By primary key.
IS_HIDDEN: Final = "SELECT hidden FROM people WHERE id = $1"

ADD_AUTHOR: Final = """
INSERT INTO people (id, handle, display_name)
VALUES ($1, $2, $3)
ON CONFLICT (id) DO NOTHING
"""

TELL_PERSON: Final = """
INSERT INTO people (id, handle, display_name, avatar, version)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (id) DO UPDATE
SET handle = excluded.handle, display_name = excluded.display_name, avatar = excluded.avatar,
    hidden = false, version = excluded.version
WHERE people.version < excluded.version
"""

HIDE_PERSON: Final = """
INSERT INTO people (id, handle, display_name, hidden, version)
VALUES ($1, '', '', true, $2)
ON CONFLICT (id) DO UPDATE
SET hidden = true, version = excluded.version
WHERE people.version < excluded.version
"""

# Nothing is left but the id: what the person wrote refers to it until `departures.py` has deleted that.
PURGE_PERSON: Final = """
INSERT INTO people (id, handle, display_name, hidden, version)
VALUES ($1, '', '', true, $2)
ON CONFLICT (id) DO UPDATE
SET handle = '', display_name = '', avatar = NULL, hidden = true, version = excluded.version
WHERE people.version < excluded.version
"""

TELL_FOLLOW: Final = """
INSERT INTO follows (follower, followee, active, version)
VALUES ($1, $2, $3, $4)
ON CONFLICT (follower, followee) DO UPDATE
SET active = excluded.active, version = excluded.version
WHERE follows.version < excluded.version
"""

TELL_BLOCK: Final = """
INSERT INTO blocks (blocker, blocked, active, version)
VALUES ($1, $2, $3, $4)
ON CONFLICT (blocker, blocked) DO UPDATE
SET active = excluded.active, version = excluded.version
WHERE blocks.version < excluded.version
"""

TELL_MUTE: Final = """
INSERT INTO mutes (muter, muted, active, version)
VALUES ($1, $2, $3, $4)
ON CONFLICT (muter, muted) DO UPDATE
SET active = excluded.active, version = excluded.version
WHERE mutes.version < excluded.version
"""


async def find_person(db: Database, user_id: str, viewer: UUID | None) -> UUID | None:
    """Return whom `{user_id}` (a UUID or `@handle`) names, or None for nobody whom the viewer can see."""
    named = read_user_id(user_id)
    if named is None:
        return None
    row = await db.fetchrow(PERSON_BY_ID if isinstance(named, UUID) else PERSON_BY_HANDLE, named, viewer)
    return None if row is None else row["id"]


def handle_tag(user_id: str) -> tuple[str, ...]:
    """Return the tag of an answer about whom a handle names; none for an id, which names one person for ever."""
    named = read_user_id(user_id)
    return (f"handle:{named}",) if isinstance(named, str) else ()


async def ids_of_handles(write: Write, handles: Sequence[str]) -> list[UUID]:
    """Return the people who have these handles now; handles that nobody has are left out."""
    return [row["id"] for row in await write.fetch(IDS_BY_HANDLES, list(handles))] if handles else []


async def ensure_author(write: Write, person: Viewer) -> None:
    """Make sure that an author has a row, from the token when the event has not come yet; refuses the deleted.

    Whatever is kept of a person begins with this: what came behind their departure would never be deleted.

    Raises the problem `forbidden` for somebody whose account is gone and whose token is still running.
    """
    hidden = await write.fetchval(IS_HIDDEN, person.id)
    if hidden is None:
        await write.execute(ADD_AUTHOR, person.id, person.handle, person.name)
    elif hidden:
        raise Problem("forbidden", "This account has been deleted.")


# --- events --------------------------------------------------------------------------------------------------------
# What changes here changes cached answers of this service, so each change is told on, under this service's own tags.


async def person_told(connection: Connection, event: Event) -> None:
    """Take over a name, a handle or an avatar, or hide somebody and all they wrote, which goes if they left for good."""
    person = msgspec.json.decode(event.payload, type=PersonTold)
    key = UUID(event.key)
    # Nobody else hides people or shows them again, and whoever reads holds the checkpoint's lock.
    was_hidden = await connection.fetchval(IS_HIDDEN, key)
    if person.deleted and person.purged:
        status = await connection.execute(PURGE_PERSON, key, event.id)
        await enqueue(connection, FORGET_PERSON, Departed(key))
    elif person.deleted:
        status = await connection.execute(HIDE_PERSON, key, event.id)
    else:
        status = await connection.execute(TELL_PERSON, key, person.handle, person.display_name, person.avatar, event.id)
    if rows_affected(status):
        await _tell_on(connection, event, *_tags_of(key, person, was_hidden=bool(was_hidden)))


def _tags_of(key: UUID, person: PersonTold, *, was_hidden: bool) -> list[str]:
    tags = [f"author:{key}"]
    if person.handle:
        tags.append(f"handle:{person.handle}")  # a handle that changes hands is told by its new owner
    if person.deleted and not was_hidden:
        tags += [LEFT.format(person=key), "trending"]
    if was_hidden and not person.deleted:
        tags += [RETURNED, "trending"]
    return tags


async def follow_told(connection: Connection, event: Event) -> None:
    """Begin or end a follow."""
    follower, followee = _pair(event)
    if await _relate(connection, event, TELL_FOLLOW):
        await _tell_on(connection, event, f"follows:{follower}", f"follow:{follower}:{followee}")


async def block_told(connection: Connection, event: Event) -> None:
    """Begin or end a block, which changes what both people see."""
    blocker, blocked = _pair(event)
    if await _relate(connection, event, TELL_BLOCK):
        await _tell_on(connection, event, f"blocks:{blocker}", f"blocks:{blocked}")


async def mute_told(connection: Connection, event: Event) -> None:
    """Begin or end a mute."""
    muter, _ = _pair(event)
    if await _relate(connection, event, TELL_MUTE):
        await _tell_on(connection, event, f"mutes:{muter}")


async def _relate(connection: Connection, event: Event, sql: str) -> bool:
    told = msgspec.json.decode(event.payload, type=RelationTold)
    return rows_affected(await connection.execute(sql, *_pair(event), not told.deleted, event.id)) > 0


def _pair(event: Event) -> tuple[UUID, UUID]:
    one, _, other = event.key.partition(":")
    return UUID(one), UUID(other)


async def _tell_on(connection: Connection, event: Event, *tags: str) -> None:
    await insert_events(connection, [NewEvent(f"{event.topic}_seen", event.key, tags, {})])


READER: Final = Reader("users", {"person": person_told, "follow": follow_told, "block": block_told, "mute": mute_told})
