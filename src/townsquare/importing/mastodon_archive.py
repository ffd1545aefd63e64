"""The archive that Mastodon gives to its users: who they are, what they have posted, and their media.

`open_archive` takes the folder, .zip, .tar or .tar.gz. Posts are read one after the other, so that an archive of any
size fits in the memory. Whatever is not a post of the person's own is handed out as `Skipped`, to be counted.

A post whose text is too long for a post here is skipped as a whole and reported: cut, it would lose what was
written, and split, it would become posts that the person never wrote.
"""

from collections.abc import Collection, Generator, Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit

import msgspec

from townsquare.importing.archive_files import ArchivedFile, ArchiveError, ArchiveFiles, Limits, open_files
from townsquare.importing.mastodon_posts import (
    ArchivedMedia,
    ArchivedPost,
    Author,
    Skipped,
    SkipReason,
    Text,
    Visibility,
    in_utc,
    read_activity,
)
from townsquare.importing.mastodon_text import to_plain_text
from townsquare.importing.outbox import count_items, read_items

__all__ = [
    "Archive",
    "ArchiveError",
    "ArchivedActor",
    "ArchivedFile",
    "ArchivedMedia",
    "ArchivedPost",
    "Limits",
    "SkipReason",
    "Skipped",
    "Visibility",
    "open_archive",
]

ACTOR = "actor.json"
OUTBOX = "outbox.json"


class ArchivedActor(msgspec.Struct, frozen=True):
    """Who the archive is about. The bio and the fields are plain text; the pictures are names of files in it."""

    handle: str
    display_name: str
    bio: str
    fields: tuple[tuple[str, str], ...]
    avatar: str | None
    banner: str | None
    published: datetime | None
    source_id: str


@contextmanager
def open_archive(path: Path, limits: Limits | None = None) -> Generator["Archive"]:
    """Open the archive at the path: the folder, or the file as Mastodon gives it.

    Raises:
        ArchiveError: when it is not such an archive, is damaged, or holds more than the limits.
    """
    limits = limits or Limits()
    with open_files(path, (ACTOR, OUTBOX), limits) as files:
        yield Archive(files, limits)


class Archive:
    """An archive that has been opened. Its methods raise `ArchiveError` where it turns out damaged."""

    def __init__(self, files: ArchiveFiles, limits: Limits) -> None:
        self._files = files
        self._limits = limits
        self._root = self._find_root()
        self._actor = self._read_actor()
        self._total = self._count()
        # Attachments are named by their address on the server, of which the end is the file's name in the archive.
        self._by_key = {_media_key(name, self._root): name for name in files.sizes}

    def actor(self) -> ArchivedActor:
        """Return who the archive is about."""
        actor = self._actor
        properties = [field for field in actor.attachment or () if field.type == "PropertyValue"]
        return ArchivedActor(
            handle=actor.preferred_username,
            display_name=(actor.name or "").strip() or actor.preferred_username,
            bio=to_plain_text(actor.summary or ""),
            fields=tuple((field.name.strip(), to_plain_text(field.value)) for field in properties),
            avatar=self._find_picture(actor.icon, "avatar"),
            banner=self._find_picture(actor.image, "header"),
            published=in_utc(actor.published) if actor.published else None,
            source_id=actor.id,
        )

    def count(self) -> int | None:
        """Return how many items the archive says that `posts` will yield; None where it does not say.

        It is an estimate for a progress bar: Mastodon counts before it writes.
        """
        return self._total

    def posts(self) -> Iterator[ArchivedPost | Skipped]:
        """Yield every item of the outbox, mostly oldest first, as a post or as the reason why it is none."""
        author = Author(self._actor.id, self._actor.url or "", self._actor.followers or f"{self._actor.id}/followers")
        with closing(self._files.open(self._root + OUTBOX)) as stream:
            for item in read_items(stream, self._limits):
                yield read_activity(item, author, self._find_file)

    def files(self, wanted: Collection[str]) -> Iterator[ArchivedFile]:
        """Yield the wanted files (media, avatar, banner) in the archive's own order, in one pass through it.

        Each is to be read before the next is asked for. One pass, because in a .tar.gz every single look-up would be
        one.
        """
        return self._files.walk(wanted)

    def size(self, path: str) -> int:
        """Return the size in bytes of a file in the archive, as the archive has it."""
        return self._files.sizes[path]

    def _find_root(self) -> str:
        """Return the folder that all names begin with: people pack archives anew, with a folder around them."""
        roots = [name.removesuffix(ACTOR) for name in self._files.sizes if name.rpartition("/")[2] == ACTOR]
        root = min((root for root in roots if root.count("/") < 2), key=len, default=None)
        if root is None:
            raise ArchiveError(f"The archive has no {ACTOR}: it is not one that Mastodon has made.")
        if root + OUTBOX not in self._files.sizes:
            raise ArchiveError(f"The archive has no {root}{OUTBOX}: it is not complete.")
        if self._files.sizes[root + OUTBOX] > self._limits.outbox_bytes:
            raise ArchiveError(f"{root}{OUTBOX} is larger than {self._limits.outbox_bytes:,} bytes.")
        return root

    def _read_actor(self) -> "_Actor":
        name = self._root + ACTOR
        with closing(self._files.open(name)) as stream:
            data = stream.read(self._limits.actor_bytes + 1)
        if len(data) > self._limits.actor_bytes:
            raise ArchiveError(f"{name} is larger than {self._limits.actor_bytes:,} bytes.")
        try:
            return msgspec.json.decode(data, type=_Actor)
        except (ValueError, RecursionError, OverflowError) as error:
            raise ArchiveError(f"{name} cannot be read: {error}.") from error

    def _count(self) -> int | None:
        with closing(self._files.open(self._root + OUTBOX)) as stream:
            return count_items(stream, self._limits)

    def _find_file(self, address: str) -> str | None:
        try:
            path = unquote(urlsplit(address).path)
        except ValueError:
            return None
        return self._by_key.get(_media_key(path, "")) or self._by_key.get(path.lstrip("/"))

    def _find_picture(self, image: "_Image | None", stem: str) -> str | None:
        if image and image.url and (found := self._find_file(image.url)):
            return found
        return next((self._by_key[key] for key in sorted(self._by_key) if key.startswith(f"{stem}.")), None)


_MEDIA = "media_attachments/"


def _media_key(path: str, root: str) -> str:
    before, media, after = path.rpartition(_MEDIA)
    return media + after if media and (not before or before.endswith("/")) else path.removeprefix(root)


class _Image(msgspec.Struct):
    url: Text | None = None


class _Field(msgspec.Struct):
    type: Text = ""
    name: Text = ""
    value: Text = ""


class _Actor(msgspec.Struct, rename="camel"):
    id: Text
    preferred_username: Text
    name: Text | None = None
    summary: Text | None = None
    url: Text | None = None
    followers: Text | None = None
    published: datetime | None = None
    icon: _Image | None = None
    image: _Image | None = None
    attachment: list[_Field] | None = None
