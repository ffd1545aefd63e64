"""Who sees which post: every way to read one, against a model of a few lines, in random small worlds."""

from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from testbed.content import publish
from testbed.relations import ModelPost, Relations, pairs_among, posts_among, strangers
from testbed.town import Person, Town

PEOPLE = range(4)
NOBODY = None


@dataclass(frozen=True)
class World(Relations):
    """Relations, and posts, oldest first."""

    posts: list[ModelPost]

    def on_page_of(self, author: int, viewer: int | None) -> list[int] | None:
        """The numbers of the posts on the author's page, newest first; None when there is no such page."""
        if (author, viewer) in self.block:
            return None
        hidden = (viewer, author) in self.block
        mine = [n for n, post in enumerate(self.posts) if post.author == author and self.may_read(viewer, post)]
        return [] if hidden else mine[::-1]

    def in_public_lists(self, viewer: int | None) -> list[int]:
        """The numbers of the posts that timelines, tags' pages and the search show, newest first."""
        return [
            number
            for number, post in reversed(list(enumerate(self.posts)))
            if post.visibility == "public" and self.may_read(viewer, post) and not self.unwanted(viewer, post.author)
        ]


pairs, posts = pairs_among(PEOPLE), posts_among(PEOPLE, most_mentions=2)
worlds = st.builds(World, follow=pairs, block=pairs, mute=pairs, posts=st.lists(posts, min_size=1, max_size=6))


@pytest.fixture
async def people(town: Town) -> list[Person]:
    """The people of all the worlds of this test."""
    return await strangers(town, PEOPLE)


@given(world=worlds)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
async def test_every_way_to_read_shows_exactly_what_the_viewer_may_see(
    town: Town, people: list[Person], world: World
) -> None:
    await world.relate(town, people)
    tag = town.handle("tag")
    written = [
        (await publish(town, people[post.author], post.text(people, f"#{tag}"), visibility=post.visibility))["id"]
        for post in world.posts
    ]
    for viewer in (NOBODY, *PEOPLE):
        as_ = None if viewer is NOBODY else people[viewer]
        seen = View(town, as_, {post_id: number for number, post_id in enumerate(written)})
        assert await seen.single() == {n: world.may_read(viewer, post) for n, post in enumerate(world.posts)}
        for author in PEOPLE:
            page = await seen.listed(f"/users/{people[author].id}/posts")
            assert page == world.on_page_of(author, viewer), (viewer, author)
            assert page == await seen.listed(f"/users/@{people[author].handle}/posts")
        public = world.in_public_lists(viewer)
        assert await seen.listed(f"/public/posts?tag={tag}") == public, viewer
        assert await seen.listed(f"/search?q={tag}") == public, viewer
        assert await seen.listed_down_to("/public/posts") == public, viewer


@dataclass
class View:
    """What one viewer sees, as the numbers of the world's posts."""

    town: Town
    viewer: Person | None
    numbers: dict[str, int]

    async def single(self) -> dict[int, bool]:
        """Whether each post can be read by its id, and its history with it."""
        seen: dict[int, bool] = {}
        for post_id, number in self.numbers.items():
            status = (await self.town.content.get(f"/posts/{post_id}", as_=self.viewer)).status
            assert status in (200, 404)
            assert (await self.town.content.get(f"/posts/{post_id}/history", as_=self.viewer)).status == status
            seen[number] = status == 200
        return seen

    async def listed(self, path: str) -> list[int] | None:
        """The world's posts in a list, in its order; None when it is not found."""
        answer = await self.town.content.get(path, as_=self.viewer)
        if answer.status == 404:
            return None
        return [self.numbers[item["id"]] for item in answer.items if item["id"] in self.numbers]

    async def listed_down_to(self, path: str) -> list[int]:
        """The same of a newest-first list of everybody's, as far as the world's oldest post would stand."""
        found: list[int] = []
        cursor: str | None = None
        while True:
            params = {"limit": 100} | ({"cursor": cursor} if cursor else {})
            answer = await self.town.content.get(path, as_=self.viewer, params=params)
            found += [self.numbers[item["id"]] for item in answer.items if item["id"] in self.numbers]
            cursor = answer.json["next_cursor"]
            if cursor is None or answer.items[-1]["id"] < min(self.numbers, default="~"):
                return found
