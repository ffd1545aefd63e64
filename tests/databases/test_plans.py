"""What PostgreSQL does for every query, on a community of 20,000 people and 300,000 posts.

Each query is found by itself (`bench/queries.py`) and run with the arguments of `bench/samples.py`, planned both for them
and for any. No growing table may be read from end to end, no more than a page sorted, and every index must have a use.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

import asyncpg
import pytest
from bench.cluster import SEEDS
from bench.plans import MODES, Mode, Node, Plan, explain, explain_here, rolled_back
from bench.queries import Query, named_queries, stray_queries
from bench.samples import FIRST, NEWEST, SAMPLES, SILENT, SIZE

from townsquare.catalogue import BUILT, definition_of
from townsquare.kit.migrations import migrate
from townsquare.kit.postgres import EmbeddedPostgres
from townsquare.services.content.feed import SCAN_FEED, WINDOW
from townsquare.services.users.search import FIND_BEGINNING, FIND_TYPOS

PAGE: Final = 101
"""The longest page, and the row that says that there is more."""
MOST_READ: Final = 600
"""Rows of one table that a query may look at: less than a millisecond. An export takes 501 at a time."""

Kind: TypeAlias = Literal["scan", "sort", "read"]

SMALL: Final = {
    "event_checkpoints": "a row for each service that is followed",
    "periodic_jobs": "a row for each such job",
    "schema_migrations": "a row for each file",
}
"""Tables that do not grow with the community."""

APART: Final = {
    "kit.migrations.SELECT_APPLIED": "run by the migrations alone",
    "kit.migrations.RECORD": "run by the migrations alone",
    "kit.postgres.SELECT_DATABASES": "reads the server's own list of databases",
    "users.sessions.FIND_ACCOUNT": "never run by itself: FIND_BY_HANDLE and FIND_BY_EMAIL go on with a condition",
}
"""Queries that are not looked at, and why."""

DEPARTURE: Final = "all that somebody had who is deleted for good: a job"
OPERATOR: Final = "an operator's command: nobody waits for it but them"
WAITING: Final = "the table holds the jobs that wait or have failed, and these are all to be counted"
EVERY_FOLLOW: Final = "one post for each follow, of 7,500 at most; for many follows only where the scan found too little"
NEAR: Final = "no table's rows: a person of the page is compared with each thing that may have been meant"
VERIFICATIONS: Final = ("_USED", "MISCOUNTED", "USED_WRONG", "RECOUNT", "REUSE", "HURT")
"""What looks at every file there is: `townsquare media verify`."""
EXCUSES: Final[Mapping[tuple[str, Kind], str]] = {
    ("content.feed.MERGE_FEED", "sort"): EVERY_FOLLOW,
    ("content.feed.MERGE_FEED", "read"): EVERY_FOLLOW,
    ("content.feed.LIST_FOLLOWED", "read"): "all that one follows, 7,500 at most, once for as long as they stay the same",
    ("content.feed.SCAN_FEED", "read"): f"{WINDOW} posts at most",
    ("content.search.SEARCH_RECENT", "read"): "1,000 posts at most: a common word is among them",
    ("content.search.SEARCH_ALL", "sort"): "the ids of what holds a rare word: one in less than 2 % of the newest posts",
    ("content.trending.TRENDING", "sort"): "the tags of one day, from 20,000 uses at most",
    ("users.search.FIND_TYPOS", "read"): NEAR,
    ("users.skill_names.LIST_NAMES_BEGINNING", "sort"): "few skills begin alike; where many do, an index has their order",
    ("users.accounts.RELATIONS", "read"): DEPARTURE,
    ("content.departures.DELETE_BOOKMARKS", "read"): DEPARTURE,
    ("content.departures.DELETE_DRAFTS", "read"): DEPARTURE,
    ("content.imported_media.IMPORTED_BY", "read"): DEPARTURE,
    ("users.administration.LIST_ACCOUNTS", "read"): OPERATOR,
    ("users.administration.SEARCH_ACCOUNTS", "read"): OPERATOR,
    ("users.administration.SEARCH_ACCOUNTS", "sort"): OPERATOR,
    ("media.accounting.BY_PERSON", "scan"): OPERATOR,
    ("media.accounting.BY_PERSON", "sort"): OPERATOR,
    ("media.accounting.BY_KIND", "scan"): OPERATOR,
    ("media.accounting.STORED", "scan"): OPERATOR,
    ("media.quota.BEGUN", "read"): "what somebody has begun to upload in a day, of which the limit of uploads allows 1,440",
    ("media.sweep.COUNT_UNUSED", "read"): OPERATOR,
    ("media.sweep.COUNT_EXPIRED", "read"): OPERATOR,
    **{(f"media.verification.{name}", kind): OPERATOR for name in VERIFICATIONS for kind in ("scan", "sort", "read")},
    ("kit.job_admin.LIST_JOBS", "read"): OPERATOR,
    ("kit.job_admin.DISCARD_JOBS", "scan"): OPERATOR,
    ("kit.jobs.LOCK_FAILED", "scan"): OPERATOR,
    ("kit.jobs.COUNT_JOBS", "scan"): WAITING,
    ("kit.follower.BEGIN", "read"): "once, when a process starts",
    ("kit.outbox.COMPACT", "scan"): "a job of the night, over events of more than a week",
    ("kit.outbox.COMPACT", "read"): "a job of the night, over events of more than a week",
}
"""What a query may do all the same, and why."""

OTHERS: Final[Mapping[str, str]] = {
    "outbox_topic_key_id_idx": "compaction, where little is old; here half of the events are",
    "pgqueuer_ep_prio_id_idx": "pgqueuer takes the next job by it",
    "pgqueuer_priority_id_id1_idx": "pgqueuer takes the next job by it",
    "pgqueuer_picked_heartbeat_idx": "pgqueuer finds the jobs of a worker that died by it",
    "pgqueuer_queue_manager_id_idx": "pgqueuer counts a worker's jobs by it",
    "pgqueuer_log_status": "pgqueuer finds the exceptions in its log by it",
    "pgqueuer_log_not_aggregated": "pgqueuer sums up its log by it",
}
"""Indexes that our queries need not use, and who does."""


@dataclass(frozen=True)
class Run:
    """One execution of a query in a service's database."""

    service: str
    query: Query
    arguments: tuple[object, ...]
    mode: Mode
    plan: Plan

    def __str__(self) -> str:
        return f"{self.query.name} in {self.service} with {self.arguments} ({self.mode})"


