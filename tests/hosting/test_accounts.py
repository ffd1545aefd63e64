"""Whoever runs it: root, for whom PostgreSQL needs another account, or somebody else."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence

import pytest

from testbed.platforms import gone, ready, running_platform
from testbed.postgres_users import data_folder, programs_on

NOBODY = 65534
# Another account, which may read the interpreter and the wheels wherever they lie.
AS_NOBODY = (
    "setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups",
    "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search",
)  # fmt: skip


def can_become_nobody() -> bool:
    """Whether this process is root and may hand itself on."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        return False
    return subprocess.run([*AS_NOBODY, sys.executable, "-c", ""], check=False, capture_output=True).returncode == 0


@pytest.mark.parametrize(
    "prefix",
    [
        pytest.param((), id="this one"),
        pytest.param(AS_NOBODY, id="nobody", marks=pytest.mark.skipif(not can_become_nobody(), reason="only for root")),
    ],
)
async def test_every_account_can_run_the_platform(prefix: Sequence[str]) -> None:
    with data_folder() as folder:
        if prefix:
            os.chown(folder, NOBODY, NOBODY)
        async with running_platform(folder / "data", "up", prefix=prefix) as platform:
            assert await ready(platform)
            owners = {process.uids().real for process in platform.postgres()}
            assert 0 not in owners or os.geteuid() != 0
            family = platform.family()
            assert await platform.stop() == 0
            assert await gone(family) == []
        assert programs_on(folder) == []
