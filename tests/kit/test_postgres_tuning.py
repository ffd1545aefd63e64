"""The embedded PostgreSQL fits the machine, or the container, that it runs in."""

from pathlib import Path

import pytest

from townsquare.kit.postgres_tuning import GIGABYTE, MEGABYTE, as_configuration, memory_available, tuned


@pytest.mark.parametrize(
    ("memory", "shared", "work"),
    [
        (512 * MEGABYTE, "76MB", "2MB"),
        (4 * GIGABYTE, "614MB", "8MB"),
        (64 * GIGABYTE, "1024MB", "16MB"),
        (128 * MEGABYTE, "32MB", "2MB"),
    ],
)
def test_memory_is_shared_modestly(memory: int, shared: str, work: str) -> None:
    settings = tuned(memory, statistics=True)
    assert settings["shared_buffers"] == shared
    assert settings["work_mem"] == work


def test_statistics_are_loaded_only_where_they_exist() -> None:
    assert tuned(GIGABYTE, statistics=True)["shared_preload_libraries"] == "pg_stat_statements"
    assert "shared_preload_libraries" not in tuned(GIGABYTE, statistics=False)


def test_the_limit_of_a_container_counts(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("268435456\n")
    own = tmp_path / "cgroup"
    own.write_text("0::/\n")
    assert memory_available(tmp_path, own) == 256 * MEGABYTE


def test_the_smallest_limit_on_the_way_up_counts(tmp_path: Path) -> None:
    (tmp_path / "town" / "web").mkdir(parents=True)
    (tmp_path / "town" / "memory.max").write_text("134217728\n")
    (tmp_path / "town" / "web" / "memory.max").write_text("max\n")
    own = tmp_path / "cgroup"
    own.write_text("0::/town/web\n")
    assert memory_available(tmp_path, own) == 128 * MEGABYTE


def test_the_older_control_groups_count_too(tmp_path: Path) -> None:
    (tmp_path / "memory" / "town").mkdir(parents=True)
    (tmp_path / "memory" / "town" / "memory.limit_in_bytes").write_text("134217728\n")
    own = tmp_path / "cgroup"
    own.write_text("5:cpu:/town\n4:memory:/town\n")
    assert memory_available(tmp_path, own) == 128 * MEGABYTE


def test_without_control_groups_the_machine_counts(tmp_path: Path) -> None:
    assert memory_available(tmp_path, tmp_path / "absent") > 128 * MEGABYTE


def test_values_are_quoted_for_the_file() -> None:
    assert as_configuration({"name": "it's a \\"}) == "name = 'it''s a \\\\'\n"
