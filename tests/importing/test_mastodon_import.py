"""`townsquare import mastodon`, run as people run it, on a running platform; what it brought is read back over HTTP."""

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest

from testbed.content import last_event, publish
from testbed.imports import taken_up
from testbed.mastodon import (
    ACTOR,
    PUBLIC,
    Json,
    Packing,
    boost,
    create,
    note,
    pack,
    picture,
    sample_items,
    write_archive,
)
from testbed.town import Person, Town, running_town
from townsquare import hosting
from townsquare.kit.ids import time_of
from townsquare.settings import Settings

OTHER = "https://other.example/users/bob"


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.out)


async def townsquare(town: Town, *arguments: str | Path, stdin: bytes = b"") -> Ended:
    """Run the command line as somebody who shares the platform's data folder and database does."""
    here = {"TOWNSQUARE_DATABASE_URL": str(town.settings.database_url), "TOWNSQUARE_DATA": str(town.settings.data)}
    return await run(["-m", "townsquare", *arguments], here, stdin)


async def run(python: Sequence[str | Path], settings: dict[str, str], stdin: bytes = b"") -> Ended:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *python,
        env=os.environ | settings,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate(stdin)
    return Ended(process.returncode or 0, out.decode(), err.decode())


async def run_import(town: Town, archive: Path, person: Person) -> Any:
    ended = await townsquare(town, "import", "mastodon", archive, "--as", person.handle, "--json")
    assert ended.code == 0, ended.err
    await town.settle()
    return ended.json


async def posts_by_source(town: Town, person: Person) -> dict[str, UUID]:
    rows = await town.database("content").fetch(
        "SELECT id, source_id FROM posts WHERE author_id = $1 AND source_id IS NOT NULL", person.id
    )
    return {row["source_id"].removeprefix(f"{ACTOR}/statuses/"): row["id"] for row in rows}


def everything() -> list[Json]:
    """One of each: the numbers are the posts'."""
    return [
        create(note(1, "Soup & *bread* #Garden\nhttps://example.org/\n\n@bob@other.example")),
        create(note(2, "Spoilers!", summary="The end of the film", sensitive=True, updated="2024-01-01T12:00:00Z")),
        create(note(3, "For followers #secret", to=[f"{ACTOR}/followers"], cc=[])),
        create(note(4, "For myself", to=[], cc=[])),
        create(note(5, "Unlisted", to=[f"{ACTOR}/followers"], cc=[PUBLIC])),
        create(note(6, "", content="", attachment=[picture(1), picture(2, alt=None)])),
        create(note(7, "A photo", attachment=[picture(3)], sensitive=True)),
        create(note(8, "and another thing", inReplyTo=f"{ACTOR}/statuses/1")),
        boost(9),
        boost(10),
        create(note(11, "@bob@other.example yes", inReplyTo=f"{OTHER}/statuses/1")),
        create(note(12, "psst", to=[OTHER], cc=[])),
        create(note(13, "yes or no?", type="Question")),
        create(note(14, "x" * 5_001)),
        create(note(15, "<no time>", published="yesterday")),
    ]


IMPORTED = {"1", "2", "3", "4", "5", "6", "7", "8"}


