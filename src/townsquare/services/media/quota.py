"""How much room one person's files may take: what they uploaded counts, not what was made of it.

What came in an archive counts too, but is never refused: it was theirs before.
"""

from typing import Final
from uuid import UUID

from townsquare.kit.database import Database
from townsquare.kit.problems import Problem
from townsquare.kit.writes import Write
from townsquare.services.media.objects import Statements
from townsquare.services.media.receiving import MEGABYTE
from townsquare.settings import Settings

# By primary key.
USED: Final = "SELECT bytes FROM usage WHERE owner_id = $1"

# Of two uploads in pieces that begin at once the second waits for the first, and sees it. By primary key.
LOCK_OWNER: Final = "SELECT FROM people WHERE id = $1 FOR NO KEY UPDATE"

# By primary key, and by resumable_uploads_owner_idx: what was begun in the last day or two.
BEGUN: Final = """
SELECT coalesce((SELECT bytes FROM usage WHERE owner_id = $1), 0) + coalesce(sum(length), 0)::bigint
FROM resumable_uploads
WHERE owner_id = $1 AND file_id IS NULL AND expires_at > now()
"""

# Of two uploads at once the second waits for the first, and sees what it has used.
USE: Final = """
INSERT INTO usage AS u (owner_id, files, bytes)
VALUES ($1, 1, $2)
ON CONFLICT (owner_id) DO UPDATE
SET files = u.files + 1, bytes = u.bytes + excluded.bytes
WHERE $3::bigint IS NULL OR u.bytes + excluded.bytes <= $3
RETURNING u.bytes
"""


async def require_room(db: Database, settings: Settings, owner: UUID, size: int) -> None:
    """Refuse, before it is sent, what would not fit; raises `quota_exceeded`."""
    used = await db.fetchval(USED, owner)
    if used is not None and int(str(used)) + size > settings.quota_mb * MEGABYTE:
        raise _exceeded(settings)


async def require_room_for_pieces(write: Write, settings: Settings, owner: UUID, size: int) -> None:
    """Refuse, before it begins, an upload in pieces that would not fit beside those under way; raises `quota_exceeded`."""
    await write.execute(LOCK_OWNER, owner)
    begun = await write.fetchval(BEGUN, owner)
    if begun + size > settings.quota_mb * MEGABYTE:
        raise _exceeded(settings)


async def use_room(transaction: Statements, settings: Settings, owner: UUID, size: int, *, limited: bool) -> None:
    """Count a file; raises `quota_exceeded` where its owner is `limited`."""
    most = settings.quota_mb * MEGABYTE if limited else None
    full = most is not None and size > most
    if full or await transaction.fetchval(USE, owner, size, most) is None:
        raise _exceeded(settings)


def _exceeded(settings: Settings) -> Problem:
    return Problem("quota_exceeded", f"Your files may take {settings.quota_mb:,} MB together.")
