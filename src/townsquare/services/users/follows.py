"""Following: somebody's posts come to one's feed. Both sides see it, and each has a count of it.

A follow can be made and ended any number of times with the same result. Nobody follows themselves, somebody who has
blocked them, or more than 7,500 people. The lists are newest first; people who are hidden, or have blocked the
one who asks, are not in them.
"""

from typing import Final
from uuid import UUID

from litestar import Response, delete, get, put
from litestar.params import FromPath

from townsquare.kit.asgi import AnyRequest
from townsquare.kit.cached_routes import cached, changes
from townsquare.kit.clock import now
from townsquare.kit.database import Connection
from townsquare.kit.dependencies import Db, DependsOn, MaybeViewer, SignedIn, Transaction
from townsquare.kit.outbox import NewEvent, insert_events
from townsquare.kit.pages import DEFAULT_LIMIT, CursorText, Limit, Page, answer_page, page_of
from townsquare.kit.problems import Problem, not_found
from townsquare.kit.writes import Write
from townsquare.services.users.pairs import find_other, has_blocked, lock_pair
from townsquare.services.users.people import (
    LEFT,
    RETURNED,
    PersonItem,
    asking,
    before_cursor,
    depend_on_people,
    find_person,
    person_item,
    since_and_id,
)
from townsquare.strategies import FOLLOWERS

MAX_FOLLOWS: Final = 7_500
"""People one person may follow: what a feed can be read from in a few milliseconds."""

FOLLOW_TAGS: Final = ("following:{person}", "followers:{person}", "profile:{person}")
"""What changes when a follow begins or ends."""

# follows_followee_since_idx, read backward from the cursor; each row's person and block by primary keys.
LIST_FOLLOWERS: Final = """
SELECT f.since, p.id, p.handle, p.display_name, p.avatar
FROM follows AS f
JOIN people AS p ON p.id = f.follower
WHERE f.followee = $1
  AND (f.since, f.follower) < ($3, $4)
  AND p.hidden_at IS NULL
  AND NOT EXISTS (SELECT FROM blocks AS b WHERE b.blocked = $2 AND b.blocker = f.follower)
ORDER BY f.since DESC, f.follower DESC
LIMIT $5
"""

# The same by follows_follower_since_idx.
LIST_FOLLOWING: Final = """
SELECT f.since, p.id, p.handle, p.display_name, p.avatar
FROM follows AS f
JOIN people AS p ON p.id = f.followee
WHERE f.follower = $1
  AND (f.since, f.followee) < ($3, $4)
  AND p.hidden_at IS NULL
  AND NOT EXISTS (SELECT FROM blocks AS b WHERE b.blocked = $2 AND b.blocker = f.followee)
ORDER BY f.since DESC, f.followee DESC
LIMIT $5
"""

# Both touch one row of follows by its primary key and, if it changed, its two people, who are locked already.
FOLLOW: Final = """
WITH made AS (
    INSERT INTO follows (follower, followee, since)
    VALUES ($1, $2, $3)
    ON CONFLICT DO NOTHING
    RETURNING follower, followee
), counted AS (
    UPDATE people AS p
    SET following = p.following + (p.id = made.follower)::int, followers = p.followers + (p.id = made.followee)::int
    FROM made
    WHERE p.id IN ($1, $2)
)
SELECT count(*) FROM made
"""

UNFOLLOW: Final = """
WITH ended AS (
    DELETE FROM follows
    WHERE follower = $1 AND followee = $2
    RETURNING follower, followee
), counted AS (
    UPDATE people AS p
    SET following = p.following - (p.id = ended.follower)::int, followers = p.followers - (p.id = ended.followee)::int
    FROM ended
    WHERE p.id IN ($1, $2)
)
SELECT count(*) FROM ended
"""

# A person and everybody whom a follow joins to them: by the primary key, found by the two indexes of the lists.
LOCK_NEIGHBOURS: Final = """
SELECT id
FROM people
WHERE id IN (
    SELECT $1::uuid
    UNION ALL
    SELECT followee FROM follows WHERE follower = $1
    UNION ALL
    SELECT follower FROM follows WHERE followee = $1
)
ORDER BY id
FOR NO KEY UPDATE
"""

END_FOLLOWING: Final = """
WITH ended AS (
    DELETE FROM follows
    WHERE follower = $1
    RETURNING followee
)
UPDATE people AS p
SET followers = p.followers - 1
FROM ended
WHERE p.id = ended.followee
RETURNING p.id
"""

END_FOLLOWERS: Final = """
WITH ended AS (
    DELETE FROM follows
    WHERE followee = $1
    RETURNING follower
)
UPDATE people AS p
SET following = p.following - 1
FROM ended
WHERE p.id = ended.follower
RETURNING p.id
"""


