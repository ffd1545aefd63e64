"""The running server as a process: how it is recognised, watched, signalled and ended."""

import asyncio
import os
import select
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

PAUSE = 0.005
SLOW_PAUSE = 0.25
IMMEDIATE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class PidFile:
    """What a server writes into its cluster's postmaster.pid, as far as it has got."""

    pid: int
    port: int | None
    sockets: Path | None

    @classmethod
    def read(cls, cluster: Path) -> Self | None:
        """The contents, or None when there is no such file or it holds no number."""
        try:
            lines = (cluster / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return None
        if not lines or not lines[0].strip().isdigit():
            return None
        port = int(lines[3]) if len(lines) > 3 and lines[3].isdigit() else None
        sockets = Path(lines[4]) if len(lines) > 4 and lines[4] else None
        return cls(int(lines[0]), port, sockets)


class Postmaster:
    """The main process of the server. Closing this object only stops the watching."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        # A handle to this very process, even when its number is given to another one. Linux only.
        try:
            self._handle = os.pidfd_open(pid)
        except (AttributeError, OSError):
            self._handle = None

    def ended(self, within: float = 0.0) -> bool:
        """Whether the process has ended, or does so within some seconds."""
        if self._handle is not None:
            poller = select.poll()
            poller.register(self._handle, select.POLLIN)
            return bool(poller.poll(within * 1000))
        until = time.monotonic() + within
        while _exists(self.pid):
            if time.monotonic() >= until:
                return False
            time.sleep(PAUSE)
        return True

    async def gone(self) -> None:
        """Wait for the end of the process."""
        if self._handle is None:
            while _exists(self.pid):
                await asyncio.sleep(SLOW_PAUSE)
            return
        # A copy of its own for each waiter: an event loop watches a file once.
        handle = os.dup(self._handle)
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(handle, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(handle)
            os.close(handle)

    def end(self, patience: float) -> signal.Signals | None:
        """End the server; says which signal did it, None when it was not there or still is.

        Fast first (clients are cut off, everything is written), after `patience` seconds immediate (recovers
        at the next start), and then by force: what is left of it at most keeps the next start waiting for a
        moment.
        """
        steps = (
            (signal.SIGINT, patience),
            (signal.SIGQUIT, IMMEDIATE_SECONDS),
            (signal.SIGKILL, IMMEDIATE_SECONDS),
        )
        for step, seconds in steps:
            try:
                os.kill(self.pid, step)
            except ProcessLookupError:
                return None
            if self.ended(seconds):
                return step
        return None

    def close(self) -> None:
        """Stop watching."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def find_postmaster(cluster: Path) -> Postmaster | None:
    """The server that runs on the cluster, also one that is still starting, or frozen."""
    noted = PidFile.read(cluster)
    if noted is None:
        return None
    postmaster = Postmaster(noted.pid)
    # Recognised after it is held, so that the number cannot change hands in between.
    if not postmaster.ended() and _serves(noted.pid, cluster):
        return postmaster
    postmaster.close()
    return None


def defuse_stale_pid_file(cluster: Path) -> None:
    """Make a postmaster.pid whose server is gone harmless, as after a kill or a power cut.

    PostgreSQL overwrites one whose process is dead, but refuses to start when another program got the number,
    or when the file is empty. In the first case our own number goes in, which it takes for stale as well,
    being its parent's; the rest stays, because from it PostgreSQL sees whether remains of the old server
    still use its shared memory.
    """
    path = cluster / "postmaster.pid"
    noted = PidFile.read(cluster)
    if noted is None:
        path.unlink(missing_ok=True)
        return
    if _exists(noted.pid):
        _, _, rest = path.read_text().partition("\n")
        path.write_text(f"{os.getpid()}\n{rest}")


def end_orphans(cluster: Path) -> None:
    """End what is left of a server whose main process was killed: PostgreSQL will not start beside it.

    Idle parts notice by themselves; one that is busy with a query would first finish it. Linux only.
    """
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if _is_orphan(int(entry.name), cluster):
                os.kill(int(entry.name), signal.SIGQUIT)


def _is_orphan(pid: int, cluster: Path) -> bool:
    """Whether the process is part of a server on the cluster, without being the child of one."""
    if not _same(f"/proc/{pid}/cwd", cluster) or not _command_line(pid)[0].startswith("postgres: "):
        return False
    status = Path(f"/proc/{pid}/status").read_text()
    parent = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("PPid:"))
    return Path(_command_line(parent)[0]).name != "postgres"


def _serves(pid: int, cluster: Path) -> bool:
    """Whether the process was started as a server on this cluster, by its command line."""
    arguments = _command_line(pid)
    is_server = any(Path(argument).name in ("postgres", "postmaster") for argument in arguments)
    return is_server and any(argument.startswith("/") and _same(argument, cluster) for argument in arguments)


def _command_line(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except ProcessLookupError:
        return [""]
    except OSError:
        # Not Linux: `ps` cannot tell where an argument ends, so the server's own spelling ("-D", folder) is
        # relied on.
        command = ["ps", "-p", str(pid), "-o", "command="]
        listing = subprocess.run(command, capture_output=True, check=False)  # noqa: S603
        program, _, folder = listing.stdout.decode(errors="replace").strip().partition(" -D ")
        return [program, folder]


def _same(one: str, other: Path) -> bool:
    return Path(one).resolve() == other.resolve()


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
