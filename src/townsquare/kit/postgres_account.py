"""Chooses the account that PostgreSQL runs as: it refuses to run as root, and townsquare may well be root.

Three ways, the first that a real trial run confirms: an unprivileged account of the machine; the same root in
a user namespace, where it has another number and no privileges (files stay root's, so a folder under /root
works); otherwise a clear refusal. A cluster that exists keeps the way it was made with, where that still
works.
"""

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from townsquare.kit.postgres_errors import PostgresAccountError

SERVICE_ACCOUNTS = ("postgres", "nobody")
ROOT = 0


@dataclass(frozen=True, slots=True)
class Account:
    """How to run a program of PostgreSQL, and who must own its files.

    `user`, `group` and `extra_groups` go to subprocess (None: unchanged); `prefix` stands before the command.
    """

    owner: int
    owner_group: int
    user: int | None = None
    group: int | None = None
    extra_groups: tuple[int, ...] | None = None
    prefix: tuple[str, ...] = ()

    def run(self, command: Sequence[str], *, timeout: float, keep: Sequence[int] = ()) -> str | None:
        """Run `command` to its end: None when it succeeded, otherwise what it said.

        `keep` names open files that it inherits.
        """
        try:
            result = subprocess.run(  # noqa: S603
                [*self.prefix, *command],
                user=self.user,
                group=self.group,
                extra_groups=self.extra_groups,
                pass_fds=keep,
                cwd="/",
                env=clean_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=timeout,
                check=False,
            )
        except (OSError, subprocess.SubprocessError) as error:
            return str(error)
        if result.returncode == 0:
            return None
        return result.stdout.decode(errors="replace").strip() or f"exit code {result.returncode}"

    def give(self, path: Path) -> None:
        """Make the account the owner of one file or folder; what it owns already is left alone."""
        found = path.lstat()
        if (found.st_uid, found.st_gid) != (self.owner, self.owner_group) and os.geteuid() == ROOT:
            os.chown(path, self.owner, self.owner_group, follow_symlinks=False)

    def give_tree(self, folder: Path) -> None:
        """Make the account the owner of a folder and all in it. One look when that is so already."""
        if folder.lstat().st_uid == self.owner:
            return
        # From the leaves up, the folder itself last: whoever is cut short starts over at the next start.
        for place, _, files in os.walk(folder, topdown=False):
            for name in files:
                self.give(Path(place, name))
            self.give(Path(place))


def choose_account(programs: Path, data: Path, cluster: Path) -> Account:
    """The way to run PostgreSQL that works on this machine for this folder; raises PostgresAccountError."""
    owner = cluster.stat().st_uid if cluster.exists() else None
    if os.geteuid() != ROOT:
        return _unprivileged(owner, cluster)
    ways = list(_ways_of_root(data))
    # A stable sort: the present owner's way first, so that a start does not change the owner of a large
    # cluster.
    ways.sort(key=lambda way: way.owner != owner)
    for way in ways:
        if _works(way, programs, data):
            return way
    raise PostgresAccountError(_advice(programs, data))


def clean_environment() -> dict[str, str]:
    """The environment without the variables by which PostgreSQL's programs would listen to somebody else."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}


def _unprivileged(owner: int | None, cluster: Path) -> Account:
    me, my_group = os.geteuid(), os.getegid()
    if owner is not None and owner != me:
        raise PostgresAccountError(
            f"The cluster {cluster} belongs to {_account_name(owner)}, and townsquare runs as"
            f" {_account_name(me)}. Run it as the owner (or as root), or hand the folder over: sudo chown -R"
            f" {me} '{cluster}'."
        )
    # initdb insists on finding its account by name, which the free-floating number of a container does not
    # have.
    return Account(me, my_group, prefix=() if _by_number(me) else _namespace())


def _ways_of_root(data: Path) -> Iterator[Account]:
    # Whoever owns a folder on the way can pass it: townsquare started with sudo in somebody's home.
    owners = [folder.stat().st_uid for folder in (data, *data.parents)]
    entries = [*map(_by_name, SERVICE_ACCOUNTS), *map(_by_number, dict.fromkeys(owners))]
    for entry in filter(None, entries):
        yield Account(entry.pw_uid, entry.pw_gid, entry.pw_uid, entry.pw_gid, ())
    if prefix := _namespace():
        yield Account(ROOT, os.getegid(), prefix=prefix)


def _namespace() -> tuple[str, ...]:
    """What to put before a command so that this account has another number for it.

    unshare executes in place: the process that it becomes has the number that was started.
    """
    unshare = shutil.which("unshare")
    inner = next(filter(None, map(_by_name, SERVICE_ACCOUNTS)), None)
    if unshare is None or inner is None:
        return ()
    return (unshare, "--user", f"--map-user={inner.pw_uid}", f"--map-group={inner.pw_gid}", "--")


def _works(way: Account, programs: Path, data: Path) -> bool:
    # A trial instead of reading permission bits: it also sees access lists, mount options and what a
    # container forbids.
    trial = 'cd "$1" && "$2" --version && "$3" --version'
    paths = (str(data), str(programs / "postgres"), str(programs / "initdb"))
    return way.run(["/bin/sh", "-c", trial, "sh", *paths], timeout=30) is None


def _by_name(name: str) -> pwd.struct_passwd | None:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return entry if entry.pw_uid != ROOT else None


def _by_number(number: int) -> pwd.struct_passwd | None:
    try:
        entry = pwd.getpwuid(number)
    except KeyError:
        return None
    return entry if entry.pw_uid != ROOT else None


def _account_name(number: int) -> str:
    entry = _by_number(number)
    return f"'{entry.pw_name}'" if entry else f"account {number}"


def _advice(programs: Path, data: Path) -> str:
    closed = [place for path in (data, programs) for place in (path, *path.parents) if not place.stat().st_mode & 0o001]
    where = f" ({', '.join(sorted({str(place) for place in closed}))} is closed to others)" if closed else ""
    return (
        "PostgreSQL does not run as root, and no other account of this machine reaches both its programs and"
        f" the data folder{where}; a user namespace ('unshare --user') is not possible here either. Keep the"
        " data elsewhere, for example with --data /var/lib/townsquare, or run townsquare as an ordinary"
        " account."
    )
