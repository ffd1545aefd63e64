"""A database that was loaded from another cluster's dump goes on as it was, and what is written now is heard of."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from townsquare import kit
from townsquare.kit.database import Connection, Database
from townsquare.kit.migrations import migrate
from townsquare.kit.outbox import Event, NewEvent, Outbox, insert_events, read_events
from townsquare.kit.postgres import EmbeddedPostgres
from townsquare.kit.readers import Reader, ReaderRunner, _position
from townsquare.kit.restored import settle_in
from townsquare.kit.upstream import Reply

FAR = 10**12
"""A transaction id that a cluster of these tests never reaches."""


class OwnOutbox:
    """An upstream that hands out the events of the reader's own database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def call(
        self, method: str, target: str, *, body: bytes = b"", token: str | None = None, timeout: float | None = None
    ) -> Reply:
        row = await self._database.fetchrow("SELECT xid::text AS xid, id FROM event_checkpoints")
        assert row is not None
        return Reply(200, [], msgspec.json.encode(await read_events(self._database, _position(row), 500)))


@pytest.fixture
async def loaded(postgres: EmbeddedPostgres) -> AsyncIterator[Database]:
    """A database as a dump leaves it: three events from elsewhere, of which a reader had read two, and some of here."""
    await postgres.ensure_databases(["restored"])
    await migrate(postgres.url("restored"), [Path(kit.__path__[0]) / "schema"])
    database = Database(postgres.url("restored"), size=3)
    await database.open()
    await database.execute("TRUNCATE outbox, event_checkpoints")
    for number in range(3):
        xid = str(FAR + number)
        await database.execute("INSERT INTO outbox (xid, topic, key, tags) VALUES ($1::text::xid8, 'note', $1, '{}')", xid)
    await database.execute("INSERT INTO event_checkpoints (source, xid, id) VALUES ('restored', $1::text::xid8, 0)", xid)
    yield database
    await database.close()


async def heard(database: Database) -> list[str]:
    """Read on, and return the keys of what took effect."""
    keys: list[str] = []

    async def note(_: Connection, event: Event) -> None:
        keys.append(event.key)

    reader = Reader("restored", {"note": note})
    await ReaderRunner(reader, database, Outbox(database), OwnOutbox(database), "test").step(wait=0)
    return keys


async def test_what_is_written_after_a_restore_is_heard_of_and_nothing_before_it_is_lost(loaded: Database) -> None:
    async with loaded.transaction() as connection:
        await insert_events(connection, [NewEvent("note", "new", (), {})])
    assert await heard(loaded) == [], "this is what would go on for years"
    await settle_in(loaded.dsn)
    assert await heard(loaded) == ["new", *(str(FAR + number) for number in range(3))]
    assert await heard(loaded) == []


async def test_where_nothing_was_restored_nothing_is_touched(loaded: Database) -> None:
    await settle_in(loaded.dsn)
    await heard(loaded)
    before = await loaded.fetch("SELECT xid::text, id FROM outbox UNION ALL SELECT xid::text, id FROM event_checkpoints")
    await settle_in(loaded.dsn)
    after = await loaded.fetch("SELECT xid::text, id FROM outbox UNION ALL SELECT xid::text, id FROM event_checkpoints")
    assert before == after
