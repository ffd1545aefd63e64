"""What media keeps of people and blocks: told by the users service, asked by everything here.

The rows are derived: they can be dropped and read again from the first event. `version` is the event's id, which
grows with each change of one key, so an event that comes late or twice changes nothing.
"""

from typing import Final
from uuid import UUID

import msgspec
from msgspec import Struct

from townsquare.kit.database import Connection, Database, rows_affected
from townsquare.kit.identity import Viewer
from townsquare.kit.jobs import enqueue
from townsquare.kit.outbox import Event, NewEvent, insert_events
from townsquare.kit.problems import Problem, not_found
from townsquare.kit.readers import Reader
from townsquare.kit.user_ids import read_user_id
from townsquare.kit.writes import Write


class PersonTold(Struct, frozen=True):
    """The state of a person; of somebody deleted, nothing but that is told, and whether it is for good (`purged`)."""

    handle: str = ""
    deleted: bool = False
    purged: bool = False


class BlockTold(Struct, frozen=True):
    """The state of a block; its two people are the event's key."""

    deleted: bool = False


class Departed(Struct, frozen=True):
    """Somebody whose account was deleted for good."""

    id: UUID


OWNER: Final = "owner:{person}"
"""What changes when somebody goes or is back: their files, and every list that shows one or goes on with one."""

RETURNED: Final = "returned"
"""What changes when somebody is back who had left: everything that lists the files of many, since it cannot name what it
does not show. It happens rarely."""

PERSON_TAGS: Final = (OWNER, "handle:{handle}", RETURNED)
"""What changes with a person, as templates. How they are called changes nothing but whom a handle names."""

FORGET_FILES: Final = "forget-files"
"""The job of `departures.py`, which deletes the files of a `Departed`."""

# By the primary key of blocks, and by blocks_blocked_idx; stops at the first row of each.
STANDING: Final = """
SELECT NOT EXISTS (SELECT FROM blocks WHERE blocker = $1 AND active)
   AND NOT EXISTS (SELECT FROM blocks WHERE blocked = $1 AND active)
"""

# Both leave out who has blocked $2, by the primary key of blocks. By primary key:
PERSON_BY_ID: Final = """
SELECT o.id
FROM people AS o
WHERE o.id = $1 AND NOT o.hidden
  AND (SELECT b.active FROM blocks AS b WHERE b.blocker = o.id AND b.blocked = $2) IS NOT TRUE
"""

# By people_handle_idx; more than one row only while a handle changes hands.
PERSON_BY_HANDLE: Final = """
SELECT o.id
FROM people AS o
WHERE o.handle = $1 AND NOT o.hidden
  AND (SELECT b.active FROM blocks AS b WHERE b.blocker = o.id AND b.blocked = $2) IS NOT TRUE
ORDER BY o.version DESC
LIMIT 1
"""

# By primary key.
READ_PERSON: Final = "SELECT handle, hidden FROM people WHERE id = $1"

# Who is about to leave waits for what they have begun: what came behind their departure would never be deleted.
LOCK_PERSON: Final = f"{READ_PERSON} FOR NO KEY UPDATE"

ADD_OWNER: Final = "INSERT INTO people (id, handle) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING"

TELL_PERSON: Final = """
INSERT INTO people (id, handle, version)
VALUES ($1, $2, $3)
ON CONFLICT (id) DO UPDATE
SET handle = excluded.handle, hidden = false, version = excluded.version
WHERE people.version < excluded.version
"""

HIDE_PERSON: Final = """
INSERT INTO people (id, handle, hidden, version)
VALUES ($1, '', true, $2)
ON CONFLICT (id) DO UPDATE
SET hidden = true, version = excluded.version
WHERE people.version < excluded.version
"""

# Nothing is left but the id: the files refer to it until `departures.py` has deleted them.
PURGE_PERSON: Final = """
INSERT INTO people (id, handle, hidden, version)
VALUES ($1, '', true, $2)
ON CONFLICT (id) DO UPDATE
SET handle = '', hidden = true, version = excluded.version
WHERE people.version < excluded.version
"""

