"""The reads that the founding specification names, with whom and what to ask them for in the large community."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote

import asyncpg

from bench.cluster import SIZE, Cluster
from bench.seed import person_id

# What somebody has typed who looks for one of those people: a name and the beginning of another. Each is of some twenty.
FIND_TYPED = """
SELECT typed
FROM (SELECT DISTINCT substring(display_name FROM '^[^ ]+ ..') AS typed FROM people) AS names
ORDER BY hashtext(typed), typed
LIMIT $1
"""
FIND_DISCUSSED = """
SELECT id::text
FROM posts
WHERE comments > 0 AND visibility = 'public'
ORDER BY uuid_hash(id), id
LIMIT $1
"""


@dataclass(frozen=True, slots=True)
class Asked:
    """One address; `person` asks for it, or nobody in particular."""

    path: str
    person: int | None = None


@dataclass(frozen=True, slots=True)
class SeedRoute:
    """A route, as the specification names it, and addresses that it answers with 200, no two alike."""

    name: str
    asked: list[Asked]


def seed_routes(cluster: Cluster, count: int) -> list[SeedRoute]:
    """Return each of them with `count` addresses."""
    people = some_people(count)
    typed = asyncio.run(_column(cluster.dsn("users"), FIND_TYPED, count))
    posts = asyncio.run(_column(cluster.dsn("content"), FIND_DISCUSSED, count))
    return [
        SeedRoute("GET /profile/{id}", _of(people, lambda person: f"/api/users/profile/{person_id(person)}")),
        SeedRoute("GET /search", [Asked(f"/api/users/search?limit=10&q={quote(text)}") for text in typed]),
        SeedRoute("GET /users/{id}/skills", _of(people, lambda person: f"/api/users/users/{person_id(person)}/skills")),
        SeedRoute("GET /feed/{id}", [Asked(f"/api/content/feed/{person_id(person)}", person) for person in people]),
        SeedRoute("GET /posts/{id}/comments", [Asked(f"/api/content/posts/{post}/comments") for post in posts]),
    ]


def some_people(count: int) -> list[int]:
    """Return numbers of people whom everybody may see, in no order, and the same every time."""
    return random.Random(1).sample([number for number in range(1, SIZE.people + 1) if number % 1000], count)


def _of(people: list[int], path: Callable[[int], str]) -> list[Asked]:
    return [Asked(path(person)) for person in people]


async def _column(dsn: str, sql: str, count: int) -> list[str]:
    connection = await asyncpg.connect(dsn)
    try:
        found = [row[0] for row in await connection.fetch(sql, count)]
    finally:
        await connection.close()
    assert len(found) == count, f"there are only {len(found)}"
    return found
