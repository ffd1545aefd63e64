"""Who sees which comment and which reaction: against a model of a few lines, in random small worlds."""

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from testbed.content import comment, publish, react
from testbed.relations import PEACE, ModelPost, Relations, pairs_among, posts_among, strangers
from testbed.town import Person, Town

PEOPLE = range(4)
AUTHOR = 0
"""Who wrote the post."""


@dataclass(frozen=True)
class ModelComment:
    """Who wrote it, and how far before it stands what it answers: 0 for the post."""

    author: int
    back: int


@dataclass(frozen=True)
class World(Relations):
    """Relations, a post, its comments, oldest first, and who reacted."""

    post: ModelPost
    comments: list[ModelComment]
    reacted: frozenset[int]

    def parent(self, number: int) -> int | None:
        """The number of the comment that a comment answers."""
        back = self.comments[number].back
        return number - back if 0 < back <= number else None

    def readable(self, partaker: int, viewer: int | None) -> bool:
        """The promise for what somebody left under the post."""
        if not self.may_read(viewer, self.post):
            return False
        if viewer == partaker:
            return True
        return (AUTHOR, partaker) not in self.block and (viewer == AUTHOR or (partaker, viewer) not in self.block)

    def listed(self, partaker: int, viewer: int | None) -> bool:
        """The same for lists."""
        return self.readable(partaker, viewer) and not self.unwanted(viewer, partaker)

    def comments_for(self, viewer: int | None) -> list[tuple[int, bool]] | None:
        """The numbers of the comments in the list, each with whether it is shown; None when there is no list."""
        if not self.may_read(viewer, self.post):
            return None
        answered = {self.parent(number) for number in range(len(self.comments))}
        shown = [(number, self.listed(made.author, viewer)) for number, made in enumerate(self.comments)]
        return [(number, there) for number, there in shown if there or number in answered]

    def reactions_for(self, viewer: int | None) -> set[int] | None:
        """Who is in the list of reactions; None when there is no list."""
        if not self.may_read(viewer, self.post):
            return None
        return {person for person in self.reacted if self.listed(person, viewer)}


pairs = pairs_among(PEOPLE)
comments = st.builds(ModelComment, author=st.sampled_from(PEOPLE), back=st.integers(0, 3))
worlds = st.builds(
    World,
    follow=pairs,
    block=pairs,
    mute=pairs,
    post=posts_among(PEOPLE, most_mentions=4, authors=range(AUTHOR, AUTHOR + 1)),
    comments=st.lists(comments, min_size=3, max_size=6),
    reacted=st.frozensets(st.sampled_from(PEOPLE)),
)


@pytest.fixture
async def people(town: Town) -> list[Person]:
    """The people of all the worlds of this test."""
    return await strangers(town, PEOPLE)


NONE = frozenset[Any]()


@given(world=worlds)
@example(world=World(NONE, NONE, NONE, ModelPost(AUTHOR, "private", NONE), comments=[], reacted=NONE))
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
async def test_every_way_to_read_shows_exactly_what_the_viewer_may_see(
    town: Town, people: list[Person], world: World
) -> None:
    post_id, numbers = await build(town, people, world)
    path = f"/posts/{post_id}"
    for viewer in (None, *PEOPLE):
        as_ = None if viewer is None else people[viewer]
        items = await listed(town, f"{path}/comments", as_)
        seen = None if items is None else [(numbers[item["id"]], "missing" not in item) for item in items]
        assert seen == world.comments_for(viewer), viewer
        for item in items or []:
            if "missing" in item:
                assert set(item) <= {"id", "post_id", "parent_id", "created_at", "missing"}, "nothing of it is told"
        reactions = await listed(town, f"{path}/reactions", as_)
        partakers = None if reactions is None else {item["person"]["id"] for item in reactions}
        expected = world.reactions_for(viewer)
        assert partakers == (None if expected is None else {str(people[number].id) for number in expected}), viewer
        for comment_id, number in numbers.items():
            status = (await town.content.get(f"/comments/{comment_id}", as_=as_)).status
            assert status == (200 if world.readable(world.comments[number].author, viewer) else 404), (viewer, number)


async def build(town: Town, people: list[Person], world: World) -> tuple[str, dict[str, int]]:
    """Make the world, in peace first and with its relations in the end; returns the post's id and the comments' numbers."""
    await PEACE.relate(town, people)
    post = await publish(town, people[AUTHOR], world.post.text(people))
    made: list[str] = []
    for number, model in enumerate(world.comments):
        parent = world.parent(number)
        answers = {} if parent is None else {"parent_id": made[parent]}
        made.append((await comment(town, people[model.author], post["id"], **answers))["id"])
    for number in world.reacted:
        await react(town, people[number], post["id"])
    await town.content.patch(f"/posts/{post['id']}", as_=people[AUTHOR], json={"visibility": world.post.visibility})
    await world.relate(town, people)
    return post["id"], {comment_id: number for number, comment_id in enumerate(made)}


async def listed(town: Town, path: str, viewer: Person | None) -> list[Any] | None:
    """A list's items; None when it is not found."""
    answer = await town.content.get(path, as_=viewer)
    assert answer.status in (200, 404)
    return None if answer.status == 404 else answer.items