@pytest.mark.parametrize("packing", ["folder", "zip", "tar.gz"])
async def test_profile_and_posts_are_read_back_over_http(town: Town, tmp_path: Path, packing: Packing):
    alice, bob = await town.register("alice"), await town.register("bob")
    fan = await town.register("fan")
    await town.befriend(fan, alice)
    report = await run_import(town, pack(write_archive(tmp_path / "archive", everything()), packing), alice)
    assert (report["read"], report["added"], report["known"], report["threaded"]) == (15, 8, 0, 1)
    assert report["skipped"] == {
        "boost": 2, "reply_to_other": 1, "direct_to_others": 1, "poll": 1, "too_long": 1, "unreadable": 1
    }  # fmt: skip
    assert (report["files"], report["files_missing"]) == (5, 0)  # three pictures of posts, the avatar, the banner

    ids = await posts_by_source(town, alice)
    assert ids.keys() == IMPORTED
    by_number = {number: (await town.content.get(f"/posts/{ids[number]}", as_=alice)).json for number in ids}
    first = by_number["1"]
    assert first["html"].startswith('<p>Soup &amp; *bread* <a href="/tags/garden" class="tag">#Garden</a>')
    assert first["html"].endswith(
        'href="https://other.example/@bob" rel="nofollow noopener noreferrer ugc">@bob@other.example</a></p>'
    )
    assert first["tags"] == ["garden"]
    assert first["created_at"] == "2019-03-01T08:37:00Z"
    assert time_of(UUID(first["id"])) == datetime.fromisoformat(first["created_at"])
    assert by_number["2"]["content_warning"] == "The end of the film"
    assert by_number["2"]["edited_at"] == "2024-01-01T12:00:00Z"
    assert by_number["7"]["content_warning"] == "Sensitive content"
    assert by_number["6"]["text"] == "A lantern in a window"
    assert [medium.get("alt") for medium in by_number["6"]["media"]] == ["A lantern in a window", None]
    visible = {number: post["visibility"] for number, post in by_number.items() if post["visibility"] != "public"}
    assert visible == {"3": "followers", "4": "private"}

    async def listed(viewer: Person | None) -> list[str]:
        items = await town.content.all_items(f"/users/{alice.id}/posts", as_=viewer)
        return [next(number for number in ids if str(ids[number]) == item["id"]) for item in items]

    assert await listed(None) == await listed(bob) == ["8", "7", "6", "5", "2", "1"]  # newest first
    assert await listed(fan) == ["8", "7", "6", "5", "3", "2", "1"]
    assert await listed(alice) == ["8", "7", "6", "5", "4", "3", "2", "1"]

    profile = (await town.users.get(f"/profile/{alice.id}")).json
    assert profile["bio"].startswith("Gardener & baker.\nI repair lanterns.")
    assert profile["fields"] == [
        {"name": "Web", "value": "https://alice.example"},
        {"name": "Pronouns", "value": "she/her"},
    ]
    assert profile["display_name"] == "Alice"  # her own, from here
    assert profile["counts"]["posts"] == 7  # all but the private one, as the users service was told
    payload, tags = await last_event(town, "post", ids["1"])
    assert payload["author"] == str(alice.id)
    assert tags == {f"posts:{alice.id}", "public", "search", "trending", "tag:garden"}


async def test_media_are_registered_and_their_files_kept_until_they_are_taken_up(town: Town, tmp_path: Path):
    alice = await town.register("alice")
    posts = [create(note(1, "a", attachment=[picture(1), picture(2)])), create(note(2, "b", attachment=[picture(1)]))]
    archive = write_archive(tmp_path / "archive", posts)
    next(archive.rglob("002/original/lantern.png")).unlink()
    report = await run_import(town, archive, alice)
    assert (report["files"], report["files_missing"]) == (4, 1)
    rows = await town.database("content").fetch("SELECT * FROM imported_media WHERE author_id = $1", alice.id)
    assert Counter(row["purpose"] for row in rows) == {"post": 2, "avatar": 1, "banner": 1}
    await taken_up(town)
    for row in rows:
        assert row["kept_at"] is not None
        assert not (town.settings.data / "imports" / str(row["id"])).exists()
        file = await town.media.get(f"/files/{row['id']}")
        assert file.status == (404 if row["source"] == "header.jpg" else 200)  # that one is broken
        if file.status == 200:
            assert file.json["bytes"] == (archive / row["source"]).stat().st_size
        told, _ = await last_event(town, "imported_media", row["id"])
        assert (told["author"], told["purpose"], told["media_type"]) == (str(alice.id), row["purpose"], row["media_type"])
    ids = await posts_by_source(town, alice)
    post = (await town.content.get(f"/posts/{ids['1']}")).json
    assert [medium["id"] for medium in post["media"]] == [str(row["id"]) for row in rows if row["post_id"] == ids["1"]]


async def test_importing_the_same_twice_adds_nothing(town: Town, tmp_path: Path):
    alice = await town.register("alice")
    archive = write_archive(tmp_path / "archive", sample_items(120, seed=5), 120)
    first = await run_import(town, archive, alice)
    again = await run_import(town, archive, alice)
    assert first["added"] > 50
    assert (again["added"], again["known"], again["files"]) == (0, first["added"], 0)
    assert again["skipped"] == first["skipped"]
    assert len(await posts_by_source(town, alice)) == first["added"]
    count = await town.database("content").fetchval("SELECT count(*) FROM imported_media WHERE author_id = $1", alice.id)
    assert count == first["files"]


async def test_two_imports_at_once_add_each_post_once(town: Town, tmp_path: Path):
    alice = await town.register("alice")
    archive = write_archive(tmp_path / "archive", sample_items(300, seed=6), 300)
    one, other = await asyncio.gather(run_import(town, archive, alice), run_import(town, archive, alice))
    stored = await posts_by_source(town, alice)
    assert one["added"] + other["added"] == len(stored) == one["added"] + one["known"]
    counted = "SELECT count(*) FROM posts WHERE author_id = $1 AND visibility <> 'private'"
    shown = (await town.users.get(f"/profile/{alice.id}")).json["counts"]["posts"]
    assert shown == await town.database("content").fetchval(counted, alice.id)


