"""What the demo community says: posts over the last weeks, with the rhythm of its days, and what they set off."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from random import Random

from msgspec import Struct

from townsquare.demo.grammar import Language, Speaker, Topic
from townsquare.demo.people import Resident

WEEKS = 6
POSTS_EACH = 7
"""Posts for each person, on the average."""
MOST_COMMENTS = 25
HOURS = (1, 1, 0, 0, 0, 1, 4, 9, 8, 6, 5, 6, 9, 7, 5, 5, 6, 8, 11, 13, 13, 11, 7, 3)
"""How much is written in each hour of the day: at breakfast, at noon, in the evening."""
LATEST = timedelta(minutes=2)


class Said(Struct):
    """A comment; `parent` is the place of the one it answers in the post's list, `after` how long after the post."""

    author: int
    text: str
    after: timedelta
    parent: int | None


class Felt(Struct):
    """A reaction."""

    person: int
    kind: str
    after: timedelta


class Story(Struct):
    """A post with all that followed."""

    number: int
    author: int
    at: datetime
    text: str
    visibility: str
    content_warning: str | None
    comments: list[Said]
    reactions: list[Felt]


def make_stories(language: Language, residents: list[Resident], until: datetime, chance: Random) -> list[Story]:
    """Make what was posted up to `until`; of each author the earliest first."""
    teller = _Teller(language, residents, until, chance)
    authors = chance.choices(residents, [resident.talk for resident in residents], k=POSTS_EACH * len(residents))
    return sorted((teller.story(number, author) for number, author in enumerate(authors)), key=lambda story: story.at)


class _Teller:
    def __init__(self, language: Language, residents: list[Resident], until: datetime, chance: Random) -> None:
        self._language = language
        self._residents = residents
        self._until = until
        self._chance = chance
        self._speaker = Speaker(language, chance)
        self._followers: dict[int, list[int]] = {resident.number: [] for resident in residents}
        for resident in residents:
            for number in resident.follows:
                self._followers[number].append(resident.number)

    def story(self, number: int, author: Resident) -> Story:
        """Make one post of an author, with its comments and reactions."""
        chance = self._chance
        topic = chance.choice(author.topics if chance.random() < 0.8 else self._language.topics)
        visibility = chance.choices(["public", "followers", "private"], [88, 9, 3])[0]
        text, warning = self._words(author, topic, visibility)
        # Who takes part must be able to see it; a private post is a note to oneself.
        circle = [] if visibility == "private" else self._followers[author.number]
        strangers = self._strangers(author) if visibility == "public" else []
        at = self._moment(author)
        comments = self._comments(author, topic, circle, strangers)
        reactions = self._reactions(topic, circle, strangers)
        _compress([*comments, *reactions], self._until - at)
        return Story(number, author.number, at, text, visibility, warning, comments, reactions)

    def _words(self, author: Resident, topic: Topic, visibility: str) -> tuple[str, str | None]:
        if topic.warned and self._chance.random() < 0.12:
            warning, text = self._chance.choice(topic.warned)
            return self._speaker.say([text], topic), self._speaker.say([warning], topic)
        friend = self._residents[self._chance.choice(author.follows)].handle if author.follows else author.handle
        text = self._speaker.say(topic.post, topic, friend=friend)
        if "#" not in text and visibility != "private" and author.follows and self._chance.random() < 0.2:
            text += f" What do you say, @{friend}?"
        if "#" not in text and self._chance.random() < 0.4:
            text += f" #{self._chance.choice(topic.tags)}"
        return text, None

    def _moment(self, author: Resident) -> datetime:
        reach = min(timedelta(weeks=WEEKS), author.joined) - timedelta(days=1)
        day = (self._until - reach * self._chance.random() ** 1.3).replace(hour=0, minute=0, second=0, microsecond=0)
        hour = self._chance.choices(range(24), HOURS)[0]
        at = day + timedelta(hours=hour, minutes=self._chance.uniform(0, 60))
        return at if at < self._until - LATEST else at - timedelta(days=1)

    def _strangers(self, author: Resident) -> list[int]:
        """Choose some who came by, though they do not follow the author."""
        passing = self._chance.sample(self._residents, min(6, len(self._residents)))
        known = {author.number, *self._followers[author.number]}
        return [resident.number for resident in passing if resident.number not in known]

    def _comments(self, author: Resident, topic: Topic, circle: list[int], strangers: list[int]) -> list[Said]:
        chance, speakers = self._chance, circle * 3 + strangers
        if not speakers:
            return []
        count = min(MOST_COMMENTS, int(chance.expovariate(1 / (0.4 + 0.09 * len(circle)))))
        comments, after = list[Said](), timedelta()
        for _ in range(count):
            after += timedelta(minutes=1 + chance.expovariate(1 / 90))
            parent = chance.randrange(len(comments)) if comments and chance.random() < 0.3 else None
            comments.append(Said(chance.choice(speakers), self._reply(topic), after, parent))
            if chance.random() < 0.35:
                after += timedelta(minutes=1 + chance.expovariate(1 / 30))
                answer = self._speaker.say(self._language.common["answer"], topic)
                comments.append(Said(author.number, answer, after, len(comments) - 1))
        return comments

    def _reply(self, topic: Topic) -> str:
        own = self._chance.random() < 0.65
        return self._speaker.say(topic.reply if own else self._language.common["reply"], topic)

    def _reactions(self, topic: Topic, circle: list[int], strangers: list[int]) -> list[Felt]:
        chance, kinds, weights = self._chance, list(topic.react), list(topic.react.values())
        liking = chance.uniform(0.05, 0.5)
        people = [number for number in [*circle, *strangers] if chance.random() < liking]
        return [
            Felt(number, chance.choices(kinds, weights)[0], timedelta(minutes=1 + chance.expovariate(1 / 240)))
            for number in people
        ]


def _compress(followed: Sequence[Said | Felt], there: timedelta) -> None:
    """Have all that followed a post happen before now, in the order it had."""
    longest = max((item.after for item in followed), default=timedelta())
    if longest >= there:
        for item in followed:
            item.after = item.after * (there / longest) * 0.95
