"""What uploads that went wrong leave behind: no draft, no half of anything, and no bytes that the sweep does not take."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from uuid import UUID

from testbed.platforms import until
from testbed.postgres import start_test_postgres
from testbed.stored import AGE, refs, there
from testbed.town import Answer, Client, Person, Town, running_town
from testbed.uploads import form, photo, send_file
from townsquare.kit.database import Database
from townsquare.services.media.resources import Resources
from townsquare.services.media.sweep import sweep
from townsquare.services.media.verification import verify
from townsquare.topology import SERVICES

_numbers = count()


@dataclass
class Studio:
    """A town whose files can be looked at from behind, and somebody who uploads."""

    town: Town
    ada: Person

    @property
    def media(self) -> Client:
        return self.town.media

    @property
    def db(self) -> Database:
        return self.town.database("media")

    @property
    def held(self) -> Resources:
        """The storage, the workers, the drafts."""
        held = self.town.host.services["media"].context.resources
        assert isinstance(held, Resources)
        return held

    @property
    def drafts(self) -> list[Path]:
        return list(self.held.drafts.iterdir())

    @property
    def folder(self) -> Path:
        """Where the files are kept, when they are in a folder."""
        return self.town.settings.data / "media"

    async def send(self, data: bytes | None = None, name: str = "photo.jpg", **fields: str) -> Answer:
        """Upload a file; a photo that nobody has sent before, unless told which."""
        return await send_file(self.media, self.ada, another_photo() if data is None else data, name, **fields)

    async def names(self) -> list[str]:
        """What stands in Ada's list of files."""
        return [item["name"] for item in await self.media.all_items(f"/users/{self.ada.id}/files", as_=self.ada)]

    async def facts(self, file_id: str | UUID) -> Answer:
        return await self.media.get(f"/files/{file_id}", as_=self.ada)

    async def becomes_ready(self, file_id: str) -> bool:
        """Whether all is made of a picture, as its owner sees it."""
        facts = (await self.facts(file_id)).json
        return facts["status"] == "ready" and set(facts["sizes"]) == {"thumbnail", "small", "medium", "large"}

    async def works(self) -> None:
        """See an upload through."""
        answer = await self.send()
        assert answer.status == 201, answer.body
        assert answer.json["status"] == "ready"

    async def nothing_is_left(self) -> None:
        """Sweep as it is done an hour later; then rows, counts and bytes agree, and there is no draft."""
        await until(self._no_draft)
        await self.db.execute(AGE)
        await sweep(self.db, self.held.storage, self.held.drafts)
        found = await verify(self.db, self.held.storage, deep=True)
        assert found.well, found
        counts = await refs(self.db)
        assert all(counts.values()), counts
        assert await there(self.held.storage) == set(counts)

    async def _no_draft(self) -> bool:
        return not await asyncio.to_thread(lambda: self.drafts)


def another_photo(name: str = "coffee.jpg") -> bytes:
    """Return a photo of bytes that were never sent before: what was is not worked on again."""
    return photo(name) + next(_numbers).to_bytes(4)


def start_of_form(data: bytes, name: str = "photo.jpg") -> tuple[bytes, str]:
    """Return the first half of a form with a file."""
    body, boundary = form(data, name)
    return body[: len(body) // 2], boundary


@asynccontextmanager
async def studio(folder: Path, **changes: object) -> AsyncIterator[Studio]:
    """Run a town on a PostgreSQL of its own: every row and every byte in it is of the test."""
    folder.mkdir(exist_ok=True)
    server = await start_test_postgres(folder / "pg")
    try:
        await server.ensure_databases([service.database for service in SERVICES.values()])
        async with running_town(folder / "data", server.url("postgres"), **changes) as town:
            ada = await town.register("ada")
            await town.settle()
            yield Studio(town, ada)
    finally:
        await server.stop()
