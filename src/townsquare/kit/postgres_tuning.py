"""Sizes the embedded PostgreSQL for the machine, or for the part of it that a container was given."""

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

MEGABYTE = 1024 * 1024
GIGABYTE = 1024 * MEGABYTE


def memory_available(cgroups: Path = Path("/sys/fs/cgroup"), own_cgroup: Path = Path("/proc/self/cgroup")) -> int:
    """Bytes of memory to count on: the machine's, or the smallest limit of this process's control groups."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([machine, *_limits(cgroups, own_cgroup)])


def tuned(memory: int, *, statistics: bool) -> dict[str, str]:
    """The settings for `memory` bytes; `statistics` says whether pg_stat_statements can be loaded.

    PostgreSQL shares the machine with the services, so it takes a modest part and leaves the rest to the page
    cache.
    """
    settings = {
        "max_connections": "200",
        "shared_buffers": _megabytes(_between(32 * MEGABYTE, memory * 15 // 100, GIGABYTE)),
        "effective_cache_size": _megabytes(max(64 * MEGABYTE, memory // 2)),
        # Many short queries at a time, each with a sort or two: 200 of them must fit beside everything else.
        "work_mem": _megabytes(_between(2 * MEGABYTE, memory // 512, 16 * MEGABYTE)),
        "maintenance_work_mem": _megabytes(_between(16 * MEGABYTE, memory // 32, 512 * MEGABYTE)),
        # A query of a request is too short to gain from helpers, and plans stay the same on every machine.
        "max_parallel_workers_per_gather": "0",
        "jit": "off",
        "random_page_cost": "1.1",
        "max_wal_size": "2GB" if memory >= 4 * GIGABYTE else "1GB",
        "min_wal_size": "128MB",
        "checkpoint_timeout": "15min",
        "wal_compression": "on",
        # An acknowledged write is on disk. Said here so that nobody looks for it elsewhere.
        "synchronous_commit": "on",
        # A forgotten transaction holds back vacuum, and the horizon by which caches and readers go.
        "idle_in_transaction_session_timeout": "60s",
        "autovacuum_vacuum_scale_factor": "0.05",
        "autovacuum_analyze_scale_factor": "0.02",
        "track_io_timing": "on",
        "log_min_duration_statement": "500ms",
        "log_lock_waits": "on",
        "log_line_prefix": "%m [%p] %d %a ",
        "log_timezone": "UTC",
        "timezone": "UTC",
    }
    if sys.platform == "linux":
        # A request that runs over its deadline closes its connection; the query must not run on for nobody.
        settings["client_connection_check_interval"] = "2s"
    if statistics:
        settings["shared_preload_libraries"] = "pg_stat_statements"
    return settings


def as_configuration(settings: Mapping[str, str]) -> str:
    """The settings as the text of a configuration file."""
    quoted = ((name, value.replace("\\", "\\\\").replace("'", "''")) for name, value in settings.items())
    return "".join(f"{name} = '{value}'\n" for name, value in quoted)


def _limits(cgroups: Path, own_cgroup: Path) -> Iterator[int]:
    try:
        lines = own_cgroup.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            yield from _limits_upwards(cgroups, path, "memory.max")
        elif "memory" in controllers.split(","):
            yield from _limits_upwards(cgroups / "memory", path, "memory.limit_in_bytes")


def _limits_upwards(top: Path, path: str, name: str) -> Iterator[int]:
    # Upwards, because a limit holds for everything below it, and because inside a container the path is the
    # host's and only the top exists.
    folder = top / path.lstrip("/")
    for place in (folder, *folder.parents):
        if not place.is_relative_to(top):
            return
        try:
            limit = (place / name).read_text().strip()
        except OSError:
            continue
        if limit.isdigit():
            yield int(limit)


def _between(low: int, value: int, high: int) -> int:
    return max(low, min(value, high))


def _megabytes(size: int) -> str:
    return f"{size // MEGABYTE}MB"
