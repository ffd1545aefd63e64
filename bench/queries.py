"""Every query that the services run: found in their modules by itself, so that none can be forgotten.

A query is a named constant of a module, and its text begins with what a statement begins with. `stray_queries` finds those
that are not: SQL inside a function or a call would escape every check.
"""

import ast
import importlib
import pkgutil
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Final

from townsquare import kit
from townsquare.catalogue import BUILT

STATEMENT: Final = re.compile(r"\s*(--[^\n]*\n\s*)*(SELECT|INSERT|UPDATE|DELETE|WITH)\s")


@dataclass(frozen=True)
class Query:
    """A statement, under the name `content.feed.MERGE_FEED`; those of the kit run in every service's database."""

    name: str
    sql: str

    @property
    def services(self) -> tuple[str, ...]:
        """The services in whose database it runs."""
        owner = self.name.partition(".")[0]
        return BUILT if owner == "kit" else (owner,)


def named_queries() -> list[Query]:
    """Return every query of the services and of the kit."""
    return [query for label, module in _modules() for query in _queries_of(label, module)]


def stray_queries() -> list[str]:
    """Return where a statement is written that is not a module's named constant, as `content.feed:31`."""
    return [f"{label}:{line}" for label, module in _modules() for line in _stray_lines(_tree(module))]


def _modules() -> Iterator[tuple[str, ModuleType]]:
    packages = [kit, *(importlib.import_module(f"townsquare.services.{service}") for service in BUILT)]
    for package in packages:
        owner = package.__name__.rpartition(".")[2]
        for found in pkgutil.iter_modules(package.__path__):
            if not found.ispkg:
                yield f"{owner}.{found.name}", importlib.import_module(f"{package.__name__}.{found.name}")


def _queries_of(label: str, module: ModuleType) -> Iterator[Query]:
    for name in _constants(_tree(module)):
        value: object = getattr(module, name, None)
        if isinstance(value, str) and STATEMENT.match(value):
            yield Query(f"{label}.{name}", value)


def _tree(module: ModuleType) -> ast.Module:
    assert module.__file__ is not None
    return ast.parse(Path(module.__file__).read_text("utf-8"))


def _constants(tree: ast.Module) -> Iterator[str]:
    """The names that a module itself gives a value to; what it imports is found where it comes from."""
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        yield from (target.id for target in targets if isinstance(target, ast.Name))


def _stray_lines(tree: ast.Module) -> Iterator[int]:
    named = {id(part) for node in tree.body if isinstance(node, ast.Assign | ast.AnnAssign) for part in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and id(node) not in named and _reads_a_table(node.value):
            yield node.lineno


def _reads_a_table(value: object) -> bool:
    """True for SQL that a plan says something about: not for `SELECT 1` or the call of a lock."""
    return (
        isinstance(value, str)
        and STATEMENT.match(value) is not None
        and re.search(r"\b(FROM|INTO|SET)\b", value) is not None
    )
