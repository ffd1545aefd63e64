"""A Mastodon archive is read whole, in little memory, and a hostile one is refused with a sentence."""

import gzip
import io
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from testbed.mastodon import (
    ACTOR,
    HOST,
    PNG,
    PUBLIC,
    Json,
    Packing,
    boost,
    create,
    note,
    pack,
    picture,
    write_archive,
    write_sample_archive,
)
from townsquare.importing.mastodon_archive import (
    ArchivedMedia,
    ArchivedPost,
    ArchiveError,
    Limits,
    Skipped,
    SkipReason,
    open_archive,
)

PACKINGS: list[Packing] = ["folder", "zip", "tar", "tar.gz"]
OTHER = "https://other.example/users/bob"


def read(path: Path, limits: Limits | None = None) -> list[ArchivedPost | Skipped]:
    with open_archive(path, limits) as archive:
        return list(archive.posts())


def read_one(folder: Path, **changes: object) -> ArchivedPost | Skipped:
    (item,) = read(write_archive(folder / "one", [create(note(1, "A *text*", **changes))]))
    return item


# --- what is in an archive -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("around", ["", "archive-2024/"])
@pytest.mark.parametrize("packing", PACKINGS)
def test_every_packing_reads_the_same(tmp_path: Path, packing: Packing, around: str):
    folder = write_sample_archive(tmp_path / "alice", posts=60)
    with open_archive(pack(folder, packing, around)) as archive:
        root = around if packing != "folder" else ""
        assert archive.actor().avatar == f"{root}avatar.png"
        assert archive.count() == 60
        items = list(archive.posts())
        media = {file.path for item in items if isinstance(item, ArchivedPost) for file in item.media}
        assert None not in media
        assert {file.path: file.stream.read() for file in archive.files(media)} == dict.fromkeys(media, PNG)
        assert {archive.size(path) for path in media if path} == {len(PNG)}
    assert len(items) == 60
    if not root:
        assert items == read(folder)


def test_the_actor_is_who_the_person_was(tmp_path: Path):
    with open_archive(write_sample_archive(tmp_path / "alice", posts=0)) as archive:
        actor = archive.actor()
    assert (actor.handle, actor.display_name, actor.source_id) == ("alice", "Alice Ärmel 🌱", ACTOR)
    assert actor.bio == "Gardener & baker.\nI repair lanterns.\n\n#Garden"
    assert actor.fields == (("Web", "https://alice.example"), ("Pronouns", "she/her"))
    assert (actor.avatar, actor.banner) == ("avatar.png", "header.jpg")
    assert actor.published == datetime(2019, 2, 28, tzinfo=UTC)


def test_a_post_comes_with_all_that_it_had(tmp_path: Path):
    item = create(
        note(
            7,
            "Soup #Garden @bob@other.example\nhttps://example.org/",
            summary="Food",
            sensitive=True,
            updated="2019-04-01T00:00:00+02:00",
            published="2019-03-31T10:00:00Z",
            attachment=[picture(3), {"type": "Link", "href": "https://example.org/"}],
        )
    )
    assert read(write_archive(tmp_path / "alice", [item])) == [
        ArchivedPost(
            source_id=f"{ACTOR}/statuses/7",
            published=datetime(2019, 3, 31, 10, tzinfo=UTC),
            edited=datetime(2019, 3, 31, 22, tzinfo=UTC),
            text="Soup #Garden @bob@other.example\nhttps://example.org/",
            content_warning="Food",
            sensitive=True,
            visibility="public",
            tags=("garden",),
            media=(
                ArchivedMedia(
                    path="media_attachments/files/000/003/original/lantern.png",
                    media_type="image/png",
                    alt="A lantern in a window",
                    width=1,
                    height=1,
                    blurhash="UBL_:rOpGG-oBUNG,qRj2so|=eE1w^n4S5NH",
                ),
            ),
            in_reply_to=None,
        )
    ]


@pytest.mark.parametrize(
    ("to", "cc", "visibility"),
    [
        ([PUBLIC], [f"{ACTOR}/followers"], "public"),
        (["as:Public"], [], "public"),
        (PUBLIC, None, "public"),
        ([f"{ACTOR}/followers"], [PUBLIC], "public"),
        ([f"{ACTOR}/followers"], [OTHER], "followers"),
        ([ACTOR], [], "private"),
        ([], [], "private"),
    ],
)
def test_visibility_is_never_wider_than_it_was(tmp_path: Path, to: object, cc: object, visibility: str):
    post = read_one(tmp_path, to=to, cc=cc)
    assert isinstance(post, ArchivedPost)
    assert post.visibility == visibility


