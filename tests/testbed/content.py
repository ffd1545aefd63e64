"""What tests of content share: writing posts, and reading what was told of them."""

from typing import Any

import msgspec

from testbed.town import Answer, Person, Town


async def publish(town: Town, author: Person, text: str = "Hello, square", **fields: object) -> Any:
    """Publish a post; returns it as it was answered."""
    answer = await town.content.post("/posts", as_=author, json={"text": text, **fields})
    assert answer.status == 201, answer.body
    return answer.json


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
