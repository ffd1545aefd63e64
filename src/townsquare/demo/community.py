"""`townsquare demo`: fills the community with people who do not exist, and takes them away again."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from random import Random
from typing import Final

import msgspec
from msgspec import Struct

from townsquare import hosting
from townsquare.demo.arrivals import (
    PASSWORD,
    Settled,
    address,
    arrive,
    choose_handles,
    endorse_others,
    find_settled,
    follow_others,
    hash_once,
)
from townsquare.demo.grammar import load_language
from townsquare.demo.people import Resident, make_residents
from townsquare.demo.talk import Story, make_stories
from townsquare.demo.telling import SOURCE, Told, find_told, tell
from townsquare.kit.clock import now
from townsquare.kit.context import Context
from townsquare.kit.database import Database
from townsquare.kit.readers import wait_until_seen
from townsquare.kit.transactions import transaction
from townsquare.services.content.imports import forget_imported
from townsquare.services.users.accounts import purge_account
from townsquare.services.users.administration import NO_GRACE, delete_account
from townsquare.settings import Settings

PEOPLE: Final = 200
SEED: Final = 1
AT_ONCE: Final = 3
"""Authors whose posts are told side by side: PostgreSQL works on one while Python does on another."""
BATCH: Final = 20
WORKER: Final = 900
"""A number that no serving process has, for the lease of the event readers."""
SECONDS: Final = 60.0
CATCH_UP_SECONDS: Final = 300

# By two looks at accounts: whether anybody is there who is no demo person.
IS_LIVED_IN: Final = "SELECT EXISTS (SELECT FROM accounts WHERE email_key NOT LIKE '%@demo.invalid')"

# By the primary key of retired_handles: these people never were, so nobody can be mistaken for them.
FREE_HANDLES: Final = "DELETE FROM retired_handles WHERE handle = ANY($1)"

# By outbox_xid_id_idx.
LAST_EVENT: Final = "SELECT o.xid::text FROM outbox AS o ORDER BY o.xid DESC, o.id DESC LIMIT 1"


class DemoReport(Struct):
    """What was added, and as whom one can sign in. `already` says that a demo community was there."""

    people: int = 0
    follows: int = 0
    endorsements: int = 0
    posts: int = 0
    comments: int = 0
    reactions: int = 0
    already: bool = False
    handle: str = ""
    password: str = PASSWORD


Progress = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and of how much."""


async def fill_if_empty(settings: Settings, server: str, progress: Progress) -> DemoReport | None:
    """Fill a community in which nobody is yet, or go on with it; None where people live already."""
    async with _platform(settings, server) as (users, content):
        if await users.database.fetchval(IS_LIVED_IN):
            return None
        return await _fill(users, content, PEOPLE, SEED, progress)


async def fill(settings: Settings, server: str, people: int, seed: int, progress: Progress) -> DemoReport:
    """Add a demo community; where one is already, nothing is added, unless it is this one and was cut off."""
    async with _platform(settings, server) as (users, content):
        return await _fill(users, content, people, seed, progress)


async def remove(settings: Settings, server: str, progress: Progress) -> int:
    """Delete every demo person with all they wrote; returns how many there were."""
    async with _platform(settings, server) as (users, content):
        people = list((await find_settled(users.database)).values())
        for done, person in enumerate(people):
            progress("people leave", done + 1, len(people))
            async with transaction(content) as write:
                while (await forget_imported(write, person.viewer, SOURCE, 500))[0]:
                    pass
            async with transaction(users) as write:
                await delete_account(write, person.id, grace=NO_GRACE)
        await _purge(users.database, people)
        await _caught_up(content, users)
        await _caught_up(users, content)
        return len(people)


async def _purge(users: Database, people: Sequence[Settled]) -> None:
    for person in people:
        async with users.transaction(deadline=SECONDS) as connection:
            await purge_account(connection, person.id)
    await users.execute(FREE_HANDLES, [person.handle for person in people])


async def _fill(users: Context, content: Context, people: int, seed: int, progress: Progress) -> DemoReport:
    there = await find_settled(users.database)
    language, until = load_language(), now()
    chance = Random(seed)  # noqa: S311  (what the seed makes is to be the same again)
    residents = make_residents(language, people, chance)
    addresses = {resident.number: address(resident, people, seed) for resident in residents}
    settled = {number: there[email] for number, email in addresses.items() if email in there}
    if there and not settled:  # another seed or size
        return DemoReport(already=True, handle=min(person.handle for person in there.values()))
    await choose_handles(users.database, residents, settled)
    report = DemoReport(already=len(settled) == people)
    await _settle(users, residents, settled, addresses, until, report, progress)
    await _caught_up(content, users)
    stories = make_stories(language, residents, until, chance)
    await _tell_all(content, stories, settled, f"{SOURCE}{seed}:{people}", report, progress)
    await _caught_up(users, content)
    report.handle = max(residents, key=lambda resident: len(resident.follows)).handle
    return report


async def _settle(
    users: Context,
    residents: list[Resident],
    settled: dict[int, Settled],
    addresses: dict[int, str],
    until: datetime,
    report: DemoReport,
    progress: Progress,
) -> None:
    hashed = await hash_once()
    for resident in residents:
        progress("people arrive", resident.number + 1, len(residents))
        if resident.number not in settled:
            email = addresses[resident.number]
            settled[resident.number] = await arrive(users, resident, email, hashed, until)
            report.people += 1
    for resident in residents:
        progress("they get to know each other", resident.number + 1, len(residents))
        report.follows += await follow_others(users, resident, residents, settled, until)
        report.endorsements += await endorse_others(users, resident, settled)


async def _tell_all(
    content: Context, stories: list[Story], people: dict[int, Settled], source: str, report: DemoReport, progress: Progress
) -> None:
    told = await find_told(content.database, [person.id for person in people.values()])
    fresh = [(name, story) for story in stories if (name := f"{source}:{story.number}") not in told]
    authors: dict[int, list[tuple[str, Story]]] = {}
    for name, story in fresh:
        authors.setdefault(story.author, []).append((name, story))
    waiting = list(authors.values())

    async def tell_in_turn() -> None:
        while waiting:
            own = waiting.pop()
            for start in range(0, len(own), BATCH):
                _count(report, await tell(content, own[start : start + BATCH], people))
                progress("they talk", report.posts, len(fresh))

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(tell_in_turn())
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None


def _count(report: DemoReport, told: Told) -> None:
    report.posts += told.posts
    report.comments += told.comments
    report.reactions += told.reactions


@asynccontextmanager
async def _platform(settings: Settings, server: str) -> AsyncIterator[tuple[Context, Context]]:
    """Lend users and content, with their event readers: each must know what the other was told before it goes on."""
    patient = msgspec.structs.replace(settings, request_deadline=max(settings.request_deadline, SECONDS))
    host = hosting.Host(hosting.ALL, patient, server, worker=WORKER)
    async with host.running():
        yield host.services["users"].context, host.services["content"].context


async def _caught_up(reader: Context, source: Context) -> None:
    """Wait until a service has taken over all that another has told so far."""
    last = await source.database.fetchval(LAST_EVENT)
    if last is None:
        return
    async with asyncio.timeout(CATCH_UP_SECONDS):
        while True:
            with suppress(TimeoutError):
                await wait_until_seen(reader.database, source.name, int(str(last)))
                return
