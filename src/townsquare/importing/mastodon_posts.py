"""One activity of a Mastodon outbox as a post of ours, or the reason why it is none."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Literal

import msgspec

from townsquare.importing.mastodon_text import to_markdown

MAX_TEXT = 5_000
"""Characters of Markdown; as many as a post may have here."""

MAX_HTML = 200_000
"""Characters of HTML that are worth converting: no 5,000 characters of text make more."""

EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
"""No id of ours can carry an earlier time."""

CLOCKS_APART = timedelta(days=1)
"""How far ahead another server's clock may be; a post from the future would stand above all others for good."""

Visibility = Literal["public", "followers", "private"]

Text = Annotated[str, msgspec.Meta(pattern=r"\A[^\x00]*\Z")]
"""A string from an archive. No NUL: PostgreSQL keeps none."""


class ArchivedMedia(msgspec.Struct, frozen=True):
    """A picture, film or sound of a post. `path` is its file in the archive, None where the archive lacks it."""

    path: str | None
    media_type: str
    alt: str | None = None
    width: int | None = None
    height: int | None = None
    blurhash: str | None = None


class ArchivedPost(msgspec.Struct, frozen=True):
    """A post of the person's own.

    `source_id` is the note's URI: the same in every archive of the same account. `in_reply_to` is the `source_id` of
    another of the person's posts, which may itself have been skipped. `text` is Markdown, and empty only where there
    is media. Tags are as in the text, in lower case and without `#`.
    """

    source_id: str
    published: datetime
    edited: datetime | None
    text: str
    content_warning: str | None
    sensitive: bool
    visibility: Visibility
    tags: tuple[str, ...]
    media: tuple[ArchivedMedia, ...]
    in_reply_to: str | None


class SkipReason(StrEnum):
    """Why an item of the outbox is not a post."""

    BOOST = "boost"
    REPLY_TO_OTHER = "reply_to_other"
    DIRECT_TO_OTHERS = "direct_to_others"
    POLL = "poll"
    TOO_LONG = "too_long"
    EMPTY = "empty"
    UNREADABLE = "unreadable"


class Skipped(msgspec.Struct, frozen=True):
    """An item that is no post of ours. `source_id` is empty where even that could not be read."""

    reason: SkipReason
    source_id: str
    detail: str = ""


class Author(msgspec.Struct, frozen=True):
    """Whose outbox it is: the addresses by which the items name the person."""

    id: str
    url: str
    followers: str

    def own_note(self, uri: str) -> str | None:
        """Return the URI of one of the person's own notes by its URI or by its page; None for anybody else's."""
        if self.id and uri.startswith(f"{self.id}/"):
            return uri
        if self.url and uri.startswith(f"{self.url}/"):
            return f"{self.id}/statuses/{uri.removeprefix(self.url + '/')}"
        return None


class _Attachment(msgspec.Struct, rename="camel"):
    type: Text = ""
    media_type: Text | None = None
    url: Text | None = None
    name: Text | None = None
    width: int | None = None
    height: int | None = None
    blurhash: Text | None = None


class _Tag(msgspec.Struct):
    type: Text | None = ""
    name: Text | None = ""


class _Note(msgspec.Struct, rename="camel"):
    id: Text
    type: Text
    published: datetime
    content: Text | None = ""
    summary: Text | None = None
    updated: datetime | None = None
    in_reply_to: Text | None = None
    attributed_to: Text | None = None
    sensitive: bool | None = False
    # Not `Text`: these are compared and never kept, and msgspec 0.22 corrupts its memory over a pattern beside a list.
    to: str | list[str] | None = None
    cc: str | list[str] | None = None
    attachment: list[_Attachment] | None = None
    tag: list[_Tag] | None = None


class _Activity(msgspec.Struct):
    type: Text
    id: Text = ""
    object: _Note | Text | None = None


def read_activity(item: object, author: Author, find_file: Callable[[str], str | None]) -> ArchivedPost | Skipped:
    """Read one item of the outbox.

    Args:
        item: as it came from the JSON.
        author: whose outbox it is.
        find_file: the name of the file in the archive that an attachment's address means.
    """
    source_id = _source_id(item)
    try:
        activity = msgspec.convert(item, _Activity)
        if activity.type == "Announce":
            return Skipped(SkipReason.BOOST, source_id)
        if activity.type != "Create" or not isinstance(activity.object, _Note):
            return Skipped(SkipReason.UNREADABLE, source_id, f"a {activity.type[:40]!r} is no post")
        note = activity.object
        reason = _reason_to_skip(note, author)
        return Skipped(reason, source_id) if reason else _read_note(note, author, find_file)
    except (ValueError, OverflowError) as error:
        return Skipped(SkipReason.UNREADABLE, source_id, str(error)[:200])