@get(
    "/users/{user_id:str}/followers",
    opt=cached(FOLLOWERS, "plain", "limit", "cursor", tags=("followers:{person}", "person:{person}", LEFT, RETURNED)),
)
async def list_followers(
    request: AnyRequest,
    user_id: FromPath[str],
    db: Db,
    viewer: MaybeViewer,
    depends: DependsOn,
    limit: Limit = DEFAULT_LIMIT,
    cursor: CursorText = None,
) -> Response[Page[PersonItem]]:
    """List who follows a person, newest first."""
    before = before_cursor(cursor)
    person = await find_person(db, user_id, viewer)
    rows = await db.fetch(LIST_FOLLOWERS, person, asking(viewer), *before, limit + 1)
    depends.on(f"followers:{person}", LEFT.format(person=person))
    depend_on_people(depends, rows, limit)
    return answer_page(request, page_of(rows, limit, person_item, since_and_id))


@get(
    "/users/{user_id:str}/following",
    opt=cached(FOLLOWERS, "plain", "limit", "cursor", tags=("following:{person}", "person:{person}", LEFT, RETURNED)),
)
async def list_following(
    request: AnyRequest,
    user_id: FromPath[str],
    db: Db,
    viewer: MaybeViewer,
    depends: DependsOn,
    limit: Limit = DEFAULT_LIMIT,
    cursor: CursorText = None,
) -> Response[Page[PersonItem]]:
    """List whom a person follows, newest first."""
    before = before_cursor(cursor)
    person = await find_person(db, user_id, viewer)
    rows = await db.fetch(LIST_FOLLOWING, person, asking(viewer), *before, limit + 1)
    depends.on(f"following:{person}", LEFT.format(person=person))
    depend_on_people(depends, rows, limit)
    return answer_page(request, page_of(rows, limit, person_item, since_and_id))


@put("/users/{user_id:str}/follow", status_code=204, opt=changes(*FOLLOW_TAGS))
async def follow(user_id: FromPath[str], person: SignedIn, write: Transaction) -> None:
    """Follow a person; nothing changes for who follows them already."""
    followee = await find_other(write, user_id, person, "follow")
    following = await lock_pair(write, person.id, followee)
    if await has_blocked(write, followee, person.id):
        raise not_found()
    if await has_blocked(write, person.id, followee):
        raise Problem("conflict", "You have blocked this person. Unblock them to follow them.")
    if not await write.fetchval(FOLLOW, person.id, followee, now()):
        return
    if following >= MAX_FOLLOWS:
        raise Problem("invalid", f"You follow {MAX_FOLLOWS:,} people already; nobody can follow more.")
    _tell(write, person.id, followee, deleted=False)


@delete("/users/{user_id:str}/follow", status_code=204, opt=changes(*FOLLOW_TAGS))
async def unfollow(user_id: FromPath[str], person: SignedIn, write: Transaction) -> None:
    """Follow a person no longer; nothing changes for who does not follow them."""
    followee = await find_other(write, user_id, person, "follow")
    await lock_pair(write, person.id, followee)
    await end_follow(write, person.id, followee)


async def end_follow(write: Write, follower: UUID, followee: UUID) -> None:
    """End a follow, if there is one; both people must be locked (`lock_pair`)."""
    if await write.fetchval(UNFOLLOW, follower, followee):
        _tell(write, follower, followee, deleted=True)


async def end_all_follows(connection: Connection, person: UUID) -> None:
    """End every follow of somebody who is about to be deleted, and take it out of the others' counts.

    The tables' cascade would not count. Everybody concerned is locked first, in the order that every lock takes.
    """
    await connection.execute(LOCK_NEIGHBOURS, person)
    ended = [(person, row["id"]) for row in await connection.fetch(END_FOLLOWING, person)]
    ended += [(row["id"], person) for row in await connection.fetch(END_FOLLOWERS, person)]
    if ended:
        await insert_events(connection, [_event(follower, followee, deleted=True) for follower, followee in ended])


def _tell(write: Write, follower: UUID, followee: UUID, *, deleted: bool) -> None:
    event = _event(follower, followee, deleted=deleted)
    write.emit(event.topic, event.key, event.payload, event.tags)


def _event(follower: UUID, followee: UUID, *, deleted: bool) -> NewEvent:
    payload: dict[str, object] = {"follower": follower, "followee": followee}
    # Both profiles show a count of it.
    tags = (f"following:{follower}", f"followers:{followee}", f"profile:{follower}", f"profile:{followee}")
    return NewEvent("follow", f"{follower}:{followee}", tags, payload | ({"deleted": True} if deleted else {}))


ROUTES: Final = (list_followers, list_following, follow, unfollow)
