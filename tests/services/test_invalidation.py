"""Each write, and what it changes of what is kept: all of that, and nothing else.

The table says it in words for one small world. What routes declare (and the reference page shows) is held to what they do:
no write may emit a tag that its route does not declare, and each declared one must be seen. After each write, whatever is
kept must be what the database says.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence, Set
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import pytest

from testbed.accounts import jobs_done, signed_in
from testbed.cached import client_of, past_the_cache, position_of, told_since, unlike, writes
from testbed.town import PASSWORD, Answer, Person, Town
from townsquare.catalogue import BUILT
from townsquare.kit.identity import Viewer
from townsquare.kit.jobs import JobContext
from townsquare.kit.logs import get_logger
from townsquare.kit.retention import Nothing
from townsquare.kit.transactions import transaction
from townsquare.services.content.imports import ImportedPost, forget_imported, import_posts
from townsquare.services.users.accounts import purge_deleted


class Call(NamedTuple):
    """A request, as `content POST /posts/{post}/comments`; `{...}` is filled in, and `makes` names what it answers."""

    who: str
    what: str
    body: object = ...
    makes: str = ""


class Read(NamedTuple):
    """Something that is kept; `viewer` is who asks."""

    service: str
    target: str
    viewer: str = ""


Act = Call | Callable[["World"], Awaitable[None]]


class Case(NamedTuple):
    """A write, after `before`; `changes` are the names of the reads that it changes."""

    name: str
    route: str
    act: Act
    changes: Set[str]
    before: Sequence[Act] = ()


# --- the world -----------------------------------------------------------------------------------------------------

READS: Final = {
    "ada's profile": Read("users", "/profile/{ada}"),
    "ada's profile by handle": Read("users", "/profile/@{ada_handle}", "eve"),
    "ada's profile to cyd": Read("users", "/profile/{ada}", "cyd"),
    "bob's profile": Read("users", "/profile/{bob}"),
    "ada's skills": Read("users", "/users/{ada}/skills"),
    "bob's skills": Read("users", "/users/{bob}/skills"),
    "skills": Read("users", "/skills"),
    "ada's followers": Read("users", "/users/{ada}/followers"),
    "bob's followers": Read("users", "/users/{bob}/followers"),
    "whom bob follows": Read("users", "/users/{bob}/following"),
    "people found": Read("users", "/search?q={ada_handle}"),
    "a post": Read("content", "/posts/{post}"),
    "a post to cyd": Read("content", "/posts/{post}", "cyd"),
    "a post for followers": Read("content", "/posts/{friends}", "bob"),
    "bob's post": Read("content", "/posts/{bobs}"),
    "its comments": Read("content", "/posts/{post}/comments"),
    "bob's post's comments": Read("content", "/posts/{bobs}/comments"),
    "ada's posts": Read("content", "/users/@{ada_handle}/posts"),
    "ada's posts to bob": Read("content", "/users/{ada}/posts", "bob"),
    "bob's posts": Read("content", "/users/{bob}/posts"),
    "public posts": Read("content", "/public/posts?limit=100"),
    "a tag": Read("content", "/public/posts?tag={tag}"),
    "bob's tag": Read("content", "/public/posts?tag={bobs_tag}"),
    "posts found": Read("content", "/search?q={word}"),
    "trending": Read("content", "/trending"),
    "bob's feed": Read("content", "/feed/{bob}", "bob"),
    "cyd's feed": Read("content", "/feed/{cyd}", "cyd"),
    "eve's feed": Read("content", "/feed/{eve}", "eve"),
}
"""Cyd is nobody's usual viewer: she blocks zed. Bob and dora follow ada, cyd follows bob, eve follows nobody."""

PEOPLE: Final = ("ada", "bob", "cyd", "dora", "eve", "zed")