@pytest.mark.parametrize("parent", [f"{ACTOR}/statuses/5", f"https://{HOST}/@alice/5"])
def test_replies_within_ones_own_thread_are_kept(tmp_path: Path, parent: str):
    post = read_one(tmp_path, inReplyTo=parent)
    assert isinstance(post, ArchivedPost)
    assert post.in_reply_to == f"{ACTOR}/statuses/5"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"inReplyTo": f"{OTHER}/statuses/1"}, SkipReason.REPLY_TO_OTHER),
        ({"inReplyTo": f"{ACTOR}evil/statuses/1"}, SkipReason.REPLY_TO_OTHER),
        ({"to": [OTHER], "cc": []}, SkipReason.DIRECT_TO_OTHERS),
        ({"type": "Question"}, SkipReason.POLL),
        ({"content": "<p>" + "x" * 5_001}, SkipReason.TOO_LONG),
        ({"content": "<b></b>" * 100_000}, SkipReason.TOO_LONG),
        ({"content": "<p></p>"}, SkipReason.EMPTY),
        ({"type": "Event"}, SkipReason.UNREADABLE),
        ({"attributedTo": OTHER}, SkipReason.UNREADABLE),
        ({"published": "yesterday"}, SkipReason.UNREADABLE),
        ({"published": None}, SkipReason.UNREADABLE),
        ({"published": "0001-01-01T00:00:00+14:00"}, SkipReason.UNREADABLE),
        ({"published": "1969-12-31T23:59:59Z"}, SkipReason.UNREADABLE),
        ({"published": "9999-12-31T23:59:59Z"}, SkipReason.UNREADABLE),
        ({"content": 7}, SkipReason.UNREADABLE),
        ({"content": "a\0b"}, SkipReason.UNREADABLE),
        ({"attachment": [7]}, SkipReason.UNREADABLE),
    ],
)
def test_what_is_no_post_is_reported_with_its_reason(tmp_path: Path, changes: Json, reason: SkipReason):
    skipped = read_one(tmp_path, **changes)
    assert isinstance(skipped, Skipped)
    assert (skipped.reason, skipped.source_id) == (reason, f"{ACTOR}/statuses/1")
    assert bool(skipped.detail) == (reason is SkipReason.UNREADABLE)


def test_a_boost_is_reported_and_strange_items_do_not_end_the_reading(tmp_path: Path):
    strange: list[object] = [
        boost(1),
        7,
        None,
        "https://x.example",
        [],
        {},
        {"type": "Create"},
        {"type": "Create", "object": "x"},
    ]
    items = read(write_archive(tmp_path / "alice", [*strange, create(note(2, "good"))]))  # type: ignore[list-item]
    assert isinstance(items[0], Skipped)
    assert items[0].reason is SkipReason.BOOST
    assert [item.reason for item in items[1:-1] if isinstance(item, Skipped)] == [SkipReason.UNREADABLE] * 7
    assert isinstance(items[-1], ArchivedPost)


def test_a_post_of_the_longest_length_and_one_of_pictures_alone_are_posts(tmp_path: Path):
    longest = create(note(1, "x" * 5_000))
    wordless = create(note(2, "", content="", attachment=[picture(1, alt=None)]))
    first, second = read(write_archive(tmp_path / "alice", [longest, wordless]))
    assert isinstance(first, ArchivedPost)
    assert isinstance(second, ArchivedPost)
    assert (len(first.text), second.text, len(second.media)) == (5_000, "", 1)


@pytest.mark.parametrize(
    "address",
    [
        "media_attachments/files/000/001/original/lantern.png",
        "https://files.mastodon.example/bucket/media_attachments/files/000/001/original/lantern.png",
        "/system/media_attachments/files/000/001/original/lantern.png",
    ],
)
def test_media_are_found_wherever_the_server_kept_them(tmp_path: Path, address: str):
    folder = write_archive(tmp_path / "alice", [create(note(1, "a", attachment=[picture(1)]))])
    write_archive(folder, [create(note(1, "a", attachment=[picture(1) | {"url": address}]))])
    (post,) = read(folder)
    assert isinstance(post, ArchivedPost)
    assert post.media[0].path == "media_attachments/files/000/001/original/lantern.png"


def test_media_that_the_archive_lacks_have_no_path(tmp_path: Path):
    folder = write_archive(tmp_path / "alice", [create(note(1, "a", attachment=[picture(1)]))])
    for file in folder.rglob("lantern.png"):
        file.unlink()
    (post,) = read(folder)
    assert isinstance(post, ArchivedPost)
    assert post.media[0].path is None


