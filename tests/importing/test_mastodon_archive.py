"""A Mastodon archive is read whole, and in little memory."""

import json
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from testbed.mastodon import (
    ACTOR,
    HOST,
    PACKINGS,
    PNG,
    PUBLIC,
    Json,
    Packing,
    boost,
    create,
    note,
    pack,
    picture,
    read_posts,
    write_archive,
    write_sample_archive,
)
from townsquare.importing.mastodon_archive import (
    ArchivedMedia,
    ArchivedPost,
    Skipped,
    SkipReason,
    open_archive,
)

OTHER = "https://other.example/users/bob"


def read_one(folder: Path, **changes: object) -> ArchivedPost | Skipped:
    (item,) = read_posts(write_archive(folder / "one", [create(note(1, "A *text*", **changes))]))
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
        assert items == read_posts(folder)


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
    assert read_posts(write_archive(tmp_path / "alice", [item])) == [
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
    items = read_posts(write_archive(tmp_path / "alice", [*strange, create(note(2, "good"))]))  # type: ignore[list-item]
    assert isinstance(items[0], Skipped)
    assert items[0].reason is SkipReason.BOOST
    assert [item.reason for item in items[1:-1] if isinstance(item, Skipped)] == [SkipReason.UNREADABLE] * 7
    assert isinstance(items[-1], ArchivedPost)


def test_a_post_of_the_longest_length_and_one_of_pictures_alone_are_posts(tmp_path: Path):
    longest = create(note(1, "x" * 5_000))
    wordless = create(note(2, "", content="", attachment=[picture(1, alt=None)]))
    first, second = read_posts(write_archive(tmp_path / "alice", [longest, wordless]))
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
    (post,) = read_posts(folder)
    assert isinstance(post, ArchivedPost)
    assert post.media[0].path == "media_attachments/files/000/001/original/lantern.png"


def test_media_that_the_archive_lacks_have_no_path(tmp_path: Path):
    folder = write_archive(tmp_path / "alice", [create(note(1, "a", attachment=[picture(1)]))])
    for file in folder.rglob("lantern.png"):
        file.unlink()
    (post,) = read_posts(folder)
    assert isinstance(post, ArchivedPost)
    assert post.media[0].path is None


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
    first = read_posts(write_sample_archive(tmp_path / "a", posts=400, seed=3))
    assert first == read_posts(write_sample_archive(tmp_path / "b", posts=400, seed=3))
    kinds = Counter(item.reason if isinstance(item, Skipped) else item.visibility for item in first)
    assert {"public", "followers", "private", "boost", "reply_to_other", "direct_to_others", "poll"} <= kinds.keys()
