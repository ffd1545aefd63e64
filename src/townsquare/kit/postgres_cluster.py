"""The cluster on disk, made whole or not at all and configured anew at each start, and its sockets' folder."""

import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from townsquare.kit.postgres_account import Account
from townsquare.kit.postgres_errors import PostgresFolderError, PostgresStartError, PostgresVersionError
from townsquare.kit.postgres_tuning import as_configuration

ROLE = "townsquare"
PORT = 5432
INITDB_SECONDS = 180.0
# Linux takes 107 bytes in a socket's address, the BSDs and macOS 103.
LONGEST_SOCKET = 103
# Which characters are letters, for trigrams and text search, is the C library's business, so C alone would
# not do.
LOCALES = ("C.UTF-8", "en_US.UTF-8", "C")
FIRST_WITH_BUILTIN_LOCALES = 17

INCLUDES = """
# Added by townsquare. Its own settings are written anew at each start; yours go into custom.conf and win.
include_if_exists = 'townsquare.conf'
include_if_exists = 'custom.conf'
"""


def make_cluster(programs: Path, cluster: Path, account: Account, *, version: int, lock: int) -> None:
    """Make an empty cluster, unless there is one; raises PostgresStartError.

    It is made beside its place and moved there when it is complete and on disk (initdb syncs it, for 0.1 s),
    so nobody ever uses one that was cut short. initdb inherits `lock`: should townsquare be killed, the next
    one to start waits until the orphan is through, before it clears away the leftover.
    """
    unfinished = cluster.with_name(f"{cluster.name}.new")
    shutil.rmtree(unfinished, ignore_errors=True)
    if _is_cluster(cluster):
        return
    unfinished.mkdir(mode=0o700)
    account.give(unfinished)
    _initdb(programs, unfinished, account, version=version, lock=lock)
    unfinished.rename(cluster)
    _sync_folder(cluster.parent)


def check_version(cluster: Path, version: int) -> None:
    """Raise PostgresVersionError when the cluster was made by another major version."""
    made_by = (cluster / "PG_VERSION").read_text().strip()
    if made_by != str(version):
        raise PostgresVersionError(
            f"The cluster {cluster} was made by PostgreSQL {made_by}, and these programs are PostgreSQL"
            f" {version}. Name the folder with PostgreSQL {made_by}'s programs in TOWNSQUARE_PG_BIN, or upgrade"
            " the cluster with pg_upgrade, or move it with pg_dumpall."
        )


def configure(cluster: Path, account: Account, settings: Mapping[str, str]) -> None:
    """Write townsquare.conf, and have postgresql.conf read it, and custom.conf after it."""
    ours, main = cluster / "townsquare.conf", cluster / "postgresql.conf"
    head = "# Written by townsquare at each start. Put your own settings into custom.conf, beside this file.\n"
    ours.write_text(head + as_configuration(settings))
    if INCLUDES not in main.read_text():
        with main.open("a") as file:
            file.write(INCLUDES)
    for path in (ours, main, cluster / "custom.conf"):
        if path.exists():
            account.give(path)


def socket_settings(folder: Path) -> dict[str, str]:
    """Listen on a socket in `folder` and nowhere else."""
    quoted = str(folder).replace('"', '""')
    return {
        "listen_addresses": "",
        "port": str(PORT),
        "unix_socket_directories": f'"{quoted}"',
        "unix_socket_permissions": "0700",
    }


def make_socket_folder(data: Path, account: Account) -> Path:
    """The private folder of the sockets: `<data>/run`, or a shorter one when that does not fit an address.

    Whoever may enter this folder is let in without a password, so it must be closed to others; one that
    somebody else has prepared in a shared folder is refused (PostgresFolderError).
    """
    folder = next(place for place in _socket_folders(data, account.owner) if _fits(place))
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    ours = folder.is_relative_to(data) or found.st_uid in (os.geteuid(), account.owner)
    if not stat.S_ISDIR(found.st_mode) or not ours:
        raise PostgresFolderError(
            f"{folder}, where PostgreSQL's sockets belong, is not a folder of this account. Remove it and try again."
        )
    folder.chmod(0o700)
    account.give(folder)
    return folder


def _is_cluster(folder: Path) -> bool:
    if (folder / "PG_VERSION").exists():
        return True
    if folder.exists() and any(folder.iterdir()):
        raise PostgresFolderError(
            f"{folder} holds files but no PostgreSQL cluster (PG_VERSION is missing). Move it away, or restore"
            " it from a backup, and try again."
        )
    return False


def _initdb(programs: Path, folder: Path, account: Account, *, version: int, lock: int) -> None:
    command = [
        str(programs / "initdb"),
        f"--pgdata={folder}",
        f"--username={ROLE}",
        "--encoding=UTF8",
        "--data-checksums",
        # No password for who can enter the private folder of the sockets. Over TCP, should an operator
        # switch it on, always one.
        "--auth-local=trust",
        "--auth-host=scram-sha-256",
    ]
    if version >= FIRST_WITH_BUILTIN_LOCALES:
        # Sorts by code point, the same on every system: no index breaks with an update of the C library.
        command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    complaint = None
    for locale in LOCALES:
        attempt = [*command, f"--locale={locale}", "--lc-messages=C"]
        complaint = account.run(attempt, timeout=INITDB_SECONDS, keep=[lock])
        if complaint is None or "invalid locale" not in complaint:
            break
    if complaint is not None:
        shutil.rmtree(folder, ignore_errors=True)
        raise PostgresStartError(f"PostgreSQL could not make its cluster in {folder.parent}. initdb said:\n{complaint}")


def _socket_folders(data: Path, owner: int) -> Iterator[Path]:
    yield data / "run"
    name = f"townsquare-{owner}-{hashlib.sha256(os.fsencode(data)).hexdigest()[:16]}"
    # Not for root, whose server may run as somebody else and could not get in.
    if (runtime := os.environ.get("XDG_RUNTIME_DIR")) and os.geteuid() != 0:
        yield Path(runtime) / name
    yield Path(tempfile.gettempdir()) / name
    yield Path("/tmp") / name  # noqa: S108  (checked to be ours before it is used)


def _fits(folder: Path) -> bool:
    # A comma separates hosts in a DSN, for libpq and asyncpg alike, and cannot be escaped.
    return len(os.fsencode(folder / f".s.PGSQL.{PORT}")) <= LONGEST_SOCKET and "," not in str(folder)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
