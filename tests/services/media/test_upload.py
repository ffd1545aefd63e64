"""A photo goes in, sixteen light ones come out; what is refused leaves nothing."""

import asyncio
import io

import pytest
from PIL import Image

from testbed.pictures import png_header
from testbed.town import Town
from testbed.uploads import bytes_at, form, photo, send_file, uploaded
from townsquare.images.model import FORMATS, MEDIA_TYPES, SIZES


async def nothing_is_left(town: Town) -> None:
    """Wait until nobody works on anything: what is received and made has a folder, uploads in pieces have files beside."""
    drafts = town.settings.data / "media-drafts"
    async with asyncio.timeout(20):
        while any(path.is_dir() for path in drafts.iterdir()):
            await asyncio.sleep(0.02)


async def test_an_upload_is_answered_as_the_contract_says(town: Town) -> None:
    ada = await town.register("ada")
    answer = await send_file(town.media, ada, photo(), "a cup.jpg", alt="A cup of coffee")
    assert answer.status == 201, answer.body
    file = answer.json
    assert answer.headers["Location"] == f"/api/media/files/{file['id']}"
    assert (file["kind"], file["status"], file["alt"], file["name"]) == ("image", "ready", "A cup of coffee", "a cup.jpg")
    assert (file["width"], file["height"], file["bytes"]) == (320, 213, len(photo()))
    assert file["placeholder"]["thumbhash"] and file["placeholder"]["data_uri"].startswith("data:image/")
    assert file["dominant_colors"] and all(len(color) == 7 and color[0] == "#" for color in file["dominant_colors"])
    assert {size: set(formats) for size, formats in file["sizes"].items()} == {size: set(FORMATS) for size in SIZES}
    assert (await town.media.get(f"/files/{file['id']}")).json == file


async def test_all_sixteen_addresses_lead_to_pictures_that_another_decoder_reads(town: Town) -> None:
    file = await uploaded(town.media, await town.register("ada"), photo("rocket.jpg"))
    for formats in file["sizes"].values():
        for name, variant in formats.items():
            status, headers, body = await bytes_at(town.session, town.base, variant["url"])
            assert (status, headers["Content-Type"]) == (200, MEDIA_TYPES[name])
            with Image.open(io.BytesIO(body)) as picture:
                picture.load()
                assert (picture.format or "").lower() == name
                assert picture.size == (variant["width"], variant["height"])
            if variant["bytes"] is not None:
                assert len(body) == variant["bytes"]


async def test_png_of_a_photo_is_made_on_its_first_request_and_known_afterwards(town: Town) -> None:
    file = await uploaded(town.media, await town.register("ada"), photo("chelsea.jpg"))
    png = file["sizes"]["small"]["png"]
    assert png["bytes"] is None
    both = await asyncio.gather(*(bytes_at(town.session, town.base, png["url"]) for _ in range(3)))
    assert {status for status, _, _ in both} == {200}
    assert len({body for _, _, body in both}) == 1
    known = (await town.media.get(f"/files/{file['id']}")).json
    assert known["sizes"]["small"]["png"]["bytes"] == len(both[0][2])


async def test_where_a_picture_was_taken_is_nowhere_in_what_is_shown(town: Town) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8825)[1] = "N"
    exif.get_ifd(0x8825)[2] = (52.0, 31.0, 12.0)
    exif[0x010E] = "SECRET-PLACE"
    target = io.BytesIO()
    with Image.open(io.BytesIO(photo())) as picture:
        picture.save(target, "JPEG", exif=exif, comment=b"SECRET-COMMENT")
    assert b"SECRET-PLACE" in target.getvalue()
    file = await uploaded(town.media, await town.register("ada"), target.getvalue())
    for formats in file["sizes"].values():
        for variant in formats.values():
            _, _, body = await bytes_at(town.session, town.base, variant["url"])
            assert b"SECRET" not in body
            with Image.open(io.BytesIO(body)) as shown:
                assert not shown.getexif()
    assert "url" not in file["original"]
    assert (await town.media.get(f"/files/{file['id']}/original")).status == 404