async def test_what_somebody_wrote_in_their_profile_here_stays(town: Town, tmp_path: Path):
    alice, plain = await town.register("alice"), town.handle("plain")
    await town.users.patch(f"/profile/{alice.id}", as_=alice, json={"bio": "Mine"})
    archive = write_archive(tmp_path / "archive", [])
    assert (await run_import(town, archive, alice))["profile"] == ["fields"]
    assert (await town.users.get(f"/profile/{alice.id}")).json["bio"] == "Mine"
    nameless = await town.register(plain, display_name=None)
    assert "display_name" in (await run_import(town, archive, nameless))["profile"]
    assert (await town.users.get(f"/profile/{nameless.id}")).json["display_name"] == "Alice Ärmel 🌱"


async def test_the_report_for_people_names_what_was_left_out(town: Town, tmp_path: Path):
    alice = await town.register("alice")
    ended = await townsquare(
        town, "import", "mastodon", write_archive(tmp_path / "archive", everything()), "--as", f"@{alice.handle}"
    )
    assert ended.code == 0
    assert f"8 posts added as @{alice.handle}, 0 were here already." in ended.out
    for line in ["2 left out: boosts of what others wrote", "1 left out: replies to others", "5 media files kept"]:
        assert line in ended.out


async def test_it_works_as_well_while_the_platform_is_down(tmp_path: Path):
    settings = msgspec.structs.replace(Settings(), data=tmp_path / "data", rate_limits=False)
    async with hosting.database_server(settings) as server, running_town(settings.data, server) as town:
        alice = await town.register("alice")
    archive = pack(write_archive(tmp_path / "archive", everything()), "tar.gz")
    ended = await run(
        ["-m", "townsquare", "import", "mastodon", archive, "--as", alice.handle], {"TOWNSQUARE_DATA": str(settings.data)}
    )
    assert (ended.code, "8 posts added" in ended.out) == (0, True), ended.err
    async with hosting.database_server(settings) as server, running_town(settings.data, server) as town:
        await town.settle()
        assert len((await town.content.get(f"/users/{alice.id}/posts")).items) == 6
        assert (await town.users.get(f"/profile/{alice.id}")).json["counts"]["posts"] == 7


MEASURE = """
import atexit, resource, sys
atexit.register(lambda: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr))
from townsquare.cli import main
main()
"""


async def test_the_memory_does_not_grow_with_the_archive(town: Town, tmp_path: Path):
    here = {"TOWNSQUARE_DATABASE_URL": str(town.settings.database_url), "TOWNSQUARE_DATA": str(town.settings.data)}

    async def kilobytes(items: int) -> int:
        alice = await town.register("alice")
        archive = write_archive(tmp_path / str(items), sample_items(items, seed=1), items)
        arguments = ["import", "mastodon", archive, "--as", alice.handle, "--json"]
        ended = await run(["-c", MEASURE, *arguments], here)
        assert (ended.code, ended.json["read"]) == (0, items)
        return int(ended.err.split()[-1])

    # Some 2 kB of JSON for each item, and 100,000 of them take as much memory as these.
    assert await kilobytes(6_000) - await kilobytes(1_000) < 20_000


# --- what goes wrong -----------------------------------------------------------------------------------------------


def cut_outbox(archive: Path) -> Path:
    outbox = archive / "outbox.json"
    outbox.write_bytes(outbox.read_bytes()[:-2_000])
    return archive


def climbing_link(archive: Path) -> Path:
    (archive / "outbox.json").unlink()
    (archive / "outbox.json").symlink_to("/etc/passwd")
    return archive


def cut_file(archive: Path) -> Path:
    packed = pack(archive, "tar.gz")
    packed.write_bytes(packed.read_bytes()[:-3_000])
    return packed


def bomb(archive: Path) -> Path:
    with (archive / "media_attachments" / "zeros.png").open("wb") as file:
        file.truncate(65 << 30)
    return archive


