"""Muting: one does not see what the muted person posts, and nobody else learns of it.

A mute can be made and ended any number of times with the same result. Only its author sees it, in a list of their own.
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
from townsquare.services.users.pairs import find_other, find_undoable, lock_pair, undo
from townsquare.services.users.people import PersonItem, before_cursor, person_item, since_and_id

# mutes_muter_since_idx, read backward from the cursor; each row's person by primary key.
LIST_MUTES: Final = """
SELECT m.since, p.id, p.handle, p.display_name, p.avatar
FROM mutes AS m
JOIN people AS p ON p.id = m.muted
WHERE m.muter = $1
  AND (m.since, m.muted) < ($2, $3)
  AND p.hidden_at IS NULL
ORDER BY m.since DESC, m.muted DESC
LIMIT $4
"""

# Both touch one row by the primary key.
MUTE: Final = """
INSERT INTO mutes (muter, muted, since)
VALUES ($1, $2, $3)
ON CONFLICT DO NOTHING
RETURNING true
"""

UNMUTE: Final = "DELETE FROM mutes WHERE muter = $1 AND muted = $2 RETURNING true"


@get("/mutes")
async def list_mutes(
    request: AnyRequest, person: SignedIn, db: Db, limit: Limit = DEFAULT_LIMIT, cursor: CursorText = None
) -> Response[Page[PersonItem]]:
    """List whom you have muted, newest first."""
    rows = await db.fetch(LIST_MUTES, person.id, *before_cursor(cursor), limit + 1)
    return answer_page(request, page_of(rows, limit, person_item, since_and_id))


@put("/users/{user_id:str}/mute", status_code=204, opt=changes("mutes:{person}"))
async def mute(user_id: FromPath[str], person: SignedIn, write: Transaction) -> None:
    """Mute a person; they are not told."""
    muted = await find_other(write, user_id, person, "mute")
    await lock_pair(write, person.id, muted)
    if await write.fetchval(MUTE, person.id, muted, now()):
        _tell(write, person.id, muted, deleted=False)


@delete("/users/{user_id:str}/mute", status_code=204, opt=changes("mutes:{person}"))
async def unmute(user_id: FromPath[str], person: SignedIn, write: Transaction) -> None:
    """Mute a person no longer."""
    muted = await find_undoable(write, user_id, person, "mute")
    await lock_pair(write, person.id, muted)
    if await undo(write, UNMUTE, person.id, muted):
        _tell(write, person.id, muted, deleted=True)


def _tell(write: Write, muter: UUID, muted: UUID, *, deleted: bool) -> None:
    payload: dict[str, object] = {"muter": muter, "muted": muted}
    write.emit("mute", f"{muter}:{muted}", payload | ({"deleted": True} if deleted else {}), [f"mutes:{muter}"])


ROUTES: Final = (list_mutes, mute, unmute)
