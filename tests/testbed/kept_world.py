"""A small world of which everything is kept by the caches, to see what a write changes of that.

Each service's writes are held to it in `tests/services/*/test_invalidation.py`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence, Set
from typing import Any, Final, NamedTuple

from testbed.accounts import jobs_done
from testbed.cached import client_of, past_the_cache, position_of, told_since, unlike, writes
from testbed.town import Answer, Person, Town
from testbed.uploads import small_photo, uploaded
from townsquare.catalogue import BUILT


class Call(NamedTuple):
    """A request, as `content POST /posts/{post}/comments`; `{...}` is filled in, and `makes` names what it answers."""

    who: str
    what: str
    body: object = ...
    makes: str = ""


class Upload(NamedTuple):
    """A file that somebody uploads, with the fields of its form; `makes` names it."""

    who: str
    data: bytes
    makes: str
    fields: Mapping[str, str] = {}


class Read(NamedTuple):
    """Something that is kept; `viewer` is who asks."""

    service: str
    target: str
    viewer: str = ""


Act = Call | Upload | Callable[["World"], Awaitable[None]]


class Case(NamedTuple):
    """A write, after `before`; `changes` are the names of the reads that it changes."""

    name: str
    route: str
    act: Act
    changes: Set[str]
    before: Sequence[Act] = ()


class Outcome(NamedTuple):
    """What a write did: what it changed of what is kept, and the tags that the services emitted for it.

    `undeclared` are those that no declaration names, and `wrong` is what is kept and not what the database says.
    """

    changed: set[str]
    emitted: set[str]
    undeclared: set[str]
    wrong: list[str]


# --- what is in it -------------------------------------------------------------------------------------------------

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
    "ada's file": Read("media", "/files/{picture}"),
    "ada's private file": Read("media", "/files/{secret}", "ada"),
    "bob's file": Read("media", "/files/{note}"),
    "ada's files": Read("media", "/users/@{ada_handle}/files"),
    "ada's files to bob": Read("media", "/users/{ada}/files", "bob"),
    "ada's files to ada": Read("media", "/users/{ada}/files", "ada"),
    "bob's files": Read("media", "/users/{bob}/files"),
    "public files": Read("media", "/public/files?limit=100"),
    "public files to eve": Read("media", "/public/files?limit=99", "eve"),
    "public pictures": Read("media", "/public/files?kind=image&limit=100"),
}
"""Cyd is nobody's usual viewer: she blocks zed. Bob and dora follow ada, cyd follows bob, eve follows nobody.

No two share an entry: of those that did, only one would be a miss."""

PEOPLE: Final = ("ada", "bob", "cyd", "dora", "eve", "zed")

BEGINNING: Final = (
    Call("bob", "users PUT /users/{ada}/follow"),
    Call("dora", "users PUT /users/{ada}/follow"),
    Call("cyd", "users PUT /users/{bob}/follow"),
    Call("cyd", "users PUT /users/{zed}/block"),
    Call("ada", "users POST /users/{ada}/skills", {"name": "{word}", "level": "expert"}, "weaving"),
    Upload("ada", small_photo(), "picture"),
    Upload("ada", b"For nobody else\n", "secret", {"visibility": "private"}),
    Upload("bob", b"For everybody\n", "note"),
    Call("ada", "content POST /posts", {"text": "{word} #{tag}", "media_ids": ["{picture}"]}, "post"),
    Call("bob", "content POST /posts", {"text": "#{bobs_tag}"}, "bobs"),
    Call("ada", "content POST /posts", {"text": "For friends", "visibility": "followers"}, "friends"),
    Call("dora", "content POST /posts/{post}/comments", {"text": "Well said"}, "comment"),
    Call("ada", "content POST /posts/{post}/comments", {"text": "Thanks", "parent_id": "{comment}"}),
)


PROFILES: Final = {"ada's profile", "ada's profile by handle", "ada's profile to cyd"}
POST: Final = {"a post", "a post to cyd"}
SHOWN: Final = {"ada's posts", "ada's posts to bob", "public posts", "a tag", "posts found", "bob's feed"}
"""What shows ada's post."""
OWN_LISTS: Final = {"ada's posts", "ada's posts to bob", "bob's feed"}
"""What shows whatever ada writes, or may: which of it the database decides."""
PUBLIC_FILES: Final = {"public files", "public files to eve", "public pictures"}
ADAS_FILES: Final = {"ada's files", "ada's files to bob", "ada's files to ada"}
"""What shows whatever ada uploads, or may: which of it the database decides."""


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
        match act:
            case Call():
                await self._call(act)
            case Upload():
                person = self.people[act.who]
                file = await uploaded(self.town.media, person, act.data, **act.fields)
                self.names[act.makes] = file["id"]
            case _:
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
            case list():
                return [self.fill(one) for one in value]
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


async def build_world(town: Town) -> World:
    """Make the world as it is in the beginning."""
    await jobs_done(town)
    made = World(town, {name: await town.register(name) for name in PEOPLE})
    await town.settle()
    for act in BEGINNING:
        await made.act(act)
    return made


# --- what a write does in it ---------------------------------------------------------------------------------------


async def try_out(world: World, case: Case) -> Outcome:
    """Do what a case says, and see what became of everything that was kept."""
    town, service = world.town, _service_of(case.route)
    for act in case.before:
        await world.act(act)
    await town.settle()
    await _jobs_done_everywhere(town)
    await world.warm()
    positions = {name: await position_of(town, name) for name in BUILT}
    await world.act(case.act)
    emitted = await told_since(town, service, positions[service])
    await town.settle()
    await _jobs_done_everywhere(town)
    await town.settle()
    answers = await world.read_all()
    changed = {name for name, answer in answers.items() if not is_hit(answer)}
    undeclared = unlike(emitted, declared(town, case.route))
    for other in set(BUILT) - {service}:
        told_on = await told_since(town, other, positions[other])
        undeclared |= unlike(told_on, sum(town.host.services[other].definition.changes.values(), ()))
    return Outcome(changed, emitted, undeclared, await world.wrong())


def declared(town: Town, route: str) -> tuple[str, ...]:
    """Return the tags that a route, or what else changes answers, says it may emit."""
    service, what = _service_of(route), route.partition(" ")[2]
    return town.host.services[service].definition.changes.get(what) or writes(town, service)[what].tags


def untried(town: Town, service: str, cases: Iterable[Case]) -> set[str]:
    """Return the writes of a service that declare what they change, and of which there is no case."""
    return {f"{service} {route}" for route in writes(town, service)} - {case.route for case in cases}


def unseen(town: Town, seen: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Return the tags that a route declares and was not seen to emit, by route."""
    missing = {
        route: {template for template in declared(town, route) if emitted == unlike(emitted, (template,))}
        for route, emitted in seen.items()
    }
    return {route: templates for route, templates in missing.items() if templates}


def _service_of(route: str) -> str:
    return route.partition(" ")[0].rstrip(":")


async def _jobs_done_everywhere(town: Town) -> None:
    """Wait until no service has a job left to be done now."""
    for service in BUILT:
        async with asyncio.timeout(20):
            waiting = "SELECT EXISTS (SELECT FROM pgqueuer WHERE execute_after < now())"
            while await town.database(service).fetchval(waiting):
                await asyncio.sleep(0.02)