@dataclass
class Seeded:
    """The seeded databases, and what happened in them; `refused` says which queries PostgreSQL did not take."""

    connections: dict[str, asyncpg.Connection]
    runs: list[Run] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def runs_in(self, service: str) -> list[Run]:
        """The runs in one service's database."""
        return [run for run in self.runs if run.service == service]

    async def run(self, service: str, query: Query, arguments: tuple[object, ...], mode: Mode) -> None:
        """Run a query once; what it changes is taken back."""
        try:
            plan = await explain(self.connections[service], query.sql, arguments, mode)
        except asyncpg.PostgresError as error:
            self.refused.append(f"{query.name} with {arguments}: {error}")
        else:
            self.runs.append(Run(service, query, arguments, mode, plan))


@pytest.fixture(scope="module")
async def seeded(postgres: EmbeddedPostgres) -> AsyncIterator[Seeded]:
    """Seed a database for each service and run every query in it."""
    async with asyncio.TaskGroup() as group:
        tasks = {service: group.create_task(seed_database(postgres, service)) for service in BUILT}
    world = Seeded({service: task.result() for service, task in tasks.items()})
    for query in named_queries():
        for service, arguments, mode in itertools.product(query.services, SAMPLES.get(query.name, []), MODES):
            await world.run(service, query, arguments, mode)
    yield world
    for connection in world.connections.values():
        await connection.close()


async def seed_database(postgres: EmbeddedPostgres, service: str) -> asyncpg.Connection:
    name = f"large_{service}"
    await postgres.ensure_databases([name])
    await migrate(postgres.url(name), definition_of(service).schemas)
    connection = await asyncpg.connect(postgres.url(name))
    await SEEDS[service](connection, SIZE)
    return connection


# --- the rules -----------------------------------------------------------------------------------------------------


def faults(plan: Plan) -> Iterator[tuple[Kind, str]]:
    """What a plan does that a request's must not."""
    for node in plan.root.walk():
        if node.kind == "Seq Scan" and node.table not in SMALL:
            yield "scan", f"reads {node.table} from end to end"
        elif "Scan" in node.kind and node.rows_read > MOST_READ:
            yield "read", f"looks at {node.rows_read:.0f} rows of {node.table or node.kind}"
        elif node.kind in ("Sort", "Incremental Sort") and sorted_by(node) > PAGE:
            yield "sort", f"sorts {sorted_by(node):.0f} rows by {node.facts['Sort Key']}"


def sorted_by(node: Node) -> float:
    """The rows that go into a sort, however few come out of it."""
    return sum(below.rows_out for below in node.below)


def unexcused(runs: list[Run], kind: Kind) -> str:
    """The faults of one kind that have no excuse, a line each, with the query that has it."""
    return "\n".join(
        f"{run}: {said}"
        for run in runs
        for found, said in faults(run.plan)
        if found == kind and (run.query.name, kind) not in EXCUSES
    )


def test_no_query_is_written_where_it_cannot_be_found() -> None:
    assert stray_queries() == []


def test_every_query_has_arguments_to_be_run_with() -> None:
    names = {query.name for query in named_queries()}
    assert names - set(SAMPLES) - set(APART) == set(), "bench/samples.py lacks arguments for these"
    assert (set(SAMPLES) | set(APART)) - names == set(), "there are no such queries any more"


async def test_every_query_runs_with_its_arguments(seeded: Seeded) -> None:
    assert seeded.refused == []


async def test_no_growing_table_is_read_from_end_to_end(seeded: Seeded) -> None:
    assert unexcused(seeded.runs, "scan") == ""


async def test_no_more_than_a_page_is_sorted(seeded: Seeded) -> None:
    assert unexcused(seeded.runs, "sort") == ""


