"""One transaction for each unsafe request: what is changed, what is told, and the answer that is kept for a repetition.

A handler takes `write: Write`, runs its statements on it and returns its answer. The transaction is committed when the
answer has been made and before it is sent, so the answer of an idempotent call is stored in the very transaction that
made it true: there is no moment in which a crash leaves the one without the other. An answer of 400 or above, or an
exception, rolls everything back.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import asyncpg
import msgspec
from asyncpg.transaction import Transaction

from townsquare.kit.database import Connection, Database, DatabaseUnavailable, OutcomeUnknown
from townsquare.kit.jobs import enqueue
from townsquare.kit.outbox import NewEvent, Outbox, insert_events


class Write:
    """The transaction of one unsafe request; it begins at the first statement."""

    def __init__(self, database: Database, outbox: Outbox, service: str) -> None:
        self._database = database
        self._outbox = outbox
        self._service = service
        self._connection: Connection | None = None
        self._transaction: Transaction | None = None
        self._events: list[NewEvent] = []
        self._enqueued = False
        self.token: str | None = None
        """`Consistency-Token` of what was committed: the service and its transaction id."""

    async def fetch(self, sql: str, *arguments: object) -> list[asyncpg.Record]:
        """Return all rows."""
        connection = await self.connection()
        with self._watch(connection):
            return await connection.fetch(sql, *arguments)

    async def fetchrow(self, sql: str, *arguments: object) -> asyncpg.Record | None:
        """Return the first row, or None."""
        connection = await self.connection()
        with self._watch(connection):
            return await connection.fetchrow(sql, *arguments)

    async def fetchval(self, sql: str, *arguments: object) -> Any:
        """Return the first column of the first row, or None."""
        connection = await self.connection()
        with self._watch(connection):
            return await connection.fetchval(sql, *arguments)

    async def execute(self, sql: str, *arguments: object) -> str:
        """Run a statement; returns PostgreSQL's status, such as `UPDATE 1`."""
        connection = await self.connection()
        with self._watch(connection):
            return await connection.execute(sql, *arguments)

    async def executemany(self, sql: str, arguments: Sequence[Sequence[object]]) -> None:
        """Run a statement for each tuple of arguments, in one round trip."""
        connection = await self.connection()
        with self._watch(connection):
            await connection.executemany(sql, arguments)

    def emit(self, topic: str, key: object, payload: dict[str, Any], tags: Sequence[str] = ()) -> None:
        """Tell that `key` of `topic` is now as `payload` says, and which cached answers (`tags`) that changes.

        The payload is the key's whole state, or `{"deleted": true}`: readers keep the newest only.
        """
        self._events.append(NewEvent(topic, str(key), tuple(tags), payload))

    async def enqueue(self, job: str, payload: msgspec.Struct, *, after: timedelta | None = None) -> None:
        """Have `job` run once this transaction is committed (and never if it is not)."""
        connection = await self.connection()
        with self._watch(connection):
            await enqueue(connection, job, payload, after=after)
        self._enqueued = True

    async def connection(self) -> Connection:
        """Return the connection, inside the transaction."""
        if self._connection is None:
            self._connection = await self._database.take()
            # All of it: a server that dies between the two lines closes the connection, and transaction() refuses it.
            with self._watch(self._connection):
                self._transaction = self._connection.transaction()
                await self._transaction.start()
        return self._connection

    async def commit(self) -> None:
        """Make everything so far true; raises OutcomeUnknown where the database does not say whether it has.

        A handler calls it itself only where an error answer must leave a trace.
        """
        xid = await self._insert_events()
        if self._connection is not None and self._transaction is not None:
            try:
                with self._watch(self._connection):
                    await self._transaction.commit()
            except DatabaseUnavailable as error:
                raise OutcomeUnknown(*error.args) from error
        self._release()
        if self._enqueued:
            self._outbox.wake_jobs()
        if xid is not None:
            self.token = f"{self._service}.{xid}"
            self._outbox.committed(xid, sorted({tag for event in self._events for tag in event.tags}))
            self._events.clear()

    async def rollback(self) -> None:
        """Undo everything since the last commit; never raises."""
        self._events.clear()
        try:
            if self._transaction is not None and self._connection is not None and not self._connection.is_closed():
                await self._transaction.rollback()
        except Exception:  # a lost connection has rolled back by itself
            if self._connection is not None:
                self._connection.terminate()
        finally:
            self._release()

    async def _insert_events(self) -> int | None:
        if not self._events:
            return None
        connection = await self.connection()
        with self._watch(connection):
            return await insert_events(connection, self._events)

    @contextmanager
    def _watch(self, connection: Connection) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            self._database.settle(connection, error)
            raise

    def _release(self) -> None:
        if self._connection is not None:
            self._database.give(self._connection)
        self._connection = self._transaction = None
