"""Bytes: immutable, in ranges, never a page, and of what is private only by an address that expires."""

import time

import pytest

from testbed.town import Town
from testbed.uploads import bytes_at, photo, uploaded
from townsquare.services.media.addresses import Signer

TEXT = bytes(range(32, 127)) * 40


async def test_a_picture_may_be_kept_for_a_year_and_is_known_by_its_tag(town: Town) -> None:
    file = await uploaded(town.media, await town.register("ada"))
    url = file["sizes"]["small"]["webp"]["url"]
    _, headers, body = await bytes_at(town.session, town.base, url)
    assert headers["Cache-Control"] == "public, max-age=31536000, immutable"
    status, again, nothing = await bytes_at(town.session, town.base, url, **{"If-None-Match": headers["ETag"]})
    assert (status, nothing, again["ETag"]) == (304, b"", headers["ETag"])
    async with town.session.head(town.base + url) as head:
        assert (head.status, head.headers["Content-Length"]) == (200, str(len(body)))
    async with town.session.head(town.base + url, headers={"Range": "bytes=0-1"}) as head:
        assert (head.status, head.headers["Content-Length"]) == (200, str(len(body)))


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("bytes=3700-", 3700, 3800),
        ("bytes=-7", 3793, 3800),
        ("bytes=0-99999", 0, 3800),
    ],
)
async def test_a_range_is_answered_with_just_that(town: Town, asked: str, start: int, end: int) -> None:
    file = await uploaded(town.media, await town.register("ada"), TEXT, "a.txt")
    status, headers, body = await bytes_at(town.session, town.base, file["original"]["url"], Range=asked)
    assert (status, body) == (206, TEXT[start:end])
    assert headers["Content-Range"] == f"bytes {start}-{end - 1}/{len(TEXT)}"


@pytest.mark.parametrize("asked", ["bytes=3800-", "bytes=9999-10000", "bytes=-0"])
async def test_a_range_behind_the_end_is_refused_with_the_length(town: Town, asked: str) -> None:
    file = await uploaded(town.media, await town.register("ada"), TEXT, "a.txt")
    status, headers, _ = await bytes_at(town.session, town.base, file["original"]["url"], Range=asked)
    assert (status, headers["Content-Range"]) == (416, f"bytes */{len(TEXT)}")
    path = file["original"]["url"].removeprefix("/api/media")
    refused = await town.media.get(path, headers={"Range": asked})
    assert (refused.status, refused.code) == (416, "range_not_satisfiable")


@pytest.mark.parametrize("asked", ["bytes=5-2", "bytes=a-b", "lines=1-2", "bytes=0-1,4-5", "bytes=-"])
async def test_what_is_no_range_is_answered_whole(town: Town, asked: str) -> None:
    file = await uploaded(town.media, await town.register("ada"), TEXT, "a.txt")
    status, _, body = await bytes_at(town.session, town.base, file["original"]["url"], Range=asked)
    assert (status, body) == (200, TEXT)


async def test_a_range_of_another_state_is_answered_whole(town: Town) -> None:
    file = await uploaded(town.media, await town.register("ada"), TEXT, "a.txt")
    wanted = {"Range": "bytes=0-1", "If-Range": '"another"'}
    status, _, body = await bytes_at(town.session, town.base, file["original"]["url"], **wanted)
    assert (status, body) == (200, TEXT)


async def test_a_private_file_is_read_only_by_a_signed_address(town: Town) -> None:
    ada, bob = await town.register("ada"), await town.register("bob")
    file = await uploaded(town.media, ada, photo(), visibility="private")
    assert (await town.media.get(f"/files/{file['id']}", as_=bob)).status == 404
    assert (await town.media.get(f"/files/{file['id']}")).status == 404
    url = (await town.media.get(f"/files/{file['id']}", as_=ada)).json["sizes"]["small"]["jpeg"]["url"]
    bare, query = url.split("?")
    assert (await bytes_at(town.session, town.base, url))[0] == 200
    assert (await bytes_at(town.session, town.base, bare))[0] == 404
    assert (await bytes_at(town.session, town.base, bare.replace("small", "large") + "?" + query))[0] == 404
    expires, signature = query.split("&")
    later = f"expires={int(expires.removeprefix('expires=')) + 1}"
    assert (await bytes_at(town.session, town.base, f"{bare}?{later}&{signature}"))[0] == 404


async def test_the_original_of_a_picture_is_for_its_owner_to_hand_out(town: Town) -> None:
    ada, bob = await town.register("ada"), await town.register("bob")
    file = await uploaded(town.media, ada)
    target = f"/files/{file['id']}/address"
    made = await town.media.get(target, as_=ada, params={"of": "original", "seconds": 60})
    assert made.status == 200, made.body
    status, headers, body = await bytes_at(town.session, town.base, made.json["url"])
    assert (status, body) == (200, photo())
    scope, age, immutable = headers["Cache-Control"].split(", ")
    assert (scope, immutable) == ("private", "immutable")
    assert 0 < int(age.removeprefix("max-age=")) <= 60
    assert (await town.media.get(target, as_=bob, params={"of": "original"})).status == 404
    assert (await town.media.get(target, as_=ada, params={"of": "secret"})).status == 422


async def test_what_is_not_there_is_404(town: Town) -> None:
    file = await uploaded(town.media, await town.register("ada"))
    nobody = "00000000-0000-7000-8000-000000000000"
    for path in (
        f"/files/{file['id']}/huge.webp",
        f"/files/{file['id']}/small.gif",
        f"/files/{nobody}/small.webp",
        f"/files/{nobody}",
    ):
        assert (await town.media.get(path)).status == 404, path


async def test_a_signature_opens_one_path_until_it_expires(town: Town) -> None:
    signer = Signer.of(town.settings)
    soon, past = int(time.time()) + 60, int(time.time()) - 1
    signature = signer.query("/a", soon).split("signature=")[1]
    assert signer.opens("/a", soon, signature)
    assert not signer.opens("/b", soon, signature)
    assert not signer.opens("/a", past, signer.query("/a", past).split("signature=")[1])
    assert not Signer("another secret").opens("/a", soon, signature)
    assert not signer.opens("/a", soon, "ä")
