"""Small random worlds: a few people by number, what stands between them, and what that lets each of them see of a post."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import strategies as st

from testbed import content
from testbed.town import Person, Town

Pairs = frozenset[tuple[int, int]]


@dataclass(frozen=True)
class ModelPost:
    """Who wrote it, for whom, and whom it mentions."""

    author: int
    visibility: str
    mentions: frozenset[int]

    def text(self, people: Sequence[Person], begins: str = "Hi") -> str:
        """Its text, which mentions whom it does."""
        return " ".join([begins, *(f"@{people[number].handle}" for number in sorted(self.mentions))])


@dataclass(frozen=True)
class Relations:
    """Follows, blocks and mutes, as (who, whom)."""

    follow: Pairs
    block: Pairs
    mute: Pairs

    def may_read(self, viewer: int | None, post: ModelPost) -> bool:
        """The promise of `visibility.py` for posts."""
        if viewer == post.author:
            return True
        if (post.author, viewer) in self.block:
            return False
        return {
            "public": True,
            "followers": (viewer, post.author) in self.follow,
            "private": viewer in post.mentions,
        }[post.visibility]

    def unwanted(self, viewer: int | None, person: int) -> bool:
        """Whether lists leave the person out for this viewer."""
        return (viewer, person) in self.block | self.mute

    async def relate(self, town: Town, people: Sequence[Person]) -> None:
        """Have content told of these relations, and of the end of every other one."""
        await content.relate(town, people, {"follow": self.follow, "block": self.block, "mute": self.mute})


PEACE = Relations(frozenset(), frozenset(), frozenset())


def pairs_among(people: range) -> st.SearchStrategy[Pairs]:
    """Make pairs of different people: each is in it or not. Drawn as a set, most worlds would have next to none."""
    every = list(itertools.permutations(people, 2))
    chosen = st.lists(st.booleans(), min_size=len(every), max_size=len(every))
    return chosen.map(lambda among: frozenset(itertools.compress(every, among)))


def few_pairs_among(people: range, most: int) -> st.SearchStrategy[Pairs]:
    """Make at most so many pairs of different people."""
    return st.frozensets(st.sampled_from(list(itertools.permutations(people, 2))), max_size=most)


def posts_among(people: range, most_mentions: int, authors: range | None = None) -> st.SearchStrategy[ModelPost]:
    """Make posts by some of the people that mention any of them."""
    return st.builds(
        ModelPost,
        author=st.sampled_from(authors or people),
        visibility=st.sampled_from(["public", "public", "followers", "private"]),
        mentions=st.frozensets(st.sampled_from(people), max_size=most_mentions),
    )


async def strangers(town: Town, people: range) -> list[Person]:
    """Register the people of all the worlds of a test; content knows them."""
    registered = [await town.register(f"p{number}") for number in people]
    await town.settle()
    return registered
