"""The second level on Redis or Valkey, single, Sentinel or Cluster, with TLS and ACL by its address.

It may be away, frozen, slow, full, flushed, restored from an old copy or be another one altogether: each of these is a miss
within a short deadline, and after a few of them it is left alone for a while. What it returns says for which key it was
kept and what it had seen; the cache's ledger decides.

Who asks waits for `deadline` at the most, and leaves; the call itself is not cut off with them, because a connection that
is opened for the next one is worth having. What is asked for at the same time goes in one round trip: 1,000 keys take 80 ms
on four connections so, and 450 ms as calls of their own on fifty.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, NamedTuple

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from townsquare.cache.batches import Batches
from townsquare.cache.breaker import Breaker
from townsquare.cache.entries import Entry
from townsquare.cache.parcels import Codec, Parcel, pack, unpack
from townsquare.cache.redis_address import RedisAddress
from townsquare.cache.redis_servers import RedisServers
from townsquare.cache.second_level import SharedEntry

DEADLINE: Final = 0.05
"""Seconds that a look may take: an uncached answer takes less than ten times that."""
PATIENCE: Final = 1.0
"""Seconds for a call that nobody waits for any more: connecting, asking sentinels, reading a cluster's map."""
LANES: Final = 4
"""Calls side by side; more than the breaker's failures, so that it opens although each of them hangs."""
MOST_READS: Final = 25
MOST_WRITES: Final = 50
MOST_ASKED: Final = 10_000
MAX_WAITING: Final = 1_000
MAX_WAITING_BYTES: Final = 16 << 20
"""What waits to be written; more is not written."""
CLOSE_SECONDS: Final = 0.5
PROBES: Final = [b"townsquare:probe:%d" % number for number in range(16)]
"""Nothing stands there. So many that each node of a small cluster has some."""


@dataclass(slots=True)
class LevelCounts:
    """What a second level did, since the process began."""

    gets: int = 0
    hits: int = 0
    late: int = 0
    """Gets that were given up after the deadline."""
    shut: int = 0
    """Gets that were not made because the breaker was open."""
    refused: int = 0
    """Gets that found what was never an entry of this key."""
    errors: int = 0
    """Gets and puts that failed, and trials."""
    puts: int = 0
    """Entries written."""
    lost: int = 0
    """Entries that were not written: too many waited, or Redis did not take them."""


class _Asked(NamedTuple):
    """A key that somebody waits for."""

    key: bytes
    answer: asyncio.Future[tuple[object, object]]


class _Waiting(NamedTuple):
    """An entry that waits to be written; its size is that of the moment, which may grow."""

    key: bytes
    entry: Entry
    size: int


