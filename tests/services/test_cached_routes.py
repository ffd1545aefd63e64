"""Which answers are kept, for whom, and under which names: the strategies, the routes, and who is given whose answer."""

import asyncio
from typing import Any, Final

import pytest

from testbed.cached import cached_routes, client_of, entry_of, past_the_cache, unlike, was_hit
from testbed.content import comment, publish
from testbed.town import Person, Town
from testbed.uploads import uploaded
from townsquare.catalogue import BUILT, definition_of
from townsquare.kit.cached_routes import CachedRoutes
from townsquare.strategies import BY_SERVICE, STRATEGIES
from townsquare.topology import SERVICES

CONTRACT: Final = {
    "users": {"USER_PROFILE": 600, "USER_SKILLS": 600, "SKILLS": 1800, "FOLLOWERS": 300, "SEARCH_RESULTS": 300},
    "content": {"POST_FEED": 120, "POST_DETAILS": 300, "USER_POSTS": 300, "COMMENTS": 180, "TRENDING": 600},
    "media": {"MEDIA_DETAILS": 900, "VIDEOS": 600},
    "shop": {"PRODUCTS": 600, "PRODUCT_DETAILS": 900, "PRODUCT_REVIEWS": 300, "ORDER_DETAILS": 300},
    "collaboration": {"WIKI_PAGES": 1800, "DOCUMENTS": 300, "PROJECTS": 300},
    "messages": {"NOTIFICATIONS": 60, "CONVERSATIONS": 60},
    "web": {"PAGES": 600},
}
"""Lifetimes in seconds."""

STRATEGY_OF: Final = {
    "users /profile/{user_id}": "USER_PROFILE",
    "users /users/{user_id}/skills": "USER_SKILLS",
    "users /skills": "SKILLS",
    "users /users/{user_id}/followers": "FOLLOWERS",
    "users /users/{user_id}/following": "FOLLOWERS",
    "users /search": "SEARCH_RESULTS",
    "content /posts/{post_id}": "POST_DETAILS",
    "content /posts/{post_id}/comments": "COMMENTS",
    "content /users/{user_id}/posts": "USER_POSTS",
    "content /public/posts": "POST_FEED",
    "content /feed/{user_id}": "POST_FEED",
    "content /trending": "TRENDING",
    "content /search": "SEARCH_RESULTS",
    "media /files/{file_id}": "MEDIA_DETAILS",
    "media /users/{user_id}/files": "VIDEOS",
    "media /public/files": "VIDEOS",
}


# --- the declarations ----------------------------------------------------------------------------------------------


def test_the_22_strategies_have_their_lifetimes_and_their_services() -> None:
    assert {
        service: {strategy.name: strategy.lifetime for strategy in strategies} for service, strategies in BY_SERVICE.items()
    } == CONTRACT
    assert len(STRATEGIES) == 22
    assert set(BY_SERVICE) - {"web"} == set(SERVICES)


@pytest.mark.parametrize("service", BUILT)
def test_every_strategy_of_a_service_that_is_built_is_used(service: str) -> None:
    used = {route.declaration.strategy.name for route in CachedRoutes(definition_of(service).routes).routes}
    assert set(CONTRACT[service]) <= used


def test_every_cached_route_has_the_strategy_of_the_contract() -> None:
    found = {
        f"{service} {route.template}": route.declaration.strategy.name
        for service in BUILT
        for route in CachedRoutes(definition_of(service).routes).routes
    }
    assert found == STRATEGY_OF


@pytest.mark.parametrize("service", BUILT)
async def test_a_cached_route_tells_apart_by_exactly_the_parameters_that_it_takes(town: Town, service: str) -> None:
    document = (await client_of(town, service).get("/openapi.json")).json
    for route in cached_routes(town, service):
        path = route.template
        operation = document["paths"][path]["get"]
        taken = {parameter["name"] for parameter in operation.get("parameters", []) if parameter["in"] == "query"}
        assert set(route.declaration.parameters) == taken, route.template


# --- what answers depend on ----------------------------------------------------------------------------------------


@pytest.fixture
async def world(town: Town) -> "World":
    """A few people with something to be read of each kind."""
    ada, bob = await town.register("ada"), await town.register("bob")
    await town.befriend(bob, ada)
    await town.users.post(f"/users/{ada.id}/skills", as_=ada, json={"name": town.handle("weaving"), "level": "expert"})
    tag = town.handle("tag")
    post = await publish(town, ada, f"#{tag}")
    await comment(town, bob, post["id"])
    file = await uploaded(town.media, ada, b"Notes on the engine\n", "notes.txt")
    await town.settle()
    return World(ada, bob, tag, post, file)


