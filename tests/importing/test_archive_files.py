"""A broken archive, and one that was made to do harm, is refused with a sentence: which file of it, and where in it."""

import gzip
import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from testbed.mastodon import (
    PACKINGS,
    Packing,
    create,
    note,
    pack,
    read_posts,
    write_archive,
    write_sample_archive,
)
from townsquare.importing.mastodon_archive import (
    ArchivedPost,
    ArchiveError,
    Limits,
    Skipped,
    open_archive,
)


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return write_sample_archive(tmp_path / "alice", posts=30)


@pytest.mark.parametrize("missing", ["actor.json", "outbox.json"])
def test_a_missing_file_is_named(good: Path, missing: str):
    (good / missing).unlink()
    for packing in PACKINGS:
        with pytest.raises(ArchiveError, match=missing):
            read_posts(pack(good, packing))


def test_what_is_no_archive_at_all_is_refused(tmp_path: Path):
    (tmp_path / "text.zip").write_text("hello")
    for path in [tmp_path / "text.zip", tmp_path / "nowhere.zip", tmp_path]:
        with pytest.raises(ArchiveError):
            read_posts(path)


@pytest.mark.parametrize("packing", ["zip", "tar.gz"])
@pytest.mark.parametrize("part", [0.2, 0.5, 0.9, 0.99])
def test_a_truncated_file_is_an_error_not_a_short_archive(good: Path, packing: Packing, part: float):
    packed = pack(good, packing)
    data = packed.read_bytes()
    packed.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(ArchiveError, match=r"damaged|incomplete"):
        read_posts(packed)


def test_a_flipped_bit_is_an_error(good: Path):
    packed = pack(good, "zip")
    with zipfile.ZipFile(packed) as archive:
        offset = archive.getinfo("outbox.json").header_offset + 400
    data = bytearray(packed.read_bytes())
    data[offset] ^= 0x10
    packed.write_bytes(data)
    with pytest.raises(ArchiveError, match=r"outbox\.json"):
        read_posts(packed)


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
        read_posts(good)
    assert "outbox.json" in str(raised.value)


def test_brackets_within_strings_are_no_nesting(good: Path):
    texts = ['[[{{"' * 900, '\\"[' * 900, "\\\\" * 900, "[" * 4_000]
    items = read_posts(write_archive(good, [create(note(at, text)) for at, text in enumerate(texts * 40)]))
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
        read_posts(good)


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
            read_posts(packed)


def test_a_pipe_in_a_folder_is_not_waited_for(good: Path):
    os.mkfifo(good / "media_attachments" / "pipe.png")
    assert len(read_posts(good)) == 30


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
        read_posts(pack(good, packing), limits)


def test_a_name_as_long_as_the_memory_is_not_read(tmp_path: Path):
    header = tarfile.TarInfo("././@LongLink")
    header.type = tarfile.GNUTYPE_LONGNAME
    header.size = 1 << 30
    bomb = tmp_path / "bomb.tar.gz"
    bomb.write_bytes(gzip.compress(header.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 20)))
    with pytest.raises(ArchiveError, match="long name"):
        read_posts(bomb)


def test_a_locked_zip_says_so(good: Path):
    packed = pack(good, "zip")
    data = packed.read_bytes()
    marker = data.rindex(b"outbox.json", 0, data.rindex(b"PK\5\6")) - 46 + 8
    packed.write_bytes(data[:marker] + b"\x01" + data[marker + 1 :])
    with pytest.raises(ArchiveError, match=r"encrypted|password"):
        read_posts(packed)


@pytest.mark.parametrize("packing", PACKINGS)
def test_what_the_caller_fails_at_is_not_blamed_on_the_archive(good: Path, packing: Packing):
    with pytest.raises(ConnectionResetError), open_archive(pack(good, packing)) as archive:
        for _ in archive.posts():
            raise ConnectionResetError
