"""Makes archives in the form in which Mastodon (4.3) gives them to its users."""

import html
import json
import random
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Literal, get_args

from townsquare.importing.mastodon_archive import ArchivedPost, Limits, Skipped, open_archive

HOST = "mastodon.example"
ACTOR = f"https://{HOST}/users/alice"
PUBLIC = "https://www.w3.org/ns/activitystreams#Public"
START = datetime(2019, 3, 1, 8, tzinfo=UTC)

Json = dict[str, object]

WORDS = ["morning", "garden", "river", "train", "coffee", "bread", "letter", "market", "window", "café", "naïve", "straße"]
TAGS = ["Garden", "Repair", "CaféTalk", "photography", "日本語", "Fahrrad_Tag"]
LINKS = [
    "https://example.org/",
    "https://www.example.com/a/rather/long/path/that/mastodon/shortens?with=query&and=more#fragment_with_underscores",
    "https://en.wikipedia.org/wiki/Lantern_(disambiguation)",
]
JPEG = bytes.fromhex("ffd8ffe000104a46494600010100000100010000ffd9")
PNG = b"\x89PNG\r\n\x1a\n" + b"".join(
    len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")
    for kind, body in [
        (b"IHDR", bytes.fromhex("00000001000000010802000000")),
        (b"IDAT", zlib.compress(b"\0\x33\x66\x99")),
        (b"IEND", b""),
    ]
)


def as_html(text: str) -> str:
    """Write a post's text as Mastodon does: paragraphs, line breaks, shortened links, tags and mentions."""
    pattern = re.compile(r"(?P<url>https?://\S+)|(?P<at>@\w+@(?:\w+\.)+[a-z]{2,}\b)|(?P<tag>#\w*[^\W\d]\w*)")
    out, done = "", 0
    for found in pattern.finditer(text):
        out += html.escape(text[done : found.start()], quote=True) + _entity(found)
        done = found.end()
    out += html.escape(text[done:], quote=True)
    paragraphs = re.split(r"\n\n+", out)
    return "".join(f"<p>{paragraph.replace(chr(10), '<br />')}</p>" for paragraph in paragraphs)


def _entity(found: re.Match[str]) -> str:
    text = html.escape(found[0])
    if found["tag"]:
        href = f"https://{HOST}/tags/{text[1:].lower()}"
        return f'<a href="{href}" class="mention hashtag" rel="tag">#<span>{text[1:]}</span></a>'
    if found["at"]:
        name, host = text[1:].split("@")
        link = f'<a href="https://{host}/@{name}" class="u-url mention">@<span>{name}</span></a>'
        return f'<span class="h-card" translate="no">{link}</span>'
    prefix, rest = re.fullmatch(r"(https?://(?:www\.)?)(.*)", found[0]).groups()  # type: ignore[union-attr]
    shown, hidden = html.escape(rest[:30]), html.escape(rest[30:])
    return (
        f'<a href="{text}" target="_blank" rel="nofollow noopener noreferrer" translate="no">'
        f'<span class="invisible">{prefix}</span><span class="{"ellipsis" if hidden else ""}">{shown}</span>'
        f'<span class="invisible">{hidden}</span></a>'
    )


def note(number: int, text: str, **changes: object) -> Json:
    """Make one note; `changes` go over what a plain public one has."""
    uri = f"{ACTOR}/statuses/{number}"
    return {
        "id": uri,
        "type": "Note",
        "summary": None,
        "inReplyTo": None,
        "published": f"{START + timedelta(minutes=37 * (number % 100_000)):%Y-%m-%dT%H:%M:%SZ}",
        "url": f"https://{HOST}/@alice/{number}",
        "attributedTo": ACTOR,
        "to": [PUBLIC],
        "cc": [f"{ACTOR}/followers"],
        "sensitive": False,
        "atomUri": uri,
        "inReplyToAtomUri": None,
        "conversation": f"tag:{HOST},2019-03-01:objectId={number}:objectType=Conversation",
        "content": as_html(text),
        "contentMap": {"en": as_html(text)},
        "attachment": [],
        "tag": _tags(text),
        "replies": {
            "id": f"{uri}/replies",
            "type": "Collection",
            "first": {"type": "CollectionPage", "next": f"{uri}/replies?page=true", "partOf": f"{uri}/replies", "items": []},
        },
        "likes": {"id": f"{uri}/likes", "type": "Collection", "totalItems": number % 7},
        "shares": {"id": f"{uri}/shares", "type": "Collection", "totalItems": number % 3},
    } | changes