class World:
    """People, a post of ada's with a comment of bob's, its tag, and a file of hers."""

    def __init__(self, ada: Person, bob: Person, tag: str, post: Any, file: Any) -> None:
        self.ada, self.bob, self.tag, self.post, self.file = ada, bob, tag, post, file

    def target_of(self, service: str, template: str) -> str:
        """Return a path that the template describes, with a query where one is needed."""
        path = template.replace("{user_id}", str(self.ada.id)).replace("{post_id}", self.post["id"])
        path = path.replace("{file_id}", self.file["id"])
        needed = {"users /search": f"?q={self.ada.handle}", "content /search": f"?q={self.tag}"}
        return path + needed.get(f"{service} {template}", "")


@pytest.mark.parametrize("service", BUILT)
async def test_every_kept_answer_names_what_it_depends_on_as_its_route_declares(
    town: Town, world: World, service: str
) -> None:
    for route in cached_routes(town, service):
        target = world.target_of(service, route.template)
        own = route.declaration.audience == "viewer"
        viewer = world.ada if own else None
        client = client_of(town, service)
        assert (await client.get(target, as_=viewer)).status == 200, target
        entry = entry_of(town, service, target, viewer)
        assert entry is not None, f"{target} was not kept"
        tags = set(entry.tags | (entry.watched or frozenset()))
        if own:
            assert {f"blocks:{world.ada.id}", f"mutes:{world.ada.id}"} <= tags
            tags -= {f"blocks:{world.ada.id}", f"mutes:{world.ada.id}"}
        assert tags, f"{target} names nothing"
        assert unlike(tags, route.declaration.tags) == set(), target


async def test_an_answer_is_a_miss_then_a_hit_with_the_same_bytes_and_says_so(town: Town, world: World) -> None:
    path, plain = f"/posts/{world.post['id']}", {"Accept-Encoding": "identity"}
    first, second = [await town.content.get(path, headers=plain) for _ in range(2)]
    assert first.headers["Cache-Status"] == "townsquare; fwd=miss; stored"
    assert second.headers["Cache-Status"].startswith("townsquare; hit; ttl=")
    assert second.headers["Cache-Status"].endswith("; detail=l1")
    assert (first.body, first.headers["ETag"]) == (second.body, second.headers["ETag"])
    unchanged = await town.content.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert (unchanged.status, unchanged.body) == (304, b"")


async def test_parameters_that_a_route_does_not_know_make_no_new_entries(town: Town, world: World) -> None:
    path = f"/users/{world.ada.id}/posts"
    await town.content.get(path, params={"limit": 5})
    assert was_hit(await town.content.get(path, params={"utm_source": "x", "limit": 5}))
    assert not was_hit(await town.content.get(path, params={"limit": 6}))


async def test_what_is_not_there_is_never_kept(town: Town) -> None:
    handle = town.handle("later")
    for client, path in ((town.users, f"/profile/@{handle}"), (town.content, f"/users/@{handle}/posts")):
        assert (await client.get(path)).status == 404
    body = {"handle": handle, "email": f"{handle}@example.org", "password": "correct horse battery staple"}
    assert (await town.users.post("/register", json=body)).status == 201
    await town.settle()
    assert (await town.users.get(f"/profile/@{handle}")).status == 200
    assert (await town.content.get(f"/users/@{handle}/posts")).status == 200


# --- who is given whose answer -------------------------------------------------------------------------------------


async def test_whom_nothing_singles_out_is_given_what_is_kept_for_everybody(town: Town, world: World) -> None:
    path = f"/profile/{world.ada.id}"
    public = await town.users.get(path)
    for viewer in (world.bob, world.ada):
        answer = await town.users.get(path, as_=viewer)
        assert was_hit(answer)
        assert answer.body == public.body
        assert answer.headers["Cache-Control"] == "public, max-age=0, must-revalidate"
    assert entry_of(town, "users", path, world.bob) is None


