"""Departures: the files of somebody whose account was deleted for good go too.

Until then, for the thirty days in which they may come back, all of them are hidden.

One file a transaction: what was done stays done when the job is cut off, nobody waits behind somebody's ten thousand files,
and no lock on shared bytes is held while another is waited for.
"""

from datetime import timedelta
from typing import Final
from uuid import UUID

from townsquare.kit.database import Connection
from townsquare.kit.jobs import Job, JobContext
from townsquare.kit.outbox import insert_events
from townsquare.services.media.file_view import FILE_COLUMNS
from townsquare.services.media.files import remove_row
from townsquare.services.media.people import FORGET_FILES, Departed

# The first of files_owner_idx.
LOCK_NEXT_FILE: Final = f"""
SELECT {FILE_COLUMNS}
FROM files AS f
WHERE f.owner_id = $1
ORDER BY f.id
LIMIT 1
FOR UPDATE OF f
"""

# By primary key.
FORGET_USAGE: Final = "DELETE FROM usage WHERE owner_id = $1"

# By resumable_uploads_owner_idx; the sweep deletes what their drafts hold.
FORGET_UPLOADS: Final = "UPDATE resumable_uploads SET expires_at = now() WHERE owner_id = $1 AND file_id IS NULL"


async def forget_files(context: JobContext, departed: Departed) -> None:
    """Delete every file of a person."""
    more = True
    while more:
        async with context.db.transaction() as connection:
            more = await _delete_next(connection, departed.id)
    await context.db.execute(FORGET_USAGE, departed.id)
    await context.db.execute(FORGET_UPLOADS, departed.id)


async def _delete_next(connection: Connection, owner: UUID) -> bool:
    row = await connection.fetchrow(LOCK_NEXT_FILE, owner)
    if row is None:
        return False
    await insert_events(connection, [await remove_row(connection, row)])
    return True


JOBS: Final = (Job(FORGET_FILES, Departed, forget_files, timeout=timedelta(hours=1)),)
