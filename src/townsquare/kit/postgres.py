"""The embedded PostgreSQL: found or started, shared by the processes that need it, restarted when it dies.

    <data>/postgres/          the cluster, with data checksums; postgres/custom.conf is the operator's
    <data>/postgres.log       the server's log
    <data>/postgres.lock      held by the one process that starts or stops the server
    <data>/postgres.users     held, shared, by every process that uses it: the last to let go stops it
    <data>/run/               its sockets; closed to other accounts, hence no password

The server runs in a session of its own: Ctrl-C and the death of townsquare do not reach it, and the next
townsquare adopts it.
"""

import asyncio
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import quote

import asyncpg

from townsquare.kit.logs import get_logger
from townsquare.kit.postgres_cluster import ROLE
from townsquare.kit.postgres_errors import PostgresError, PostgresFolderError, PostgresStartError
from townsquare.kit.postgres_launch import Launcher
from townsquare.kit.postgres_locks import Lease, only_starter
from townsquare.kit.postgres_postmaster import PidFile, Postmaster, find_postmaster
from townsquare.kit.postgres_programs import find_programs

__all__ = ["EmbeddedPostgres", "PostgresError", "find_programs"]

MAINTENANCE = "postgres"
STARTER_SECONDS = 90.0
SHORTEST_PAUSE, LONGEST_PAUSE = 0.005, 0.1
FIRST_DELAY, LONGEST_DELAY = 0.2, 30.0
STEADY_SECONDS = 10.0
# Any number, the same in every process: who creates databases waits for the others who do.
CREATING_DATABASES = 7_267_381

# What a server says, or leaves unsaid, while it comes or goes.
_NOT_YET = (
    OSError,
    TimeoutError,
    PostgresStartError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)

SELECT_DATABASES = """
    SELECT datname
    FROM pg_database
"""