# --- archives made to do harm, or broken ----------------------------------------------------------------------------


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return write_sample_archive(tmp_path / "alice", posts=30)


@pytest.mark.parametrize("missing", ["actor.json", "outbox.json"])
def test_a_missing_file_is_named(good: Path, missing: str):
    (good / missing).unlink()
    for packing in PACKINGS:
        with pytest.raises(ArchiveError, match=missing):
            read(pack(good, packing))


def test_what_is_no_archive_at_all_is_refused(tmp_path: Path):
    (tmp_path / "text.zip").write_text("hello")
    for path in [tmp_path / "text.zip", tmp_path / "nowhere.zip", tmp_path]:
        with pytest.raises(ArchiveError):
            read(path)


@pytest.mark.parametrize("packing", ["zip", "tar.gz"])
@pytest.mark.parametrize("part", [0.2, 0.5, 0.9, 0.99])
def test_a_truncated_file_is_an_error_not_a_short_archive(good: Path, packing: Packing, part: float):
    packed = pack(good, packing)
    data = packed.read_bytes()
    packed.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(ArchiveError, match=r"damaged|incomplete"):
        read(packed)


def test_a_flipped_bit_is_an_error(good: Path):
    packed = pack(good, "zip")
    with zipfile.ZipFile(packed) as archive:
        offset = archive.getinfo("outbox.json").header_offset + 400
    data = bytearray(packed.read_bytes())
    data[offset] ^= 0x10
    packed.write_bytes(data)
    with pytest.raises(ArchiveError, match=r"outbox\.json"):
        read(packed)


@pytest.mark.parametrize(
    ("outbox", "sentence"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"[]", "no list `orderedItems`"),
        (b'{"orderedItems":{"a":1}}', "no list `orderedItems`"),
        (b'{"totalItems":1}', "no list `orderedItems`"),
        (b'{"orderedItems":[{}', "item 2 or a little after"),
        (b'{"orderedItems":[{}]}]', "not valid JSON"),
        (b'{"orderedItems":["\xff"]}', "not valid JSON"),
        (rb'{"orderedItems":["\udc00"]}', "half a character"),
        (b'{"orderedItems":[' + b"9" * 5_000 + b"]}", "not valid JSON"),
        (b'{"totalItems":' + b"9" * 5_000 + b"}", "not valid JSON"),
        (b'{"orderedItems":[' + b"[" * 100_000, "deep"),
        (b'{"orderedItems":[' + b'{"a":' * 100_000, "deep"),
        (b'{"orderedItems":["' + b"x" * 3_000_000 + b'"]}', "larger than"),
        (b'{"x":[' + b"1," * 3_000_000, "larger than"),
        (b'{"orderedItems":[1' + b" " * 3_000_000, "larger than"),
    ],
)
def test_a_broken_outbox_is_refused_with_its_place(good: Path, outbox: bytes, sentence: str):
    (good / "outbox.json").write_bytes(outbox)
    with pytest.raises(ArchiveError, match=sentence) as raised:
        read(good)
    assert "outbox.json" in str(raised.value)


def test_brackets_within_strings_are_no_nesting(good: Path):
    texts = ['[[{{"' * 900, '\\"[' * 900, "\\\\" * 900, "[" * 4_000]
    items = read(write_archive(good, [create(note(at, text)) for at, text in enumerate(texts * 40)]))
    assert len(items) == 160
    assert {type(item) for item in items} == {ArchivedPost, Skipped}  # escaped, the longest are too long


@pytest.mark.parametrize(
    "actor",
    [b"", b"{", b"[]", b'{"id":1}', b'{"id":"a"}', b"\xff\xfe", b"[" * 100_000, b'{"id":"a\\u0000","preferredUsername":"b"}',
     b'{"id":"\\ud800","preferredUsername":"b"}', b'{"id":"a","preferredUsername":"b","x":"' + b"x" * (1 << 20) + b'"}'],
)  # fmt: skip
def test_a_broken_actor_is_refused(good: Path, actor: bytes):
    (good / "actor.json").write_bytes(actor)
    with pytest.raises(ArchiveError, match=r"actor\.json"):
        read(good)


FINE = "media_attachments/files/1/fine.png"
EVIL = ["../evil.png", "/../evil.png", "a/../../evil.png", "..\\evil.png", "media_attachments/../../evil.png", "a\nb.png"]


