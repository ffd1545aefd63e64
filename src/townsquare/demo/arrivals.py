"""The demo community's people come to the users service: accounts, profiles, skills, follows, endorsements.

They are known again by their addresses, which lead nowhere (`.invalid`, RFC 2606) and say by number and seed who it is: a
run that was cut off goes on where it ended, and one that had ended adds nothing. Each person is a transaction, and each
person's follows and endorsements are one, so they are there as a whole or not at all.
"""

from collections.abc import Mapping
from datetime import datetime
from random import Random
from typing import Final
from uuid import UUID

import msgspec
from msgspec import Struct

from townsquare.demo.people import Resident
from townsquare.kit.clock import as_of
from townsquare.kit.context import Context
from townsquare.kit.database import Database
from townsquare.kit.identity import Viewer
from townsquare.kit.ids import new_id
from townsquare.kit.transactions import transaction
from townsquare.kit.writes import Write
from townsquare.services.users.accounts import ADD_ACCOUNT, ADD_PERSON
from townsquare.services.users.administration import CONFIRM_EMAIL
from townsquare.services.users.endorsements import endorse
from townsquare.services.users.follows import follow
from townsquare.services.users.passwords import hash_password
from townsquare.services.users.people import tell_person
from townsquare.services.users.profile import CHANGE, ProfileField
from townsquare.services.users.skills import NewSkill, add_skill

PASSWORD: Final = "townsquare demo"
DOMAIN: Final = "@demo.invalid"


class Settled(Struct, frozen=True):
    """Somebody of the demo community who is there; `follows` and `endorses` say whether they have begun to."""

    id: UUID
    handle: str
    name: str
    follows: bool
    endorses: bool

    @property
    def viewer(self) -> Viewer:
        """The person as the services' own code knows who asks."""
        return Viewer(self.id, self.handle, self.name, None, None, float("inf"))


# A look at every account: for a command, never for a request.
FIND_SETTLED: Final = """
SELECT a.email_key, p.id, p.handle, p.display_name, p.following > 0 AS follows,
       EXISTS (SELECT FROM endorsements AS e WHERE e.endorser = p.id) AS endorses
FROM accounts AS a
JOIN people AS p ON p.id = a.person_id
WHERE a.email_key LIKE '%' || $1
"""

# By people_handle_idx and the primary key of retired_handles.
FIND_TAKEN: Final = """
SELECT handle FROM people WHERE handle = ANY($1)
UNION ALL
SELECT handle FROM retired_handles WHERE handle = ANY($1)
"""

# By skills_person_name_key_idx.
FIND_SKILLS: Final = "SELECT person, name, id FROM skills WHERE person = ANY($1)"


def address(resident: Resident, people: int, seed: int) -> str:
    """Return the address by which somebody of a demo community is known again."""
    return f"{resident.number}.of.{people}.seed.{seed}{DOMAIN}"


async def find_settled(users: Database) -> dict[str, Settled]:
    """Return everybody of any demo community who is there, by address."""
    return {
        row["email_key"]: Settled(row["id"], row["handle"], row["display_name"], row["follows"], row["endorses"])
        for row in await users.fetch(FIND_SETTLED, DOMAIN)
    }


async def choose_handles(users: Database, residents: list[Resident], settled: Mapping[int, Settled]) -> None:
    """Give everybody the handle that they have already, or one that nobody has or had."""
    wanted = [resident.handle for resident in residents]
    candidates = wanted + [_other_handle(handle) for handle in wanted]
    taken = {row["handle"] for row in await users.fetch(FIND_TAKEN, candidates)}
    for resident in residents:
        if there := settled.get(resident.number):
            resident.handle = there.handle
        elif resident.handle in taken:
            resident.handle = _other_handle(resident.handle)


def _other_handle(handle: str) -> str:
    return f"{handle[:25]}_demo"


async def arrive(users: Context, resident: Resident, email: str, hashed: str, until: datetime) -> Settled:
    """Have somebody join, say who they are and what they can do."""
    joined = until - resident.joined
    person = Settled(new_id(joined), resident.handle, resident.name, False, False)
    with as_of(joined):
        async with transaction(users) as write:
            await write.execute(ADD_PERSON, person.id, person.handle, person.name, joined)
            await write.execute(ADD_ACCOUNT, person.id, email, email, hashed, joined)
            await write.execute(CONFIRM_EMAIL, person.id)
            await _describe(write, person, resident, joined)
            for name, level in resident.skills:
                skill = msgspec.convert({"name": name, "level": level}, NewSkill)
                await add_skill.fn(write, person.viewer, str(person.id), skill)
    return person


async def _describe(write: Write, person: Settled, resident: Resident, joined: datetime) -> None:
    fields = [ProfileField("Pronouns", resident.pronouns)] if resident.pronouns else []
    column = msgspec.json.encode(fields).decode()
    values = (person.name, resident.bio, None, None, resident.location, None, column, joined)
    await write.execute(CHANGE, person.id, *values)
    tell_person(write, person.id, person.handle, person.name, None)


async def follow_others(
    users: Context, resident: Resident, residents: list[Resident], people: Mapping[int, Settled], until: datetime
) -> int:
    """Have somebody follow whom they follow, since some day on which both were there; returns how many."""
    person, chance = people[resident.number], Random(resident.number)  # noqa: S311  (no secret)
    if person.follows:
        return 0
    async with transaction(users) as write:
        for number in resident.follows:
            since = until - min(resident.joined, residents[number].joined) * chance.random()
            with as_of(since):
                await follow.fn(str(people[number].id), person.viewer, write)
    return len(resident.follows)


async def endorse_others(users: Context, resident: Resident, people: Mapping[int, Settled]) -> int:
    """Have somebody endorse the skills that they do; returns how many."""
    person = people[resident.number]
    if person.endorses or not resident.endorses:
        return 0
    owners = {people[number].id for number, _ in resident.endorses}
    rows = await users.database.fetch(FIND_SKILLS, list(owners))
    skills = {(row["person"], row["name"]): row["id"] for row in rows}
    wanted = [skills.get((people[number].id, name)) for number, name in resident.endorses]
    there = [skill for skill in wanted if skill is not None]  # somebody may have signed in and taken one away
    async with transaction(users) as write:
        for skill in there:
            await endorse.fn(write, person.viewer, skill)
    return len(there)


async def hash_once() -> str:
    """Return the hash of the one password that all of them share."""
    return await hash_password(PASSWORD)
