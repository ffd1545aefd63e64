"""How many posts each person has, as the content service tells it, shown on their profile.

The counts of a batch are taken over together: the people are locked first, the lower id before the higher, as whoever
locks more than one does. One by one, in the order of the events, a follow and a batch could wait for each other.
"""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

import msgspec
from msgspec import Struct

from townsquare.kit.database import Connection
from townsquare.kit.outbox import Event, NewEvent, insert_events
from townsquare.kit.readers import Reader


class PostCountTold(Struct, frozen=True):
    """How many posts a person has."""

    person: UUID
    posts: int


# By primary key, locked in the order of the sort below the lock.
LOCK_PEOPLE: Final = """
SELECT id
FROM people
WHERE id = ANY($1::uuid[])
ORDER BY id
FOR NO KEY UPDATE
"""

# By primary key; an event that is not newer than what is known changes nothing.
SET_POSTS: Final = """
UPDATE people AS p
SET posts = told.posts, posts_version = told.version
FROM unnest($1::uuid[], $2::int[], $3::bigint[]) AS told (id, posts, version)
WHERE p.id = told.id AND p.posts_version < told.version
RETURNING p.id
"""


async def post_counts_told(connection: Connection, events: Sequence[Event]) -> None:
    """Take over the newest count of each person whom the events name."""
    newest: dict[UUID, tuple[int, int]] = {}
    for event in events:
        told = msgspec.json.decode(event.payload, type=PostCountTold)
        newest[told.person] = max(newest.get(told.person, (0, 0)), (event.id, told.posts))
    people = list(newest)
    versions, posts = zip(*newest.values(), strict=True)
    await connection.execute(LOCK_PEOPLE, people)
    changed = [row["id"] for row in await connection.fetch(SET_POSTS, people, posts, versions)]
    if changed:
        await insert_events(connection, [_changed(person) for person in changed])


def _changed(person: UUID) -> NewEvent:
    return NewEvent("profile", str(person), (f"profile:{person}",), {"id": person})


READER: Final = Reader("content", {}, {"post_count": post_counts_told})
