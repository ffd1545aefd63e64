"""A tiny real service for tests of the kit: notes, with a table, an event for each change, and a reader that copies them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import msgspec
from litestar import Response, get, post
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec import Struct

from testbed.town import Client
from townsquare import hosting
from townsquare.kit import keys
from townsquare.kit.app import Definition, ServiceApp, create_app
from townsquare.kit.asgi import AnyRequest
from townsquare.kit.database import Connection, dsn_for
from townsquare.kit.dependencies import Db, SignedIn, Transaction
from townsquare.kit.edge import Edge
from townsquare.kit.identity import Signer, Verifier
from townsquare.kit.ids import new_id
from townsquare.kit.metrics import Metrics
from townsquare.kit.migrations import migrate
from townsquare.kit.outbox import Event
from townsquare.kit.pages import DEFAULT_LIMIT, CursorText, Limit, Page, after_id, answer_page, page_of
from townsquare.kit.personal_tokens import exchange_through
from townsquare.kit.problems import Problem, not_found
from townsquare.kit.readers import Reader
from townsquare.kit.upstream import LocalUpstream, Upstream
from townsquare.settings import Settings

SCHEMA = """
CREATE TABLE notes (id uuid PRIMARY KEY, text text NOT NULL);
CREATE TABLE copies (id uuid PRIMARY KEY, text text NOT NULL, times integer NOT NULL DEFAULT 1);
"""


class NewNote(Struct, frozen=True, forbid_unknown_fields=True):
    text: str


class Note(Struct, frozen=True):
    id: UUID
    text: str


@get("/notes")
async def list_notes(
    request: AnyRequest, db: Db, limit: Limit = DEFAULT_LIMIT, cursor: CursorText = None
) -> Response[Page[Note]]:
    """List notes, newest first."""
    rows = await db.fetch(
        "SELECT id, text FROM notes WHERE ($1::uuid IS NULL OR id < $1) ORDER BY id DESC LIMIT $2",
        after_id(cursor),
        limit + 1,
    )
    return answer_page(request, page_of(rows, limit, lambda row: Note(row["id"], row["text"]), lambda row: (row["id"],)))


@get("/notes/{note_id:str}")
async def read_note(note_id: FromPath[str], db: Db) -> Note:
    """Read a note."""
    row = await db.fetchrow("SELECT id, text FROM notes WHERE id::text = $1", note_id)
    if row is None:
        raise not_found()
    return Note(row["id"], row["text"])


@post("/notes", status_code=201)
async def add_note(data: JSONBody[NewNote], write: Transaction) -> Response[Note]:
    """Write a note; the text `refuse` is refused after it was written, `crash` raises what nobody foresaw."""
    note = Note(new_id(), data.text)
    await write.execute("INSERT INTO notes VALUES ($1, $2)", note.id, note.text)
    write.emit("note", note.id, {"id": str(note.id), "text": note.text}, ["notes"])
    if data.text == "refuse":
        raise Problem("conflict")
    if data.text == "crash":
        raise ZeroDivisionError("a secret that must not leave")
    if data.text == "slow":
        await write.execute("SELECT pg_sleep(0.3)")
    return Response(note, status_code=201, headers={"Location": f"/notes/{note.id}"})


@get("/me")
async def show_me(person: SignedIn) -> dict[str, str]:
    """Say who asks."""
    return {"id": str(person.id), "handle": person.handle}


@get("/sleep")
async def sleep(db: Db, seconds: FromQuery[float] = 0.0) -> dict[str, str]:
    """Have the database sleep."""
    await db.fetchval("SELECT pg_sleep($1)", seconds)
    return {}


async def copy_note(connection: Connection, event: Event) -> None:
    """Count how often each event takes effect."""
    note = msgspec.json.decode(event.payload, type=Note)
    await connection.execute(
        "INSERT INTO copies VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET times = copies.times + 1", note.id, note.text
    )


def definition(folder: Path, name: str = "messages") -> Definition:
    """Return the service; its migration is written to `folder`."""
    schema = folder / name / "schema"
    schema.mkdir(parents=True, exist_ok=True)
    (schema / "0001_notes.sql").write_text(SCHEMA, "utf-8")
    return Definition(
        name=name,
        schema=schema,
        routes=(list_notes, read_note, add_note, show_me, sleep),
        readers=(Reader(name, {"note": copy_note}),),
    )


@dataclass
class Notes:
    """The running service: a client, its app, and a maker of tokens."""

    client: Client
    app: ServiceApp
    signer: Signer
    settings: Settings


@asynccontextmanager
async def running_notes(data: Path, server: str, *, name: str = "messages", **changes: Any) -> AsyncIterator[Notes]:
    """Run the service on a free port; two of one name share the database, and so each other's jobs."""
    settings = msgspec.structs.replace(Settings(), **({"data": data, "rate_limits": False} | changes))
    keys.ensure_keys(data)
    notes = definition(data, name)
    await migrate(dsn_for(server, name), notes.schemas)
    upstreams: dict[str, Upstream] = {}
    metrics = Metrics()
    app = create_app(notes, settings, server=server, upstreams=upstreams, metrics=metrics)
    secret = keys.internal_secret(settings)
    verifier = Verifier(keys.public_keys(data), exchange_through(upstreams))
    edge = Edge(app, settings, verifier, secret, metrics.add_service("edge"))
    upstreams[name] = LocalUpstream(edge, secret)
    stop = asyncio.Event()
    with hosting.listen("127.0.0.1", 0) as listener:
        async with app.running(), aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
            serving = asyncio.create_task(hosting.serve(edge, listener, stop))
            client = Client(session, f"http://127.0.0.1:{listener.getsockname()[1]}")
            try:
                yield Notes(client, app, Signer(keys.signing_key(data)), settings)
            finally:
                stop.set()
                await serving