BEGINNING: Final = (
    Call("bob", "users PUT /users/{ada}/follow"),
    Call("dora", "users PUT /users/{ada}/follow"),
    Call("cyd", "users PUT /users/{bob}/follow"),
    Call("cyd", "users PUT /users/{zed}/block"),
    Call("ada", "users POST /users/{ada}/skills", {"name": "{word}", "level": "expert"}, "weaving"),
    Call("ada", "content POST /posts", {"text": "{word} #{tag}"}, "post"),
    Call("bob", "content POST /posts", {"text": "#{bobs_tag}"}, "bobs"),
    Call("ada", "content POST /posts", {"text": "For friends", "visibility": "followers"}, "friends"),
    Call("dora", "content POST /posts/{post}/comments", {"text": "Well said"}, "comment"),
    Call("ada", "content POST /posts/{post}/comments", {"text": "Thanks", "parent_id": "{comment}"}),
)


class World:
    """People and what they have made, by name."""

    def __init__(self, town: Town, people: dict[str, Person]) -> None:
        self.town = town
        self.people = people
        self.names = {name: str(person.id) for name, person in people.items()}
        self.names |= {f"{name}_handle": person.handle for name, person in people.items()}
        self.names |= {name: town.handle(name) for name in ("tag", "bobs_tag", "word")}

    async def act(self, act: Act) -> None:
        """Do it."""
        if isinstance(act, Call):
            await self._call(act)
        else:
            await act(self)

    async def _call(self, act: Call) -> None:
        service, method, path = act.what.split()
        answer = await client_of(self.town, service).request(
            method, self.fill(path), as_=self.people[act.who] if act.who else None, json=self.fill(act.body)
        )
        assert answer.status < 300, (act, answer.body)
        if act.makes:
            self.names[act.makes] = answer.json["id"]

    def fill(self, value: Any) -> Any:
        """Put the names' values in."""
        match value:
            case str():
                return value.format(**self.names, unique=self.town.handle("x"))
            case dict():
                return {key: self.fill(one) for key, one in value.items()}
            case _:
                return value

    async def read(self, name: str) -> Answer:
        """Read something."""
        read = READS[name]
        client = client_of(self.town, read.service)
        return await client.get(self.fill(read.target), as_=self.people.get(read.viewer))

    async def read_all(self) -> dict[str, Answer]:
        """Read everything, side by side."""
        return dict(zip(READS, await asyncio.gather(*map(self.read, READS)), strict=True))

    async def warm(self) -> None:
        """Have everything kept."""
        await self.town.settle()
        await self.read_all()
        await self.read_all()
        answers = await self.read_all()
        assert [name for name, answer in answers.items() if answer.status == 200 and not is_hit(answer)] == []

    async def wrong(self) -> list[str]:
        """Return the names of what is kept that the database would not say now."""
        return [name for name in READS if not await self._is_true(name)]

    async def _is_true(self, name: str) -> bool:
        read = READS[name]
        kept = await self.read(name)
        true = await past_the_cache(self.town, read.service, self.fill(read.target), self.people.get(read.viewer))
        return kept.status == true.status and (kept.status != 200 or kept.body == true.body)


def is_hit(answer: Answer) -> bool:
    return answer.status == 200 and answer.headers["Cache-Status"].startswith("townsquare; hit")


@pytest.fixture(scope="module")
async def world(town: Town) -> World:
    await jobs_done(town)
    made = World(town, {name: await town.register(name) for name in PEOPLE})
    await town.settle()
    for act in BEGINNING:
        await made.act(act)
    return made


# --- the table -----------------------------------------------------------------------------------------------------

