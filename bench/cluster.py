"""The large community that reads are measured on, seeded once and kept in a cache folder.

50,000 people and a million posts in the platform's own PostgreSQL, tuned as `townsquare up` tunes it. It is made anew when
the schema or the seed has changed.
"""

import asyncio
import hashlib
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

import asyncpg

from bench import seed
from bench.seed import Size
from bench.seed_media import seed_media
from townsquare.catalogue import definition_of
from townsquare.kit import keys
from townsquare.kit.database import dsn_for
from townsquare.kit.identity import Signer
from townsquare.kit.migrations import migrate
from townsquare.kit.postgres import EmbeddedPostgres, find_programs

SIZE: Final = Size(people=50_000, follows=30, posts=1_000_000)
SEEDS: Final[dict[str, Callable[[asyncpg.Connection, Size], Awaitable[None]]]] = {
    "users": seed.seed_users,
    "content": seed.seed_content,
    "media": seed_media,
}


@dataclass(frozen=True)
class Cluster:
    """The running server: `url` is its address without a database, `data` the data folder of whoever serves from it."""

    url: str
    data: Path
    pid: int
    version: str

    def dsn(self, service: str) -> str:
        """Return the address of a service's database, for asyncpg and libpq alike."""
        return dsn_for(self.url, service)

    @property
    def socket(self) -> str:
        """The folder of the server's Unix socket."""
        return parse_qs(urlsplit(self.url).query)["host"][0]

    def environment(self) -> dict[str, str]:
        """Return the variables that make `townsquare` serve from it for a benchmark: quiet, without limits and cache."""
        return {
            **os.environ,
            "TOWNSQUARE_DATABASE_URL": self.url,
            "TOWNSQUARE_DATA": str(self.data),
            "TOWNSQUARE_RATE_LIMITS": "off",
            "TOWNSQUARE_CACHE": "off",
            "TOWNSQUARE_LOG_LEVEL": "error",
        }

    def token(self, number: int) -> str:
        """Return an access token of the person with this number; it is good for five minutes."""
        return Signer(keys.signing_key(self.data)).sign(
            seed.person_id(number), f"person_{number}", f"Person {number}", session=None
        )

    def pin(self, core: int) -> None:
        """Bind the server's processes to one core; those that it starts from now on follow."""
        if (os.cpu_count() or 1) < 2:
            return
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text("utf-8").split()
        for process in (self.pid, *map(int, children)):
            os.sched_setaffinity(process, {core})


def cache_folder() -> Path:
    """Return where benchmarks keep what is dear to make."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "townsquare-bench"


@contextmanager
def large_community() -> Iterator[Cluster]:
    """Start the seeded server, seeding it when needed, and stop it at the end."""
    data = cache_folder() / "community"
    data.mkdir(parents=True, exist_ok=True)
    for folder in (data, *data.parents):  # the server's own account must reach its files when this runs as root
        if folder.is_relative_to(cache_folder()):
            folder.chmod(0o711)
    # What one benchmark has left behind is cleaned up before the next, and not in the middle of it.
    postgres = EmbeddedPostgres(data, find_programs(None), extra={"autovacuum": "off"})
    cluster = asyncio.run(_start(postgres, data))
    try:
        yield cluster
    finally:
        asyncio.run(postgres.stop())


async def _start(postgres: EmbeddedPostgres, data: Path) -> Cluster:
    await postgres.start()
    keys.ensure_keys(data)
    url = postgres.url("postgres")
    for service in SEEDS:
        await _seed(url, data, service)
        await _vacuum(dsn_for(url, service))
    connection = await asyncpg.connect(url)
    try:
        version = str(await connection.fetchval("SHOW server_version"))
    finally:
        await connection.close()
    assert postgres.pid is not None
    return Cluster(url, data, postgres.pid, version)


async def _seed(url: str, data: Path, service: str) -> None:
    """Fill the service's database, unless it is filled from this very seed and schema."""
    marker, wanted = data / f"{service}.seeded", _fingerprint(service)
    if marker.exists() and marker.read_text("utf-8") == wanted:
        return
    print(f"  seeding {service} (once, a minute or two)", flush=True)
    marker.unlink(missing_ok=True)
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(f"DROP DATABASE IF EXISTS {service} WITH (FORCE)")
        await connection.execute(f"CREATE DATABASE {service}")
    finally:
        await connection.close()
    await migrate(dsn_for(url, service), definition_of(service).schemas)
    connection = await asyncpg.connect(dsn_for(url, service))
    try:
        await SEEDS[service](connection, SIZE)
    finally:
        await connection.close()
    marker.write_text(wanted, "utf-8")


async def _vacuum(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("VACUUM (ANALYZE)")
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()


def _fingerprint(service: str) -> str:
    digest = hashlib.sha256(repr(SIZE).encode())
    schemas = [file for folder in definition_of(service).schemas for file in sorted(folder.glob("*.sql"))]
    for file in (Path(seed.__file__), Path(seed_media.__code__.co_filename), *schemas):
        digest.update(file.read_bytes())
    return digest.hexdigest()
