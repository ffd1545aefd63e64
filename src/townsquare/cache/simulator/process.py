"""A simulated process: a real cache, in touch with the database through the real `Contact`, and people who use it."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from townsquare.cache.cache import Cache, Change, Filled, FillFailed, Outcome
from townsquare.cache.contact import Beginning, Contact, Look, SourceReplaced
from townsquare.cache.events import Event, ServedStale
from townsquare.cache.simulator.database import DatabaseDown
from townsquare.cache.simulator.judge import PUBLIC, Reader, Shown
from townsquare.cache.simulator.loops import SimulatedLoop
from townsquare.cache.simulator.shared import SIZE, SharedLevel
from townsquare.cache.snapshots import Snapshot
from townsquare.cache.strategies import Strategy

if TYPE_CHECKING:
    from townsquare.cache.simulator.world import World

ANSWER: Final = Strategy("ANSWER", lifetime=6, grace=30, eager=0.7, hard_deadline=5)
FEED: Final = Strategy("FEED", lifetime=3, grace=5, eager=0.7, hard_deadline=5)
LOOK_SECONDS: Final = 0.4
LOOK_DEADLINE: Final = 2.0
COMMIT_DEADLINE: Final = 5.0

_AWAY = (DatabaseDown, FillFailed, SourceReplaced, TimeoutError)


@dataclass
class Tally:
    """What happened to the reads and writes of one process."""

    reads: int = 0
    failed_reads: int = 0
    stale: int = 0
    bypassed: int = 0
    writes: int = 0
    failed_writes: int = 0


class Process:
    """`frozen` ones are simply not run. With `following` it looks by itself; else whoever drives it has it look."""

    def __init__(self, world: "World", name: str, capacity: int, *, following: bool) -> None:
        self.name = name
        self.capacity = capacity
        self.following = following
        self.frozen = False
        self.dead = False
        self.tally = Tally()
        self.loop = SimulatedLoop(lambda: world.now)
        self.second = SharedLevel(world, self)
        self.cache = Cache(
            capacity, watched=["posts"], second=self.second, clock=lambda: world.now, chance=world.random.random
        )
        self.cache.listeners.append(self._heard)
        self.contact = Contact(self.cache, DatabaseLink(world, self), self._identified)
        self._world = world
        self._looking: asyncio.Task[None] | None = None
        self._woken = asyncio.Event()
        self._failed_over: set[str] = set()
        if following:
            self.do(self._follow())

    def do(self, what: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Begin something."""
        task = self.loop.create_task(what)
        task.add_done_callback(self._done)
        if not self.frozen:
            self.loop.run_until_idle()
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._world.failures.append(error)

    def kill(self) -> None:
        """End it as a crash would: nothing is said to anybody."""
        self.dead = True
        self.loop.end()

    # --- following the database ----------------------------------------------------------------------------------

    def look(self) -> None:
        """Look once, unless a look is under way."""
        if self._looking is None or self._looking.done():
            self._looking = self.do(self._look())

    def wake(self) -> None:
        """Hear of a commit."""
        self._woken.set()

    async def _look(self) -> None:
        try:
            async with asyncio.timeout(LOOK_DEADLINE):
                await self.contact.look()
        except _AWAY:
            return

    async def _follow(self) -> None:
        while True:
            self._woken.clear()
            await self._look()
            try:
                await asyncio.wait_for(self._woken.wait(), LOOK_SECONDS)
            except TimeoutError:
                continue

    def _identified(self, identity: str) -> None:
        self.second.name = identity

    # --- reading -------------------------------------------------------------------------------------------------

    def read(self, reader: Reader, path: str, *, with_token: bool) -> None:
        """Have somebody read: `thing:a` or `things` (everybody's), `own thing:a` or `feed` (his alone)."""
        viewer = PUBLIC if path == "things" or path.startswith("thing:") else reader.name
        self.do(self._read(reader, viewer, f"{viewer} {path}", with_token=with_token))

    async def _read(self, reader: Reader, viewer: str, key: str, *, with_token: bool) -> None:
        world, cache = self._world, self.cache
        reading = world.judge.expects(reader, viewer, key, None if with_token else self.name, world.now)
        strategy = FEED if key.endswith("feed") else ANSWER
        must_see = reader.token if with_token else None
        self.tally.reads += 1
        try:
            if must_see is not None and not cache.snapshot.sees(must_see):
                self.tally.bypassed += 1
                outcome = await cache.bypass(strategy, lambda: self._fill(viewer, key))
            elif (entry := cache.get(key)) is not None:
                outcome = Outcome(entry.value, "hit", entry)
            else:
                public = viewer == PUBLIC
                outcome = await cache.fetch(key, strategy, lambda: self._fill(viewer, key), stale_if_failed=public)
        except _AWAY:
            self.tally.failed_reads += 1
            return
        assert isinstance(outcome.value, Shown)  # noqa: S101  (nothing else is filled)
        failed_over = outcome.result == "stale" and key in self._failed_over
        self.tally.stale += outcome.result == "stale"
        world.judge.judge(reading, outcome.value, excused=failed_over)

    def _heard(self, event: Event) -> None:
        # The cache tells it just before it answers; until the next read of the key it says why an answer was stale.
        if isinstance(event, ServedStale):
            (self._failed_over.add if event.because == "failed" else self._failed_over.discard)(event.key)

    async def _fill(self, viewer: str, key: str) -> Filled:
        """Make an answer, in one query or in two: then others may commit in between."""
        path = key.partition(" ")[2].removeprefix("own ")
        if path == "things":
            first = await self._query(["thing:a"])
            versions = first | await self._query(["thing:b", "thing:c"])
            return Filled(Shown(viewer, key, versions), SIZE, frozenset({"things"}))
        if path != "feed":
            return Filled(Shown(viewer, key, await self._query([path])), SIZE, frozenset({path}))
        follows = f"follows:{viewer}"
        versions = await self._query([follows])
        followed = followed_by(versions[follows])
        versions |= await self._query([f"thing:{name}" for name in followed])
        return Filled(
            Shown(viewer, key, versions), SIZE, frozenset({follows}), frozenset(f"posts:{name}" for name in followed)
        )

    async def _query(self, things: list[str]) -> dict[str, int]:
        database = self._world.database
        return await self._world.call(self, database, "query", lambda: database.read(things))

    # --- writing -------------------------------------------------------------------------------------------------

    def write(self, reader: Reader, thing: str) -> None:
        """Have somebody write a thing, unless he still waits for his last write."""
        if not reader.writing:
            reader.writing = True
            self.do(self._write(reader, thing))

    async def _write(self, reader: Reader, thing: str) -> None:
        try:
            async with asyncio.timeout(COMMIT_DEADLINE):
                change, versions = await self._commit(thing)
        except _AWAY:
            self.tally.failed_writes += 1
        else:
            self.tally.writes += 1
            self.cache.changed(change)
            reader.token = change.xid
            self._world.judge.acknowledged(reader, self.name, versions)
            for process in self._world.processes:
                self._world.send(process, "notification", process.wake)
        finally:
            reader.writing = False

    async def _commit(self, thing: str) -> tuple[Change, dict[str, int]]:
        """Write in a transaction: between its two messages, others may commit."""
        world, database = self._world, self._world.database
        transaction = await world.call(self, database, "write", lambda: database.changing(thing))
        return await world.call(self, database, "commit", lambda: database.commit(transaction)), transaction.writes


class DatabaseLink:
    """The database as a `Source`."""

    def __init__(self, world: "World", process: Process) -> None:
        self._world = world
        self._process = process

    async def begin(self) -> Beginning:
        """Ask where we are."""
        database = self._world.database
        return await self._world.call(self._process, database, "begin", database.begin)

    async def look(self, before: Snapshot) -> Look:
        """Ask what has changed."""
        database = self._world.database
        return await self._world.call(self._process, database, "look", lambda: database.look(before))


def followed_by(version: int) -> list[str]:
    """Return whom somebody follows, as the version of his follows says: another choice each time."""
    return [name for place, name in enumerate("abc") if (version * 5 + 3) >> place & 1]
