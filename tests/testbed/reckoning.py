"""The reckoning after the faults: what the crowd was told against what the databases hold."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping

import asyncpg

from testbed.crowd import Crowd
from testbed.platforms import Platform
from testbed.town import Client

SETTLE_SECONDS = 60
READS = {"content": "users", "users": "content"}
"""Whose outbox each service follows."""


class Databases:
    """One connection to each service's database."""

    def __init__(self, connections: Mapping[str, asyncpg.Connection]) -> None:
        self._connections = connections

    @classmethod
    async def of(cls, platform: Platform) -> "Databases":
        """Connect to all."""
        return cls({name: await platform.database(name) for name in READS})

    async def close(self) -> None:
        """Close the connections."""
        for connection in self._connections.values():
            await connection.close()

    async def rows(self, service: str, sql: str) -> list[tuple]:
        """Return all rows, in order."""
        return sorted(tuple(row) for row in await self._connections[service].fetch(sql))

    async def settle(self) -> None:
        """Wait until every event has taken effect, also those that events have led to."""
        async with asyncio.timeout(SETTLE_SECONDS):
            while not all([await self._seen(reader, source) for reader, source in READS.items()]):
                await asyncio.sleep(0.05)

    async def _seen(self, reader: str, source: str) -> bool:
        [(told,)] = await self.rows(source, "SELECT coalesce(max(xid::text::bigint), 0) FROM outbox")
        seen = await self.rows(reader, f"SELECT xid::text::bigint FROM event_checkpoints WHERE source = '{source}'")
        return bool(seen) and seen[0][0] > told


async def reckon(platform: Platform, client: Client, crowd: Crowd) -> None:
    """Compare everything."""
    databases = await Databases.of(platform)
    try:
        await databases.settle()
        await nothing_acknowledged_is_lost(databases, crowd)
        await nothing_was_done_twice(databases)
        await every_event_took_effect_once(databases)
        await the_read_models_are_what_they_are_read_from(databases)
        await counters_are_what_they_count(databases)
    finally:
        await databases.close()
    await keys_still_give_the_same_answers(client, crowd)


async def nothing_acknowledged_is_lost(databases: Databases, crowd: Crowd) -> None:
    people = {row[0]: row for row in await databases.rows("users", "SELECT id, handle, display_name FROM people")}
    posts = dict(await databases.rows("content", "SELECT id::text, text FROM posts"))
    follows = set(await databases.rows("users", "SELECT follower, followee FROM follows"))
    for member in crowd.members:
        assert people[member.id] == (member.id, member.handle, member.name)
        assert member.posts.items() <= posts.items()
    same({(member.id, followed) for member in crowd.members for followed in member.follows}, follows)
    assert len(posts) == sum(len(member.posts) for member in crowd.members)


async def nothing_was_done_twice(databases: Databases) -> None:
    assert await databases.rows("content", "SELECT text FROM posts GROUP BY text HAVING count(*) > 1") == []


async def every_event_took_effect_once(databases: Databases) -> None:
    """Content tells on each follow and each person that it was told of, in the transaction in which it takes effect."""
    counted = "SELECT topic, key, count(*) FROM outbox WHERE topic IN ({}) GROUP BY topic, key"
    told = await databases.rows("users", counted.format("'follow', 'person'"))
    seen = await databases.rows("content", counted.format("'follow_seen', 'person_seen'"))
    same(told, [(topic.removesuffix("_seen"), key, times) for topic, key, times in seen])


async def the_read_models_are_what_they_are_read_from(databases: Databases) -> None:
    follows = await databases.rows("users", "SELECT follower, followee FROM follows")
    same(follows, await databases.rows("content", "SELECT follower, followee FROM follows WHERE active"))
    names = await databases.rows("users", "SELECT id, handle, display_name FROM people")
    same(names, await databases.rows("content", "SELECT id, handle, display_name FROM people WHERE NOT hidden"))


async def counters_are_what_they_count(databases: Databases) -> None:
    wrong = """
        SELECT id FROM people AS p
        WHERE followers <> (SELECT count(*) FROM follows WHERE followee = p.id)
           OR following <> (SELECT count(*) FROM follows WHERE follower = p.id)
    """
    assert await databases.rows("users", wrong) == []
    written = await databases.rows("content", "SELECT author_id, count(*) FROM posts GROUP BY author_id")
    same(written, await databases.rows("users", "SELECT id, posts::bigint FROM people WHERE posts > 0"))


def same(wanted: Iterable[tuple], found: Iterable[tuple]) -> None:
    """Compare without order, and say what differs."""
    lacking, more = Counter(wanted) - Counter(found), Counter(found) - Counter(wanted)
    assert not lacking, f"lacking: {list(lacking)}"
    assert not more, f"too many: {list(more)}"


async def keys_still_give_the_same_answers(client: Client, crowd: Crowd) -> None:
    for kept in crowd.kept[:: max(1, len(crowd.kept) // 40)]:
        headers = {"Idempotency-Key": kept.key}
        again = await client.post(kept.path, as_=kept.token, json=kept.body, headers=headers)
        assert (again.status, again.body) == (kept.answer.status, kept.answer.body)
        assert again.headers["Idempotency-Replayed"] == "true"
