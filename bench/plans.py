"""What PostgreSQL does for a query: its plan with the rows that really went through it, as `EXPLAIN ANALYZE` tells."""

import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias
from uuid import UUID, uuid4

import asyncpg
import msgspec

Mode: TypeAlias = Literal["force_generic_plan", "force_custom_plan"]
MODES: Final[tuple[Mode, ...]] = ("force_generic_plan", "force_custom_plan")
"""A prepared statement is planned for its arguments at first, and later once for all of them."""


@dataclass(frozen=True)
class Node:
    """One step of a plan; `below` are the steps that it takes rows from."""

    facts: dict[str, Any]
    below: "tuple[Node, ...]"

    @property
    def kind(self) -> str:
        """What it does, such as `Seq Scan`."""
        return self.facts["Node Type"]

    @property
    def table(self) -> str | None:
        """The table that it reads or changes, if any."""
        return self.facts.get("Relation Name")

    @property
    def rows_out(self) -> float:
        """Rows that it gave, in all its runs."""
        return self.facts["Actual Rows"] * self.facts["Actual Loops"]

    @property
    def rows_read(self) -> float:
        """Rows that a scan looked at, in all its runs: those that it gave and those that it threw away."""
        removed = sum(count for name, count in self.facts.items() if name.startswith("Rows Removed by"))
        return (self.facts["Actual Rows"] + removed) * self.facts["Actual Loops"]

    def walk(self) -> "Iterator[Node]":
        """Go through this step and all below it."""
        yield self
        for node in self.below:
            yield from node.walk()

    @classmethod
    def of(cls, facts: dict[str, Any]) -> "Node":
        """Make it from a part of PostgreSQL's JSON."""
        return cls(facts, tuple(cls.of(below) for below in facts.get("Plans", [])))


@dataclass(frozen=True)
class Plan:
    """A query's plan, how long it ran (milliseconds), and the pages that it touched."""

    root: Node
    milliseconds: float
    pages: int

    def indexes(self) -> set[str]:
        """Name the indexes that it reads, or by which an insert finds what is there already."""
        found: set[str] = set()
        for node in self.root.walk():
            found |= {node.facts["Index Name"]} if "Index Name" in node.facts else set()
            found |= set(node.facts.get("Conflict Arbiter Indexes", []))
        return found


async def explain(connection: asyncpg.Connection, sql: str, arguments: Sequence[object], mode: Mode) -> Plan:
    """Run a query in a transaction that is rolled back, and return what it did. Raises asyncpg.PostgresError."""
    async with rolled_back(connection):
        return await explain_here(connection, sql, arguments, mode)


async def explain_here(connection: asyncpg.Connection, sql: str, arguments: Sequence[object], mode: Mode) -> Plan:
    """The same in the caller's transaction; what the query changes stays changed."""
    await connection.execute(f"SET LOCAL plan_cache_mode = {mode}")
    # A statement that failed stays prepared, hence a name of its own.
    name = f"asked_{uuid4().hex}"
    await connection.execute(f"PREPARE {name} AS {sql}")
    given = f"({', '.join(literal(argument) for argument in arguments)})" if arguments else ""
    told = await connection.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) EXECUTE {name}{given}")
    await connection.execute(f"DEALLOCATE {name}")
    (whole,) = msgspec.json.decode(told)
    root = whole["Plan"]
    pages = root.get("Shared Hit Blocks", 0) + root.get("Shared Read Blocks", 0)
    return Plan(Node.of(root), whole["Execution Time"], pages)


@asynccontextmanager
async def rolled_back(connection: asyncpg.Connection) -> AsyncIterator[None]:
    """A transaction that leaves nothing behind."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        yield
    finally:
        await transaction.rollback()


def literal(value: object) -> str:
    """Write an argument as SQL; PostgreSQL takes the text as whatever type the query's parameter has."""
    match value:
        case None:
            return "NULL"
        case bool():
            return str(value).lower()
        case bytes():
            return f"'\\x{value.hex()}'"
        case list():
            return _quoted("{" + ",".join(_element(item) for item in value) + "}")
        case datetime():
            return _quoted(value.isoformat())
        case str() | int() | UUID():
            return _quoted(str(value))
        case _:
            raise TypeError(f"no literal for {type(value).__name__}")


def _element(item: object) -> str:
    text = f"\\x{item.hex()}" if isinstance(item, bytes) else str(item)
    return '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