def _tags(text: str) -> list[Json]:
    mentions: list[Json] = [
        {"type": "Mention", "href": f"https://{host}/users/{name}", "name": f"@{name}@{host}"}
        for name, host in re.findall(r"@(\w+)@([\w.]+\w)", text)
    ]
    return mentions + [
        {"type": "Hashtag", "href": f"https://{HOST}/tags/{tag.lower()}", "name": f"#{tag.lower()}"}
        for tag in re.findall(r"(?<!\S)#(\w*[^\W\d]\w*)", text)
    ]


def create(note: Json) -> Json:
    """Wrap a note in the activity that published it."""
    return {
        "id": f"{note['id']}/activity",
        "type": "Create",
        "actor": ACTOR,
        "published": note["published"],
        "to": note["to"],
        "cc": note["cc"],
        "object": note,
    }


def boost(number: int) -> Json:
    """Make the activity of boosting somebody's post."""
    uri = f"{ACTOR}/statuses/{number}/activity"
    return {
        "id": uri,
        "type": "Announce",
        "actor": ACTOR,
        "published": "2020-01-02T03:04:05Z",
        "to": [PUBLIC],
        "cc": ["https://other.example/users/carol", f"{ACTOR}/followers"],
        "object": f"https://other.example/users/carol/statuses/{number}",
    }


def picture(number: int, alt: str | None = "A lantern in a window") -> Json:
    """Make an attachment; its file is at the address without the leading slash."""
    return {
        "type": "Document",
        "mediaType": "image/png",
        "url": f"/media_attachments/files/000/{number:03}/original/lantern.png",
        "name": alt,
        "blurhash": "UBL_:rOpGG-oBUNG,qRj2so|=eE1w^n4S5NH",
        "focalPoint": [0.0, 0.0],
        "width": 1,
        "height": 1,
    }


def sample_items(posts: int, seed: int) -> Iterator[Json]:
    """Yield the activities of somebody who has been there for years; about two in three are posts of their own."""
    chance = random.Random(seed)
    own = [1]
    for number in range(1, posts + 1):
        text = _sample_text(chance)
        match chance.choices(
            ["plain", "boost", "reply", "thread", "unlisted", "followers", "direct", "self", "poll", "media", "cw"],
            [40, 15, 12, 6, 6, 5, 4, 1, 1, 6, 4],
        )[0]:
            case "boost":
                yield boost(number)
                continue
            case "reply":
                changes: Json = {"inReplyTo": f"https://other.example/users/bob/statuses/{number}"}
                text = f"@bob@other.example {text}"
            case "thread":
                changes = {"inReplyTo": f"{ACTOR}/statuses/{chance.choice(own[-20:])}"}
            case "unlisted":
                changes = {"to": [f"{ACTOR}/followers"], "cc": [PUBLIC]}
            case "followers":
                changes = {"to": [f"{ACTOR}/followers"], "cc": []}
            case "direct":
                changes = {"to": ["https://other.example/users/bob"], "cc": []}
                text = f"@bob@other.example {text}"
            case "self":
                changes = {"to": [], "cc": []}
            case "poll":
                changes = {"type": "Question", "oneOf": [{"type": "Note", "name": "yes"}], "votersCount": 3}
            case "media":
                changes = {"attachment": [picture(number % 50)], "sensitive": chance.random() < 0.3}
            case "cw":
                changes = {"summary": "Food & drink", "sensitive": True}
            case _:
                changes = {}
        own.append(number)
        yield create(note(number, text, **changes))


def _sample_text(chance: random.Random) -> str:
    lines = [" ".join(chance.choices(WORDS, k=chance.randint(3, 25))).capitalize() + chance.choice(".!?")]
    if chance.random() < 0.3:
        lines.append("- " + " ".join(chance.choices(WORDS, k=4)) + " *and* so_on <3 & more")
    if chance.random() < 0.3:
        lines.append(chance.choice(LINKS))
    if chance.random() < 0.4:
        lines.append(" ".join("#" + tag for tag in chance.sample(TAGS, chance.randint(1, 3))))
    return chance.choice(["\n", "\n\n"]).join(lines)