PROFILES: Final = {"ada's profile", "ada's profile by handle", "ada's profile to cyd"}
POST: Final = {"a post", "a post to cyd"}
SHOWN: Final = {"ada's posts", "ada's posts to bob", "public posts", "a tag", "posts found", "bob's feed"}
"""What shows ada's post."""
OWN_LISTS: Final = {"ada's posts", "ada's posts to bob", "bob's feed"}
"""What shows whatever ada writes, or may: which of it the database decides."""
NEW_POST: Final = {"text": "{word} again #{tag}"}
SCRATCH: Final = Call("ada", "content POST /posts", NEW_POST, "scratch")
RETURNED: Final = {
    *("ada's followers", "bob's followers", "whom bob follows", "people found", "bob's profile", "bob's skills"),
    *("its comments", "bob's post's comments", "bob's post", "bob's posts"),
    *("public posts", "a tag", "bob's tag", "posts found", "trending", "bob's feed", "cyd's feed", "eve's feed"),
}


async def bob_leaves(world: World) -> None:
    await world.act(Call("bob", "users DELETE /account", {"password": PASSWORD}))


async def bob_signs_in(world: World) -> None:
    bob = world.people["bob"]
    world.people["bob"] = replace(bob, token=await signed_in(world.town, bob.handle))


async def somebody_goes_for_good(world: World) -> None:
    """Somebody who has left everything that can be left is hidden already."""
    town = world.town
    gone = await town.register("gone")
    world.people["gone"] = gone
    world.names |= {"gone": str(gone.id)}
    for act in (
        Call("gone", "users PUT /users/{ada}/follow"),
        Call("gone", "users PUT /skills/{weaving}/endorsement"),
        Call("gone", "users POST /users/{gone}/skills", {"name": "{word}", "level": "beginner"}),
        Call("gone", "users PUT /users/{zed}/block"),
        Call("gone", "users PUT /users/{dora}/mute"),
        Call("gone", "content POST /posts", {"text": "{word} #{tag}"}),
        Call("gone", "content POST /posts/{post}/comments", {"text": "Hello"}),
        Call("gone", "content PUT /posts/{post}/reactions/love"),
    ):
        await world.act(act)
    await town.settle()
    await world.act(Call("gone", "users DELETE /account", {"password": PASSWORD}))


async def thirty_days_pass(world: World) -> None:
    users = world.town.database("users")
    past = "UPDATE accounts SET delete_after = now() - interval '1 second' WHERE person_id = $1"
    await users.execute(past, world.people["gone"].id)
    await purge_deleted(JobContext(users, world.town.settings, get_logger("test")), Nothing())


def as_author(world: World) -> Viewer:
    ada = world.people["ada"]
    return Viewer(id=ada.id, handle=ada.handle, name="Ada", session=None, scopes=frozenset(), expires=0)


async def ada_imports(world: World) -> None:
    post = ImportedPost("elsewhere:1", datetime(2020, 1, 1, tzinfo=UTC), world.fill("{word} #{tag}"), "public")
    async with transaction(world.town.host.services["content"].context) as write:
        assert await import_posts(write, as_author(world), [post]) == 1


async def ada_forgets_what_she_imported(world: World) -> None:
    async with transaction(world.town.host.services["content"].context) as write:
        assert (await forget_imported(write, as_author(world), "elsewhere:", 10))[0] == 1


FOLLOW: Final = "/users/{user_id}/follow"
BLOCK: Final = "/users/{user_id}/block"
MUTE: Final = "/users/{user_id}/mute"
COMMENT: Final = "/comments/{comment_id}"
REACTION: Final = "/posts/{post_id}/reactions/{kind}"
BOOKMARK: Final = "/posts/{post_id}/bookmark"
ENDORSEMENT: Final = "/skills/{skill_id}/endorsement"

NEWCOMER: Final = {"handle": "{unique}", "email": "{unique}@example.org", "password": PASSWORD}

