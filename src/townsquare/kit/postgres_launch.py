"""Starts the server's process on a data folder, and tells why when it does not start."""

import os
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from townsquare.kit.postgres_account import Account, choose_account, clean_environment
from townsquare.kit.postgres_cluster import (
    check_version,
    configure,
    make_cluster,
    make_socket_folder,
    socket_settings,
)
from townsquare.kit.postgres_errors import PostgresSilentError, PostgresStartError
from townsquare.kit.postgres_postmaster import (
    PidFile,
    Postmaster,
    defuse_stale_pid_file,
    end_orphans,
    find_postmaster,
)
from townsquare.kit.postgres_programs import has_statistics, major_version
from townsquare.kit.postgres_tuning import memory_available, tuned

REMAINS_SECONDS = 10.0
PAUSE = 0.005
LARGE_LOG = 16 * 1024 * 1024
LOG_TAIL, LOG_LINES = 4096, 12


@dataclass(frozen=True, slots=True)
class Launcher:
    """What it takes to start a server: where, with which programs, with which settings over the tuned ones.

    `answer_timeout` (seconds) is how long a new process may take to show that it is at work.
    """

    data: Path
    cluster: Path
    log: Path
    programs: Path
    extra: Mapping[str, str]
    answer_timeout: float

    def launch(self, lock: int) -> Postmaster:
        """Start the server, making its cluster first where there is none; returns before it takes connections.

        Only for the holder of the starter's `lock`. Raises PostgresError.
        """
        account = self._prepare(lock)
        until = time.monotonic() + REMAINS_SECONDS
        while True:
            defuse_stale_pid_file(self.cluster)
            logged = self.log.stat().st_size if self.log.exists() else 0
            child = self._spawn(account)
            if (postmaster := self._introduced(child)) is not None:
                return postmaster
            complaint = self.end_of_log(logged)
            if "shared memory block" not in complaint or time.monotonic() > until:
                raise PostgresStartError(f"PostgreSQL did not start. {complaint}")
            end_orphans(self.cluster)
            time.sleep(PAUSE * 4)

    def end_of_log(self, start: int = 0) -> str:
        """The last lines of the log, for an error; none from before the byte `start`."""
        with self.log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(start, size - LOG_TAIL))
            lines = file.read().decode(errors="replace").splitlines()
        return f"Its log {self.log} ends:\n" + "\n".join(lines[-LOG_LINES:])

    def silence(self, pid: int) -> PostgresSilentError:
        """The error for a server that is there and does not answer."""
        return PostgresSilentError(
            f"PostgreSQL's process {pid} on {self.cluster} has not answered for {self.answer_timeout:.0f} seconds."
            f" It may be frozen (kill -CONT {pid} wakes it), or the machine is overloaded. See {self.log}, or end"
            f" it with kill -QUIT {pid} and start again."
        )

    def _prepare(self, lock: int) -> Account:
        version = major_version(self.programs)
        account = choose_account(self.programs, self.data, self.cluster)
        make_cluster(self.programs, self.cluster, account, version=version, lock=lock)
        check_version(self.cluster, version)
        account.give_tree(self.cluster)
        settings = tuned(memory_available(), statistics=has_statistics(self.programs))
        settings |= socket_settings(make_socket_folder(self.data, account))
        configure(self.cluster, account, settings | dict(self.extra))
        if self.log.exists() and self.log.stat().st_size > LARGE_LOG:
            self.log.replace(self.log.with_name(f"{self.log.name}.1"))
        return account

    def _spawn(self, account: Account) -> subprocess.Popen[bytes]:
        log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            child = subprocess.Popen(  # noqa: S603
                [*account.prefix, str(self.programs / "postgres"), "-D", str(self.cluster)],
                user=account.user,
                group=account.group,
                extra_groups=account.extra_groups,
                cwd="/",
                env=clean_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                umask=0o077,
                # Out of reach of the terminal's Ctrl-C, which is for townsquare alone.
                start_new_session=True,
            )
        finally:
            os.close(log)
        # Takes note of its death at once, so that no zombie holds the number of a server that is gone.
        threading.Thread(target=child.wait, name="postgres-reaper", daemon=True).start()
        return child

    def _introduced(self, child: subprocess.Popen[bytes]) -> Postmaster | None:
        """The server, as soon as the cluster says that it is its own; None when it ended before."""
        until = time.monotonic() + self.answer_timeout
        while child.returncode is None:
            noted = PidFile.read(self.cluster)
            if noted is not None and noted.pid == child.pid and noted.sockets is not None:
                break
            if time.monotonic() > until:
                raise self.silence(child.pid)
            time.sleep(PAUSE)
        # It may have ended because a server that somebody else has started in the meantime was there first.
        return find_postmaster(self.cluster)
