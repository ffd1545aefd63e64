"""What content keeps of files: told by the media service, or asked for where an event is late; shown in posts.

A post carries the description of its files in its own row, so that a feed costs nothing more. A file that changes is
described anew wherever it stands, and one that is deleted leaves the posts without it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import msgspec
from msgspec import Struct

from townsquare.kit.context import Context
from townsquare.kit.database import Connection
from townsquare.kit.identity import Viewer
from townsquare.kit.outbox import Event, NewEvent, insert_events
from townsquare.kit.problems import Problem, invalid
from townsquare.kit.readers import Reader
from townsquare.kit.writes import Write
from townsquare.services.content import publishing
from townsquare.services.content.post_view import (
    POST_COLUMNS,
    MediaKind,
    MediaReference,
    Post,
    Visibility,
    column_of,
    post_of,
)


class FileTold(Struct, frozen=True):
    """The state of a file; of a deleted one, nothing but that and whose it was is told."""

    id: UUID
    owner: UUID
    kind: MediaKind | None = None
    visibility: str | None = None
    width: int | None = None
    height: int | None = None
    thumbhash: str | None = None
    alt: str | None = None
    deleted: bool = False


# By primary key.
KNOWN_FILES: Final = "SELECT id FROM media_files WHERE id = ANY($1)"

# By primary key, one look for each; in the order of the ids, as whoever holds them takes them. What is not newer than what
# is known changes nothing.
TELL_FILES: Final = """
INSERT INTO media_files (id, owner_id, kind, visibility, width, height, thumbhash, alt, active, version)
SELECT r.id, r.owner, r.kind, r.visibility, r.width, r.height, r.thumbhash, r.alt, NOT r.deleted, r.version
FROM jsonb_to_recordset($1::jsonb) AS r (
    id uuid, owner uuid, kind text, visibility text, width integer, height integer, thumbhash text, alt text,
    deleted boolean, version bigint
)
ORDER BY r.id
ON CONFLICT (id) DO UPDATE
SET kind = excluded.kind, visibility = excluded.visibility, width = excluded.width, height = excluded.height,
    thumbhash = excluded.thumbhash, alt = excluded.alt, active = excluded.active, version = excluded.version
WHERE media_files.version < excluded.version
RETURNING id
"""

# By primary key. Held until the post is there: a file that is deleted meanwhile then finds the post.
HOLD_FILES: Final = """
SELECT id, owner_id AS owner, kind, visibility, width, height, thumbhash, alt
FROM media_files
WHERE id = ANY($1) AND owner_id = $2 AND active
ORDER BY id
FOR SHARE
"""

# By the primary key of post_media, and by that of posts for each; the lower post first.
LOCK_POSTS_SHOWING: Final = f"""
SELECT {POST_COLUMNS}
FROM posts AS p
JOIN people AS a ON a.id = p.author_id
WHERE p.id = ANY(ARRAY(SELECT m.post_id FROM post_media AS m WHERE m.media_id = ANY($1)))
ORDER BY p.id
FOR NO KEY UPDATE OF p
"""

# By primary key.
DESCRIBE: Final = "UPDATE posts SET media = $2::jsonb WHERE id = $1"

# By the primary key's first column.
FORGET_SHOWING: Final = "DELETE FROM post_media WHERE media_id = ANY($1)"


async def described(
    context: Context, write: Write, author: Viewer, media_ids: Sequence[UUID], visibility: Visibility
) -> list[MediaReference]:
    """Return what a post says of the files that it is to show: the author's own, each once, in the order given.

    Raises the 422 for `/media_ids/<n>`: no such file, another's, or a private one in a post that is not private itself.
    """
    if not media_ids:
        return []
    await _learn(context, write, media_ids)
    rows = await write.fetch(HOLD_FILES, list(media_ids), author.id)
    own = {row["id"]: FileTold(**row) for row in rows}
    for number, media_id in enumerate(media_ids):
        if media_id not in own:
            raise invalid(f"/media_ids/{number}", "You have no such file.")
        if own[media_id].visibility == "private" and visibility != "private":
            raise invalid(f"/media_ids/{number}", "This file is private: those who read the post could not see it.")
    return [_reference(own[media_id]) for media_id in dict.fromkeys(media_ids)]


async def _learn(context: Context, write: Write, media_ids: Sequence[UUID]) -> None:
    """Ask media for files whose events have not come yet: nobody has to wait between an upload and a post."""
    known = {row["id"] for row in await write.fetch(KNOWN_FILES, list(media_ids))}
    unknown = [media_id for media_id in dict.fromkeys(media_ids) if media_id not in known]
    found = [told for media_id in unknown if (told := await _ask(context, media_id)) is not None]
    if found:
        await write.fetch(TELL_FILES, _rows({told.id: (0, told) for told in found}))


async def _ask(context: Context, media_id: UUID) -> FileTold | None:
    reply = await context.upstreams["media"].call("GET", f"/files/{media_id}/told")
    if reply.status == 404:
        return None
    if reply.status != 200:
        raise Problem("upstream_unavailable", headers={"Retry-After": "1"})
    return msgspec.json.decode(reply.body, type=FileTold)


# --- events --------------------------------------------------------------------------------------------------------


async def files_told(connection: Connection, events: Sequence[Event]) -> None:
    """Take over the newest state of each file, and describe it anew in the posts that show it.

    All of a batch at once: posts are locked the lower before the higher, as whoever locks more than one does.
    """
    newest: dict[UUID, tuple[int, FileTold]] = {}
    for event in events:  # in the order of each file's changes
        told = msgspec.json.decode(event.payload, type=FileTold)
        newest[told.id] = (event.id, told)
    changed = [row["id"] for row in await connection.fetch(TELL_FILES, _rows(newest))]
    files = {media_id: newest[media_id][1] for media_id in changed}
    posts = [post_of(row) for row in await connection.fetch(LOCK_POSTS_SHOWING, changed)]
    fresh = {post.id: again for post in posts if (again := _described_anew(post, files)) != post}
    if fresh:
        columns = [(post_id, column_of(post.media)) for post_id, post in fresh.items()]
        await connection.executemany(DESCRIBE, columns)
        await insert_events(connection, [_changed(post) for post in fresh.values()])
    if gone := [media_id for media_id, told in files.items() if told.deleted]:
        await connection.execute(FORGET_SHOWING, gone)


def _described_anew(post: Post, files: Mapping[UUID, FileTold]) -> Post:
    media = [
        reference if (told := files.get(reference.id)) is None else _reference(told)
        for reference in post.media
        if not ((told := files.get(reference.id)) and told.deleted)
    ]
    return msgspec.structs.replace(post, media=media)


def _changed(post: Post) -> NewEvent:
    return NewEvent("post", str(post.id), (f"post:{post.id}",), publishing.told(post))


def _rows(files: Mapping[UUID, tuple[int, FileTold]]) -> str:
    rows: list[dict[str, Any]] = [{**msgspec.structs.asdict(told), "version": version} for version, told in files.values()]
    return msgspec.json.encode(rows).decode()


def _reference(told: FileTold) -> MediaReference:
    """Describe a file. Of a private one nothing is told that would show what is in it."""
    if told.visibility == "private":
        return MediaReference(told.id, kind=told.kind)
    return MediaReference(told.id, told.alt, told.kind, told.width, told.height, told.thumbhash)


READER: Final = Reader("media", {}, {"file": files_told})