CASES: Final = (
    Case("joining", "users POST /register", Call("", "users POST /register", NEWCOMER), {"people found"}),
    Case(
        "another bio",
        "users PUT /profile/{user_id}",
        Call("ada", "users PUT /profile/{ada}", {"display_name": "Ada", "bio": "{unique}"}),
        PROFILES,
    ),
    Case(
        "another name in a whole profile",
        "users PUT /profile/{user_id}",
        Call("ada", "users PUT /profile/{ada}", {"display_name": "{unique}"}),
        PROFILES | POST | SHOWN | {"people found", "whom bob follows", "a post for followers", "its comments"},
    ),
    Case(
        "another place",
        "users PATCH /profile/{user_id}",
        Call("ada", "users PATCH /profile/{ada}", {"location": "{unique}"}),
        PROFILES,
    ),
    Case(
        "another name",
        "users PATCH /profile/{user_id}",
        Call("ada", "users PATCH /profile/{ada}", {"display_name": "Ada"}),
        PROFILES | POST | SHOWN | {"people found", "whom bob follows", "a post for followers", "its comments"},
        [Call("ada", "users PATCH /profile/{ada}", {"display_name": "{unique}"})],
    ),
    Case(
        "a new skill",
        "users POST /users/{user_id}/skills",
        Call("ada", "users POST /users/{ada}/skills", {"name": "{unique}", "level": "expert"}, "skill"),
        {"ada's skills", "skills"},
    ),
    Case(
        "a skill less",
        "users DELETE /users/{user_id}/skills/{skill_id}",
        Call("ada", "users DELETE /users/{ada}/skills/{skill}"),
        {"ada's skills", "skills"},
        [Call("ada", "users POST /users/{ada}/skills", {"name": "{unique}", "level": "expert"}, "skill")],
    ),
    Case(
        "an endorsement",
        f"users PUT {ENDORSEMENT}",
        Call("eve", "users PUT /skills/{weaving}/endorsement"),
        {"ada's skills"},
        [Call("eve", "users DELETE /skills/{weaving}/endorsement")],
    ),
    Case(
        "an endorsement less",
        f"users DELETE {ENDORSEMENT}",
        Call("eve", "users DELETE /skills/{weaving}/endorsement"),
        {"ada's skills"},
        [Call("eve", "users PUT /skills/{weaving}/endorsement")],
    ),
    Case(
        "a follow",
        f"users PUT {FOLLOW}",
        Call("eve", "users PUT /users/{ada}/follow"),
        PROFILES | {"ada's followers", "eve's feed"},
        [Call("eve", "users DELETE /users/{ada}/follow")],
    ),
    Case(
        "the same follow again",
        f"users PUT {FOLLOW}",
        Call("eve", "users PUT /users/{ada}/follow"),
        set(),
        [Call("eve", "users PUT /users/{ada}/follow")],
    ),
    Case(
        "a follow less",
        f"users DELETE {FOLLOW}",
        Call("eve", "users DELETE /users/{ada}/follow"),
        PROFILES | {"ada's followers", "eve's feed"},
        [Call("eve", "users PUT /users/{ada}/follow")],
    ),
    Case(
        "a follow less of one who was shown more for it",
        f"users DELETE {FOLLOW}",
        Call("bob", "users DELETE /users/{ada}/follow"),
        PROFILES
        | {
            "bob's profile",
            "ada's followers",
            "whom bob follows",
            "ada's posts to bob",
            "a post for followers",
            "bob's feed",
        },
    ),
    Case(
        "a follow of one who shows more for it",
        f"users PUT {FOLLOW}",
        Call("bob", "users PUT /users/{ada}/follow"),
        PROFILES
        | {
            "bob's profile",
            "ada's followers",
            "whom bob follows",
            "ada's posts to bob",
            "a post for followers",
            "bob's feed",
        },
    ),
    Case(
        "a block: what she is given is her own from now on",
        f"users PUT {BLOCK}",
        Call("eve", "users PUT /users/{zed}/block"),
        {"ada's profile by handle", "eve's feed"},
        [Call("eve", "users DELETE /users/{zed}/block"), Call("zed", "users PUT /users/{eve}/follow")],
    ),
    Case(
        "a block less",
        f"users DELETE {BLOCK}",
        Call("eve", "users DELETE /users/{zed}/block"),
        {"eve's feed"},
        [Call("eve", "users PUT /users/{zed}/block")],
    ),
    Case(
        "a block by an author, under whose posts the blocked is seen no more",
        f"users PUT {BLOCK}",
        Call("ada", "users PUT /users/{zed}/block"),
        {"its comments"},
        [Call("ada", "users DELETE /users/{zed}/block")],
    ),
    Case(
        "a block less by an author",
        f"users DELETE {BLOCK}",
        Call("ada", "users DELETE /users/{zed}/block"),
        {"its comments"},
        [Call("ada", "users PUT /users/{zed}/block")],
    ),
    Case(
        "a mute",
        f"users PUT {MUTE}",
        Call("eve", "users PUT /users/{zed}/mute"),
        {"eve's feed"},
        [Call("eve", "users DELETE /users/{zed}/mute")],
    ),
    Case(
        "a mute less",
        f"users DELETE {MUTE}",
        Call("eve", "users DELETE /users/{zed}/mute"),
        {"eve's feed"},
        [Call("eve", "users PUT /users/{zed}/mute")],
    ),
    Case(
        "leaving",
        "users DELETE /account",
        bob_leaves,
        {
            *("bob's profile", "bob's skills", "bob's followers", "whom bob follows", "ada's followers", "people found"),
            *("bob's post", "bob's post's comments", "bob's posts", "bob's tag", "public posts", "trending"),
            *("bob's feed", "cyd's feed"),
        },
    ),
    Case("returning", "users POST /account/restore", Call("bob", "users POST /account/restore"), RETURNED, [bob_signs_in]),
    Case(
        "a public post",
        "content POST /posts",
        Call("ada", "content POST /posts", NEW_POST),
        PROFILES | SHOWN | {"trending"},
    ),
    Case(
        "a post for followers",
        "content POST /posts",
        Call("ada", "content POST /posts", NEW_POST | {"visibility": "followers"}),
        PROFILES | OWN_LISTS,
    ),
    Case(
        "a private post",
        "content POST /posts",
        Call("ada", "content POST /posts", NEW_POST | {"visibility": "private"}),
        OWN_LISTS,
    ),
    Case(
        "a published draft",
        "content POST /drafts/{draft_id}/publish",
        Call("ada", "content POST /drafts/{draft}/publish"),
        PROFILES | SHOWN | {"trending"},
        [Call("ada", "content POST /drafts", NEW_POST, "draft")],
    ),
    Case(
        "another text",
        "content PATCH /posts/{post_id}",
        Call("ada", "content PATCH /posts/{post}", {"text": "{word} #{tag} {unique}"}),
        POST | SHOWN | {"trending"},
    ),
    Case(
        "a post for fewer",
        "content PATCH /posts/{post_id}",
        Call("ada", "content PATCH /posts/{scratch}", {"visibility": "private"}),
        PROFILES | SHOWN | {"trending"},
        [SCRATCH],
    ),
    Case(
        "a post less",
        "content DELETE /posts/{post_id}",
        Call("ada", "content DELETE /posts/{scratch}"),
        PROFILES | SHOWN | {"trending"},
        [SCRATCH],
    ),
    Case(
        "a comment",
        "content POST /posts/{post_id}/comments",
        Call("eve", "content POST /posts/{post}/comments", {"text": "Hi"}, "reply"),
        POST | SHOWN | {"its comments"},
    ),
    Case(
        "another text of a comment",
        f"content PATCH {COMMENT}",
        Call("dora", "content PATCH /comments/{comment}", {"text": "{unique}"}),
        {"its comments"},
    ),
    Case(
        "a comment less",
        f"content DELETE {COMMENT}",
        Call("eve", "content DELETE /comments/{reply}"),
        POST | SHOWN | {"its comments"},
        [Call("eve", "content POST /posts/{post}/comments", {"text": "Hi"}, "reply")],
    ),
    Case(
        "a reaction",
        f"content PUT {REACTION}",
        Call("eve", "content PUT /posts/{post}/reactions/wow"),
        POST | SHOWN,
        [Call("eve", "content DELETE /posts/{post}/reactions/wow")],
    ),
    Case(
        "a reaction less",
        f"content DELETE {REACTION}",
        Call("eve", "content DELETE /posts/{post}/reactions/wow"),
        POST | SHOWN,
        [Call("eve", "content PUT /posts/{post}/reactions/wow")],
    ),
    Case(
        "a bookmark",
        f"content PUT {BOOKMARK}",
        Call("bob", "content PUT /posts/{post}/bookmark"),
        set(),
        [Call("bob", "content DELETE /posts/{post}/bookmark")],
    ),
    Case(
        "a bookmark less",
        f"content DELETE {BOOKMARK}",
        Call("bob", "content DELETE /posts/{post}/bookmark"),
        set(),
        [Call("bob", "content PUT /posts/{post}/bookmark")],
    ),
    Case("an import", "content: posts are imported, or forgotten again", ada_imports, PROFILES | SHOWN | {"trending"}),
    Case(
        "an import undone",
        "content: posts are imported, or forgotten again",
        ada_forgets_what_she_imported,
        PROFILES | SHOWN | {"trending"},
    ),
    Case(
        "an account deleted for good",
        "users: an account is deleted for good",
        thirty_days_pass,
        PROFILES | POST | SHOWN | {"ada's followers", "ada's skills", "skills", "people found", "its comments", "trending"},
        [somebody_goes_for_good],
    ),
)

