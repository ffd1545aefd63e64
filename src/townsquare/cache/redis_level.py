"""The second level on Redis (6.2 or later) or Valkey: single, Sentinel or Cluster, with TLS and ACL by its address.

It may be away, frozen, slow, full, flushed, restored from an old copy or be another one altogether: each of these is a miss
within a short deadline, and after a few of them it is left alone for a while. What it returns says for which key it was
kept and what it had seen; the cache's ledger decides.

No wall clock is compared with another: the lifetime that is left is read from the server, which alone counts it.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol, cast
from urllib.parse import parse_qs, urlsplit

import msgspec
from msgspec import Struct
from redis.asyncio import Redis, RedisCluster, Sentinel
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from townsquare.cache.breaker import Breaker
from townsquare.cache.entries import Entry
from townsquare.cache.second_level import SharedEntry
from townsquare.cache.snapshots import Snapshot

DEADLINE: Final = 0.05
"""Seconds that a look may take: an uncached answer takes less than ten times that."""
CONNECT_DEADLINE: Final = 0.25
MAX_WAITING: Final = 1_000
"""Entries that wait to be written; what comes on top is not written."""
MAX_VALUE: Final = 1 << 20
FORMAT: Final = 1


class Codec(Protocol):
    """Turns a cache's values into bytes and back."""

    def encode(self, value: object) -> bytes:
        """Return the value as bytes."""
        ...

    def decode(self, data: bytes) -> object:
        """Return the value; raises ValueError for what was never one."""
        ...


class _Kept(Struct, frozen=True, array_like=True):
    """What stands in Redis under a key: everything that is needed to doubt it."""

    format: int
    key: str
    snapshot: str
    tags: list[str]
    watched: list[str] | None
    size: int
    grace_ms: int
    value: bytes


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(_Kept)


class RedisLevel:
    """Entries in Redis, under `name` (which must be another one for each source, its restore and its release).

    `running()` writes what `put` has left. Before `rename` says which source it is, nothing is read or written.
    """

    def __init__(
        self, url: str, codec: Codec, *, deadline: float = DEADLINE, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.breaker = Breaker(clock=clock)
        self.lost = 0
        """Entries that were not written because too many waited, or because Redis did not take them."""
        self._client = client_of(url, deadline)
        self._codec = codec
        self._deadline = deadline
        self._clock = clock
        self._name = ""
        self._waiting: asyncio.Queue[tuple[str, bytes, int]] = asyncio.Queue(MAX_WAITING)

    def rename(self, name: str) -> None:
        """Say whose entries these are from now on; what was kept under another name is out of reach."""
        self._name = name

    async def get(self, key: str) -> SharedEntry | None:
        """Return what is kept under `key`; None also when it cannot be had in time."""
        if not self._name or not self.breaker.admits():
            return None
        try:
            async with asyncio.timeout(self._deadline):
                data, left = await self._read(self._full(key))
        except (RedisError, OSError, TimeoutError):
            self.breaker.failed()
            return None
        self.breaker.succeeded()
        return None if data is None else self._open(key, data, left)

    def put(self, entry: Entry) -> None:
        """Have an entry written soon."""
        usable_ms = int((entry.usable_until - self._clock()) * 1000)
        value = self._codec.encode(entry.value)
        if not self._name or usable_ms <= 0 or len(value) > MAX_VALUE:
            return
        kept = _Kept(
            FORMAT,
            entry.key,
            str(entry.snapshot),
            sorted(entry.tags),
            None if entry.watched is None else sorted(entry.watched),
            len(value),
            int((entry.usable_until - entry.fresh_until) * 1000),
            value,
        )
        try:
            self._waiting.put_nowait((self._full(entry.key), _ENCODER.encode(kept), usable_ms))
        except asyncio.QueueFull:
            self.lost += 1

    async def run(self) -> None:
        """Write what waits, until cancelled."""
        while True:
            key, data, milliseconds = await self._waiting.get()
            if not self.breaker.admits():
                self.lost += 1
                continue
            try:
                async with asyncio.timeout(self._deadline * 4):
                    await self._client.set(key, data, px=milliseconds)
            except (RedisError, OSError, TimeoutError):
                self.lost += 1
                self.breaker.failed()
            else:
                self.breaker.succeeded()

    async def ping(self) -> None:
        """Raise when Redis does not answer in time."""
        async with asyncio.timeout(self._deadline * 10):
            await self._client.ping()  # pyright: ignore[reportGeneralTypeIssues, reportUnknownMemberType]

    async def close(self) -> None:
        """Close the connections."""
        with suppress(RedisError, OSError, TimeoutError):
            async with asyncio.timeout(1):
                await self._client.aclose()

    def _full(self, key: str) -> str:
        return f"{self._name}:{key}"

    async def _read(self, key: str) -> tuple[bytes | None, int]:
        # One round trip; not a transaction: what changes in between changes the lifetime alone.
        async with self._client.pipeline(transaction=False) as pipeline:
            data, left = await pipeline.get(key).pttl(key).execute()
        return cast("bytes | None", data), int(left)

    def _open(self, key: str, data: bytes, left_ms: int) -> SharedEntry | None:
        try:
            kept = _DECODER.decode(data)
            if kept.format != FORMAT or kept.key != key:
                return None
            return SharedEntry(
                self._codec.decode(kept.value),
                kept.size,
                Snapshot.parse(kept.snapshot),
                frozenset(kept.tags),
                None if kept.watched is None else frozenset(kept.watched),
                (left_ms - kept.grace_ms) / 1000,
            )
        except (msgspec.MsgspecError, ValueError):
            return None  # somebody else's, or damaged


Client = Redis | RedisCluster


def client_of(url: str, deadline: float) -> Client:
    """Return the client for an address; connects when it is first used.

    `redis://` and `rediss://` (TLS) name one server, `redis+cluster://` any node of a cluster, and
    `redis+sentinel://host:port,host:port/db?name=mymaster` the sentinels that know the primary.
    """
    parts = urlsplit(url)
    scheme, _, kind = parts.scheme.partition("+")
    plain = url.replace(parts.scheme, scheme, 1)
    options = {
        "socket_timeout": deadline,
        "socket_connect_timeout": CONNECT_DEADLINE,
        "retry": Retry(NoBackoff(), 0),
    }
    match kind:
        case "":
            return Redis.from_url(plain, **options)
        case "cluster":
            return RedisCluster.from_url(plain, **options)
        case "sentinel":
            return _from_sentinels(url, options)
        case _:
            raise ValueError(f"there is no Redis of the kind {kind!r}")


def _from_sentinels(url: str, options: dict[str, object]) -> Redis:
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    hosts = parts.netloc.rpartition("@")[2].split(",")
    nodes = [(host, int(port or 26379)) for host, _, port in (node.partition(":") for node in hosts)]
    sentinel = Sentinel(nodes, sentinel_kwargs=options, username=parts.username, password=parts.password, **options)
    name = query.get("name", ["mymaster"])[0]
    return sentinel.master_for(name, db=int(parts.path.strip("/") or 0))
