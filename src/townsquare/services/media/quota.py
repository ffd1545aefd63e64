"""How much room one person's files may take: what they uploaded counts, not what was made of it."""

from typing import Final
from uuid import UUID

from townsquare.kit.database import Database
from townsquare.kit.problems import Problem
from townsquare.kit.writes import Write
from townsquare.services.media.receiving import MEGABYTE
from townsquare.settings import Settings

# By primary key.
USED: Final = "SELECT bytes FROM usage WHERE owner_id = $1"

# Of two uploads at once the second waits for the first, and sees what it has used.
USE: Final = """
INSERT INTO usage AS u (owner_id, files, bytes)
VALUES ($1, 1, $2)
ON CONFLICT (owner_id) DO UPDATE
SET files = u.files + 1, bytes = u.bytes + excluded.bytes
WHERE u.bytes + excluded.bytes <= $3
RETURNING u.bytes
"""


async def require_room(db: Database, settings: Settings, owner: UUID, size: int) -> None:
    """Refuse, before it is sent, what would not fit; raises `quota_exceeded`."""
    used = await db.fetchval(USED, owner)
    if used is not None and int(str(used)) + size > settings.quota_mb * MEGABYTE:
        raise _exceeded(settings)


async def use_room(write: Write, settings: Settings, owner: UUID, size: int) -> None:
    """Count a file; raises `quota_exceeded`."""
    most = settings.quota_mb * MEGABYTE
    if size > most or await write.fetchval(USE, owner, size, most) is None:
        raise _exceeded(settings)


def _exceeded(settings: Settings) -> Problem:
    return Problem("quota_exceeded", f"Your files may take {settings.quota_mb:,} MB together.")
