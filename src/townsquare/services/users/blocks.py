"""Blocking: the blocked person sees nothing of the one who blocked them, and neither follows the other any longer.

A block can be made and ended any number of times with the same result. Only its author sees it, in a list of their own;
to the blocked person the other is just not there.
"""

from typing import Final
from uuid import UUID

from litestar import Response, delete, get, put
from litestar.params import FromPath

from townsquare.kit.asgi import AnyRequest
from townsquare.kit.cached_routes import changes
from townsquare.kit.clock import now
from townsquare.kit.dependencies import Db, SignedIn, Transaction
from townsquare.kit.pages import DEFAULT_LIMIT, CursorText, Limit, Page, answer_page, page_of
from townsquare.kit.writes import Write
from townsquare.services.users.follows import FOLLOW_TAGS, end_follow
from townsquare.services.users.pairs import find_other, find_undoable, lock_pair, undo
from townsquare.services.users.people import PersonItem, before_cursor, person_item, since_and_id

# blocks_blocker_since_idx, read backward from the cursor; each row's person by primary key.
LIST_BLOCKS: Final = """
SELECT b.since, p.id, p.handle, p.display_name, p.avatar
FROM blocks AS b
JOIN people AS p ON p.id = b.blocked
WHERE b.blocker = $1
  AND (b.since, b.blocked) < ($2, $3)
  AND p.hidden_at IS NULL
ORDER BY b.since DESC, b.blocked DESC
LIMIT $4
"""

# Both touch one row by the primary key.
BLOCK: Final = """
INSERT INTO blocks (blocker, blocked, since)
VALUES ($1, $2, $3)
ON CONFLICT DO NOTHING
RETURNING true
"""

UNBLOCK: Final = "DELETE FROM blocks WHERE blocker = $1 AND blocked = $2 RETURNING true"


@get("/blocks")
async def list_blocks(
    request: AnyRequest, person: SignedIn, db: Db, limit: Limit = DEFAULT_LIMIT, cursor: CursorText = None
) -> Response[Page[PersonItem]]:
    """List whom you have blocked, newest first."""
    rows = await db.fetch(LIST_BLOCKS, person.id, *before_cursor(cursor), limit + 1)
    return answer_page(request, page_of(rows, limit, person_item, since_and_id))


@put("/users/{user_id:str}/block", status_code=204, opt=changes("blocks:{person}", *FOLLOW_TAGS))
async def block(user_id: FromPath[str], person: SignedIn, write: Transaction) -> None:
    """Block a person; any follow between the two of you ends."""
    blocked = await find_other(write, user_id, person, "block")
    await lock_pair(write, person.id, blocked)
    if not await write.fetchval(BLOCK, person.id, blocked, now()):
        return
    await end_follow(write, person.id, blocked)
    await end_follow(write, blocked, person.id)
    _tell(write, person.id, blocked, deleted=False)


@delete("/users/{user_id:str}/block", status_code=204, opt=changes("blocks:{person}"))
async def unblock(user_id: FromPath[str], person: SignedIn, write: Transaction) -> None:
    """Block a person no longer; ended follows stay ended."""
    blocked = await find_undoable(write, user_id, person, "block")
    await lock_pair(write, person.id, blocked)
    if await undo(write, UNBLOCK, person.id, blocked):
        _tell(write, person.id, blocked, deleted=True)


def _tell(write: Write, blocker: UUID, blocked: UUID, *, deleted: bool) -> None:
    payload: dict[str, object] = {"blocker": blocker, "blocked": blocked}
    tags = (f"blocks:{blocker}", f"blocks:{blocked}")
    write.emit("block", f"{blocker}:{blocked}", payload | ({"deleted": True} if deleted else {}), tags)


ROUTES: Final = (list_blocks, block, unblock)
