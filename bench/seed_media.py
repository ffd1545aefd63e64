"""The media database of the large community (`seed.py`): the same people, and a file for every sixth post.

Person 1 has the most files. One file in twenty is private, one in a hundred is still to be worked on, and one object in a
hundred is used by none.
"""

import asyncpg

from bench.seed import (
    Size,
    _at,  # pyright: ignore[reportPrivateUsage]  (the expressions are this package's own)
    _author,  # pyright: ignore[reportPrivateUsage]
    _few_pairs,  # pyright: ignore[reportPrivateUsage]
    _fill,  # pyright: ignore[reportPrivateUsage]
    _item,  # pyright: ignore[reportPrivateUsage]
    _person,  # pyright: ignore[reportPrivateUsage]
    _platform,  # pyright: ignore[reportPrivateUsage]
    _rows,  # pyright: ignore[reportPrivateUsage]
)


async def seed_media(connection: asyncpg.Connection, size: Size) -> None:
    """Fill the media database with the same people and blocks, and with files."""
    await _fill(connection, [*_media(size), *_platform(size, "file")])


def _media(size: Size) -> list[str]:
    files = size.posts // 6
    return [
        f"""
        INSERT INTO people (id, handle, hidden)
        SELECT {_person("i")}, 'person_' || i, i % 1000 = 0 FROM {_rows(size.people)}
        """,
        _few_pairs(size, "blocks (blocker, blocked, active, version)", "i % 10 <> 0, i"),
        f"""
        INSERT INTO objects (name, bytes, refs, put_at)
        SELECT 'object_' || i, 50000 + i, CASE WHEN i % 100 = 0 THEN 0 ELSE 1 END, {_at("i")} FROM {_rows(files * 2)}
        """,
        f"""
        INSERT INTO files (
            id, owner_id, kind, media_type, name, visibility, status, original, bytes, width, height, frames, alpha,
            dominant_colors, variants, purpose, created_at
        )
        SELECT {_item("i")}, {_author(size, "i")},
               CASE WHEN i % 50 = 0 THEN 'audio' WHEN i % 20 = 1 THEN 'video' WHEN i % 10 = 2 THEN 'document'
                    ELSE 'image' END,
               'image/jpeg', 'photo_' || i || '.jpg',
               CASE WHEN i % 20 = 0 THEN 'private' WHEN i % 15 = 0 THEN 'unlisted' ELSE 'public' END,
               CASE WHEN i % 100 = 7 THEN 'processing' ELSE 'ready' END,
               'object_' || (i * 2 - 1), 50000 + i, 4000, 3000, 1, false, ARRAY['#aabbcc', '#112233'],
               CASE WHEN i % 10 = 3 THEN jsonb_build_object('small', jsonb_build_object('webp', jsonb_build_object(
                   'object', 'object_' || i * 2, 'width', 480, 'height', 360, 'bytes', 9000))) ELSE '{{}}' END,
               'upload', {_at("i")}
        FROM {_rows(files)}
        """,
        "INSERT INTO usage (owner_id, files, bytes) SELECT owner_id, count(*), sum(bytes) FROM files GROUP BY owner_id",
        f"""
        INSERT INTO resumable_uploads (id, owner_id, length, received, name, visibility, created_at, expires_at)
        SELECT {_item("i")}, {_author(size, "i")}, 1000000, 500000, 'film.mp4', 'public', {_at("i")},
               now() + (i % 200 - 1) * interval '1 hour'
        FROM {_rows(size.people)}
        """,
        f"""
        INSERT INTO imported_media (id, owner_id, purpose, version, settled)
        SELECT {_item("i")}, CASE WHEN i % 100 = 7 THEN {_author(size, "i")} END,
               CASE WHEN i % 100 = 7 THEN 'post' END, i, i % 100 <> 7
        FROM {_rows(size.people)}
        """,
    ]
