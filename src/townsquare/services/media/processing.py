"""What is made of a file: a picture becomes light ones, anything else stays what it is.

A picture is worked on while its sender waits, if its turn comes in `TURN_SECONDS` and it is done in `PATIENCE_SECONDS`; else
it is kept as it came and a job does the rest. Where pictures cannot be worked on at all (no pyvips), the file waits until
they can.
"""

import asyncio
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Final, TypeAlias
from uuid import UUID

import asyncpg
import msgspec
from msgspec import Struct

from townsquare.images.model import Format, Processed, Reason, Rejected, SizeName, Unavailable, Wanted, wanted
from townsquare.images.pool import TooBusy
from townsquare.images.sniff import Recognised, recognise
from townsquare.kit.database import Connection, Database
from townsquare.kit.jobs import Job, JobContext, TryAgain
from townsquare.kit.outbox import NewEvent, insert_events
from townsquare.kit.problems import Code, FieldError, Problem
from townsquare.kit.retention import Nothing
from townsquare.services.media.file_view import FILE_COLUMNS, KeptVariant, Variants, file_tags, objects_of, told
from townsquare.services.media.objects import announce, exchange
from townsquare.services.media.receiving import workplace
from townsquare.services.media.resources import Resources, resources_of
from townsquare.services.media.storage import Named, ObjectMissing

PATIENCE_SECONDS: Final = 12.0
TURN_SECONDS: Final = 4.0
"""So long may a picture that somebody waits for stand in line: when many come, what is begun is to be finished, too."""
BUSY_PAUSE: Final = timedelta(seconds=20)
LIGHT: Final[tuple[Format, ...]] = ("avif", "webp", "jpeg")
PHOTOS: Final = frozenset({"image/jpeg", "image/heic", "image/heif", "image/avif"})
"""What is most likely a photograph: as PNG it would be larger than it came, so that is made when somebody asks for it."""
What: TypeAlias = tuple[SizeName, Format]
"""Names a variant."""

REFUSALS: Final[dict[Reason, Code]] = {
    Reason.TYPE: "unsupported_media_type",
    Reason.SIZE: "too_large",
    Reason.BROKEN: "invalid",
}


class Made(Struct, frozen=True):
    """What was made: the columns of the file that it fills, and the paths of the variants by what they are."""

    columns: Mapping[str, object]
    paths: Mapping[What, Path] = {}
    widths: Mapping[What, tuple[int, int]] = {}
    later: bool = False
    """Whether a job is to do it, because it takes longer than its sender should wait."""


class ProcessFile(Struct, frozen=True):
    """A picture that is still to be worked on."""

    id: UUID


# By primary key.
FIND: Final = f"SELECT {FILE_COLUMNS} FROM files AS f WHERE f.id = $1"
LOCK: Final = f"SELECT {FILE_COLUMNS} FROM files AS f WHERE f.id = $1 FOR UPDATE"

FINISH: Final = f"""
UPDATE files AS f
SET status = 'ready', problem = NULL, width = $2, height = $3, frames = $4, alpha = $5, wide_gamut = $6, thumbhash = $7,
    preview = $8, dominant_colors = $9, focus_x = $10, focus_y = $11, fingerprint = $12, variants = $13::jsonb
WHERE f.id = $1
RETURNING {FILE_COLUMNS}
"""

GIVE_UP: Final = f"UPDATE files AS f SET status = 'ready', problem = $2 WHERE f.id = $1 RETURNING {FILE_COLUMNS}"

# Walks files_processing_idx.
NEXT_WAITING: Final = "SELECT id FROM files WHERE status = 'processing' AND id > $1 ORDER BY id LIMIT 1"

PICTURE_COLUMNS: Final = (
    "width", "height", "frames", "alpha", "wide_gamut", "thumbhash", "preview", "dominant_colors", "focus_x", "focus_y",
    "fingerprint",
)  # fmt: skip
"""What a picture's analysis fills, in the order of FINISH."""
NOTHING_KNOWN: Final = dict[str, object].fromkeys(PICTURE_COLUMNS)


async def recognised_in(path: Path) -> Recognised:
    """Say what a file is by its content; raises `unsupported_media_type` for what is not accepted."""
    found = await asyncio.to_thread(recognise, path)
    if found.kind == "other":
        why = "This is no kind of file that is accepted here."
        raise Problem("unsupported_media_type", why, errors=[FieldError("/file", why)])
    return found


async def make(resources: Resources, original: Path, found: Recognised, folder: Path) -> Made:
    """Make what can be made while somebody waits; raises the problem for a picture that is refused."""
    if found.kind != "image":
        return Made(NOTHING_KNOWN | {"dominant_colors": (), "status": "ready"})
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await make_pictures(resources, original, folder, first_wanted(found.media_type), TURN_SECONDS)
    except (TimeoutError, TooBusy):
        return Made(NOTHING_KNOWN | {"dominant_colors": (), "status": "processing"}, later=True)
    except Unavailable:
        return Made(NOTHING_KNOWN | {"dominant_colors": (), "status": "processing"})
    except Rejected as refusal:
        raise refused(refusal) from None


def first_wanted(media_type: str) -> Wanted:
    """Return what a picture of this type needs at once."""
    return wanted(formats=LIGHT) if media_type in PHOTOS else wanted()


