"""Whatever people do, in whatever order: what is kept for each of them is what the database says to each of them."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Final

import pytest

from testbed.accounts import jobs_done, signed_in
from testbed.cached import client_of, past_the_cache
from testbed.town import PASSWORD, Answer, Person, Town

STEPS: Final = 30
PEOPLE: Final = 4


@dataclass
class Crowd:
    """Some people who do what chance says, what they have made, and what they did."""

    town: Town
    chance: random.Random
    people: list[Person]
    posts: list[str] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    skills: list[tuple[str, str]] = field(default_factory=list)
    history: list[str] = field(default_factory=list)

    async def step(self) -> None:
        """Do something; what is refused changes nothing."""
        deeds: list[Callable[[Person], Awaitable[None]]] = [
            *(self.relate, self.relate, self.write, self.write, self.change, self.delete, self.comment, self.comment),
            *(self.uncomment, self.react, self.rename, self.learn, self.endorse, self.leave_or_return),
        ]
        await self.chance.choice(deeds)(self.chance.choice(self.people))

    async def do(self, service: str, who: Person, method: str, path: str, body: object = ...) -> Answer:
        answer = await client_of(self.town, service).request(method, path, as_=who, json=body)
        self.history.append(f"{who.handle} {method} {path} {'' if body is ... else body} -> {answer.status}")
        assert answer.status < 500, self.history
        return answer

    async def relate(self, who: Person) -> None:
        relation, method = self.chance.choice(["follow", "follow", "block", "mute"]), self.chance.choice(["PUT", "DELETE"])
        await self.do("users", who, method, f"/users/{self.chance.choice(self.people).id}/{relation}")

    async def write(self, who: Person) -> None:
        text = f"Hello @{self.chance.choice(self.people).handle} #{self.tag}"
        visibility = self.chance.choice(["public", "public", "followers", "private"])
        answer = await self.do("content", who, "POST", "/posts", {"text": text, "visibility": visibility})
        if answer.status == 201:
            self.posts.append(answer.json["id"])

    async def change(self, who: Person) -> None:
        if self.posts:
            body = {"visibility": self.chance.choice(["public", "followers", "private"])}
            await self.do("content", who, "PATCH", f"/posts/{self.chance.choice(self.posts)}", body)

    async def delete(self, who: Person) -> None:
        if self.posts:
            await self.do("content", who, "DELETE", f"/posts/{self.chance.choice(self.posts)}")

    async def comment(self, who: Person) -> None:
        if self.posts:
            path = f"/posts/{self.chance.choice(self.posts)}/comments"
            answer = await self.do("content", who, "POST", path, {"text": "Well said"})
            if answer.status == 201:
                self.comments.append(answer.json["id"])

    async def uncomment(self, who: Person) -> None:
        if self.comments:
            await self.do("content", who, "DELETE", f"/comments/{self.chance.choice(self.comments)}")

    async def react(self, who: Person) -> None:
        if self.posts:
            method = self.chance.choice(["PUT", "DELETE"])
            await self.do("content", who, method, f"/posts/{self.chance.choice(self.posts)}/reactions/wow")

    async def rename(self, who: Person) -> None:
        await self.do("users", who, "PATCH", f"/profile/{who.id}", {"display_name": f"Number {self.chance.random()}"})

    async def learn(self, who: Person) -> None:
        body = {"name": self.town.handle("skill"), "level": "expert"}
        answer = await self.do("users", who, "POST", f"/users/{who.id}/skills", body)
        if answer.status == 201:
            self.skills.append((str(who.id), answer.json["id"]))

    async def endorse(self, who: Person) -> None:
        if self.skills:
            owner, skill = self.chance.choice(self.skills)
            if owner == str(who.id):
                await self.do("users", who, "DELETE", f"/users/{owner}/skills/{skill}")
            else:
                await self.do("users", who, self.chance.choice(["PUT", "DELETE"]), f"/skills/{skill}/endorsement")

    async def leave_or_return(self, who: Person) -> None:
        if (await self.do("users", who, "POST", "/account/restore")).status != 200:
            await self.do("users", who, "DELETE", "/account", {"password": PASSWORD})
        back = replace(who, token=await signed_in(self.town, who.handle))
        self.people[self.people.index(who)] = back

    @property
    def tag(self) -> str:
        return f"tag_{self.people[0].handle}"

    def targets(self) -> list[tuple[str, str]]:
        """Return what can be read: of two of the people, and of the last posts."""
        paths = [("users", "/skills"), ("users", f"/search?q={self.people[0].handle}"), ("content", "/trending")]
        paths += [("content", f"/public/posts?tag={self.tag}"), ("content", f"/search?q={self.people[0].handle}")]
        for person in self.people[:2]:
            paths += [("users", f"/profile/{person.id}"), ("users", f"/users/{person.id}/skills")]
            paths += [("users", f"/users/{person.id}/{side}?limit=2") for side in ("followers", "following")]
            paths += [("content", f"/users/{person.id}/posts?limit=3"), ("content", f"/feed/{person.id}?limit=3")]
        for post in self.posts[-3:]:
            paths += [("content", f"/posts/{post}"), ("content", f"/posts/{post}/comments?limit=2")]
        return paths

    async def differences(self) -> list[str]:
        """Return where what is answered is not what the database says."""
        asked = [(service, target, who) for service, target in self.targets() for who in (None, *self.people)]
        found = await asyncio.gather(*(self._difference(*each) for each in asked))
        return [difference for difference in found if difference]

    async def _difference(self, service: str, target: str, who: Person | None) -> str:
        kept = await client_of(self.town, service).get(target, as_=who)
        true = await past_the_cache(self.town, service, target, who)
        if kept.status == true.status and (kept.status != 200 or kept.body == true.body):
            return ""
        return f"{who and who.handle} {service} {target}: {kept.headers.get('Cache-Status')} {kept.body!r} {true.body!r}"


@pytest.mark.parametrize("seed", [1, 2])
async def test_what_is_kept_is_what_the_database_says_to_each(town: Town, seed: int) -> None:
    await jobs_done(town)
    crowd = Crowd(town, random.Random(seed), [await town.register(f"crowd{number}") for number in range(PEOPLE)])
    await town.settle()
    for _ in range(STEPS):
        await crowd.step()
        await town.settle()
        assert await crowd.differences() == [], crowd.history