async def test_odd_posts_do_not_end_the_import(town: Town, tmp_path: Path):
    alice = await town.register("alice")
    warning = "Very *long* " * 30
    odd = [
        create(note(1, "Below", summary=warning)),
        create(note(2, "", content="<p>&nbsp;\u2003</p>")),
        create(note(3, "two\nlines", summary="one\n\nline")),
        create(note(4, "x" * 4_990, summary=warning)),
    ]
    report = await run_import(town, write_archive(tmp_path / "archive", odd), alice)
    assert (report["added"], report["skipped"]) == (2, {"empty": 1, "too_long": 1})
    ids = await posts_by_source(town, alice)
    first, third = [(await town.content.get(f"/posts/{ids[number]}")).json for number in ("1", "3")]
    assert (len(first["content_warning"]), first["content_warning"][-1]) == (200, "…")
    assert first["html"].startswith("<p>Very *long* Very *long*")  # as a whole, in the post
    assert first["text"].endswith("\n\nBelow")
    assert third["content_warning"] == "one line"


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (cut_outbox, "is not valid JSON"),
        (cut_file, "is damaged or incomplete"),
        (climbing_link, "has no outbox.json"),
        (bomb, "come to more than"),
    ],
)
async def test_a_broken_archive_is_one_clear_sentence(town: Town, tmp_path: Path, spoil: Any, sentence: str):
    alice = await town.register("alice")
    archive = spoil(write_archive(tmp_path / "archive", sample_items(60, seed=2), 60))
    ended = await townsquare(town, "import", "mastodon", archive, "--as", alice.handle, "--json")
    assert (ended.code, ended.out) == (1, "")
    assert sentence in ended.err
    assert len(ended.err.strip().splitlines()) == 1
    assert "Traceback" not in ended.err


async def test_a_repetition_goes_on_where_a_cut_archive_ended(town: Town, tmp_path: Path):
    alice = await town.register("alice")
    whole = write_archive(tmp_path / "whole", sample_items(900, seed=3), 900)
    cut = cut_outbox(write_archive(tmp_path / "cut", sample_items(900, seed=3), 900))
    ended = await townsquare(town, "import", "mastodon", cut, "--as", alice.handle)
    assert ended.code == 1
    assert "The 500 items before it are in" in ended.err
    before = len(await posts_by_source(town, alice))
    report = await run_import(town, whole, alice)
    assert (report["known"], before + report["added"]) == (before, len(await posts_by_source(town, alice)))
    missing = await town.database("content").fetchval(
        "SELECT count(*) FROM imported_media WHERE author_id = $1 AND kept_at IS NULL", alice.id
    )
    assert missing == 0  # also those that were registered by the run that failed


async def test_nobody_of_that_name_and_no_archive_are_said(town: Town, tmp_path: Path):
    archive = write_archive(tmp_path / "archive", [])
    nobody = await townsquare(town, "import", "mastodon", archive, "--as", "nobody_here")
    assert (nobody.code, "nobody called @nobody_here" in nobody.err) == (1, True)
    nothing = await townsquare(town, "import", "mastodon", tmp_path / "nothing.zip", "--as", "nobody_here")
    assert (nothing.code, "does not exist" in nothing.err) == (2, True)


# --- and out again -------------------------------------------------------------------------------------------------


async def test_undoing_deletes_what_was_imported_and_nothing_else(town: Town, tmp_path: Path):
    alice, bob = await town.register("alice"), await town.register("bob")
    own = await publish(town, alice, "Written here")
    archive = write_archive(tmp_path / "archive", everything())
    await run_import(town, archive, alice)
    await run_import(town, archive, bob)
    ids = await posts_by_source(town, alice)
    await taken_up(town)
    files = "SELECT count(*) FROM files WHERE owner_id = $1"
    assert await town.database("media").fetchval(files, alice.id) == 4  # of five: the banner is broken

    asked = await townsquare(town, "import", "undo", "mastodon", "--as", alice.handle, stdin=b"n\n")
    assert asked.code != 0
    assert "Delete 8 imported posts" in asked.out
    assert len(await posts_by_source(town, alice)) == 8

    ended = await townsquare(town, "import", "undo", "mastodon", "--as", alice.handle, "--yes", "--json")
    await town.settle()
    assert (ended.code, ended.json) == (0, {"deleted": 8})
    assert [post["id"] for post in await town.content.all_items(f"/users/{alice.id}/posts", as_=alice)] == [own["id"]]
    assert len(await posts_by_source(town, bob)) == 8
    assert (await town.users.get(f"/profile/{alice.id}")).json["counts"]["posts"] == 1
    await taken_up(town)
    assert await town.database("media").fetchval(files, alice.id) == 0
    assert await town.database("media").fetchval(files, bob.id) == 4
    payload, tags = await last_event(town, "post", ids["1"])
    assert payload["deleted"] is True
    assert {f"post:{ids['1']}", f"posts:{alice.id}", "public", "tag:garden"} <= tags
    assert (await run_import(town, archive, alice))["added"] == 8
