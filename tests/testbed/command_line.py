"""The command line as people call it: in this process for speed, as a program of its own beside a running loop."""

import asyncio
import io
import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest
import structlog

from townsquare.cli import main
from townsquare.settings import PREFIX


@dataclass(frozen=True)
class Ran:
    """How a command ended, and what it printed."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, when that is one JSON document and nothing else."""
        assert self.status == 0, self
        return json.loads(self.out)


class CommandLine:
    """Calls `townsquare` on one data folder."""

    def __init__(self, data: Path) -> None:
        self.data = data

    def __call__(self, *arguments: str, variables: Mapping[str, str] | None = None, answer: str = "") -> Ran:
        """Run a command in this process; in a thread of its own where an event loop runs. `answer` is what is typed."""
        out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
        with pytest.MonkeyPatch.context() as patch, _logging_kept():
            _set_only(patch, {"TOWNSQUARE_DATA": str(self.data), **(variables or {})})
            for name, value in {"argv": ["townsquare", *arguments], "stdout": out, "stderr": err}.items():
                patch.setattr(sys, name, value)
            patch.setattr(click.termui, "visible_prompt_func", lambda _="": answer)
            with pytest.raises(SystemExit) as ended:
                main()
        return Ran(int(ended.value.code or 0), _text(out), _text(err))

    async def beside(self, *arguments: str, **options: Any) -> Ran:
        """Run a command in this process while the platform in it answers."""
        return await asyncio.to_thread(self, *arguments, **options)

    async def program(self, *arguments: str, **variables: str) -> Ran:
        """Run a command as a program of its own, to its end."""
        process = await self.start(*arguments, **variables)
        out, err = await process.communicate()
        assert process.returncode is not None
        return Ran(process.returncode, out.decode(), err.decode())

    async def start(self, *arguments: str, **variables: str) -> asyncio.subprocess.Process:
        """Start a command as a program of its own."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "townsquare",
            *arguments,
            env={**kept, "TOWNSQUARE_DATA": str(self.data), **variables},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )


def _set_only(patch: pytest.MonkeyPatch, variables: Mapping[str, str]) -> None:
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        patch.delenv(name)
    for name, value in variables.items():
        patch.setenv(name, value)


@contextmanager
def _logging_kept() -> Iterator[None]:
    """A command sets up the log of its process; this one goes on after it."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    before = structlog.get_config() if structlog.is_configured() else None
    configure = structlog.configure
    with pytest.MonkeyPatch.context() as patch:
        # Loggers that are first used meanwhile, by the platform in this process, must not keep the command's set-up.
        patch.setattr(structlog, "configure", lambda **given: configure(**(given | {"cache_logger_on_first_use": False})))
        try:
            yield
        finally:
            root.handlers, root.level = handlers, level
            structlog.reset_defaults() if before is None else configure(**before)


def _text(stream: io.TextIOWrapper) -> str:
    stream.seek(0)
    return stream.read()
