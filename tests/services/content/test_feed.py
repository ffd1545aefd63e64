"""The home feed: whose posts are in it, in which order and for whom, and both ways to read it against a model."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from testbed.content import ids, publish
from testbed.relations import ModelPost, Relations, few_pairs_among, pairs_among, posts_among, strangers
from testbed.town import Answer, Person, Town
from townsquare.services.content import feed


async def feed_of(town: Town, person: Person, **params: int | str) -> Answer:
    return await town.content.get(f"/feed/{person.id}", as_=person, params=params)


async def test_it_is_one_s_own_posts_and_those_of_the_followed_newest_first(town: Town) -> None:
    ada, bob, eve = [await town.register(name) for name in ("ada", "bob", "eve")]
    await town.befriend(ada, bob)
    first = await publish(town, bob, "By somebody followed")
    second = await publish(town, ada, "By oneself")
    await publish(town, eve, "By a stranger")
    third = await publish(town, bob, "Again")
    answer = await feed_of(town, ada)
    assert ids(answer) == [third["id"], second["id"], first["id"]]
    assert answer.items[0] == (await town.content.get(f"/posts/{third['id']}")).json
    assert answer.json["next_cursor"] is None
    assert "Link" not in answer.headers


async def test_it_is_shown_to_its_owner_alone(town: Town) -> None:
    ada, bob = await town.register("ada"), await town.register("bob")
    await town.settle()
    for path in (f"/feed/{ada.id}", f"/feed/@{ada.handle}"):
        assert (await town.content.get(path, as_=ada)).status == 200
        answer = await town.content.get(path, as_=bob)
        assert (answer.status, answer.code) == (403, "forbidden")
        answer = await town.content.get(path)
        assert (answer.status, answer.code) == (401, "unauthenticated")
    for path in (f"/feed/{str(ada.id).upper()}", f"/feed/@{ada.handle.upper()}"):
        assert (await town.content.get(path, as_=ada)).status == 200


@pytest.mark.parametrize("key", ["00000000-0000-7000-8000-000000000000", "@nobody_has_it", "@", "nobody", "%00", "@%00"])
async def test_the_feed_of_nobody_is_not_found(town: Town, key: str) -> None:
    ada = await town.register("ada")
    answer = await town.content.get(f"/feed/{key}", as_=ada)
    assert (answer.status, answer.code) == (404, "not_found")


async def test_who_has_blocked_the_viewer_is_not_there(town: Town) -> None:
    ada, bob = await town.register("ada"), await town.register("bob")
    await town.users.put(f"/users/{bob.id}/block", as_=ada)
    await town.settle()
    assert (await town.content.get(f"/feed/{ada.id}", as_=bob)).status == 404


async def test_a_newcomer_has_a_feed_before_the_event_about_them_arrives(town: Town) -> None:
    newcomer = await town.register("newcomer")
    assert (await feed_of(town, newcomer)).json == {"items": [], "next_cursor": None}
    post = await publish(town, newcomer)
    assert ids(await feed_of(town, newcomer)) == [post["id"]]


async def test_pages_follow_on_while_posts_are_added(town: Town) -> None:
    ada, bob = await town.register("ada"), await town.register("bob")
    await town.befriend(ada, bob)
    posts = [(await publish(town, (ada, bob)[number % 2], f"Number {number}"))["id"] for number in range(5)]
    page = await feed_of(town, ada, limit=2)
    assert ids(page) == [posts[4], posts[3]]
    assert page.headers["Link"].startswith(f"</api/content/feed/{ada.id}?limit=2&cursor=")
    assert page.headers["Link"].endswith('>; rel="next"')
    await publish(town, bob, "In between")
    page = await feed_of(town, ada, limit=2, cursor=page.json["next_cursor"])
    assert ids(page) == [posts[2], posts[1]]
    page = await feed_of(town, ada, limit=2, cursor=page.json["next_cursor"])
    assert ids(page) == [posts[0]]
    assert page.json["next_cursor"] is None


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "cursor=%%%", "cursor=WyJ4Il0", "cursor=" + "A" * 401])
async def test_a_page_that_cannot_be_is_refused(town: Town, query: str) -> None:
    ada = await town.register("ada")
    answer = await town.content.get(f"/feed/{ada.id}?{query}", as_=ada)
    assert (answer.status, answer.code) == (422, "invalid")


async def test_the_whole_of_the_longest_page_is_answered(town: Town) -> None:
    ada = await town.register("ada")
    posts = [(await publish(town, ada, f"Number {number}"))["id"] for number in range(101)]
    page = await feed_of(town, ada, limit=100)
    assert ids(page) == posts[:0:-1]
    assert ids(await feed_of(town, ada, limit=100, cursor=page.json["next_cursor"])) == posts[:1]


async def test_following_and_its_end_take_effect_at_once(town: Town) -> None:
    ada, bob = await town.register("ada"), await town.register("bob")
    post = await publish(town, bob)
    for _ in range(2):
        await town.befriend(ada, bob)
        assert ids(await feed_of(town, ada)) == [post["id"]]
        await town.users.delete(f"/users/{bob.id}/follow", as_=ada)
        await town.settle()
        assert ids(await feed_of(town, ada)) == []


async def test_a_mute_and_its_end_take_effect_at_once(town: Town) -> None:
    ada, bob = await town.register("ada"), await town.register("bob")
    await town.befriend(ada, bob)
    post = await publish(town, bob)
    await town.users.put(f"/users/{bob.id}/mute", as_=ada)
    await town.settle()
    assert ids(await feed_of(town, ada)) == []
    await town.users.delete(f"/users/{bob.id}/mute", as_=ada)
    await town.settle()
    assert ids(await feed_of(town, ada)) == [post["id"]]


@pytest.mark.parametrize("blocked_by", ["viewer", "author"])
async def test_a_block_takes_effect_at_once_on_both_sides(town: Town, blocked_by: str) -> None:
    viewer, author = await town.register("viewer"), await town.register("author")
    await town.befriend(viewer, author)
    await publish(town, author)
    blocker, blocked = (viewer, author) if blocked_by == "viewer" else (author, viewer)
    await town.users.put(f"/users/{blocked.id}/block", as_=blocker)
    await town.settle()
    assert ids(await feed_of(town, viewer)) == []


async def test_a_private_post_is_in_the_feed_of_those_it_mentions_for_as_long_as_it_does(town: Town) -> None:
    ada, bob, eve = [await town.register(name) for name in ("ada", "bob", "eve")]
    for follower in (ada, eve):
        await town.befriend(follower, bob)
    post = await publish(town, bob, f"For @{ada.handle}", visibility="private")

    async def shown_to() -> list[bool]:
        return [post["id"] in ids(await feed_of(town, person)) for person in (ada, bob, eve)]

    async def change(**fields: str) -> None:
        assert (await town.content.patch(f"/posts/{post['id']}", as_=bob, json=fields)).status == 200

    assert await shown_to() == [True, True, False]
    await change(visibility="followers")
    assert await shown_to() == [True, True, True]
    await change(visibility="private")
    assert await shown_to() == [True, True, False]
    await change(text=f"Rather for @{eve.handle}")
    assert await shown_to() == [False, True, True]
    await town.content.delete(f"/posts/{post['id']}", as_=bob)
    assert await shown_to() == [False, False, False]


# --- both ways to read it ------------------------------------------------------------------------------------------

PEOPLE = range(5)
WAYS = {
    "merge": (10**9, feed.WINDOW),
    "scan": (-1, feed.WINDOW),
    "scan that ends too early": (-1, 2),
}


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """The scan's SQL with other limits: every feed is read in each of these ways."""
    scans = {name: scan_with(few, window) for name, (few, window) in WAYS.items()}
    yield scans
    monkeypatch.undo()