async def test_somebody_blocked_gets_nothing_at_once_though_everybody_else_is_given_what_is_kept(
    town: Town, world: World
) -> None:
    eve = await town.register("eve")
    paths = [(town.users, f"/profile/{world.ada.id}"), (town.users, f"/users/{world.ada.id}/skills")]
    paths += [(town.users, f"/users/{world.ada.id}/followers"), (town.content, f"/posts/{world.post['id']}")]
    paths += [(town.content, f"/posts/{world.post['id']}/comments"), (town.content, f"/users/{world.ada.id}/posts")]
    for client, path in paths:
        assert [(await client.get(path, as_=eve)).status for _ in range(3)] == [200, 200, 200]
    assert (await town.users.put(f"/users/{eve.id}/block", as_=world.ada)).status == 204
    assert [(await client.get(path, as_=eve)).status for client, path in paths if client is town.users] == [404] * 3
    await town.settle()
    for client, path in paths:
        assert (await client.get(path, as_=eve)).status == 404, path
        assert (await client.get(path)).status == 200
        assert was_hit(await client.get(path))
    assert (await town.users.delete(f"/users/{eve.id}/block", as_=world.ada)).status == 204
    await town.settle()
    for client, path in paths:
        assert (await client.get(path, as_=eve)).status == 200, path


async def test_one_who_was_singled_out_before_is_blocked_at_once_too(town: Town, world: World) -> None:
    eve, dan = await town.register("eve"), await town.register("dan")
    await town.users.put(f"/users/{dan.id}/block", as_=eve)
    await town.settle()
    paths = [(town.users, f"/profile/{world.ada.id}"), (town.content, f"/posts/{world.post['id']}")]
    for client, path in paths:
        answers = [await client.get(path, as_=eve) for _ in range(3)]
        assert was_hit(answers[-1])
        assert answers[-1].headers["Cache-Control"] == "private, no-cache"
    await town.users.put(f"/users/{eve.id}/block", as_=world.ada)
    await town.settle()
    assert [(await client.get(path, as_=eve)).status for client, path in paths] == [404, 404]


