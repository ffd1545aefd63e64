"""This machine: Python, PostgreSQL's programs, the data folder, the keys in it, the ports."""

import platform
import shutil
import stat
import sys
import tempfile
from pathlib import Path

import aiohttp
import msgspec
from joserfc.errors import JoseError

from townsquare import hosting
from townsquare.catalogue import BUILT
from townsquare.commands.doctor.finding import Finding, failed, ok, skipped, warning
from townsquare.kit import keys
from townsquare.kit.health import Health
from townsquare.kit.postgres_account import choose_account
from townsquare.kit.postgres_cluster import check_version
from townsquare.kit.postgres_errors import PostgresError
from townsquare.kit.postgres_programs import find_programs, major_version
from townsquare.settings import Settings, unknown_variables

OLDEST_PYTHON = (3, 11)
GIGABYTE = 1 << 30
LEAST_ROOM, COMFORTABLE_ROOM = GIGABYTE // 4, 2 * GIGABYTE
ASK_SECONDS = 3.0


def check_python() -> Finding:
    """Look at the interpreter."""
    version = platform.python_version()
    if sys.version_info < OLDEST_PYTHON:
        return failed("python", f"Python {version} is too old", "Install Python 3.11 or later, and `make setup` again.")
    return ok("python", f"Python {version}")


def check_settings() -> Finding:
    """Look for variables that were meant as settings; that the settings are valid is known by now."""
    if strangers := unknown_variables():
        return warning(
            "settings", "; ".join(strangers), "Correct the names, or unset them. `townsquare config` shows what counts."
        )
    return ok("settings", "valid; `townsquare config` shows them")


def check_programs(settings: Settings) -> Finding:
    """Look for PostgreSQL's programs, and try the account that would run them."""
    if settings.database_url is not None:
        return skipped("postgresql", "not needed: TOWNSQUARE_DATABASE_URL names a server")
    try:
        programs = find_programs(settings.pg_bin)
        version = major_version(programs)
        cluster = settings.data / "postgres"
        if (cluster / "PG_VERSION").exists():
            check_version(cluster, version)
        account = choose_account(programs, _nearest(settings.data), cluster)
    except PostgresError as error:
        return failed("postgresql", *_split(str(error)))
    return ok("postgresql", f"PostgreSQL {version} in {programs}, runs as account {account.owner}")


def check_folder(settings: Settings) -> Finding:
    """Try to write into the data folder, and look at the room that is left."""
    data, place = settings.data, _nearest(settings.data)
    try:
        with tempfile.NamedTemporaryFile(dir=place, prefix=".doctor-"):
            pass
    except OSError as error:
        mend = f"Run townsquare as the owner of {place}, hand it over (chown), or name another folder with --data."
        return failed("data folder", f"{place} cannot be written to: {error.strerror}", mend)
    free = shutil.disk_usage(place).free
    detail = f"{data}{'' if data.exists() else ' (will be made)'}, {free / GIGABYTE:.1f} GB free"
    if free < LEAST_ROOM:
        return failed("data folder", detail, "Make room: PostgreSQL stops when the disk is full.")
    if free < COMFORTABLE_ROOM:
        return warning("data folder", detail, "Make room soon: PostgreSQL stops when the disk is full.")
    return ok("data folder", detail)


def check_keys(settings: Settings) -> Finding:
    """Look at the keys: there, whole, each other's, and nobody else's to read."""
    folder = settings.data / "keys"
    if not folder.exists():
        return skipped("keys", "none yet: `townsquare up` makes them")
    if readable := [path for path in _secret_files(folder) if stat.S_IMODE(path.stat().st_mode) & 0o077]:
        names = " ".join(map(str, readable))
        return failed(
            "keys", f"others may read {names}", f"chmod 600 {names}; if others could log in here, replace the keys too."
        )
    try:
        private, public = keys.signing_key(settings.data), keys.public_keys(settings.data)
        matches = private.thumbprint() in {key.thumbprint() for key in public.keys}
        keys.internal_secret(settings)
    except (keys.KeyMissingError, OSError) as error:
        return failed(
            "keys",
            str(error),
            "Restore the folder from a backup; `townsquare up` makes what is missing, and all sign in anew.",
        )
    except (JoseError, ValueError, TypeError, KeyError):
        return failed(
            "keys", f"a key in {folder} is damaged", "Restore it from a backup, or move the folder away: all sign in anew."
        )
    if not matches:
        return failed(
            "keys", f"the keys in {folder} do not belong together", "Restore the folder from a backup, or move it away."
        )
    return ok("keys", f"{folder}, closed to others")


async def check_ports(settings: Settings) -> list[Finding]:
    """Look whether the ports are free, or answered by townsquare; those of the services matter with `up --split` alone."""
    findings = [await _check_port("gateway", settings.port, settings, needed=True)]
    if settings.port == 0:
        return findings
    findings += [await _check_port(name, hosting.port_of(name, settings), settings, needed=False) for name in BUILT]
    return findings


async def _check_port(service: str, port: int, settings: Settings, *, needed: bool) -> Finding:
    name = f"port {port}"
    if not 0 < port < 65536:
        return skipped(name, f"any free one, for {service}")
    try:
        hosting.listen(settings.host, port).close()
    except hosting.PortTakenError as error:
        return await _judge_taken(service, port, settings, str(error).partition(";")[0], needed=needed)
    return ok(name, f"free, for {service}")


async def _judge_taken(service: str, port: int, settings: Settings, complaint: str, *, needed: bool) -> Finding:
    name = f"port {port}"
    if (answering := await _who_answers(settings.host, port)) == service:
        return ok(name, f"townsquare's {service} answers there")
    detail = f"{complaint} for {service}"
    if answering:
        detail += f": townsquare's {answering} answers there"
    if needed:
        return failed(
            name, detail, f"End what uses it (`ss -ltnp 'sport = :{port}'` names it), or choose another with --port."
        )
    return warning(
        name, detail, "It is needed by `townsquare up --split` and `townsquare serve` alone; choose others with --port."
    )


async def _who_answers(host: str, port: int) -> str | None:
    """Return the service that says it lives there."""
    url = f"{hosting.local_address(host, port)}/health"
    timeout = aiohttp.ClientTimeout(total=ASK_SECONDS)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as answer:
            return msgspec.json.decode(await answer.content.read(4096), type=Health).service
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError, msgspec.MsgspecError):
        return None


def _secret_files(folder: Path) -> list[Path]:
    return [path for name in (keys.PRIVATE, keys.INTERNAL) if (path := folder / name).exists()]


def _nearest(folder: Path) -> Path:
    """Return the folder, or the nearest one above that is there."""
    return next((place for place in (folder, *folder.parents) if place.is_dir()), Path("/"))


def _split(message: str) -> tuple[str, str]:
    """Part what is wrong from what to do: PostgreSQL's errors say both, in this order."""
    first, _, rest = message.partition(". ")
    return first, rest
