"""Speaks to Redis (6.2 or later) or Valkey through redis-py: many keys in one round trip, and never a second attempt.

redis-py's own retries are off: whoever asks has something better to do than to wait. What a reply costs is redis-py's
overhead, about 40 µs. Its timer around each reply would double that; so a single server has none, and the caller's own
deadline bounds the whole. A call that is cancelled closes its connection: no answer is ever taken for another's.
"""

from collections.abc import Awaitable, Sequence
from typing import Any, Final, Protocol, TypedDict, cast

from redis.asyncio import Redis, RedisCluster, Sentinel
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from townsquare.cache.parcels import Parcel
from townsquare.cache.redis_address import RedisAddress

CONNECT_SECONDS: Final = 0.5
ASK_SECONDS: Final = 0.25
"""For one reply where several servers are asked in turn: else a silent one would hide those behind it."""
MAX_CONNECTIONS: Final = 32


class _Pipeline(Protocol):
    def get(self, name: bytes) -> object: ...
    def pttl(self, name: bytes) -> object: ...
    def set(self, name: bytes, value: bytes, *, px: int) -> object: ...
    async def execute(self, *, raise_on_error: bool) -> list[object]: ...


class _Client(Protocol):
    """What is used of redis-py's clients, whose own types speak of waiting and not waiting at once."""

    def pipeline(self, *, transaction: bool) -> _Pipeline: ...
    def aclose(self) -> Awaitable[None]: ...


class _Common(TypedDict):
    username: str | None
    password: str | None
    socket_connect_timeout: float
    protocol: int
    driver_info: None
    retry: Retry


class RedisServers:
    """One server, the one that sentinels name, or a cluster. Connects when it is first used."""

    def __init__(self, address: RedisAddress) -> None:
        self._address = address
        self._sentinel = _sentinel(address) if address.kind == "sentinel" else None
        self._client = _client(address, self._sentinel, address.hosts)

    async def read(self, keys: Sequence[bytes]) -> list[tuple[object, object]]:
        """Return for each key what stands there and how many milliseconds it will; an exception in place of what failed."""
        pipeline = self._client.pipeline(transaction=False)
        for key in keys:
            pipeline.get(key)
            pipeline.pttl(key)  # the server alone counts the time: no clock is compared with another
        replies = await pipeline.execute(raise_on_error=False)
        return list(zip(replies[::2], replies[1::2], strict=True))

    async def write(self, parcels: Sequence[tuple[bytes, Parcel]]) -> list[object]:
        """Keep each parcel under its key; returns what each write brought, an exception where it failed."""
        pipeline = self._client.pipeline(transaction=False)
        for key, parcel in parcels:
            pipeline.set(key, parcel.data, px=parcel.milliseconds)
        return await pipeline.execute(raise_on_error=False)

    async def renew(self) -> None:
        """Leave all connections: the next use finds out anew who serves what.

        A cluster is asked about at the nodes that were known last, and at those of the address: either may be gone.
        """
        former, hosts = self._client, set(self._address.hosts)
        if isinstance(former, RedisCluster):
            hosts |= {(node.host, int(node.port)) for node in former.get_nodes()}
        self._client = _client(self._address, self._sentinel, sorted(hosts))
        await former.aclose()

    async def close(self) -> None:
        """Close everything."""
        await self._client.aclose()
        if self._sentinel is not None:
            await self._sentinel.aclose()


def _client(address: RedisAddress, sentinel: Sentinel | None, hosts: Sequence[tuple[str, int]]) -> _Client:
    common, tls = _common(address), _tls(address)
    client: object
    if sentinel is not None:
        name = address.options.get("name", "mymaster")
        untyped = cast("Any", sentinel)  # what `master_for` takes, it does not say
        client = untyped.master_for(name, db=address.db, max_connections=MAX_CONNECTIONS, **common, **tls)
    elif address.kind == "cluster":
        nodes = [ClusterNode(host, port) for host, port in hosts]
        client = RedisCluster(
            startup_nodes=nodes, socket_timeout=ASK_SECONDS, max_connections=MAX_CONNECTIONS, **common, **tls
        )
    else:
        ((host, port),) = hosts
        client = Redis(
            host=host, port=port, db=address.db, socket_timeout=None, max_connections=MAX_CONNECTIONS, **common, **tls
        )
    return cast("_Client", client)  # see there


def _sentinel(address: RedisAddress) -> Sentinel:
    mine: dict[str, object] = {
        **_common(address),
        **_tls(address),
        "username": address.options.get("sentinel_username"),
        "password": address.options.get("sentinel_password"),
        "socket_timeout": ASK_SECONDS,
    }
    return Sentinel(address.hosts, sentinel_kwargs=mine)


def _common(address: RedisAddress) -> _Common:
    return {
        "username": address.username,
        "password": address.password,
        "socket_connect_timeout": CONNECT_SECONDS,
        "protocol": 2,  # what the other one adds is not used, and costs a round trip at each connection
        "driver_info": None,  # likewise
        "retry": Retry(NoBackoff(), 0),
    }


def _tls(address: RedisAddress) -> dict[str, Any]:
    return {"ssl": True, **address.tls_options} if address.tls else {}