class RedisLevel:
    """Entries in Redis, under a name that `rename` gives; before that nothing is read or written.

    `given_up` is told why when it is left alone, by the kind of what failed last; its text may name hosts. `regained` is
    called when it answers again.
    """

    def __init__(
        self,
        url: str,
        codec: Codec,
        *,
        deadline: float = DEADLINE,
        clock: Callable[[], float] = time.monotonic,
        given_up: Callable[[str], None] = lambda _: None,
        regained: Callable[[], None] = lambda: None,
    ) -> None:
        self.breaker = Breaker(clock=clock, changed=self._changed)
        self.counts = LevelCounts()
        self._last_error = ""
        self._servers = RedisServers(RedisAddress.parse(url))
        self._codec = codec
        self._deadline = deadline
        self._clock = clock
        self._name = ""
        self._reads = Batches(self._read, lanes=LANES, most=MOST_READS, room=MOST_ASKED)
        self._writes = Batches(self._write, lanes=1, most=MOST_WRITES, room=MAX_WAITING)
        self._waiting_bytes = 0
        self._trials: asyncio.Task[None] | None = None
        self._closed = False
        self._given_up = given_up
        self._regained = regained

    def rename(self, name: str) -> None:
        """Say whose entries these are from now on; what was kept under another name is out of reach.

        The name must be another one for each source, for each restore of it, and for each release of what is kept.
        """
        self._name = name

    async def get(self, key: str) -> SharedEntry | None:
        """Return what is kept under `key`; None also when it cannot be had in time."""
        if not (self._name and self.breaker.closed):
            self.counts.shut += 1
            return None
        self.counts.gets += 1
        asked = _Asked(self._full(key), asyncio.get_running_loop().create_future())
        if not self._reads.add(asked):
            return None
        try:
            async with asyncio.timeout(self._deadline):
                data, left = await asked.answer
        except TimeoutError:
            self.counts.late += 1
            return None
        if isinstance(data, Exception) or data is None:
            return None
        shared = unpack(asked.key, data, left, self._codec)
        if shared is None:
            self.counts.refused += 1
        else:
            self.counts.hits += 1
        return shared

    def put(self, entry: Entry) -> None:
        """Have an entry written soon."""
        waiting = _Waiting(self._full(entry.key), entry, entry.size)
        room = self._waiting_bytes + waiting.size <= MAX_WAITING_BYTES
        if room and self._name and self.breaker.closed and self._writes.add(waiting):
            self._waiting_bytes += waiting.size
        else:
            self.counts.lost += 1

    async def ping(self) -> None:
        """Raise when Redis does not answer: TimeoutError, ConnectionError with the kind of reason, or what it says."""
        try:
            async with asyncio.timeout(PATIENCE):
                await self._probe()
        except RedisTimeoutError:
            raise TimeoutError from None
        except RedisConnectionError as error:
            raise ConnectionError(type(error).__name__) from None

    async def close(self) -> None:
        """Write what waits, if that goes quickly, and close the connections."""
        self._closed = True
        await asyncio.gather(self._reads.close(within=0), self._writes.close(within=CLOSE_SECONDS))
        if self._trials is not None:
            self._trials.cancel()
            await asyncio.gather(self._trials, return_exceptions=True)
        with suppress(Exception):  # they are closed, one way or the other
            async with asyncio.timeout(PATIENCE):
                await self._servers.close()

    # --- reading and writing -------------------------------------------------------------------------------------

    async def _read(self, asked: list[_Asked]) -> None:
        wanted = [one for one in asked if not one.answer.done()]
        if not wanted:
            return
        loop = asyncio.get_running_loop()
        overdue = loop.call_later(self._deadline, self._overdue)  # not at its end: it may hang on
        try:
            async with asyncio.timeout(PATIENCE):
                replies = await self._servers.read([one.key for one in wanted])
        except Exception as error:  # redis-py's own and any other: whatever goes wrong there is a miss here
            replies = [(error, None)] * len(wanted)
        finally:
            if in_time := loop.time() < overdue.when():
                overdue.cancel()
        errors = self._noted(data for data, _ in replies)
        if in_time:
            (self.breaker.failed if errors else self.breaker.succeeded)()
        for one, reply in zip(wanted, replies, strict=True):
            if not one.answer.done():
                one.answer.set_result(reply)

    async def _write(self, waiting: list[_Waiting]) -> None:
        self._waiting_bytes -= sum(one.size for one in waiting)
        if not self.breaker.closed:
            self.counts.lost += len(waiting)
            return
        try:
            parcels = self._packed(waiting)
            async with asyncio.timeout(PATIENCE):
                results = await self._servers.write(parcels) if parcels else []
        except Exception as error:  # likewise; the breaker goes by reads alone, which a full server still answers
            results = [error] * len(waiting)
        failed = self._noted(results)
        self.counts.lost += failed
        self.counts.puts += len(results) - failed

    def _packed(self, waiting: Iterable[_Waiting]) -> list[tuple[bytes, Parcel]]:
        now = self._clock()
        packed = ((one.key, pack(one.key, one.entry, self._codec, now)) for one in waiting)
        return [(key, parcel) for key, parcel in packed if parcel is not None]

    def _noted(self, results: Iterable[object]) -> int:
        """Note what failed, and return how many did."""
        errors = [result for result in results if isinstance(result, Exception)]
        if errors:
            self.counts.errors += len(errors)
            self._last_error = type(errors[-1]).__name__
        return len(errors)

    def _overdue(self) -> None:
        self._last_error = "TimeoutError"
        self.breaker.failed()

    # --- giving up, and trying again -----------------------------------------------------------------------------

    def _changed(self, is_open: bool) -> None:  # as the breaker tells it
        if self._closed:
            return  # what was under way may still be late
        if is_open:
            self._trials = asyncio.create_task(self._try(), name="cache trials")
            self._given_up(self._last_error)
        else:
            self._regained()

    async def _try(self) -> None:
        while not self.breaker.closed:
            await asyncio.sleep(self.breaker.pause)
            self.breaker.tried(good=await self._answers())

    async def _answers(self) -> bool:
        """Find out whether Redis answers again, on new connections, and in time once they stand."""
        try:
            async with asyncio.timeout(PATIENCE):
                with suppress(Exception):  # what is left of the old ones closes late or never
                    await self._servers.renew()
                await self._probe()
                async with asyncio.timeout(self._deadline):
                    await self._probe()
        except Exception as error:
            self._noted([error])
            return False
        return True

    async def _probe(self) -> None:
        """Read as `get` does, from every node of a cluster; raises what goes wrong."""
        for data, _ in await self._servers.read(PROBES):
            if isinstance(data, Exception):
                raise data

    def _full(self, key: str) -> bytes:
        # Any text is a key, one that is no proper Unicode too.
        return f"{self._name}:{key}".encode("utf-8", "surrogatepass")