class EmbeddedPostgres:
    """One process's hold on the server of a data folder.

    `extra` are settings of the server over the tuned ones, applied by the process that starts it.
    `answer_timeout` (seconds) is how long a server may stay silent before start gives up on it,
    `stop_timeout` how long it may take to stop before it is made to.
    """

    def __init__(
        self,
        data: Path,
        programs: Path,
        *,
        extra: Mapping[str, str] | None = None,
        answer_timeout: float = 10.0,
        stop_timeout: float = 30.0,
    ) -> None:
        self.data = data.absolute()
        self.cluster = self.data / "postgres"
        self.log = self.data / "postgres.log"
        self._answer_timeout = answer_timeout
        self._stop_timeout = stop_timeout
        self._launcher = Launcher(self.data, self.cluster, self.log, programs.absolute(), dict(extra or {}), answer_timeout)
        self._lease = Lease(self.data / "postgres.users")
        self._postmaster: Postmaster | None = None
        self._stopping = False
        self._logger = get_logger("postgres")

    @property
    def pid(self) -> int | None:
        """The server's process, once it has been started or adopted."""
        return self._postmaster.pid if self._postmaster else None

    def url(self, database: str) -> str:
        """The DSN of one database, for asyncpg and libpq alike; only once the server is started."""
        noted = PidFile.read(self.cluster)
        if noted is None or noted.sockets is None or noted.port is None:
            raise PostgresStartError(f"PostgreSQL is not running on {self.cluster}.")
        where = f"host={quote(str(noted.sockets), safe='')}&port={noted.port}"
        return f"postgresql://{ROLE}@/{quote(database, safe='')}?{where}"

    async def start(self) -> None:
        """Find the server of this folder or start one, and return when it answers; raises PostgresError.

        A server that replays its log after a crash is waited for as long as it says so.
        """
        self._stopping = False
        try:
            await self._serve()
        except asyncio.CancelledError:
            await self.stop()
            raise
        except Exception:
            self._lease.release()
            raise

    async def stop(self) -> None:
        """Let go of the server, and stop it when no other process uses it."""
        self._stopping = True
        await asyncio.to_thread(self._let_go)

    async def supervise(self) -> None:
        """Start the server again whenever it dies, ever more patiently; ends after stop."""
        delay = 0.0
        while self._postmaster is not None and not self._stopping:
            began = time.monotonic()
            await self._postmaster.gone()
            if self._stopping:
                return
            lived = time.monotonic() - began
            delay = 0.0 if lived > STEADY_SECONDS else min(max(delay * 2, FIRST_DELAY), LONGEST_DELAY)
            self._logger.warning("postgres.died", pid=self._postmaster.pid, restart_in=delay, log=str(self.log))
            await asyncio.sleep(delay)
            if self._stopping:
                return
            try:
                await self._serve()
            except PostgresError as error:
                self._logger.error("postgres.restart_failed", reason=str(error))  # noqa: TRY400
            except Exception:  # whatever it is: nobody else would start it again
                self._logger.exception("postgres.restart_failed")
            else:
                self._logger.info("postgres.restarted", pid=self._postmaster.pid)

    async def ensure_databases(self, names: Iterable[str]) -> None:
        """Create those of the databases that are not there yet; any number of processes may do so at once."""
        connection = await asyncpg.connect(self.url(MAINTENANCE), timeout=self._answer_timeout)
        try:
            await connection.execute("SELECT pg_advisory_lock($1)", CREATING_DATABASES)
            present = {row["datname"] for row in await connection.fetch(SELECT_DATABASES)}
            missing = [name for name in dict.fromkeys(names) if name not in present]
            await asyncio.gather(*(self._create_database(name) for name in missing))
        finally:
            # Ends the session, and with it the lock.
            await connection.close(timeout=self._answer_timeout)

    async def _create_database(self, name: str) -> None:
        connection = await asyncpg.connect(self.url(MAINTENANCE), timeout=self._answer_timeout)
        try:
            quoted = name.replace('"', '""')
            # Copies of files, made side by side, share their checkpoints: six databases take half the time that they
            # take one after another by way of the log, PostgreSQL's default.
            await connection.execute(f'CREATE DATABASE "{quoted}" STRATEGY file_copy')
        finally:
            await connection.close(timeout=self._answer_timeout)

    async def _serve(self) -> None:
        for _ in range(3):
            found = await asyncio.to_thread(self._find_or_launch)
            if self._postmaster is not None:
                self._postmaster.close()
            self._postmaster = found
            if await self._answers(found):
                return
            # It ended before it answered: an operator was stopping it, or it did not survive its own start.
        raise PostgresStartError(f"PostgreSQL ends again and again while it starts. {self._launcher.end_of_log()}")

    def _find_or_launch(self) -> Postmaster:
        try:
            # Others may pass through, not look in: the server's account must reach its cluster below.
            self.data.mkdir(mode=0o711, parents=True, exist_ok=True)
            with only_starter(self.data / "postgres.lock", patience=STARTER_SECONDS) as lock:
                if self._stopping:
                    # Overtaken by stop, which would not know of a server started now.
                    raise PostgresStartError("PostgreSQL is not started, because it is being stopped.")
                self._lease.take()
                return find_postmaster(self.cluster) or self._launcher.launch(lock)
        except OSError as error:
            raise PostgresFolderError(
                f"PostgreSQL's files in {self.data} cannot be used: {error}. Check who owns the folder"
                f" (townsquare runs as account {os.geteuid()}) and that the disk has room."
            ) from error

    async def _answers(self, postmaster: Postmaster) -> bool:
        """Wait until the server takes connections; False when it ended instead."""
        pause, until = SHORTEST_PAUSE, time.monotonic() + self._answer_timeout
        while not postmaster.ended():
            left = until - time.monotonic()
            if left <= 0:
                raise self._launcher.silence(postmaster.pid)
            try:
                connection = await asyncpg.connect(self.url(MAINTENANCE), timeout=left)
            except asyncpg.TooManyConnectionsError:
                return True
            except asyncpg.CannotConnectNowError:
                # It says that it is starting: a long recovery is no silence.
                until = time.monotonic() + self._answer_timeout
            except _NOT_YET:
                pass
            except asyncpg.PostgresError as error:
                raise PostgresStartError(
                    f"PostgreSQL on {self.cluster} answers, but does not let townsquare in: {error}. Look for what was"
                    f" changed in its pg_hba.conf or custom.conf, or in the role {ROLE}."
                ) from error
            else:
                await connection.close(timeout=self._answer_timeout)
                return True
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE)
        return False

    def _let_go(self) -> None:
        try:
            with only_starter(self.data / "postgres.lock", patience=STARTER_SECONDS):
                if self._lease.is_last() and (postmaster := find_postmaster(self.cluster)):
                    self._end(postmaster)
        except FileNotFoundError:
            # The data folder was deleted: the server that we know of is of no use to anybody any more.
            if self._postmaster is not None:
                self._postmaster.end(self._stop_timeout)
        finally:
            self._lease.release()
            if self._postmaster is not None:
                self._postmaster.close()
                self._postmaster = None

    def _end(self, postmaster: Postmaster) -> None:
        by = postmaster.end(self._stop_timeout)
        self._logger.info("postgres.stopped", pid=postmaster.pid, signal=by.name if by else None)
        postmaster.close()