async def test_a_block_while_an_answer_is_being_made_leaves_no_way_to_it(
    town: Town, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    eve = await town.register("eve")
    path, users = f"/profile/{world.ada.id}", town.host.services["users"]
    layer = users.cache.layer if users.cache is not None else None
    assert layer is not None
    assert (await town.users.get(f"/profile/{world.bob.id}", as_=eve)).status == 200  # her standing is known
    fill, begun, go_on = layer._fill, asyncio.Event(), asyncio.Event()

    async def slow(*arguments: Any) -> Any:
        begun.set()
        await go_on.wait()
        return await fill(*arguments)

    town.forget("users")
    assert (await town.users.get(f"/profile/{world.bob.id}", as_=eve)).status == 200
    monkeypatch.setattr(layer, "_fill", slow)
    reading = asyncio.create_task(town.users.get(path, as_=eve))
    await begun.wait()
    await town.users.put(f"/users/{eve.id}/block", as_=world.ada)
    go_on.set()
    await reading
    assert (await town.users.get(path)).status == 200
    assert (await town.users.get(path, as_=eve)).status == 404


async def test_what_is_for_followers_is_kept_for_each_of_them_until_they_follow_no_longer(town: Town, world: World) -> None:
    ada, bob = world.ada, world.bob
    eve = await town.register("eve")
    post = await publish(town, ada, "For friends", visibility="followers")
    await town.settle()
    paths = [f"/posts/{post['id']}", f"/posts/{post['id']}/comments"]
    for path in paths:
        assert [(await town.content.get(path, as_=who)).status for who in (bob, bob, ada, ada)] == [200] * 4
        assert was_hit(await town.content.get(path, as_=bob))
        assert [(await town.content.get(path, as_=who)).status for who in (None, eve)] == [404, 404]
    shown = [post["id"], world.post["id"]]
    for path, seen in ((f"/users/{ada.id}/posts", [world.post["id"]]), (f"/feed/{bob.id}", [])):
        await town.content.get(path, as_=bob)
        answer = await town.content.get(path, as_=bob)
        assert was_hit(answer)
        assert [item["id"] for item in answer.items] == shown
        assert answer.headers["Cache-Control"] == "private, no-cache"
        assert (await town.users.delete(f"/users/{ada.id}/follow", as_=bob)).status == 204
        await town.settle()
        assert [item["id"] for item in (await town.content.get(path, as_=bob)).items] == seen
        assert [(await town.content.get(path, as_=bob)).status for path in paths] == [404, 404]
        await town.befriend(bob, ada)
    assert [(await town.content.get(path, as_=bob)).status for path in paths] == [200, 200]


async def test_a_feed_is_given_to_its_owner_alone(town: Town, world: World) -> None:
    path = f"/feed/{world.ada.id}"
    assert [(await town.content.get(path, as_=world.ada)).status for _ in range(3)] == [200] * 3
    assert (await town.content.get(path, as_=world.bob)).status == 403
    assert (await town.content.get(path)).status == 401
    assert was_hit(await town.content.get(path, as_=world.ada))


async def test_a_post_of_somebody_followed_is_in_a_feed_that_was_kept(town: Town, world: World) -> None:
    ada, bob = world.ada, world.bob
    stranger = await town.register("stranger")
    for _ in range(2):
        await town.content.get(f"/feed/{bob.id}", as_=bob)
    await publish(town, stranger)
    assert was_hit(await town.content.get(f"/feed/{bob.id}", as_=bob))
    new = await publish(town, ada)
    answer = await town.content.get(f"/feed/{bob.id}", as_=bob)
    assert not was_hit(answer)
    assert answer.items[0]["id"] == new["id"]


async def test_publishing_costs_the_same_however_many_feeds_it_comes_to(town: Town, world: World) -> None:
    followers = [world.bob, *[await town.register("follower") for _ in range(3)]]
    for person in followers[1:]:
        await town.befriend(person, world.ada)
    for person in followers:
        await town.content.get(f"/feed/{person.id}", as_=person)
    cache = town.host.services["content"].context.cache
    assert cache is not None
    kept, position = {entry.key for entry in cache.store if "/feed/" in entry.key}, cache.ledger.position
    new = await publish(town, world.ada)
    assert cache.ledger.position == position + 1
    assert {entry.key for entry in cache.store if "/feed/" in entry.key} == kept, "nobody has looked at them yet"
    for person in followers:
        assert (await town.content.get(f"/feed/{person.id}", as_=person)).items[0]["id"] == new["id"]


async def test_whom_somebody_follows_is_read_once_for_all_pages_of_their_feed(town: Town, world: World) -> None:
    ada, bob = world.ada, world.bob
    await publish(town, ada)
    await town.settle()
    first = await town.content.get(f"/feed/{bob.id}?limit=1", as_=bob)
    await town.content.get(f"/feed/{bob.id}?limit=1&cursor={first.json['next_cursor']}", as_=bob)
    cache = town.host.services["content"].context.cache
    assert cache is not None
    feeds = [entry for entry in cache.store if entry.key.startswith(f"{bob.id.hex} /api/content/feed/")]
    followed = cache.store.find(f"followed {bob.id.hex}")
    assert followed is not None
    assert len(feeds) == 2
    assert all(entry.watched is followed.value for entry in feeds)
    assert followed.value == {f"posts:{bob.id}", f"posts:{ada.id}"}


async def test_the_database_says_the_same_as_what_is_kept_to_everybody(town: Town, world: World) -> None:
    eve = await town.register("eve")
    await town.users.put(f"/users/{eve.id}/mute", as_=world.bob)
    await town.settle()
    for service in BUILT:
        client = client_of(town, service)
        for route in cached_routes(town, service):
            target = world.target_of(service, route.template)
            for viewer in (None, world.ada, world.bob, eve):
                kept = [await client.get(target, as_=viewer) for _ in range(2)][1]
                true = await past_the_cache(town, service, target, viewer)
                assert kept.status == true.status, (target, viewer)
                assert kept.body == true.body or kept.status >= 400, (target, viewer)


async def test_the_pages_of_a_feed_hold_one_set_of_whom_it_shows(town: Town) -> None:
    reader, *followed = [await town.register() for _ in range(4)]
    await town.befriend(reader, *followed)
    for person in followed:
        await publish(town, person, "hello")
    await town.settle()
    targets = [f"/feed/{reader.id}?limit={limit}" for limit in (1, 2, 3)]
    assert [(await town.content.get(target, as_=reader)).status for target in targets] == [200] * 3
    kept = [entry_of(town, "content", target, reader) for target in targets]
    cache = town.host.services["content"].context.cache
    assert cache is not None
    lender = cache.store.find(f"followed {reader.id.hex}")
    assert lender is not None
    assert lender.value == {f"posts:{person.id}" for person in (reader, *followed)}
    assert all(entry is not None and entry.watched is lender.value for entry in kept)
