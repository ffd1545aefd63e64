"""The count of posts on a profile: taken over from events, in whatever order and however often they come."""

import asyncio

import msgspec

from testbed.town import Person, Town
from townsquare.kit.outbox import Event
from townsquare.services.users.post_counts import post_counts_told


def told(number: int, person: Person, posts: int) -> Event:
    payload = msgspec.Raw(msgspec.json.encode({"person": person.id, "posts": posts}))
    return Event(number, f"1-{number}", "post_count", str(person.id), payload, "2026-01-01T00:00:00+00:00")


async def take(town: Town, *events: Event) -> None:
    async with town.database("users").transaction() as connection:
        await post_counts_told(connection, events)
    await town.noticed("users")


async def shown(town: Town, person: Person) -> int:
    return (await town.users.get(f"/profile/{person.id}")).json["counts"]["posts"]


async def test_the_newest_count_wins_in_any_order(town: Town) -> None:
    ada, grace = await town.register("ada"), await town.register("grace")
    await take(town, told(12, ada, 2), told(11, ada, 1), told(13, grace, 9))
    assert (await shown(town, ada), await shown(town, grace)) == (2, 9)
    await take(town, told(11, ada, 1), told(12, ada, 2))
    assert await shown(town, ada) == 2
    await take(town, told(14, ada, 1))
    assert await shown(town, ada) == 1


async def test_only_what_changed_is_out_of_date(town: Town) -> None:
    ada, grace = await town.register("ada"), await town.register("grace")
    await take(town, told(5, ada, 1))
    before = await town.database("users").fetchval("SELECT max(id) FROM outbox")
    await take(town, told(5, ada, 1), told(6, grace, 1))
    rows = await town.database("users").fetch("SELECT tags FROM outbox WHERE id > $1 AND topic = 'profile'", before)
    assert [row["tags"] for row in rows] == [[f"profile:{grace.id}"]]


async def test_counts_and_follows_at_once_never_wait_for_each_other(town: Town) -> None:
    people = sorted([await town.register("crowd") for _ in range(4)], key=lambda person: person.id, reverse=True)

    async def count() -> None:
        for number in range(1, 40):
            await take(town, *(told(number, person, number) for person in people))

    async def follow() -> None:
        for number in range(40):
            method = town.users.put if number % 2 else town.users.delete
            answer = await method(f"/users/{people[0].id}/follow", as_=people[-1])
            assert answer.status == 204, answer.body

    async with asyncio.timeout(30):
        await asyncio.gather(count(), follow(), follow())
    assert await shown(town, people[0]) == 39
