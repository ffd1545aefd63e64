"""Who lives in the demo community: names, interests, skills, and who follows whom."""

import math
import re
import unicodedata
from datetime import timedelta
from random import Random

from msgspec import Struct

from townsquare.demo.grammar import Language, Speaker, Topic

LEVELS = ("beginner", "intermediate", "advanced", "expert")
LONGEST_HANDLE = 30


class Resident(Struct):
    """Somebody, by number. `joined` is how long ago; `fame` and `talk` say how much they are followed and write."""

    number: int
    name: str
    handle: str
    bio: str
    location: str
    pronouns: str | None
    topics: list[Topic]
    skills: list[tuple[str, str]]
    joined: timedelta
    fame: float
    talk: float
    follows: list[int] = []
    endorses: list[tuple[int, str]] = []
    """Whose skill, and which."""


def make_residents(language: Language, people: int, chance: Random) -> list[Resident]:
    """Make people and what stands between them."""
    speaker = Speaker(language, chance)
    taken = set[str]()
    residents = [_resident(language, speaker, chance, number, taken) for number in range(people)]
    for resident in residents:
        resident.follows = _follows(residents, resident, chance)
    for resident in residents:
        _follow_back(residents, resident, chance)
    for resident in residents:
        resident.endorses = _endorsements(residents, resident, chance)
    return residents


def _resident(language: Language, speaker: Speaker, chance: Random, number: int, taken: set[str]) -> Resident:
    name = f"{chance.choice(language.given)} {chance.choice(language.family)}"
    topics = chance.sample(language.topics, chance.choice([1, 2, 2, 3, 3]))
    return Resident(
        number=number,
        name=name,
        handle=_handle(name, chance, taken),
        bio=speaker.say(language.common["bio"]),
        location=speaker.say(language.common["quarter"]),
        pronouns=chance.choice([*language.common["pronouns"], None, None, None]),
        topics=topics,
        skills=_skills(topics, chance),
        # Most were there from the beginning; some came in the last weeks.
        joined=timedelta(days=chance.uniform(10, 40) if chance.random() < 0.1 else chance.uniform(60, 500)),
        fame=min(30.0, chance.paretovariate(1.2)),
        talk=min(8.0, chance.paretovariate(1.4)),
    )


def _handle(name: str, chance: Random, taken: set[str]) -> str:
    plain = re.sub("[^a-z ]", "", unicodedata.normalize("NFKD", name).lower())
    given, family = plain.split(" ", 1)
    forms = [f"{given}_{family}", f"{given}{family}", f"{given}_{family[0]}", f"{given[0]}{family}", given]
    wanted = chance.choices(forms, [4, 3, 2, 2, 1])[0][: LONGEST_HANDLE - 4]
    handle, tries = wanted if len(wanted) > 1 else f"{wanted}_{family}", 1
    while handle in taken:
        tries += 1
        handle = f"{wanted}{tries}"
    taken.add(handle)
    return handle


def _skills(topics: list[Topic], chance: Random) -> list[tuple[str, str]]:
    names = [name for topic in topics for name in topic.skills]
    count = min(len(names), chance.choice([1, 2, 3, 3, 4, 5]))
    return [(name, chance.choices(LEVELS, [2, 4, 3, 1])[0]) for name in chance.sample(names, count)]


def _follows(residents: list[Resident], resident: Resident, chance: Random) -> list[int]:
    """Choose whom somebody follows: the known, and those with whom they share an interest; few follow many."""
    others = [other for other in residents if other is not resident]
    if not others:
        return []
    own = {topic.name for topic in resident.topics}
    weights = [other.fame * (1 + 3 * len(own & {topic.name for topic in other.topics})) for other in others]
    count = min(round(math.exp(chance.gauss(2.5, 0.8))) + 1, max(1, len(others) // 2))
    chosen = dict.fromkeys(other.number for other in chance.choices(others, weights, k=2 * count))
    return list(chosen)[:count]


def _follow_back(residents: list[Resident], resident: Resident, chance: Random) -> None:
    for number in list(resident.follows):
        other = residents[number]
        if resident.number not in other.follows and chance.random() < 0.25:
            other.follows.append(resident.number)


def _endorsements(residents: list[Resident], resident: Resident, chance: Random) -> list[tuple[int, str]]:
    """Endorse what those whom one follows can do, mostly where one knows the matter oneself."""
    matters = {name for topic in resident.topics for name in topic.skills}
    return [
        (number, skill)
        for number in resident.follows
        for skill, _ in residents[number].skills
        if chance.random() < (0.5 if skill in matters else 0.08)
    ]
