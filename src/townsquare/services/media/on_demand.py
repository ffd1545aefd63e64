"""Variants that are made when somebody first asks for them: PNG of a photograph, which hardly anybody does.

However many ask at once, one picture is made in each process; two processes make the same bytes.
"""

import asyncio
from typing import Final
from uuid import UUID

import msgspec

from townsquare.images.model import Format, Rejected, SizeName, Unavailable
from townsquare.images.pool import TooBusy
from townsquare.kit.context import Context
from townsquare.kit.problems import not_found, unavailable
from townsquare.services.media.file_view import FILE_COLUMNS, KeptVariant, objects_of, variants_of
from townsquare.services.media.objects import exchange
from townsquare.services.media.processing import FIND, LOCK, TURN_SECONDS, make_pictures, store, tell_file, variants_from
from townsquare.services.media.receiving import workplace
from townsquare.services.media.resources import resources_of

SET_VARIANTS: Final = f"UPDATE files AS f SET variants = $2::jsonb WHERE f.id = $1 RETURNING {FILE_COLUMNS}"

_under_way: dict[tuple[UUID, SizeName, Format], asyncio.Task[KeptVariant]] = {}


async def make_variant(context: Context, file_id: UUID, size: SizeName, name: Format) -> KeptVariant:
    """Return a variant that the row does not have yet, and have the row keep it.

    Raises `not_found` for a file that is gone, and `unavailable` while pictures cannot be worked on.
    """
    key = (file_id, size, name)
    task = _under_way.get(key)
    if task is None:
        task = _under_way[key] = asyncio.create_task(_make(context, file_id, size, name))
        task.add_done_callback(lambda _: _under_way.pop(key, None))
    try:
        return await asyncio.shield(task)
    except (Unavailable, TooBusy):
        raise unavailable("Pictures cannot be made right now; the other formats are there.", retry_after=30) from None
    except Rejected:
        raise not_found() from None


async def _make(context: Context, file_id: UUID, size: SizeName, name: Format) -> KeptVariant:
    resources = resources_of(context)
    row = await context.database.fetchrow(FIND, file_id)
    if row is None:
        raise not_found()
    async with workplace(resources.drafts) as folder:
        original = folder / "original"
        await resources.storage.fetch(row["original"], original)
        made = await make_pictures(resources, original, folder, frozenset({(size, name)}), TURN_SECONDS)
        named = await store(resources, context.database, made.paths)
    variant = variants_from(made, named)[size][name]
    await _keep(context, file_id, size, name, variant)
    return variant


async def _keep(context: Context, file_id: UUID, size: SizeName, name: Format, variant: KeptVariant) -> None:
    async with context.database.transaction() as connection:
        before = await connection.fetchrow(LOCK, file_id)
        if before is None:
            raise not_found()
        variants = variants_of(before)
        variants.setdefault(size, {})[name] = variant
        after = await connection.fetchrow(SET_VARIANTS, file_id, msgspec.json.encode(variants).decode())
        assert after is not None  # noqa: S101  (its row is locked)
        await exchange(connection, objects_of(before), objects_of(after))
        await tell_file(connection, after)
    context.outbox.committed()
