"""Why a path is, or is not, answered from the cache: asked by `townsquare cache explain`, never from outside."""

from collections import OrderedDict
from typing import Final
from uuid import UUID

from litestar import get
from litestar.params import FromQuery
from litestar.types import ControllerRouterHandler
from msgspec import Struct

from townsquare.cache.entries import Entry
from townsquare.cache.events import EntryEvicted, EntryInvalidated, EntryRefused, Event, OriginFailed
from townsquare.kit.cached_routes import CachedRoute, CachedRoutes
from townsquare.kit.calls import internal_only
from townsquare.kit.service_cache import ServiceCache

MAX_REMEMBERED: Final = 10_000
PUBLIC: Final = "-"
WATCHED_CHANGED: Final = "dropped: something it watches has changed (somebody followed has posted, say)"


class KeptEntry(Struct, frozen=True, omit_defaults=True):
    """One entry that could answer; `reason` says in a sentence why it does, or why it is not there."""

    whose: str
    key: str
    kept: bool
    reason: str
    fresh_for: float | None = None
    age: float | None = None
    bytes: int | None = None
    snapshot: str | None = None
    tags: list[str] = []
    watched: int = 0


class Explanation(Struct, frozen=True, omit_defaults=True):
    """How one process would answer a GET of `path`."""

    path: str
    in_touch: bool
    reason: str
    route: str | None = None
    strategy: str | None = None
    audience: str | None = None
    parameters: list[str] = []
    entries: list[KeptEntry] = []


class LastHeard:
    """What was told last of each key, for those that are not there any more: by its hash, for keys may be long."""

    def __init__(self) -> None:
        self._told: OrderedDict[int, str] = OrderedDict()

    def hear(self, event: Event) -> None:
        """Remember why an entry is gone, or was never kept."""
        match event:
            case EntryInvalidated(key=key, tag=None):
                self._note(key, WATCHED_CHANGED)
            case EntryInvalidated(key=key, tag=tag, xid=xid):
                self._note(key, f"dropped: transaction {xid} changed {tag}")
            case EntryEvicted(key=key):
                self._note(key, "thrown out to make room; a larger TOWNSQUARE_CACHE_MB would have kept it")
            case EntryRefused(key=key):
                self._note(key, "not kept the last time: what it depends on changed while it was made, or it is too large")
            case OriginFailed(key=key):
                self._note(key, "not kept the last time: making it failed")
            case _:
                return

    def of(self, key: str) -> str:
        """Return why there is no entry under `key`."""
        return self._told.get(hash(key), "nobody has asked for it since this process began, or that is long ago")

    def _note(self, key: str, why: str) -> None:
        self._told.pop(hash(key), None)
        self._told[hash(key)] = why
        if len(self._told) > MAX_REMEMBERED:
            self._told.popitem(last=False)


def cache_routes(kept: ServiceCache, routes: CachedRoutes) -> list[ControllerRouterHandler]:
    """Return the handlers that tell of a service's cache in this process."""
    for route in routes.routes:
        kept.cache.statistics.of(route.declaration.strategy.name)  # there from the start, so that metrics never appear late
    heard = LastHeard()
    kept.cache.listeners.append(heard.hear)

    @get("/cache/explain", guards=[internal_only], include_in_schema=False)
    async def explain(
        path: FromQuery[str], prefix: FromQuery[str] = "", asking: FromQuery[UUID | None] = None
    ) -> Explanation:
        """Explain how a GET of `path` (its query included) by the person `asking` would be answered."""
        bare, _, query = path.partition("?")
        route = routes.find(bare)
        in_touch = kept.cache.trusted
        if route is None:
            return Explanation(path, in_touch, "No cached route has this path: it always goes to its handler.")
        whose = await _whose(kept, route, asking)
        entries = [_explain(kept, heard, who, f"{who} {prefix}{bare}?{route.query(query.encode())}") for who in whose]
        return Explanation(
            path,
            in_touch,
            _verdict(entries, in_touch=in_touch, whose=whose),
            route.template,
            route.declaration.strategy.name,
            route.declaration.audience,
            list(route.declaration.parameters),
            entries,
        )

    return [explain]


async def _whose(kept: ServiceCache, route: CachedRoute, viewer: UUID | None) -> list[str]:
    """Return whose entries may answer, in the order in which they are looked for."""
    audience = route.declaration.audience
    if viewer is None:
        return [] if audience == "viewer" else [PUBLIC]
    if audience == "everybody":
        return [PUBLIC]
    plain = audience == "plain" and kept.layer is not None and await kept.layer.is_plain(viewer)
    return [PUBLIC, viewer.hex] if plain else [viewer.hex]


def _explain(kept: ServiceCache, heard: LastHeard, whose: str, key: str) -> KeptEntry:
    entry = next((each for each in kept.cache.store if each.key == key), None)
    if entry is None:
        return KeptEntry(whose, key, kept=False, reason=heard.of(key))
    if not kept.cache.store.right(entry):
        return KeptEntry(whose, key, kept=False, reason=WATCHED_CHANGED)
    return _described(kept, whose, entry)


def _described(kept: ServiceCache, whose: str, entry: Entry) -> KeptEntry:
    now = kept.cache.now
    fresh_for = entry.fresh_until - now
    return KeptEntry(
        whose,
        entry.key,
        kept=True,
        reason="kept and fresh" if fresh_for > 0 else "kept, past its lifetime: served stale while it is made anew",
        fresh_for=round(fresh_for, 1),
        age=round(now - entry.created, 1),
        bytes=entry.size,
        snapshot=str(entry.snapshot),
        tags=sorted(entry.tags),
        watched=len(entry.watched or ()),
    )


def _verdict(entries: list[KeptEntry], *, in_touch: bool, whose: list[str]) -> str:
    if not whose:
        return "Only who signed in gets an answer here: say who with --as."
    if not in_touch:
        return "A miss: this process is out of touch with its database, and serves nothing as fresh."
    if any(entry.kept and (entry.fresh_for or 0) > 0 for entry in entries):
        return "A hit."
    return "A miss."