def sample_actor() -> Json:
    """Make the `actor.json`."""
    site = '<a href="https://alice.example" target="_blank" rel="nofollow noopener noreferrer me" translate="no">'
    spans = '<span class="invisible">https://</span><span class="">alice.example</span><span class="invisible"></span></a>'
    return {
        "@context": ["https://www.w3.org/ns/activitystreams", {"toot": "http://joinmastodon.org/ns#"}],
        "id": ACTOR,
        "type": "Person",
        "following": f"{ACTOR}/following",
        "followers": f"{ACTOR}/followers",
        "inbox": f"{ACTOR}/inbox",
        "outbox": "outbox.json",
        "featured": f"{ACTOR}/collections/featured",
        "preferredUsername": "alice",
        "name": "Alice Ärmel 🌱",
        "summary": "<p>Gardener &amp; baker.<br />I repair lanterns.</p><p>" + as_html("#Garden")[3:],
        "url": f"https://{HOST}/@alice",
        "manuallyApprovesFollowers": False,
        "discoverable": True,
        "published": "2019-02-28T00:00:00Z",
        "devices": f"{ACTOR}/collections/devices",
        "publicKey": {"id": f"{ACTOR}#main-key", "owner": ACTOR, "publicKeyPem": "-----BEGIN PUBLIC KEY-----"},
        "tag": [],
        "attachment": [
            {"type": "PropertyValue", "name": "Web", "value": site + spans},
            {"type": "PropertyValue", "name": "Pronouns", "value": "she/her"},
        ],
        "endpoints": {"sharedInbox": f"https://{HOST}/inbox"},
        "icon": {"type": "Image", "mediaType": "image/png", "url": "avatar.png"},
        "image": {"type": "Image", "mediaType": "image/jpeg", "url": "header.jpg"},
        "likes": "likes.json",
        "bookmarks": "bookmarks.json",
    }


def write_archive(folder: Path, items: Iterable[object], total: int | None = None) -> Path:
    """Write an archive's folder with the given activities, and a file for each of their pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "actor.json").write_text(json.dumps(sample_actor(), ensure_ascii=False))
    (folder / "avatar.png").write_bytes(PNG)
    (folder / "header.jpg").write_bytes(JPEG)
    for name in ["likes", "bookmarks"]:
        listing = {"id": f"{name}.json", "type": "OrderedCollection", "totalItems": 0, "orderedItems": []}
        (folder / f"{name}.json").write_text(json.dumps(listing))
    media: set[str] = set()
    with (folder / "outbox.json").open("w") as out:
        head = {"@context": "https://www.w3.org/ns/activitystreams", "id": "outbox.json", "type": "OrderedCollection"}
        out.write(json.dumps(head | {"totalItems": total})[:-1] + ',"orderedItems":[')
        for at, item in enumerate(items):
            out.write("," * (at > 0) + json.dumps(item, ensure_ascii=False))
            media.update(_media_of(item))
        out.write("]}")
    for name in media:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(PNG)
    return folder


def _media_of(item: object) -> Iterator[str]:
    noted = item.get("object") if isinstance(item, dict) else None
    for attachment in noted.get("attachment", []) if isinstance(noted, dict) else []:
        if isinstance(attachment, dict) and attachment.get("url", "").startswith("/media_attachments/"):
            yield attachment["url"].lstrip("/")


def write_sample_archive(folder: Path, posts: int = 100, seed: int = 1) -> Path:
    """Write an archive of so many activities of all kinds; the same seed writes the same archive."""
    return write_archive(folder, sample_items(posts, seed), posts)


Packing = Literal["folder", "zip", "tar", "tar.gz"]
PACKINGS: Final[tuple[Packing, ...]] = get_args(Packing)


def pack(folder: Path, packing: Packing, around: str = "") -> Path:
    """Pack the folder into a file beside it, with media first as Mastodon does; `around` is a folder to put it in."""
    names = sorted((path.relative_to(folder) for path in folder.rglob("*") if path.is_file()), reverse=True)
    target = folder.with_name(f"{folder.name}-{around.strip('/')}.{packing}")
    match packing:
        case "folder":
            return folder
        case "zip":
            with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
                for name in names:
                    archive.write(folder / name, around + name.as_posix())
        case _:
            with tarfile.open(target, "w:gz", compresslevel=1) if packing == "tar.gz" else tarfile.open(target, "w") as tar:
                for name in names:
                    tar.add(folder / name, around + name.as_posix())
    return target


def read_posts(path: Path, limits: Limits | None = None) -> list[ArchivedPost | Skipped]:
    """Read the posts of an archive, and what is none."""
    with open_archive(path, limits) as archive:
        return list(archive.posts())
