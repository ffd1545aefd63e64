"""In which order events are handed out."""

from pathlib import Path

from townsquare import kit
from townsquare.kit.database import Database
from townsquare.kit.migrations import migrate
from townsquare.kit.outbox import Position, read_events
from townsquare.kit.postgres import EmbeddedPostgres


async def test_events_come_in_the_order_of_their_transactions_also_where_a_number_gains_a_digit(
    postgres: EmbeddedPostgres,
) -> None:
    await postgres.ensure_databases(["outbox_order"])
    await migrate(postgres.url("outbox_order"), [Path(kit.__path__[0]) / "schema"])
    database = Database(postgres.url("outbox_order"), size=1)
    await database.open()
    try:
        for xid in ("10", "9", "99", "100"):
            await database.execute(
                "INSERT INTO outbox (xid, topic, key, tags) VALUES ($1::text::xid8, 'note', $1::text, '{}')", xid
            )
        seen: list[str] = []
        after = Position(0, 0)
        while (batch := await read_events(database, after, 1)).items:
            (event,) = batch.items
            seen.append(event.key)
            xid, _, number = event.position.partition("-")
            after = Position(int(xid), int(number))
        assert seen == ["9", "10", "99", "100"]
    finally:
        await database.close()