async def test_no_query_looks_at_more_rows_than_it_may(seeded: Seeded) -> None:
    assert unexcused(seeded.runs, "read") == ""


def test_excuses_are_for_what_there_is() -> None:
    assert {name for name, _ in EXCUSES} - {query.name for query in named_queries()} == set()


SELECT_INDEXES = """
SELECT i.indexrelid::regclass::text AS name, i.indisunique AS is_unique,
       EXISTS (
           SELECT FROM pg_constraint AS c
           WHERE c.conrelid = i.indrelid AND c.contype = 'f' AND c.confdeltype = 'c'
             AND (i.indkey::int2[])[0:cardinality(c.conkey) - 1] @> c.conkey
       ) AS for_deletes
FROM pg_index AS i
WHERE i.indrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace)
"""
"""A unique index is there for what it forbids, and the one of a cascading foreign key for the deletes."""


async def idle_indexes(connection: asyncpg.Connection, runs: list[Run]) -> set[str]:
    """The indexes of a database that no query uses, and no rule of the tables."""
    used = {index for run in runs for index in run.plan.indexes()}
    rows = await connection.fetch(SELECT_INDEXES)
    return {row["name"] for row in rows if not row["is_unique"] and not row["for_deletes"]} - used


async def test_every_index_is_used(seeded: Seeded) -> None:
    for service, connection in seeded.connections.items():
        assert await idle_indexes(connection, seeded.runs_in(service)) - set(OTHERS) == set(), service
        names = {row["name"] for row in await connection.fetch(SELECT_INDEXES)}
        assert set(OTHERS) - names == set(), "there are no such indexes any more"


SELECT_FOREIGN_KEYS = """
SELECT c.conrelid::regclass || '.' || c.conname
FROM pg_constraint AS c
WHERE c.contype = 'f' AND c.confdeltype = 'c' AND NOT EXISTS (
    SELECT FROM pg_index AS i
    WHERE i.indrelid = c.conrelid AND (i.indkey::int2[])[0:cardinality(c.conkey) - 1] @> c.conkey
)
"""


async def test_what_goes_with_a_deleted_row_is_found_by_an_index(seeded: Seeded) -> None:
    for connection in seeded.connections.values():
        assert [row[0] for row in await connection.fetch(SELECT_FOREIGN_KEYS)] == []


# --- that the rules see what they should ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("content.user_posts.LIST_POSTS_OF", "posts_author_idx, posts_feed_idx"),
        ("content.search.SEARCH_ALL", "posts_search_idx"),
        ("content.drafts.LIST_DRAFTS", "drafts_author_idx"),
        ("media.lists.LIST_KIND_OF", "files_owner_kind_idx"),
        ("media.lists.LIST_FILES_OF", "files_owner_idx, files_owner_kind_idx"),
        ("media.lists.LIST_PUBLIC_KIND", "files_public_kind_idx"),
        ("users.follows.LIST_FOLLOWERS", "follows_followee_since_idx"),
        ("users.search.FIND_BEGINNING", "people_names_key_idx"),
        ("users.search.FIND_SPELLINGS", "people_names_key_idx"),
        ("users.search.FIND_TYPOS", "people_names_key_idx"),
        ("users.profile.READ_BY_HANDLE", "people_handle_idx"),
        ("users.sessions.LOCK_SESSION", "sessions_refresh_hash_idx"),
    ],
)
async def test_a_query_without_its_index_is_found_out(seeded: Seeded, name: str, index: str) -> None:
    (query,) = [query for query in named_queries() if query.name == name]
    (service,) = query.services
    connection = seeded.connections[service]
    async with rolled_back(connection):
        await connection.execute(f"DROP INDEX {index}")
        plans = [await explain_here(connection, query.sql, arguments, mode) for arguments in SAMPLES[name] for mode in MODES]
    assert any(list(faults(plan)) for plan in plans)


async def test_an_index_that_nothing_uses_is_found_out(seeded: Seeded) -> None:
    connection = seeded.connections["content"]
    async with rolled_back(connection):
        await connection.execute("CREATE INDEX of_no_use ON posts (like_count)")
        assert "of_no_use" in await idle_indexes(connection, seeded.runs_in("content"))


async def test_a_feed_of_silent_people_is_not_looked_for_in_the_whole_table(seeded: Seeded) -> None:
    plan = await explain(seeded.connections["content"], SCAN_FEED, (SILENT, NEWEST, 21), "force_generic_plan")
    assert [node.rows_read for node in plan.root.walk() if node.table == "posts"] == [WINDOW]


@pytest.mark.parametrize(("sql", "more"), [(FIND_BEGINNING, []), (FIND_TYPOS, [["zzz"], ["zzz!"]])])
async def test_a_search_does_not_walk_there_from_the_first_name_of_all(
    seeded: Seeded, sql: str, more: list[list[str]]
) -> None:
    for mode in MODES:
        plan = await explain(seeded.connections["users"], sql, ("zzz", None, "", False, FIRST, 21, *more), mode)
        assert plan.pages < 50
