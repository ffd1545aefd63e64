"""A file as everybody gets it, and how it is read from a row: the same in every list and by itself.

Bytes stand under `/files/{id}/{size}.{format}` and `/files/{id}/original`. Of a public or unlisted file these addresses
are for everybody who knows them; of a private one only with a signature that expires (`addresses.py`). The original of a
picture is always private: it tells where it was taken.
"""

from datetime import datetime
from typing import Final, Literal, TypeAlias
from uuid import UUID

import asyncpg
import msgspec
from msgspec import Struct

from townsquare.images.model import FORMATS, SIZES, Format, Placeholder, SizeName

Kind: TypeAlias = Literal["image", "video", "audio", "document", "other"]
Visibility: TypeAlias = Literal["public", "unlisted", "private"]
Status: TypeAlias = Literal["ready", "processing"]


class KeptVariant(Struct, frozen=True):
    """A variant as the row has it: under `object` in the storage."""

    object: str
    width: int
    height: int
    bytes: int


Variants: TypeAlias = dict[SizeName, dict[Format, KeptVariant]]


class FileVariant(Struct, frozen=True):
    """A picture's variant as people get it; `bytes` is null where it is made on its first request."""

    url: str
    width: int
    height: int
    bytes: int | None


class Original(Struct, frozen=True, omit_defaults=True):
    """What was uploaded, as it came. Without `url` where only its owner may have it: they ask for an address."""

    media_type: str
    bytes: int
    url: str | None = None


class Focus(Struct, frozen=True):
    """Where the eye goes, in parts of width and height from the upper left: what a crop should keep."""

    x: float
    y: float


class File(Struct, frozen=True, omit_defaults=True):
    """A file. `placeholder`, `dominant_colors`, `focus` and `sizes` are a picture's.

    While `status` is `processing`, more of them are to come; `problem` says why none will.
    """

    id: UUID
    owner: UUID
    kind: Kind
    media_type: str
    name: str
    visibility: Visibility
    status: Status
    bytes: int
    original: Original
    dominant_colors: list[str]
    sizes: dict[SizeName, dict[Format, FileVariant]]
    created_at: datetime
    width: int | None = None
    height: int | None = None
    frames: int | None = None
    alt: str | None = None
    placeholder: Placeholder | None = None
    focus: Focus | None = None
    fingerprint: str | None = None
    problem: str | None = None


FILE_COLUMNS: Final = """
    f.id, f.owner_id, f.kind, f.media_type, f.name, f.alt, f.visibility, f.status, f.problem, f.original, f.bytes,
    f.width, f.height, f.frames, f.alpha, f.thumbhash, f.preview, f.dominant_colors, f.focus_x, f.focus_y, f.fingerprint,
    f.variants, f.purpose, f.created_at
"""
"""What `file_of` needs, from `files AS f`."""

_decode_variants: Final = msgspec.json.Decoder(Variants).decode

Addressed: TypeAlias = str
"""A path of this service, such as `/files/0198.../small.webp`, perhaps with a signature."""


class Addresses:
    """Makes the addresses of a file's bytes: plain ones here; `addresses.Signed` signs those of private files."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    def of(self, file_id: UUID, what: str, *, private: bool) -> Addressed:
        """Return the address of `small.webp` or `original`."""
        return f"{self._prefix}/files/{file_id}/{what}"


def file_of(row: asyncpg.Record, addresses: Addresses) -> File:
    """Make a file from a row of FILE_COLUMNS."""
    private = row["visibility"] == "private"
    picture = row["kind"] == "image"
    original = addresses.of(row["id"], "original", private=private)
    return File(
        id=row["id"],
        owner=row["owner_id"],
        kind=row["kind"],
        media_type=row["media_type"],
        name=row["name"],
        visibility=row["visibility"],
        status=row["status"],
        bytes=row["bytes"],
        original=Original(row["media_type"], row["bytes"], None if picture else original),
        dominant_colors=row["dominant_colors"],
        sizes=_sizes(row, addresses, private=private),
        created_at=row["created_at"],
        width=row["width"],
        height=row["height"],
        frames=row["frames"],
        alt=row["alt"],
        placeholder=None if row["thumbhash"] is None else Placeholder(row["thumbhash"], row["preview"]),
        focus=None if row["focus_x"] is None else Focus(round(row["focus_x"], 3), round(row["focus_y"], 3)),
        fingerprint=row["fingerprint"],
        problem=row["problem"],
    )


def variants_of(row: asyncpg.Record) -> Variants:
    """Read a row's variants."""
    return _decode_variants(row["variants"])


def _sizes(row: asyncpg.Record, addresses: Addresses, *, private: bool) -> dict[SizeName, dict[Format, FileVariant]]:
    kept = variants_of(row)
    return {size: _formats(row["id"], size, kept[size], addresses, private=private) for size in SIZES if kept.get(size)}


def _formats(
    file_id: UUID, size: SizeName, kept: dict[Format, KeptVariant], addresses: Addresses, *, private: bool
) -> dict[Format, FileVariant]:
    """List every format; what is not there yet has the dimensions of what is."""
    like = next(iter(kept.values()))
    return {
        name: FileVariant(
            addresses.of(file_id, f"{size}.{name}", private=private),
            *((there.width, there.height, there.bytes) if (there := kept.get(name)) else (like.width, like.height, None)),
        )
        for name in FORMATS
    }


def objects_of(row: asyncpg.Record) -> list[str]:
    """Name every object that a file uses, each once, in one order."""
    used = {variant.object for formats in variants_of(row).values() for variant in formats.values()}
    return sorted(used | {row["original"]})


def told(row: asyncpg.Record) -> dict[str, object]:
    """Return what other services are told of a file."""
    return {
        "id": row["id"],
        "owner": row["owner_id"],
        "kind": row["kind"],
        "visibility": row["visibility"],
        "alt": row["alt"],
        "width": row["width"],
        "height": row["height"],
        "thumbhash": row["thumbhash"],
        "purpose": row["purpose"],
        "ready": row["status"] == "ready",
        "pictures": bool(row["variants"] != "{}"),
    }


def file_tags(row: asyncpg.Record) -> list[str]:
    """Name what changes with a file: itself, its owner's lists, and the public ones."""
    public = ["files"] if row["visibility"] == "public" else []
    return [f"file:{row['id']}", f"files:{row['owner_id']}", *public]


FILE_TAGS: Final = ("file:{file}", "files:{person}", "files")
"""What a change of a file changes, as templates."""