def scan_with(few: int, window: int) -> str:
    """Return SCAN_FEED with another threshold and another window."""
    changed = feed.SCAN_FEED.replace(f"> {feed.FEW_FOLLOWS}\n", f"> {few}\n").replace(
        f"LIMIT {feed.WINDOW}\n", f"LIMIT {window}\n"
    )
    assert (few, window) == (feed.FEW_FOLLOWS, feed.WINDOW) or changed != feed.SCAN_FEED
    return changed


@dataclass(frozen=True)
class World(Relations):
    """Relations, who is hidden, and posts, oldest first."""

    hidden: frozenset[int]
    posts: list[ModelPost]

    def feed(self, viewer: int) -> list[int]:
        """The numbers of the posts in somebody's feed, newest first."""
        return [number for number, post in reversed(list(enumerate(self.posts))) if self._shown(post, viewer)]

    def _shown(self, post: ModelPost, viewer: int) -> bool:
        if post.author in self.hidden:
            return False
        if post.author == viewer:
            return True
        followed, unwanted = (viewer, post.author) in self.follow, self.unwanted(viewer, post.author)
        return followed and not unwanted and self.may_read(viewer, post)


pairs, few_pairs = pairs_among(PEOPLE), few_pairs_among(PEOPLE, most=3)
worlds = st.builds(
    World,
    follow=pairs,
    block=few_pairs,
    mute=few_pairs,
    hidden=st.frozensets(st.sampled_from(PEOPLE), max_size=1),
    posts=st.lists(posts_among(PEOPLE, most_mentions=3), max_size=12),
)


