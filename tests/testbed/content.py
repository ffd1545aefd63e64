"""What tests of content share: writing posts and comments, relating people, and reading what was told of them."""

import itertools
from collections.abc import Mapping, Sequence, Set
from typing import Any, Final
from uuid import uuid4

import msgspec

from testbed.town import Answer, Person, Town
from townsquare.kit.database import Connection
from townsquare.kit.outbox import Event
from townsquare.services.content.media import files_told
from townsquare.services.content.people import READER


async def publish(town: Town, author: Person, text: str = "Hello, square", **fields: object) -> Any:
    """Publish a post; returns it as it was answered."""
    answer = await town.content.post("/posts", as_=author, json={"text": text, **fields})
    assert answer.status == 201, answer.body
    return answer.json


async def comment(town: Town, author: Person, post_id: str, text: str = "Well said", **fields: object) -> Any:
    """Comment on a post; returns the comment as it was answered."""
    answer = await town.content.post(f"/posts/{post_id}/comments", as_=author, json={"text": text, **fields})
    assert answer.status == 201, answer.body
    return answer.json


async def react(town: Town, person: Person, post_id: str, kind: str = "like") -> None:
    """React to a post."""
    answer = await town.content.put(f"/posts/{post_id}/reactions/{kind}", as_=person)
    assert answer.status == 204, answer.body


_versions = itertools.count(10**12)
"""Newer than any event that really happened."""


PICTURE: Final = {
    "kind": "image",
    "visibility": "public",
    "width": 640,
    "height": 480,
    "thumbhash": "HBkSHYSIeHiPiHh8eJd4eTN0EEQG",
}
"""What media tells of an ordinary picture."""


async def tell(town: Town, topic: str, key: object, **payload: object) -> None:
    """Have content told that this is now the state of `key`, as its reader does."""
    async with town.database("content").transaction() as connection:
        await _apply(connection, topic, str(key), payload)
    await town.noticed("content")


async def relate(town: Town, people: Sequence[Person], relations: Mapping[str, Set[tuple[int, int]]]) -> None:
    """Have content told of these relations (topic, then who and whom by number), and of the end of every other one."""
    async with town.database("content").transaction() as connection:
        for topic, related in relations.items():
            for who, whom in itertools.permutations(range(len(people)), 2):
                key = f"{people[who].id}:{people[whom].id}"
                await _apply(connection, topic, key, {"deleted": (who, whom) not in related})
    await town.noticed("content")


async def _apply(connection: Connection, topic: str, key: str, payload: dict[str, object]) -> None:
    event = Event(next(_versions), "0-0", topic, key, msgspec.Raw(msgspec.json.encode(payload)), "")
    await READER.topics[topic](connection, event)


async def tell_file(town: Town, owner: Person, file_id: str | None = None, **state: object) -> str:
    """Have content told that somebody has this file, as its reader of media does; returns the file's id."""
    file_id = file_id or str(uuid4())
    payload = {"id": file_id, "owner": str(owner.id)} | (state if "deleted" in state else PICTURE | state)
    event = Event(next(_versions), "0-0", "file", file_id, msgspec.Raw(msgspec.json.encode(payload)), "")
    async with town.database("content").transaction() as connection:
        await files_told(connection, [event])
    await town.noticed("content")
    return file_id


async def last_event(town: Town, topic: str, key: object) -> tuple[dict[str, Any], set[str]]:
    """Return the payload and the cache tags of what content last told of `key`."""
    row = await town.database("content").fetchrow(
        "SELECT payload, tags FROM outbox WHERE topic = $1 AND key = $2 ORDER BY id DESC LIMIT 1", topic, str(key)
    )
    assert row is not None, f"nothing was told of {topic} {key}"
    return msgspec.json.decode(row["payload"]), set(row["tags"])


def ids(answer: Answer) -> list[str]:
    """Return the ids of a list's items."""
    assert answer.status == 200, answer.body
    return [item["id"] for item in answer.items]
