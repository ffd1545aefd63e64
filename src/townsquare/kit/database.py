"""The lean pool: prepared statements on asyncpg connections that are taken last-in, first-out.

asyncpg's own pool resets a connection at each release, which is a second round trip; nothing here uses session state, so
none is needed. A sweeper ends what runs over its deadline by closing the connection, which costs a request nothing
and works where PostgreSQL itself does not answer any more (a frozen server never confirms a cancellation).
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeAlias

import asyncpg
from asyncpg import exceptions as pg

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]
else:
    Connection = asyncpg.Connection

SWEEP_SECONDS = 0.25
PROBE_SECONDS = 0.5

_LOST = (
    pg.PostgresConnectionError,
    pg.InterfaceError,
    pg.OperatorInterventionError,
    pg.InsufficientResourcesError,
    pg.PostgresSystemError,  # its disk failed it
    pg.ReadOnlySQLTransactionError,
    pg.IdleInTransactionSessionTimeoutError,
    pg.TransactionTimeoutError,
    pg.InvalidCachedStatementError,  # a migration changed a table under a prepared statement
    pg.InternalClientError,  # taken between a dying server's last word and the end of the connection
    OSError,
    TimeoutError,
)
_UNDONE = pg.TransactionRollbackError
"""A deadlock, or a conflict of serializable transactions: all is rolled back, and the connection is as good as new."""


class DatabaseUnavailable(Exception):
    """The database did not answer in time, or cannot be reached; try again a little later."""


class OutcomeUnknown(DatabaseUnavailable):
    """The database was lost while a commit was under way: it may have been made or not."""


class Database:
    """Connections to one service's database.

    `size` bounds the connections, `deadline` (seconds) bounds the wait for one and each use of one. With `pooler` no
    prepared statement outlives its query, as a transaction pooler requires.
    """

    def __init__(
        self, dsn: str, *, size: int, pooler: bool = False, deadline: float = 5.0, name: str = "townsquare"
    ) -> None:
        self.dsn = dsn
        self.size = size
        self.pooler = pooler
        self.deadline = deadline
        self.name = name
        self._idle: list[Connection] = []
        self._busy: dict[Connection, float] = {}
        self._opening = 0
        self._waiters: deque[tuple[asyncio.Future[Connection], float]] = deque()
        self._retry_at = 0.0
        self._answered = 0.0
        """Until when the use of a connection might have lasted that came to its end last."""
        self._sweeper: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def idle(self) -> int:
        """Connections that nobody uses."""
        return len(self._idle)

    @property
    def in_use(self) -> int:
        """Connections that somebody uses."""
        return len(self._busy)

    @property
    def waiting(self) -> int:
        """Callers that wait for a connection."""
        return len(self._waiters)

    async def open(self) -> None:
        """Start the sweeper and open a first connection; raises DatabaseUnavailable."""
        self._sweeper = asyncio.create_task(self._sweep(), name=f"{self.name}-sweeper")
        async with self.connection() as connection:
            await connection.fetchval("SELECT 1")

    async def close(self) -> None:
        """Close every connection; those in use are cut."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connection in (*self._idle, *self._busy):
            connection.terminate()
        self._idle.clear()

    async def fetch(self, sql: str, *arguments: object) -> list[asyncpg.Record]:
        """Return all rows."""
        connection = self._pop() or await self._acquire()
        try:
            return await connection.fetch(sql, *arguments)
        except BaseException as error:
            self.settle(connection, error)
            raise
        finally:
            self._release(connection)

    async def fetchrow(self, sql: str, *arguments: object) -> asyncpg.Record | None:
        """Return the first row, or None."""
        connection = self._pop() or await self._acquire()
        try:
            return await connection.fetchrow(sql, *arguments)
        except BaseException as error:
            self.settle(connection, error)
            raise
        finally:
            self._release(connection)

    async def fetchval(self, sql: str, *arguments: object) -> object:
        """Return the first column of the first row, or None."""
        row = await self.fetchrow(sql, *arguments)
        return None if row is None else row[0]

    async def execute(self, sql: str, *arguments: object) -> str:
        """Run a statement; returns PostgreSQL's status, such as `UPDATE 1`."""
        connection = self._pop() or await self._acquire()
        try:
            return await connection.execute(sql, *arguments)
        except BaseException as error:
            self.settle(connection, error)
            raise
        finally:
            self._release(connection)

    @asynccontextmanager
    async def connection(self, *, deadline: float | None = None) -> AsyncIterator[Connection]:
        """Lend a connection; `deadline` (seconds) replaces the pool's own for long work."""
        connection = await self.take(deadline=deadline)
        try:
            yield connection
        except BaseException as error:
            self.settle(connection, error)
            raise
        finally:
            self._release(connection)

    @asynccontextmanager
    async def transaction(self, *, deadline: float | None = None) -> AsyncIterator[Connection]:
        """Lend a connection inside a transaction: committed at the end, rolled back on an exception."""
        async with self.connection(deadline=deadline) as connection, connection.transaction():
            yield connection

    async def take(self, *, deadline: float | None = None) -> Connection:
        """Take a connection that the caller gives back with `give`."""
        connection = self._pop() or await self._acquire()
        if deadline is not None:
            self._busy[connection] = time.monotonic() + deadline
        return connection

    def give(self, connection: Connection) -> None:
        """Give back what `take` lent; one whose transaction is still open is closed.

        The next one's BEGIN and COMMIT would only be a savepoint in it, and what was acknowledged would be lost.
        """
        if not connection.is_closed() and connection.is_in_transaction():
            connection.terminate()
        self._release(connection)

    def _pop(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                self._busy[connection] = time.monotonic() + self.deadline
                return connection
        return None

    async def _acquire(self, until: float | None = None) -> Connection:
        if self._closed:
            raise DatabaseUnavailable("The database's pool is closed.")
        self._let_one_probe_through()
        until = time.monotonic() + self.deadline if until is None else until
        if len(self._busy) + self._opening < self.size:
            try:
                return await self._connect(until)
            except DatabaseUnavailable as error:
                if not isinstance(error.__cause__, pg.TooManyConnectionsError):
                    raise
                if connection := self._pop():
                    return connection
                if not self._busy:
                    raise  # else it serves as many as it will: one of those comes free
        waiter: asyncio.Future[Connection] = asyncio.get_running_loop().create_future()
        self._waiters.append((waiter, until))
        try:
            return await waiter  # the sweeper ends the wait: a timer of its own would cost more than the query's round trip
        except BaseException:
            self._return_unused(waiter)
            raise

    def _return_unused(self, waiter: "asyncio.Future[Connection]") -> None:
        """The wait has ended: what was lent in that very moment goes to the next in line."""
        if not waiter.cancel() and not waiter.cancelled() and waiter.exception() is None:
            self.give(waiter.result())

    def _let_one_probe_through(self) -> None:
        """While the database is known to be away, fail at once but for one attempt each half second."""
        if not self._retry_at:
            return
        now = time.monotonic()
        if now < self._retry_at:
            raise DatabaseUnavailable("The database cannot be reached.")
        self._retry_at = now + PROBE_SECONDS

    def _lend(self, connection: Connection, until: float) -> Connection:
        """Begin the use of a connection. Whoever had to wait for it gets what is left of the deadline, at least half of it:
        together that stays below what the gateway waits for an answer.
        """
        self._busy[connection] = max(until, time.monotonic() + self.deadline / 2)
        return connection

    async def _connect(self, until: float) -> Connection:
        self._opening += 1
        try:
            connection = await asyncpg.connect(
                self.dsn,
                timeout=self.deadline,
                statement_cache_size=0 if self.pooler else 512,
                max_cached_statement_lifetime=0,
                server_settings={} if self.pooler else {"application_name": self.name},
            )
        except (*_LOST, pg.PostgresError) as error:
            if not isinstance(error, pg.TooManyConnectionsError):
                self._retry_at = time.monotonic() + PROBE_SECONDS
            raise DatabaseUnavailable("The database cannot be reached.") from error
        finally:
            self._opening -= 1
        self._retry_at = 0.0
        return self._lend(connection, until)

    def _release(self, connection: Connection) -> None:
        until = self._busy.pop(connection, None)
        if until is None:
            return
        if connection.is_closed() or self._closed:
            self._replace_for_waiter()
            return
        self._answered, self._retry_at = until, 0.0
        while self._waiters:
            waiter, until = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(self._lend(connection, until))
                return
        self._idle.append(connection)

    def _replace_for_waiter(self) -> None:
        """A connection is gone: let the next in line open its own."""
        while self._waiters:
            waiter, until = self._waiters.popleft()
            if not waiter.done():
                _forward(asyncio.ensure_future(self._acquire(until)), waiter, self)
                return

    def settle(self, connection: Connection, error: BaseException) -> None:
        """Say what `error` means: a lost connection is not used again and becomes DatabaseUnavailable."""
        if isinstance(error, asyncio.CancelledError | GeneratorExit):
            connection.terminate()
        elif isinstance(error, _LOST) and not isinstance(error, ValueError):  # asyncpg's ValueErrors are wrong arguments
            connection.terminate()
            raise DatabaseUnavailable("The database did not answer.") from error
        elif isinstance(error, _UNDONE):
            raise DatabaseUnavailable("The transaction met another one and was undone.") from error

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            now = time.monotonic()
            for connection, until in list(self._busy.items()):
                if now > until:
                    if until > self._answered:  # else others were answered meanwhile: it is the query that is slow
                        self._retry_at = now + PROBE_SECONDS
                    connection.terminate()
            self._end_waits(now)

    def _end_waits(self, now: float) -> None:
        """Give up for those who have waited for a connection until their deadline; the longest wait stands first."""
        while self._waiters and (self._waiters[0][0].done() or now > self._waiters[0][1]):
            waiter, _ = self._waiters.popleft()
            if not waiter.done():
                waiter.set_exception(DatabaseUnavailable("No connection to the database became free in time."))


def _forward(task: Awaitable[Connection], waiter: "asyncio.Future[Connection]", database: Database) -> None:
    def done(finished: "asyncio.Future[Connection]") -> None:
        if finished.cancelled():
            waiter.cancel()
        elif (error := finished.exception()) is not None:
            if not waiter.done():
                waiter.set_exception(error)
        elif waiter.done():
            database.give(finished.result())
        else:
            waiter.set_result(finished.result())

    asyncio.ensure_future(task).add_done_callback(done)


def dsn_for(base: str, database: str) -> str:
    """Return the address of `database` on the server at `base` (`postgresql://host/…?query`)."""
    head, _, query = base.partition("?")
    scheme, _, rest = head.partition("://")
    authority = rest.split("/", 1)[0]
    return f"{scheme}://{authority}/{database}" + (f"?{query}" if query else "")


def rows_affected(status: str) -> int:
    """Read the count from a status such as `DELETE 3`."""
    return int(status.rsplit(" ", 1)[-1])
