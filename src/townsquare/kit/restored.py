"""What came out of a dump feels at home: its rows carry transaction ids of the cluster from which it was taken.

This cluster may not reach them for years. Until then nobody would be handed those events, a reader that had come so far
would be handed nothing that is written now, and a cache would look at all of them again and again.
"""

import asyncpg

CONNECT_SECONDS = 10.0

# As if written now. Served by outbox_xid_id_idx; as a rule no row.
RENUMBER = """
UPDATE outbox
SET xid = pg_current_xact_id()
WHERE xid > pg_current_xact_id()
"""

# Read again from the beginning, of which each event takes effect once: it is known by its version. A row for each source.
REWIND = """
UPDATE event_checkpoints
SET xid = '0', id = 0
WHERE xid > pg_current_xact_id()
"""


async def settle_in(dsn: str) -> None:
    """Give what another cluster has numbered a place in the order of this one; without it nothing happens."""
    connection = await asyncpg.connect(dsn, timeout=CONNECT_SECONDS, statement_cache_size=0)
    try:
        async with connection.transaction():
            await connection.execute(RENUMBER)
            await connection.execute(REWIND)
    finally:
        await connection.close(timeout=CONNECT_SECONDS)
