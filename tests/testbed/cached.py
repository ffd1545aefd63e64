"""What tests of cached answers share: what the cache did, what it keeps, and what the database says past it."""

import re
from typing import Final

from testbed.town import Answer, Client, Person, Town
from townsquare.cache.entries import Entry
from townsquare.kit.cached_routes import CachedRoute, CachedRoutes, ChangingRoute, changing_routes
from townsquare.kit.outbox import Position

PAST: Final = {
    "users": {"Consistency-Token": "content.1"},
    "content": {"Consistency-Token": "users.1"},
    "media": {"Consistency-Token": "users.1"},
}
"""Headers with which a service asks its database: it cannot know what another's write has changed in what it keeps."""

TAG: Final = re.compile(r"\{\w+\}")


def client_of(town: Town, service: str) -> Client:
    """Return the client that speaks to a service."""
    return {"users": town.users, "content": town.content, "media": town.media}[service]


def cached_routes(town: Town, service: str) -> list[CachedRoute]:
    """Return a service's cached routes."""
    return CachedRoutes(town.host.services[service].definition.routes).routes


def writes(town: Town, service: str) -> dict[str, ChangingRoute]:
    """Return the writes of a service that say what they change, by method and template."""
    routes = changing_routes(town.host.services[service].definition.routes)
    return {f"{route.method} {route.template}": route for route in routes}


def was_hit(answer: Answer) -> bool:
    """Whether an answer came from the cache."""
    assert answer.status == 200, answer.body
    return answer.headers["Cache-Status"].startswith("townsquare; hit")


def entry_of(town: Town, service: str, target: str, viewer: Person | None = None) -> Entry | None:
    """Return what is kept under a path and query, for everybody or for one viewer alone."""
    cache = town.host.services[service].context.cache
    assert cache is not None
    whose = "-" if viewer is None else viewer.id.hex
    path, _, query = target.partition("?")
    return cache.store.find(f"{whose} /api/{service}{path}?{query}")


async def past_the_cache(town: Town, service: str, target: str, viewer: Person | None = None) -> Answer:
    """Ask the database for what a cached route answers."""
    answer = await client_of(town, service).get(target, as_=viewer, headers=PAST[service])
    assert answer.status != 200 or answer.headers["Cache-Status"] == "townsquare; fwd=request"
    return answer


def unlike(tags: set[str], templates: tuple[str, ...]) -> set[str]:
    """Return the tags that none of the templates describes."""
    patterns = [re.compile(TAG.sub(r"[^:]+", template)) for template in templates]
    return {tag for tag in tags if not any(pattern.fullmatch(tag) for pattern in patterns)}


async def told_since(town: Town, service: str, position: Position) -> set[str]:
    """Return the tags of what a service has told since then."""
    rows = await town.database(service).fetch("SELECT tags FROM outbox WHERE id > $1", position.id)
    return {tag for row in rows for tag in row["tags"]}


async def position_of(town: Town, service: str) -> Position:
    """Return where a service's outbox ends now."""
    return Position(0, await town.database(service).fetchval("SELECT coalesce(max(id), 0) FROM outbox"))