@pytest.mark.parametrize("packing", ["zip", "tar"])
def test_names_that_climb_out_do_not_exist(good: Path, packing: Packing):
    packed = pack(good, packing)
    add_members(packed, dict.fromkeys([*EVIL, f"/{FINE}"], b"evil"))
    with open_archive(packed) as archive:
        assert len(list(archive.posts())) == 30
        assert list(archive.files(EVIL)) == []
        assert [file.path for file in archive.files({"media_attachments/files/1/fine.png"})] == [
            "media_attachments/files/1/fine.png"
        ]
        for name in EVIL:
            with pytest.raises(KeyError):
                archive.size(name)


def test_links_are_not_followed(good: Path):
    secret = good.parent / "secret.json"
    (good / "outbox.json").rename(secret)
    (good / "outbox.json").symlink_to(secret)
    (good / "media_attachments" / "secret.png").symlink_to(secret)
    for packing in PACKINGS:
        packed = pack(good, packing) if packing != "zip" else zip_with_link(good)
        with pytest.raises(ArchiveError, match=r"no outbox\.json"):
            read(packed)


def test_a_pipe_in_a_folder_is_not_waited_for(good: Path):
    os.mkfifo(good / "media_attachments" / "pipe.png")
    assert len(read(good)) == 30


def zip_with_link(good: Path) -> Path:
    target = good.with_suffix(".zip")
    with zipfile.ZipFile(target, "w") as archive:
        archive.write(good / "actor.json", "actor.json")
        link = zipfile.ZipInfo("outbox.json")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    return target


def add_members(packed: Path, members: dict[str, bytes]) -> None:
    if packed.suffix == ".zip":
        with zipfile.ZipFile(packed, "a") as archive:
            for name, data in members.items():
                archive.writestr(name, data)
        return
    with tarfile.open(packed, "a") as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize(
    ("limits", "sentence"),
    [
        (Limits(media_bytes=100), "more than 0 MiB"),
        (Limits(files=3), "more than 3 files"),
        (Limits(outbox_bytes=999), "large"),
    ],
)
def test_more_than_the_limits_is_refused_before_it_is_unpacked(good: Path, packing: Packing, limits: Limits, sentence: str):
    with pytest.raises(ArchiveError, match=sentence):
        read(pack(good, packing), limits)


def test_a_name_as_long_as_the_memory_is_not_read(tmp_path: Path):
    header = tarfile.TarInfo("././@LongLink")
    header.type = tarfile.GNUTYPE_LONGNAME
    header.size = 1 << 30
    bomb = tmp_path / "bomb.tar.gz"
    bomb.write_bytes(gzip.compress(header.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 20)))
    with pytest.raises(ArchiveError, match="long name"):
        read(bomb)


def test_a_locked_zip_says_so(good: Path):
    packed = pack(good, "zip")
    data = packed.read_bytes()
    marker = data.rindex(b"outbox.json", 0, data.rindex(b"PK\5\6")) - 46 + 8
    packed.write_bytes(data[:marker] + b"\x01" + data[marker + 1 :])
    with pytest.raises(ArchiveError, match=r"encrypted|password"):
        read(packed)


@pytest.mark.parametrize("packing", PACKINGS)
def test_what_the_caller_fails_at_is_not_blamed_on_the_archive(good: Path, packing: Packing):
    with pytest.raises(ConnectionResetError), open_archive(pack(good, packing)) as archive:
        for _ in archive.posts():
            raise ConnectionResetError


# --- size ----------------------------------------------------------------------------------------------------------

MEASURE = """
import json, resource, sys
from pathlib import Path
from townsquare.importing.mastodon_archive import open_archive
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with open_archive(Path(sys.argv[1])) as archive:
    items = sum(1 for _ in archive.posts())
print(json.dumps([items, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before]))
"""


def test_a_hundred_thousand_posts_are_read_in_little_memory(tmp_path: Path):
    large = write_sample_archive(tmp_path / "alice", posts=100_000)
    assert (large / "outbox.json").stat().st_size > 150_000_000
    run = [sys.executable, "-c", MEASURE, str(pack(large, "tar.gz"))]
    items, kilobytes = json.loads(subprocess.run(run, check=True, capture_output=True).stdout)
    assert items == 100_000
    assert kilobytes < 48 * 1024


def test_the_sample_archive_has_everything_and_is_repeatable(tmp_path: Path):
    first = read(write_sample_archive(tmp_path / "a", posts=400, seed=3))
    assert first == read(write_sample_archive(tmp_path / "b", posts=400, seed=3))
    kinds = Counter(item.reason if isinstance(item, Skipped) else item.visibility for item in first)
    assert {"public", "followers", "private", "boost", "reply_to_other", "direct_to_others", "poll"} <= kinds.keys()
