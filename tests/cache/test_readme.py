"""The package's README: its program runs as it stands, and the files that it names are all that there are."""

import os
import re
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import townsquare.cache
from townsquare.kit.postgres import EmbeddedPostgres

PACKAGE = Path(townsquare.cache.__file__).parent
README = (PACKAGE / "README.md").read_text("utf-8")


async def test_the_program_in_it_runs(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    name = f"readme_{uuid4().hex[:8]}"
    await postgres.ensure_databases([name])
    (found,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    program = tmp_path / "prices.py"
    program.write_text(found, "utf-8")
    environment = os.environ | {"DATABASE_URL": postgres.url(name)}
    ran = subprocess.run([sys.executable, program], env=environment, capture_output=True, text=True, check=False)
    assert ran.stdout.splitlines() == ["miss 250", "hit 250", "miss 300"], ran.stderr


def test_it_names_every_file_of_the_package() -> None:
    parts = {path.name for path in PACKAGE.iterdir() if path.suffix == ".py"} - {"__init__.py"}
    assert {part for part in parts if f"`{part}`" not in README} == set()
