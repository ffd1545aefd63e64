"""Your own data, as a ZIP of JSON files: everything that the platform keeps of you, here and in the other services.

What another service keeps is fetched while the ZIP is written. If one does not answer, there is no ZIP: one that is
silently not whole would be taken for the whole.
"""

import asyncio
import tempfile
import zipfile
from collections.abc import AsyncIterator, Sequence
from typing import IO, Final
from uuid import UUID

import asyncpg
import msgspec
from litestar import get
from litestar.response import Stream

from townsquare.kit.context import Context
from townsquare.kit.database import Database
from townsquare.kit.dependencies import Ctx, SignedIn
from townsquare.kit.problems import not_found, unavailable
from townsquare.kit.upstream import Upstream

IN_MEMORY: Final = 4 << 20
CHUNK: Final = 1 << 16
CONTENT_KINDS: Final = ("posts", "drafts", "comments", "reactions", "bookmarks")

# Each reads one person's rows by an index; a person has thousands, and followers without end. Who is hidden is nobody's to
# keep.
ABOUT: Final[dict[str, str]] = {
    "account": """
        SELECT p.id, p.handle, a.email, a.email_verified_at, a.totp_confirmed_at, a.created_at, a.delete_after
        FROM people AS p
        JOIN accounts AS a ON a.person_id = p.id
        WHERE p.id = $1
    """,
    "profile": """
        SELECT display_name, bio, avatar, banner, location, website, fields, followers, following, posts
        FROM people
        WHERE id = $1
    """,
}
LISTS: Final[dict[str, str]] = {
    "skills": "SELECT id, name, level, endorsements, created_at FROM skills WHERE person = $1 ORDER BY name_key",
    "endorsements": """
        SELECT e.skill, s.name, p.id AS person, p.handle, e.since
        FROM endorsements AS e
        JOIN skills AS s ON s.id = e.skill
        JOIN people AS p ON p.id = s.person
        WHERE e.endorser = $1 AND p.hidden_at IS NULL
    """,
    "follows": """
        SELECT p.id, p.handle, r.since
        FROM follows AS r
        JOIN people AS p ON p.id = r.followee
        WHERE r.follower = $1 AND p.hidden_at IS NULL
    """,
    "followers": """
        SELECT p.id, p.handle, r.since
        FROM follows AS r
        JOIN people AS p ON p.id = r.follower
        WHERE r.followee = $1 AND p.hidden_at IS NULL
    """,
    "blocks": """
        SELECT p.id, p.handle, r.since
        FROM blocks AS r
        JOIN people AS p ON p.id = r.blocked
        WHERE r.blocker = $1 AND p.hidden_at IS NULL
    """,
    "mutes": """
        SELECT p.id, p.handle, r.since
        FROM mutes AS r
        JOIN people AS p ON p.id = r.muted
        WHERE r.muter = $1 AND p.hidden_at IS NULL
    """,
    "sessions": "SELECT id, user_agent, created_at, used_at, expires_at FROM sessions WHERE person_id = $1",
    "tokens": "SELECT id, name, scopes, created_at, expires_at, used_at FROM personal_tokens WHERE person_id = $1",
}


@get("/account/export", media_type="application/zip")
async def export_account(context: Ctx, account: SignedIn) -> Stream:
    """Take your data with you, as a ZIP."""
    file = await build_export(context, account.id)
    name = f"townsquare-{account.handle}.zip"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return Stream(_chunks(file), media_type="application/zip", headers=headers)


async def build_export(context: Context, person: UUID) -> IO[bytes]:
    """Write the ZIP to a temporary file that vanishes when it is closed.

    Raises the 503 when a service is away, and the 404 for somebody who is not there.
    """
    file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115  (handed to the caller)
    try:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            await _add_account(archive, context.database, person)
            for kind in CONTENT_KINDS:
                await _add_content(archive, context.upstreams["content"], person, kind)
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return file


async def _add_account(archive: zipfile.ZipFile, database: Database, person: UUID) -> None:
    for name, sql in ABOUT.items():
        row = await database.fetchrow(sql, person)
        if row is None:
            raise not_found()
        _add(archive, name, _plain(row))
    for name, sql in LISTS.items():
        rows = await database.fetch(sql, person)
        # Some have very many followers.
        await asyncio.to_thread(_add_list, archive, name, rows)


def _add_list(archive: zipfile.ZipFile, name: str, rows: Sequence[asyncpg.Record]) -> None:
    _add(archive, name, [_plain(row) for row in rows])


def _add(archive: zipfile.ZipFile, name: str, content: object) -> None:
    archive.writestr(f"{name}.json", msgspec.json.format(msgspec.json.encode(content), indent=1))


def _plain(row: asyncpg.Record) -> dict[str, object]:
    """Leave out what is empty; a profile's fields are stored as JSON, and are no text."""
    known: dict[str, object] = {name: value for name, value in row.items() if value is not None}
    if "fields" in known:
        known["fields"] = msgspec.Raw(row["fields"].encode())
    return known


async def _add_content(archive: zipfile.ZipFile, content: Upstream, person: UUID, kind: str) -> None:
    with archive.open(f"content/{kind}.ndjson", "w") as target:
        async for page in _pages(content, person, kind):
            # Compressing a page takes a few milliseconds, which others need not wait for.
            await asyncio.to_thread(target.write, b"".join(bytes(item) + b"\n" for item in page))


async def _pages(content: Upstream, person: UUID, kind: str) -> AsyncIterator[list[msgspec.Raw]]:
    cursor = ""
    while True:
        reply = await content.call("GET", f"/export/{person}?kind={kind}{cursor}", timeout=30)
        if reply.status != 200:
            raise unavailable("A part of your data cannot be read right now; try again.", retry_after=5)
        page = msgspec.json.decode(reply.body, type=_Page)
        yield page.items
        if page.next_cursor is None:
            return
        cursor = f"&cursor={page.next_cursor}"


class _Page(msgspec.Struct):
    items: list[msgspec.Raw]
    next_cursor: str | None


async def _chunks(file: IO[bytes]) -> AsyncIterator[bytes]:
    with file:
        while chunk := file.read(CHUNK):
            yield chunk


ROUTES: Final = (export_account,)
