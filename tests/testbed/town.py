"""A small believable world for tests: the real platform on a real PostgreSQL, spoken to over HTTP."""

import asyncio
import itertools
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import msgspec
from argon2 import PasswordHasher

from townsquare import hosting
from townsquare.kit.database import Database
from townsquare.kit.readers import wait_until_seen
from townsquare.services.users import passwords
from townsquare.settings import Settings

REAL_HASHER = passwords._HASHER
PASSWORD = "correct horse battery staple"
LATELY = 0.5
"""Seconds: a cache that was told so lately is trusted for some time to come."""


@dataclass(frozen=True)
class Person:
    """Somebody who has registered."""

    id: UUID
    handle: str
    email: str
    token: str


@dataclass(frozen=True)
class Answer:
    """An answer, read whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    cookies: Mapping[str, str]

    @property
    def json(self) -> Any:
        """The decoded body."""
        return msgspec.json.decode(self.body)

    @property
    def code(self) -> str:
        """The problem's code."""
        return self.json["code"]

    @property
    def items(self) -> list[Any]:
        """A list's items."""
        return self.json["items"]


class Client:
    """Speaks to one service, as somebody or as nobody."""

    def __init__(self, session: aiohttp.ClientSession, base: str) -> None:
        self._session = session
        self.base = base

    async def request(
        self,
        method: str,
        path: str,
        *,
        as_: Person | str | None = None,
        json: object = ...,
        data: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str | int] | None = None,
    ) -> Answer:
        """Send one request. `as_` is a person or a bare token; `json` is encoded unless `data` is given."""
        sent = dict(headers or {})
        if as_ is not None:
            sent["Authorization"] = f"Bearer {as_ if isinstance(as_, str) else as_.token}"
        if json is not ...:
            data = msgspec.json.encode(json)
        if data is not None:
            sent.setdefault("Content-Type", "application/json")
        async with self._session.request(
            method, self.base + path, data=data, headers=sent, params=params, allow_redirects=False
        ) as answer:
            cookies = {name: morsel.value for name, morsel in answer.cookies.items()}
            return Answer(answer.status, answer.headers, await answer.read(), cookies)

    async def get(self, path: str, **options: Any) -> Answer:
        return await self.request("GET", path, **options)

    async def post(self, path: str, **options: Any) -> Answer:
        return await self.request("POST", path, **options)

    async def put(self, path: str, **options: Any) -> Answer:
        return await self.request("PUT", path, **options)

    async def patch(self, path: str, **options: Any) -> Answer:
        return await self.request("PATCH", path, **options)

    async def delete(self, path: str, **options: Any) -> Answer:
        return await self.request("DELETE", path, **options)

    async def all_items(self, path: str, limit: int = 100, **options: Any) -> list[Any]:
        """Walk all pages of a list."""
        items: list[Any] = []
        cursor: str | None = None
        while True:
            params = {"limit": limit} | ({"cursor": cursor} if cursor else {})
            answer = await self.get(path, params=params, **options)
            assert answer.status == 200, answer.body
            items += answer.items
            cursor = answer.json["next_cursor"]
            if cursor is None:
                return items


class Town:
    """The running platform."""

    def __init__(self, host: hosting.Host, session: aiohttp.ClientSession, base: str, settings: Settings) -> None:
        self.host = host
        self.settings = settings
        self.base = base
        self.session = session
        self.gateway = Client(session, base)
        self.users = Client(session, f"{base}/api/users")
        self.content = Client(session, f"{base}/api/content")
        self.media = Client(session, f"{base}/api/media")
        self._numbers = itertools.count()
        self._run = secrets.token_hex(2)

    def handle(self, name: str = "person") -> str:
        """Return a handle that nobody else in this test run has."""
        return f"{name}_{self._run}{next(self._numbers)}"[:30]

    async def register(self, name: str = "person", **fields: object) -> Person:
        """Register somebody; the handle is made unique."""
        handle = self.handle(name)
        body = {
            "handle": handle,
            "email": f"{handle}@example.org",
            "password": PASSWORD,
            "display_name": name.replace("_", " ").title(),
            **fields,
        }
        answer = await self.users.post("/register", json=body)
        assert answer.status == 201, answer.body
        user = answer.json["user"]
        return Person(UUID(user["id"]), user["handle"], str(body["email"]), answer.json["access_token"])

    async def befriend(self, follower: Person, *followed: Person) -> None:
        """Have one person follow others, and wait until every service knows."""
        for person in followed:
            answer = await self.users.put(f"/users/{person.id}/follow", as_=follower)
            assert answer.status == 204, answer.body
        await self.settle()

    async def settle(self) -> None:
        """Wait until every reader has applied every event told so far, and every cache knows of it."""
        for service in self.host.services.values():
            for reader in service.definition.readers:
                source = self.database(reader.source)
                xid = await source.fetchval("SELECT max(xid)::text FROM outbox")
                if xid is not None:
                    await self._seen(service.context.database, reader.source, int(str(xid)))
        for name in self.host.services:
            await self.noticed(name)

    async def noticed(self, service: str) -> None:
        """Wait until the service's cache knows of every commit so far, as it does by itself after a moment."""
        context = self.host.services[service].context
        cache = context.cache
        if cache is None:
            return
        xid = int(await context.database.fetchval("SELECT coalesce(max(xid), '0')::text FROM outbox"))
        async with asyncio.timeout(10):
            while not cache.snapshot.sees(xid) or cache.now + LATELY > cache.trusted_until:
                context.outbox.committed()
                await asyncio.sleep(0.005)

    def database(self, service: str) -> Database:
        """Return a service's pool."""
        return self.host.services[service].context.database

    def forget(self, service: str) -> None:
        """Empty the service's cache: a test has changed rows behind its back."""
        cache = self.host.services[service].context.cache
        if cache is not None:
            cache.clear()

    async def _seen(self, database: Database, source: str, xid: int) -> None:
        async with asyncio.timeout(10):
            while True:
                try:
                    return await wait_until_seen(database, source, xid)
                except TimeoutError:
                    continue


@asynccontextmanager
async def running_town(data: Path, server: str, **changes: Any) -> AsyncIterator[Town]:
    """Migrate and run the platform in this process, on a free port."""
    settings = msgspec.structs.replace(
        Settings(), **({"data": data, "database_url": server, "rate_limits": False} | changes)
    )
    await hosting.prepare(settings, server)
    host = hosting.Host(hosting.ALL, settings, server)
    stop = asyncio.Event()
    with cheap_passwords(), hosting.listen("127.0.0.1", 0) as listener:
        base = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with host.running() as app, _client_session() as session:
            serving = asyncio.create_task(hosting.serve(app, listener, stop, host.front))
            try:
                yield Town(host, session, base, settings)
            finally:
                stop.set()
                await serving


@contextmanager
def cheap_passwords() -> Iterator[None]:
    """Hash with real argon2 in its least parameters: a town of thousands would else spend minutes on registering."""
    passwords._HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    try:
        yield
    finally:
        passwords._HASHER = REAL_HASHER


def _client_session() -> aiohttp.ClientSession:
    """Let go of a connection before the server does, after 5 s: a request that crosses that is lost, as in any HTTP/1.1."""
    return aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), connector=aiohttp.TCPConnector(keepalive_timeout=2))