@pytest.fixture
async def people(town: Town) -> list[Person]:
    """The people of all the worlds of this test."""
    return await strangers(town, PEOPLE)


@given(world=worlds, limit=st.integers(1, 5))
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
async def test_every_way_to_read_it_shows_what_a_model_says_page_by_page(
    town: Town, people: list[Person], monkeypatch: pytest.MonkeyPatch, ways: dict[str, str], world: World, limit: int
) -> None:
    await relate(town, people, World(world.follow, world.block, world.mute, frozenset(), []))
    written = [await write(town, people, post) for post in world.posts]
    await relate(town, people, world)
    for (way, sql), viewer in itertools.product(ways.items(), PEOPLE):
        monkeypatch.setattr(feed, "SCAN_FEED", sql)
        town.forget("content")
        shown = await town.content.all_items(f"/feed/{people[viewer].id}", limit=limit, as_=people[viewer])
        assert [item["id"] for item in shown] == [written[number] for number in world.feed(viewer)], (way, viewer)


async def relate(town: Town, people: list[Person], world: World) -> None:
    """Leave content's rows as the events of this world would; what is not in it has ended. Earlier posts are gone."""
    tables = {"follows (follower, followee": world.follow, "blocks (blocker, blocked": world.block}
    tables |= {"mutes (muter, muted": world.mute}
    async with town.database("content").transaction() as connection:
        if not world.posts:
            await connection.execute("DELETE FROM posts WHERE author_id = ANY($1)", [person.id for person in people])
        for table, related in tables.items():
            columns = table.partition("(")[2]
            await connection.executemany(
                f"INSERT INTO {table}, active, version) VALUES ($1, $2, $3, 1) "
                f"ON CONFLICT ({columns}) DO UPDATE SET active = excluded.active",
                [(people[a].id, people[b].id, (a, b) in related) for a, b in itertools.permutations(PEOPLE, 2)],
            )
        hidden = [people[number].id for number in world.hidden]
        everybody = [person.id for person in people]
        await connection.execute("UPDATE people SET hidden = id = ANY($1) WHERE id = ANY($2)", hidden, everybody)


async def write(town: Town, people: list[Person], post: ModelPost) -> str:
    return (await publish(town, people[post.author], post.text(people), visibility=post.visibility))["id"]


async def test_who_follows_many_silent_people_finds_what_the_one_who_writes_wrote_long_ago(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, bob, eve = [await town.register(name) for name in ("ada", "bob", "eve")]
    await town.befriend(ada, bob)
    old = [(await publish(town, bob, f"Number {number}"))["id"] for number in range(3)]
    for number in range(6):
        await publish(town, eve, f"Noise {number}")
    await follow_silent(town, ada, feed.FEW_FOLLOWS)
    monkeypatch.setattr(feed, "SCAN_FEED", scan_with(feed.FEW_FOLLOWS, 4))
    page = await feed_of(town, ada, limit=2)
    assert ids(page) == [old[2], old[1]]
    assert ids(await feed_of(town, ada, limit=2, cursor=page.json["next_cursor"])) == [old[0]]


async def test_the_scan_is_for_those_alone_who_follow_more_than_a_few(town: Town) -> None:
    ada = await town.register("ada")
    post = await publish(town, ada)

    async def scanned() -> list[object]:
        rows = await town.database("content").fetch(feed.SCAN_FEED, ada.id, feed.NEWEST, 21)
        return [str(row["id"]) for row in rows]

    await follow_silent(town, ada, feed.FEW_FOLLOWS)
    assert await scanned() == []
    assert ids(await feed_of(town, ada)) == [post["id"]]
    await follow_silent(town, ada, 1)
    assert await scanned() == [post["id"]]
    assert ids(await feed_of(town, ada)) == [post["id"]]


async def follow_silent(town: Town, follower: Person, count: int) -> None:
    """Have somebody follow people who never wrote."""
    followed: list[UUID] = [uuid4() for _ in range(count)]
    await town.database("content").execute(
        "INSERT INTO follows (follower, followee, active, version) SELECT $1, unnest($2::uuid[]), true, 1",
        follower.id,
        followed,
    )
    town.forget("content")