async def make_pictures(
    resources: Resources, original: Path, folder: Path, needed: Wanted, turn_within: float | None = None
) -> Made:
    """Have the workers make pictures; raises `Rejected`, `Unavailable` and `TooBusy`."""
    started = time.perf_counter()
    processed = await resources.pool.process(original, folder, needed, turn_within=turn_within)
    working = sum(processed.stages.values())
    resources.stages.observe_all(processed.stages)
    resources.stages.observe("wait", max(0.0, time.perf_counter() - started - working))
    return Made(
        {**_columns(processed), "status": "ready"},
        {(v.size, v.format): folder / f"{v.size}.{v.format}" for v in processed.variants},
        {(v.size, v.format): (v.width, v.height) for v in processed.variants},
    )


def _columns(processed: Processed) -> dict[str, object]:
    facts, analysis = processed.facts, processed.analysis
    return {
        "width": facts.width,
        "height": facts.height,
        "frames": facts.frames,
        "alpha": facts.alpha,
        "wide_gamut": facts.wide_gamut,
        "thumbhash": analysis.placeholder.thumbhash,
        "preview": analysis.placeholder.data_uri,
        "dominant_colors": analysis.dominant_colors,
        "focus_x": analysis.focus[0],
        "focus_y": analysis.focus[1],
        "fingerprint": analysis.fingerprint,
    }


def refused(refusal: Rejected) -> Problem:
    """Say to its sender why a picture is refused."""
    return Problem(REFUSALS[refusal.reason], str(refusal), errors=[FieldError("/file", str(refusal))])


async def store(resources: Resources, db: Database, paths: Mapping[What, Path]) -> dict[What, Named]:
    """Put variants into the storage; returns under which names. Nothing refers to them yet."""
    named = {key: await resources.storage.name_of(path) for key, path in paths.items()}
    await announce(db, list(named.values()))
    with resources.stages.timed("store"):
        await asyncio.gather(*(resources.storage.put(named[key].name, path) for key, path in paths.items()))
    return named


def variants_from(made: Made, named: Mapping[What, Named]) -> Variants:
    """Describe stored variants as the row keeps them."""
    variants: Variants = {}
    for (size, name), kept in named.items():
        variants.setdefault(size, {})[name] = KeptVariant(kept.name, *made.widths[size, name], kept.bytes)
    return variants


# --- the jobs ------------------------------------------------------------------------------------------------------


async def process_file(context: JobContext, payload: ProcessFile) -> None:
    """Make what is missing of a picture; one that cannot be read after all stays as it came, and says why."""
    try:
        await work_on(context, payload.id)
    except TooBusy:
        raise TryAgain(BUSY_PAUSE, "too many pictures wait") from None
    except Unavailable:
        context.log.info("a picture waits until pictures can be worked on", file=str(payload.id))


async def process_waiting(context: JobContext, _: Nothing) -> None:
    """Work on every picture that waits, such as those that came while pyvips was missing.

    One whose bytes are not there keeps waiting, for they may be again; `townsquare media verify` names it.
    """
    last = UUID(int=0)
    while (found := await context.db.fetchval(NEXT_WAITING, last)) is not None:
        last = UUID(str(found))
        try:
            await work_on(context, last)
        except (Unavailable, TooBusy):
            return  # the next period comes
        except ObjectMissing:
            context.log.warning("a picture waits for its bytes", file=str(last))


async def work_on(context: JobContext, file_id: UUID) -> None:
    """Work on one picture, also on one that is ready: then everything is made anew."""
    resources = resources_of(context)
    row = await context.db.fetchrow(FIND, file_id)
    if row is None or row["kind"] != "image":
        return
    async with workplace(resources.drafts) as folder:
        original = folder / "original"
        await resources.storage.fetch(row["original"], original)
        try:
            made = await make_pictures(resources, original, folder, first_wanted(row["media_type"]))
        except Rejected as refusal:
            await _give_up(context.db, file_id, str(refusal))
            return
        named = await store(resources, context.db, made.paths)
        await finish(context.db, file_id, made, variants_from(made, named))


async def finish(db: Database, file_id: UUID, made: Made, variants: Variants) -> None:
    """Exchange the variants of a picture. A file that was deleted meanwhile stays deleted: what was made for it is swept."""
    async with db.transaction() as connection:
        before = await connection.fetchrow(LOCK, file_id)
        if before is None:
            return
        columns = [made.columns[name] for name in PICTURE_COLUMNS]
        after = await connection.fetchrow(FINISH, file_id, *columns, msgspec.json.encode(variants).decode())
        assert after is not None  # noqa: S101  (its row is locked)
        await exchange(connection, objects_of(before), objects_of(after))
        await tell_file(connection, after)


async def _give_up(db: Database, file_id: UUID, why: str) -> None:
    async with db.transaction() as connection:
        row = await connection.fetchrow(GIVE_UP, file_id, why)
        if row is not None:
            await tell_file(connection, row)


async def tell_file(connection: Connection, row: asyncpg.Record) -> None:
    """Tell what a file is now, outside a request."""
    await insert_events(connection, [NewEvent("file", str(row["id"]), tuple(file_tags(row)), told(row))])


PROCESS: Final = "process-file"

JOBS: Final = (
    Job(PROCESS, ProcessFile, process_file, timeout=timedelta(minutes=10)),
    Job("process-waiting", Nothing, process_waiting, every=timedelta(minutes=10), timeout=timedelta(hours=1)),
)