async def test_the_same_bytes_again_are_a_file_of_their_own_that_shares_all_that_was_made(town: Town) -> None:
    ada, bob = await town.register("ada"), await town.register("bob")
    first = await uploaded(town.media, ada, photo("astronaut.jpg"))
    again = await uploaded(town.media, bob, photo("astronaut.jpg"))
    assert first["id"] != again["id"]
    assert first["placeholder"] == again["placeholder"]
    assert (await town.media.delete(f"/files/{first['id']}", as_=ada)).status == 204
    status, _, _ = await bytes_at(town.session, town.base, again["sizes"]["small"]["webp"]["url"])
    assert status == 200


async def test_a_repetition_with_its_key_gets_the_same_answer(town: Town) -> None:
    ada = await town.register("ada")
    key = {"Idempotency-Key": town.handle("key")}
    first = await send_file(town.media, ada, photo(), headers=key, alt="one")
    again = await send_file(town.media, ada, photo(), headers=key, alt="one")
    assert (again.status, again.json) == (201, first.json)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.headers["Location"] == first.headers["Location"]
    other = await send_file(town.media, ada, photo(), headers=key, alt="two")
    assert (other.status, other.code) == (422, "key_reused")


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"", 422, "invalid"),
        (photo()[: len(photo()) // 2], 422, "invalid"),
        (b"\x7fELF\x02\x01\x01" + bytes(500), 415, "unsupported_media_type"),
        (png_header(60_000, 60_000), 413, "too_large"),
    ],
    ids=["empty", "truncated", "a program", "a bomb"],
)
async def test_what_is_refused_says_why_and_leaves_nothing(town: Town, data: bytes, status: int, code: str) -> None:
    ada = await town.register("ada")
    await town.settle()
    answer = await send_file(town.media, ada, data)
    assert (answer.status, answer.code) == (status, code), answer.body
    assert answer.json["errors"][0]["pointer"] == "/file"
    assert (await town.media.get(f"/users/{ada.id}/files", as_=ada)).items == []
    await nothing_is_left(town)


async def test_a_form_that_is_none_is_refused(town: Town) -> None:
    ada = await town.register("ada")
    assert (await town.media.post("/upload", as_=ada, json={"file": "x"})).code == "unsupported_media_type"
    multipart = {"Content-Type": "multipart/form-data; boundary=x"}
    assert (await town.media.post("/upload", as_=ada, data=b"no form", headers=multipart)).code == "malformed_request"
    body, boundary = form(photo(), alt="x", colour="red")
    sent = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    unknown = await town.media.post("/upload", as_=ada, data=body, headers=sent)
    assert (unknown.status, unknown.json["errors"][0]["pointer"]) == (422, "/colour")
    wrong = await send_file(town.media, ada, photo(), visibility="everybody")
    assert (wrong.status, wrong.json["errors"][0]["pointer"]) == (422, "/visibility")
    cut, _ = form(photo())
    assert (await town.media.post("/upload", as_=ada, data=cut[:-40], headers=sent)).code == "malformed_request"
    await nothing_is_left(town)


async def test_nobody_uploads_without_signing_in(town: Town) -> None:
    assert (await send_file(town.media, None, photo())).status == 401


@pytest.mark.parametrize(
    ("data", "kind", "media_type"),
    [
        (b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\ntrailer\n<<>>\n%%EOF\n", "document", "application/pdf"),
        ("Grüße aus dem Garten\n".encode(), "document", "text/plain"),
        (b"<html><script>alert(1)</script></html>", "document", "text/plain"),
    ],
)
async def test_what_is_no_picture_is_kept_and_offered_for_saving(
    town: Town, data: bytes, kind: str, media_type: str
) -> None:
    file = await uploaded(town.media, await town.register("ada"), data, "page.html")
    assert (file["kind"], file["media_type"], file["sizes"], file["status"]) == (kind, media_type, {}, "ready")
    status, headers, body = await bytes_at(town.session, town.base, file["original"]["url"])
    assert (status, body) == (200, data)
    assert headers["Content-Type"].startswith(media_type)
    assert headers["Content-Disposition"].startswith("attachment;")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in headers["Content-Security-Policy"]