TELL_BLOCK: Final = """
INSERT INTO blocks (blocker, blocked, active, version)
VALUES ($1, $2, $3, $4)
ON CONFLICT (blocker, blocked) DO UPDATE
SET active = excluded.active, version = excluded.version
WHERE blocks.version < excluded.version
"""


def asking(viewer: Viewer | None) -> UUID | None:
    """Return who asks, as the queries take it."""
    return None if viewer is None else viewer.id


async def find_person(db: Database, user_id: str, viewer: UUID | None) -> UUID:
    """Return whom `{user_id}` (a UUID or `@handle`) names; raises the 404 for nobody whom the viewer can see."""
    named = read_user_id(user_id)
    if named is None:
        raise not_found()
    row = await db.fetchrow(PERSON_BY_ID if isinstance(named, UUID) else PERSON_BY_HANDLE, named, viewer)
    if row is None:
        raise not_found()
    return row["id"]


def handle_tag(user_id: str) -> tuple[str, ...]:
    """Return the tag of an answer about whom a handle names; none for an id, which names one person for ever."""
    named = read_user_id(user_id)
    return (f"handle:{named}",) if isinstance(named, str) else ()


async def ensure_owner(write: Write, person: Viewer) -> None:
    """Make sure that an owner has a row, from the token when the event has not come yet; refuses the deleted.

    Whatever is kept of a person begins with this, and their departure waits for its end.

    Raises the problem `forbidden` for somebody whose account is gone and whose token is still running.
    """
    row = await write.fetchrow(LOCK_PERSON, person.id)
    if row is None:
        await write.execute(ADD_OWNER, person.id, person.handle)
    elif row["hidden"]:
        raise Problem("forbidden", "This account has been deleted.")


# --- events --------------------------------------------------------------------------------------------------------
# What changes here changes cached answers of this service, so each change is told on, under this service's own tags.


async def person_told(connection: Connection, event: Event) -> None:
    """Take over a handle, or hide somebody and all their files, which go if they left for good."""
    person = msgspec.json.decode(event.payload, type=PersonTold)
    key = UUID(event.key)
    # Nobody else hides people or shows them again, and whoever reads holds the checkpoint's lock.
    before = await connection.fetchrow(READ_PERSON, key)
    if person.deleted and person.purged:
        status = await connection.execute(PURGE_PERSON, key, event.id)
        await enqueue(connection, FORGET_FILES, Departed(key))
    elif person.deleted:
        status = await connection.execute(HIDE_PERSON, key, event.id)
    else:
        status = await connection.execute(TELL_PERSON, key, person.handle, event.id)
    if before is None or not rows_affected(status):
        return
    tags = _tags_of(key, person, str(before["handle"]), was_hidden=bool(before["hidden"]))
    if tags:
        await _tell_on(connection, event, *tags)


def _tags_of(key: UUID, person: PersonTold, handle: str, *, was_hidden: bool) -> list[str]:
    """Name what changes. Of somebody who is called as before, and as much there as before, nothing does."""
    tags: list[str] = []
    if person.deleted != was_hidden:
        tags.append(OWNER.format(person=key))
    if was_hidden and not person.deleted:
        tags.append(RETURNED)
    if not person.deleted and person.handle != handle:
        tags += [f"handle:{name}" for name in (handle, person.handle) if name]
    return tags


async def block_told(connection: Connection, event: Event) -> None:
    """Begin or end a block, which changes what both people see."""
    told = msgspec.json.decode(event.payload, type=BlockTold)
    blocker, _, blocked = event.key.partition(":")
    status = await connection.execute(TELL_BLOCK, UUID(blocker), UUID(blocked), not told.deleted, event.id)
    if rows_affected(status):
        await _tell_on(connection, event, f"blocks:{blocker}", f"blocks:{blocked}")


async def _tell_on(connection: Connection, event: Event, *tags: str) -> None:
    await insert_events(connection, [NewEvent(f"{event.topic}_seen", event.key, tags, {})])


READER: Final = Reader("users", {"person": person_told, "block": block_told})
