"""A transaction outside a request, for what a command does: the same `Write` that handlers get."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from townsquare.kit.context import Context
from townsquare.kit.writes import Write


@asynccontextmanager
async def transaction(context: Context) -> AsyncIterator[Write]:
    """Lend a transaction of a service: committed at the end, with what was told in it; rolled back on an exception."""
    write = Write(context.database, context.outbox, context.name)
    try:
        yield write
        await write.commit()
    finally:
        await write.rollback()
