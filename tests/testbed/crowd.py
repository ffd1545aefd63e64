"""A crowd that writes through every fault, as good clients do: what got no answer is sent again, with its key.

It remembers what was acknowledged, so that afterwards everything can be compared with what the databases hold.
"""

import asyncio
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import aiohttp

from testbed.town import PASSWORD, Answer, Client

PAUSE = 0.05
PATIENCE = 120
"""For one call to be answered at last, on a machine that is busy with everything else."""


@dataclass
class Member:
    """Somebody of the crowd, as the crowd remembers them."""

    id: UUID
    handle: str
    token: str
    name: str
    follows: set[UUID] = field(default_factory=set)
    posts: dict[str, str] = field(default_factory=dict)
    """Acknowledged texts, by the post's id."""


@dataclass(frozen=True)
class Kept:
    """A call with a key, and its answer."""

    path: str
    token: str | None
    body: Any
    key: str
    answer: Answer


class Crowd:
    """A few writers at a time. `seed` decides what they do, not how it falls together."""

    def __init__(self, client: Client, seed: int, writers: int = 5) -> None:
        self._client = client
        self._chance = random.Random(seed)
        self._writers = writers
        self._stop = asyncio.Event()
        self.members: list[Member] = []
        self.kept: list[Kept] = []
        self.acknowledged = 0
        self.cut = 0
        """Calls whose connection broke before an answer came."""
        self.refused: list[Answer] = []
        self.stale: list[str] = []
        """Own writes that were not seen in a read that carried their token."""
        self.slowest_refusal = 0.0
        """In seconds; without registrations, which are slow for another reason: they hash a password."""

    async def run(self) -> None:
        """Write until `stop`, and end with every call answered."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._writers):
                group.create_task(self._write())

    def stop(self) -> None:
        """Begin nothing new."""
        self._stop.set()

    async def acknowledge(self, count: int) -> None:
        """Wait until so many more writes have been acknowledged."""
        goal = self.acknowledged + count
        async with asyncio.timeout(PATIENCE):
            while self.acknowledged < goal:
                await asyncio.sleep(0.01)

    async def _write(self) -> None:
        me = await self._register()
        while not self._stop.is_set():
            match self._chance.choices(["post", "follow", "rename", "register"], [46, 36, 15, 3])[0]:
                case "post":
                    await self._post(me)
                case "follow":
                    await self._follow(me)
                case "rename":
                    await self._rename(me)
                case _:
                    await self._register()

    async def _register(self) -> Member:
        handle = f"m{self._chance.getrandbits(60):x}"
        body = {"handle": handle, "email": f"{handle}@example.org", "password": PASSWORD, "display_name": handle}
        answer = await self._send("POST", "/api/users/register", body=body)
        user = answer.json["user"]
        member = Member(UUID(user["id"]), handle, answer.json["access_token"], handle)
        self.members.append(member)
        return member

    async def _post(self, me: Member) -> None:
        text = f"{me.handle} says {self._chance.getrandbits(60):x}"
        answer = await self._send("POST", "/api/content/posts", me, {"text": text, "visibility": "public"})
        me.posts[answer.json["id"]] = text
        await self._read_back(me, f"/api/content/posts/{answer.json['id']}", answer, "text", text)

    async def _follow(self, me: Member) -> None:
        other = self._chance.choice(self.members)
        if other is me:
            return
        method = "DELETE" if other.id in me.follows else "PUT"
        await self._send(method, f"/api/users/users/{other.id}/follow", me)
        me.follows ^= {other.id}

    async def _rename(self, me: Member) -> None:
        name = f"{me.handle} {self._chance.getrandbits(20)}"
        path = f"/api/users/profile/{me.id}"
        answer = await self._send("PATCH", path, me, {"display_name": name})
        me.name = name
        await self._read_back(me, path, answer, "display_name", name)

    async def _read_back(self, me: Member, path: str, written: Answer, field: str, value: str) -> None:
        """See the own write, as whoever wrote it and as nobody."""
        sent = {name: written.headers[name] for name in ("Consistency-Token",) if name in written.headers}
        for reader in (me, None):
            answer = await self._send("GET", path, reader, headers=sent)
            if answer.json[field] != value:
                self.stale.append(f"{path}: {answer.json[field]!r} instead of {value!r}, {dict(answer.headers)}")

    async def _send(
        self, method: str, path: str, me: Member | None = None, body: Any = ..., headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send a call, again and again with the same key, until it is answered."""
        key = str(uuid4())
        sent = {"Idempotency-Key": key, **(headers or {})}
        token = None if me is None else me.token
        async with asyncio.timeout(PATIENCE):
            while (answer := await self._try(method, path, token, body, sent)) is None:
                await asyncio.sleep(PAUSE)
        self.acknowledged += 1
        if method == "POST":
            self.kept.append(Kept(path, token, body, key, answer))
        return answer

    async def _try(self, method: str, path: str, token: str | None, body: Any, headers: Mapping[str, str]) -> Answer | None:
        started = time.monotonic()
        try:
            answer = await self._client.request(method, path, as_=token, json=body, headers=headers)
        except (aiohttp.ClientError, OSError):
            self.cut += 1
            return None
        if answer.status < 300:
            return answer
        if not path.endswith("/register"):
            self.slowest_refusal = max(self.slowest_refusal, time.monotonic() - started)
        if answer.status != 409 or answer.code != "in_flight":  # the first attempt may still be running
            self.refused.append(answer)
        return None