SEEN: Final[dict[str, set[str]]] = {}
"""The tags that each route was seen to emit."""


def declared(town: Town, route: str) -> tuple[str, ...]:
    """Return the tags that a route, or what else changes answers, says it may emit."""
    service = route.partition(" ")[0].rstrip(":")
    what = route.partition(" ")[2]
    return town.host.services[service].definition.changes.get(what) or writes(town, service)[what].tags


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
async def test_a_write_changes_what_it_changes_and_nothing_else(town: Town, world: World, case: Case) -> None:
    for act in case.before:
        await world.act(act)
    await town.settle()
    await jobs_done_everywhere(town)
    await world.warm()
    service = case.route.partition(" ")[0].rstrip(":")
    positions = {name: await position_of(town, name) for name in BUILT}
    await world.act(case.act)
    emitted = await told_since(town, service, positions[service])
    await town.settle()
    await jobs_done_everywhere(town)
    await town.settle()
    answers = await world.read_all()
    assert {name for name, answer in answers.items() if not is_hit(answer)} == case.changes
    SEEN.setdefault(case.route, set()).update(emitted)
    assert unlike(emitted, declared(town, case.route)) == set()
    for other in set(BUILT) - {service}:
        told_on = await told_since(town, other, positions[other])
        assert unlike(told_on, sum(town.host.services[other].definition.changes.values(), ())) == set()
    assert await world.wrong() == []


async def jobs_done_everywhere(town: Town) -> None:
    """Wait until no service has a job left to be done now."""
    for service in BUILT:
        async with asyncio.timeout(20):
            waiting = "SELECT EXISTS (SELECT FROM pgqueuer WHERE execute_after < now())"
            while await town.database(service).fetchval(waiting):
                await asyncio.sleep(0.02)


def test_the_table_has_every_write_that_declares_what_it_changes(town: Town) -> None:
    routes = {f"{service} {route}" for service in BUILT for route in writes(town, service)}
    assert routes - {case.route for case in CASES} == set()


def test_every_tag_that_a_write_declares_was_seen(town: Town) -> None:
    if len(SEEN) < len({case.route for case in CASES}):
        pytest.skip("only a part of the table was run")
    unseen = {
        route: {template for template in declared(town, route) if emitted == unlike(emitted, (template,))}
        for route, emitted in SEEN.items()
    }
    assert {route: templates for route, templates in unseen.items() if templates} == {}
