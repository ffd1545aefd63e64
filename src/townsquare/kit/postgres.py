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
import subprocess
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import quote

import asyncpg
import structlog

from townsquare.kit.postgres_account import Account, choose_account, clean_environment
from townsquare.kit.postgres_cluster import (
    ROLE,
    check_version,
    configure,
    make_cluster,
    make_socket_folder,
    socket_settings,
)
from townsquare.kit.postgres_errors import (
    PostgresError,
    PostgresFolderError,
    PostgresSilentError,
    PostgresStartError,
)
from townsquare.kit.postgres_locks import Lease, only_starter
from townsquare.kit.postgres_postmaster import (
    PidFile,
    Postmaster,
    defuse_stale_pid_file,
    end_orphans,
    find_postmaster,
)
from townsquare.kit.postgres_programs import find_programs, has_statistics, major_version
from townsquare.kit.postgres_tuning import memory_available, tuned

__all__ = ["EmbeddedPostgres", "PostgresError", "find_programs"]

MAINTENANCE = "postgres"
STARTER_SECONDS = 90.0
REMAINS_SECONDS = 10.0
LARGE_LOG = 16 * 1024 * 1024
SHORTEST_PAUSE, LONGEST_PAUSE = 0.005, 0.1
FIRST_DELAY, LONGEST_DELAY = 0.2, 30.0
STEADY_SECONDS = 10.0
# Any number, the same in every process: who creates databases waits for the others who do.
CREATING_DATABASES = 7_267_381

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
        self._programs = programs.absolute()
        self._extra = dict(extra or {})
        self._answer_timeout = answer_timeout
        self._stop_timeout = stop_timeout
        self._lease = Lease(self.data / "postgres.users")
        self._postmaster: Postmaster | None = None
        self._stopping = False
        self._logger: structlog.stdlib.BoundLogger = structlog.get_logger("postgres")

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
        except PostgresError:
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
            try:
                await self._serve()
            except PostgresError as error:
                self._logger.error("postgres.restart_failed", reason=str(error))  # noqa: TRY400
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
        raise PostgresStartError(f"PostgreSQL ends again and again while it starts. {self._end_of_log(0)}")

    def _find_or_launch(self) -> Postmaster:
        try:
            # Others may pass through, not look in: the server's account must reach its cluster below.
            self.data.mkdir(mode=0o711, parents=True, exist_ok=True)
            with only_starter(self.data / "postgres.lock", patience=STARTER_SECONDS) as lock:
                self._lease.take()
                return find_postmaster(self.cluster) or self._launch(lock)
        except OSError as error:
            raise PostgresFolderError(
                f"PostgreSQL's files in {self.data} cannot be used: {error}. Check who owns the folder"
                f" (townsquare runs as account {os.geteuid()}) and that the disk has room."
            ) from error

    def _launch(self, lock: int) -> Postmaster:
        version = major_version(self._programs)
        account = choose_account(self._programs, self.data, self.cluster)
        make_cluster(self._programs, self.cluster, account, version=version, lock=lock)
        check_version(self.cluster, version)
        account.give_tree(self.cluster)
        configure(self.cluster, account, self._settings(make_socket_folder(self.data, account)))
        self._rotate_log()
        until = time.monotonic() + REMAINS_SECONDS
        while True:
            defuse_stale_pid_file(self.cluster)
            logged = self.log.stat().st_size if self.log.exists() else 0
            child = self._spawn(account)
            if (postmaster := self._introduced(child)) is not None:
                return postmaster
            complaint = self._end_of_log(logged)
            if "shared memory block" not in complaint or time.monotonic() > until:
                raise PostgresStartError(f"PostgreSQL did not start. {complaint}")
            end_orphans(self.cluster)
            time.sleep(SHORTEST_PAUSE * 4)

    def _settings(self, sockets: Path) -> dict[str, str]:
        machine = tuned(memory_available(), statistics=has_statistics(self._programs))
        return machine | socket_settings(sockets) | self._extra

    def _spawn(self, account: Account) -> subprocess.Popen[bytes]:
        log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            child = subprocess.Popen(  # noqa: S603
                [*account.prefix, str(self._programs / "postgres"), "-D", str(self.cluster)],
                user=account.user,
                group=account.group,
                extra_groups=account.extra_groups,
                cwd="/",
                env=clean_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                umask=0o077,
                start_new_session=True,
            )
        finally:
            os.close(log)
        # Takes note of its death at once, so that no zombie holds the number of a server that is gone.
        threading.Thread(target=child.wait, name="postgres-reaper", daemon=True).start()
        return child

    def _introduced(self, child: subprocess.Popen[bytes]) -> Postmaster | None:
        """The server, as soon as the cluster says that it is its own; None when it ended before."""
        until = time.monotonic() + self._answer_timeout
        while child.returncode is None:
            noted = PidFile.read(self.cluster)
            if noted is not None and noted.pid == child.pid and noted.sockets is not None:
                return find_postmaster(self.cluster)
            if time.monotonic() > until:
                raise PostgresSilentError(self._silence(child.pid))
            time.sleep(SHORTEST_PAUSE)
        # Perhaps because a server that somebody else has started in the meantime was there first.
        return find_postmaster(self.cluster)

    async def _answers(self, postmaster: Postmaster) -> bool:
        """Wait until the server takes connections; False when it ended instead."""
        pause, until = SHORTEST_PAUSE, time.monotonic() + self._answer_timeout
        while not postmaster.ended():
            left = until - time.monotonic()
            if left <= 0:
                raise PostgresSilentError(self._silence(postmaster.pid))
            try:
                connection = await asyncpg.connect(self.url(MAINTENANCE), timeout=left)
            except asyncpg.TooManyConnectionsError:
                return True
            except asyncpg.CannotConnectNowError:
                # It says that it is starting: a long recovery is no silence.
                until = time.monotonic() + self._answer_timeout
            except (OSError, TimeoutError, asyncpg.PostgresConnectionError, PostgresStartError):
                pass
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
        finally:
            self._lease.release()
            if self._postmaster is not None:
                self._postmaster.close()
                self._postmaster = None

    def _end(self, postmaster: Postmaster) -> None:
        by = postmaster.end(self._stop_timeout)
        self._logger.info("postgres.stopped", pid=postmaster.pid, signal=by.name if by else None)
        postmaster.close()

    def _rotate_log(self) -> None:
        if self.log.exists() and self.log.stat().st_size > LARGE_LOG:
            self.log.replace(self.log.with_name(f"{self.log.name}.1"))

    def _end_of_log(self, start: int) -> str:
        with self.log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(start, size - 4096))
            lines = file.read().decode(errors="replace").splitlines()
        return f"Its log {self.log} ends:\n" + "\n".join(lines[-12:])

    def _silence(self, pid: int) -> str:
        return (
            f"PostgreSQL's process {pid} on {self.cluster} has not answered for {self._answer_timeout:.0f}"
            f" seconds. It may be frozen (kill -CONT {pid} wakes it), or the machine is overloaded. See"
            f" {self.log}, or end it with kill -QUIT {pid} and start again."
        )