def _source_id(item: object) -> str:
    match item:
        case {"type": "Create", "object": {"id": str(note)}} | {"id": str(note)}:
            return note.replace("\0", "")
        case _:
            return ""


def _reason_to_skip(note: _Note, author: Author) -> SkipReason | None:
    if note.type == "Question":
        return SkipReason.POLL
    if note.in_reply_to and author.own_note(note.in_reply_to) is None:
        return SkipReason.REPLY_TO_OTHER
    if _visibility(note, author) is None:
        return SkipReason.DIRECT_TO_OTHERS
    return None


def _read_note(note: _Note, author: Author, find_file: Callable[[str], str | None]) -> ArchivedPost | Skipped:
    if note.type != "Note" or not note.id or note.attributed_to not in {None, author.id}:
        return Skipped(SkipReason.UNREADABLE, note.id, "not a note by this person")
    published = in_utc(note.published)
    if not EARLIEST <= published <= datetime.now(UTC) + CLOCKS_APART:
        return Skipped(SkipReason.UNREADABLE, note.id, "of a time that cannot be")
    html = note.content or ""
    text = to_markdown(html, _full_names(note)) if len(html) <= MAX_HTML else None
    if text is None or len(text) > MAX_TEXT:
        return Skipped(SkipReason.TOO_LONG, note.id)
    media = tuple(_read_media(attachment, find_file) for attachment in note.attachment or () if _is_media(attachment))
    if not text and not media:
        return Skipped(SkipReason.EMPTY, note.id)
    return ArchivedPost(
        source_id=note.id,
        published=published,
        edited=in_utc(note.updated) if note.updated else None,
        text=text,
        content_warning=(note.summary or "").strip() or None,
        sensitive=bool(note.sensitive),
        visibility=_visibility(note, author) or "private",
        tags=tuple(dict.fromkeys(_names(note, "Hashtag", "#"))),
        media=media,
        in_reply_to=author.own_note(note.in_reply_to or ""),
    )


_PUBLIC = frozenset({"https://www.w3.org/ns/activitystreams#Public", "as:Public", "Public"})


def _visibility(note: _Note, author: Author) -> Visibility | None:
    """Return who may see the note, None where it was written to certain others."""
    readers = {*_as_list(note.to), *_as_list(note.cc)}
    if readers & _PUBLIC:  # in `cc` alone, the note was kept out of public lists, but everybody could read it
        return "public"
    if author.followers in readers:
        return "followers"
    return None if readers - {author.id} else "private"


def _as_list(value: str | list[str] | None) -> list[str]:
    return [value] if isinstance(value, str) else value or []


def _full_names(note: _Note) -> dict[str, str]:
    """Return the full names of those mentioned, from the short ones that mean only one of them."""
    full: dict[str, str] = {}
    for name in _names(note, "Mention", "@"):
        short, at, _ = name.partition("@")
        full[short] = "" if short in full else f"@{name}" if at else ""
    return full


def _names(note: _Note, kind: str, sign: str) -> list[str]:
    named = [tag.name or "" for tag in note.tag or () if tag.type == kind]
    return [name.removeprefix(sign).lower() for name in named if len(name) > 1]


def _is_media(attachment: _Attachment) -> bool:
    # A preview of a linked page is an attachment too, without a file.
    return attachment.type in {"Document", "Image", "Video", "Audio"} and attachment.url is not None


def _read_media(attachment: _Attachment, find_file: Callable[[str], str | None]) -> ArchivedMedia:
    return ArchivedMedia(
        path=find_file(attachment.url or ""),
        media_type=attachment.media_type or "application/octet-stream",
        alt=(attachment.name or "").strip() or None,
        width=_size(attachment.width),
        height=_size(attachment.height),
        blurhash=attachment.blurhash,
    )


def _size(pixels: int | None) -> int | None:
    return pixels if pixels and 0 < pixels <= 100_000 else None


def in_utc(moment: datetime) -> datetime:
    """Return the moment in UTC, which is also what one without a zone is taken for."""
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
