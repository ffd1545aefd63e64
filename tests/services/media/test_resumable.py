"""Uploads in pieces: nothing that came is sent twice, and however it was cut, the file is what was sent."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from testbed.pieces import PIECE, TUS, begin, begun, metadata, offset_of, original_of, send_piece
from testbed.raw import connected, request_of
from testbed.town import Person, Town
from testbed.uploads import photo
from townsquare.kit.jobs import JobContext
from townsquare.kit.logs import get_logger
from townsquare.services.media.drafts import open_draft
from townsquare.services.media.pieces import FinishUpload, finish_in_job
from townsquare.services.media.resources import resources_of

TEXT = "Grüße aus dem Garten\n".encode() * 400


def film(length: int) -> bytes:
    """The head of an MP4, and bytes that are all different enough."""
    head = b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom\x00\x00\x00\x00mdat"
    return head + b"".join(number.to_bytes(8, "big") for number in range((length - len(head)) // 8))


@pytest.fixture(autouse=True)
def tidy(town: Town) -> Iterator[None]:
    """Leave no draft behind: other tests look whether theirs do."""
    yield
    for path in (town.settings.data / "media-drafts").glob("*.part"):
        path.unlink()


def draft_of(town: Town, path: str) -> Path:
    return town.settings.data / "media-drafts" / f"{path.rpartition('/')[2]}.part"


def jobs_of(town: Town) -> JobContext:
    """What a job of the media service has at hand."""
    context = town.host.services["media"].context
    return JobContext(context.database, town.settings, get_logger("test"), resources_of(context))


async def received(town: Town, path: str) -> int:
    upload_id = UUID(path.rpartition("/")[2])
    found = await town.database("media").fetchval("SELECT received FROM resumable_uploads WHERE id = $1", upload_id)
    return int(str(found))


# --- the way of a file ---------------------------------------------------------------------------------------------


async def test_a_client_learns_what_is_spoken_here(town: Town) -> None:
    for path in ("/uploads", f"/uploads/{UUID(int=1)}"):
        answer = await town.media.request("OPTIONS", path)
        assert (answer.status, answer.headers["Tus-Version"], answer.headers["Tus-Resumable"]) == (204, "1.0.0", "1.0.0")
        assert answer.headers["Tus-Extension"] == "creation,creation-with-upload,expiration,termination"
        assert answer.headers["Tus-Max-Size"] == "4096000000"


async def test_the_last_piece_makes_the_file(town: Town) -> None:
    ada, data = await town.register("ada"), photo()
    path = await begun(town.media, ada, len(data), filename="a cup.jpg", alt="A cup", filetype="image/jpeg")
    first = await send_piece(town.media, ada, path, 0, data[:10_000])
    assert (first.status, first.headers["Upload-Offset"], first.headers["Tus-Resumable"]) == (204, "10000", "1.0.0")
    assert "Location" not in first.headers and "GMT" in first.headers["Upload-Expires"]
    last = await send_piece(town.media, ada, path, 10_000, data[10_000:])
    assert (last.status, last.headers["Upload-Offset"]) == (204, str(len(data)))
    file = (await town.gateway.get(last.headers["Location"], as_=ada)).json
    assert (file["name"], file["alt"], file["bytes"], file["status"]) == ("a cup.jpg", "A cup", len(data), "ready")
    state = (await town.media.get(path, as_=ada)).json
    assert (state["file"], state["received"], state["length"]) == (file["id"], len(data), len(data))
    assert [one["id"] for one in (await town.media.get(f"/users/{ada.id}/files")).items] == [file["id"]]
    assert not draft_of(town, path).exists()
    again = await send_piece(town.media, ada, path, len(data), b"")  # its answer was lost
    assert (again.status, again.headers["Location"]) == (204, last.headers["Location"])


async def test_a_film_of_some_megabytes_comes_through_the_gateway_as_it_was_sent(town: Town) -> None:
    ada, data = await town.register("ada"), film(9_000_000)
    path = await begun(town.media, ada, len(data), filename="film.mp4")
    for offset in range(0, len(data), 4_000_000):
        answer = await send_piece(town.media, ada, path, offset, data[offset : offset + 4_000_000])
        assert answer.status == 204, answer.body
    facts, body = await original_of(town, answer.headers["Location"])
    assert (facts["kind"], facts["media_type"], facts["name"]) == ("video", "video/mp4", "film.mp4")
    assert body == data


async def test_the_first_piece_may_come_along(town: Town) -> None:
    ada = await town.register("ada")
    part = await begin(town.media, ada, len(TEXT), TEXT[:100])
    assert (part.status, part.headers["Upload-Offset"], part.json["received"]) == (201, "100", 100)
    whole = await begin(town.media, ada, len(TEXT), TEXT, filename="a.txt")
    assert (whole.status, whole.headers["Upload-Offset"]) == (201, str(len(TEXT)))
    assert (await original_of(town, f"/api/media/files/{whole.json['file']}"))[1] == TEXT


async def test_what_was_said_of_it_is_told_again(town: Town) -> None:
    ada = await town.register("ada")
    said = metadata(filename="a.txt", alt="Notes", visibility="private", filetype="text/plain") + ",flag"
    sent = {**TUS, "Upload-Length": "10", "Upload-Metadata": said}
    created = await town.media.post("/uploads", as_=ada, headers=sent)
    assert created.json["visibility"] == "private"
    head = await town.media.request("HEAD", created.headers["Location"].removeprefix("/api/media"), as_=ada, headers=TUS)
    assert (head.headers["Upload-Metadata"], head.headers["Cache-Control"]) == (said, "no-store")
    assert (head.headers["Upload-Length"], head.headers["Upload-Offset"]) == ("10", "0")


async def test_beginning_again_with_the_same_key_is_the_same_upload(town: Town) -> None:
    ada = await town.register("ada")
    sent = {**TUS, "Upload-Length": "10", "Idempotency-Key": town.handle("key")}
    first, again = [await town.media.post("/uploads", as_=ada, headers=sent) for _ in range(2)]
    assert first.headers["Location"] == again.headers["Location"]
    assert (again.status, again.json, again.headers["Idempotency-Replayed"]) == (201, first.json, "true")


async def test_clients_that_can_send_no_patch_say_it_in_a_header(town: Town) -> None:
    ada = await town.register("ada")
    path = await begun(town.media, ada, len(TEXT))
    piece = {**PIECE, "Upload-Offset": "0", "X-HTTP-Method-Override": "PATCH"}
    assert (await town.media.post(path, as_=ada, headers=piece, data=TEXT[:50])).headers["Upload-Offset"] == "50"
    gone = await town.media.post(path, as_=ada, headers={**TUS, "X-HTTP-Method-Override": "DELETE"})
    assert gone.status == 204
    assert (await town.media.get(path, as_=ada)).status == 404
    assert (await town.media.post(path, as_=ada, headers=TUS)).status == 405


# --- however it is cut ---------------------------------------------------------------------------------------------


@pytest.fixture
async def ada(town: Town) -> Person:
    return await town.register("ada")


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(0, len(TEXT)), max_size=5), number=st.integers(0, 1 << 32))
async def test_any_cutting_into_pieces_gives_the_same_bytes(town: Town, ada: Person, cuts: list[int], number: int) -> None:
    data = f"{number}\n".encode() + TEXT
    places = [0, *sorted(cuts), len(data)]
    path = await begun(town.media, ada, len(data))
    for start, end in pairwise(places):
        answer = await send_piece(town.media, ada, path, start, data[start:end])
        assert (answer.status, answer.headers["Upload-Offset"]) == (204, str(end)), answer.body
    assert (await original_of(town, answer.headers["Location"]))[1] == data


async def test_a_connection_that_is_cut_keeps_what_came(town: Town, ada: Person) -> None:
    data = film(3_000_000)
    path = await begun(town.media, ada, len(data))
    headers = [("Authorization", f"Bearer {ada.token}"), ("Content-Length", str(len(data))), *PIECE.items()]
    async with connected(town.base) as connection:
        await connection.send(request_of("PATCH", f"/api/media{path}", [*headers, ("Upload-Offset", "0")], data[:2_000_000]))
        async with asyncio.timeout(10):
            while not (draft := draft_of(town, path)).exists() or draft.stat().st_size < 2_000_000:
                await asyncio.sleep(0.01)
    async with asyncio.timeout(10):
        while (offset := await offset_of(town.media, ada, path)) == 0:
            await asyncio.sleep(0.01)
    assert offset == 2_000_000
    last = await send_piece(town.media, ada, path, offset, data[offset:])
    assert (await original_of(town, last.headers["Location"]))[1] == data


async def test_what_no_row_speaks_of_is_cut_off_before_it_goes_on(town: Town, ada: Person) -> None:
    path = await begun(town.media, ada, len(TEXT))
    await send_piece(town.media, ada, path, 0, TEXT[:1_000])
    with draft_of(town, path).open("ab") as draft:
        draft.write(b"what a process wrote that was killed before it could say so")
    last = await send_piece(town.media, ada, path, 1_000, TEXT[1_000:])
    assert (await original_of(town, last.headers["Location"]))[1] == TEXT


async def test_a_draft_that_is_lost_begins_anew(town: Town, ada: Person) -> None:
    path = await begun(town.media, ada, len(TEXT))
    await send_piece(town.media, ada, path, 0, TEXT[:1_000])
    draft_of(town, path).write_bytes(TEXT[:400])
    lost = await send_piece(town.media, ada, path, 1_000, TEXT[1_000:])
    assert (lost.status, lost.code, lost.headers["Upload-Offset"]) == (409, "conflict", "400")
    assert await offset_of(town.media, ada, path) == 400
    last = await send_piece(town.media, ada, path, 400, TEXT[400:])
    assert (await original_of(town, last.headers["Location"]))[1] == TEXT


async def test_of_two_at_once_one_is_told_so(town: Town, ada: Person) -> None:
    path = await begun(town.media, ada, len(TEXT))
    async with open_draft(town.settings.data / "media-drafts", UUID(path.rpartition("/")[2])):
        answer = await send_piece(town.media, ada, path, 0, TEXT)
        assert (answer.status, answer.code) == (409, "in_flight")
    assert (await send_piece(town.media, ada, path, 0, TEXT)).status == 204


async def test_a_file_whose_request_died_at_the_end_is_made_by_a_job_and_once(town: Town, ada: Person) -> None:
    path = await begun(town.media, ada, len(TEXT), filename="late.txt")
    draft_of(town, path).write_bytes(TEXT)
    upload_id = UUID(path.rpartition("/")[2])
    await town.database("media").execute("UPDATE resumable_uploads SET received = length WHERE id = $1", upload_id)
    for _ in range(2):
        await finish_in_job(jobs_of(town), FinishUpload(upload_id))
    state = (await town.media.get(path, as_=ada)).json
    assert (await original_of(town, f"/api/media/files/{state['file']}"))[1] == TEXT
    await town.noticed("media")
    assert [one["name"] for one in (await town.media.get(f"/users/{ada.id}/files")).items] == ["late.txt"]
    assert not draft_of(town, path).exists()


async def test_the_last_byte_leaves_a_job_behind_in_its_own_transaction(town: Town, ada: Person) -> None:
    path = await begun(town.media, ada, len(TEXT))
    await send_piece(town.media, ada, path, 0, TEXT)
    payloads = await town.database("media").fetch("SELECT payload FROM pgqueuer WHERE entrypoint = 'finish-upload'")
    assert path.rpartition("/")[2] in {row["payload"].decode().split('"')[3] for row in payloads}


# --- what is refused -----------------------------------------------------------------------------------------------


async def test_a_piece_for_another_place_changes_nothing(town: Town, ada: Person) -> None:
    path = await begun(town.media, ada, len(TEXT))
    await send_piece(town.media, ada, path, 0, TEXT[:100])
    for offset in (0, 99, 101, len(TEXT)):
        answer = await send_piece(town.media, ada, path, offset, TEXT[:10])
        assert (answer.status, answer.code) == (409, "conflict")
    assert await received(town, path) == 100
    long = await send_piece(town.media, ada, path, 100, TEXT)
    assert (long.status, long.code) == (413, "too_large")
    assert await received(town, path) == 100


@pytest.mark.parametrize(
    ("headers", "status", "pointer"),
    [
        ({}, 422, "/Upload-Length"),
        ({"Upload-Length": "-1"}, 422, "/Upload-Length"),
        ({"Upload-Length": "0"}, 422, "/Upload-Length"),
        ({"Upload-Length": "4096000001"}, 413, None),
        ({"Upload-Length": "1", "Upload-Metadata": "filename ???"}, 422, "/Upload-Metadata"),
        ({"Upload-Length": "1", "Upload-Metadata": "alt YQ==,alt YQ=="}, 422, "/Upload-Metadata"),
        ({"Upload-Length": "1", "Upload-Metadata": "alt /w=="}, 422, "/Upload-Metadata"),
        ({"Upload-Length": "1", "Upload-Metadata": metadata(visibility="everybody")}, 422, "/visibility"),
        ({"Upload-Length": "1", "Tus-Resumable": "0.2.2"}, 412, None),
        ({"Upload-Length": "1", "Tus-Resumable": ""}, 412, None),
    ],
)
async def test_what_cannot_begin_says_why(
    town: Town, ada: Person, headers: dict[str, str], status: int, pointer: str | None
) -> None:
    answer = await town.media.post("/uploads", as_=ada, headers=TUS | headers)
    assert answer.status == status, answer.body
    assert [one["pointer"] for one in answer.json.get("errors", [])] == ([] if pointer is None else [pointer])
    assert answer.headers["Tus-Resumable"] == "1.0.0"
    assert (answer.headers.get("Tus-Version") == "1.0.0") is (status == 412)


async def test_a_file_that_is_refused_takes_its_upload_along(town: Town, ada: Person) -> None:
    program = b"\x7fELF\x02\x01\x01" + bytes(500)
    path = await begun(town.media, ada, len(program))
    answer = await send_piece(town.media, ada, path, 0, program)
    assert (answer.status, answer.code) == (415, "unsupported_media_type")
    assert (await town.media.get(path, as_=ada)).status == 404
    assert not draft_of(town, path).exists()


async def test_what_was_begun_counts_as_if_it_were_there(town: Town, ada: Person) -> None:
    megabyte = 1_000_000
    path = await begun(town.media, ada, 4_000 * megabyte)
    full = await begin(town.media, ada, 1_200 * megabyte)
    assert (full.status, full.code) == (413, "quota_exceeded")
    assert (await town.media.delete(path, as_=ada, headers=TUS)).status == 204
    assert (await begin(town.media, ada, 1_200 * megabyte)).status == 201


async def test_an_upload_is_nobody_elses(town: Town, ada: Person) -> None:
    bob = await town.register("bob")
    path = await begun(town.media, ada, len(TEXT))
    assert (await begin(town.media, None, 10)).status == 401
    for answer in (
        await town.media.get(path, as_=bob),
        await town.media.request("HEAD", path, as_=bob, headers=TUS),
        await send_piece(town.media, bob, path, 0, TEXT),
        await town.media.delete(path, as_=bob, headers=TUS),
    ):
        assert answer.status == 404
        assert "Upload-Offset" not in answer.headers
    assert not draft_of(town, path).exists()
    assert await offset_of(town.media, ada, path) == 0


async def test_after_a_day_without_progress_it_is_over(town: Town, ada: Person) -> None:
    path = await begun(town.media, ada, len(TEXT))
    upload_id = UUID(path.rpartition("/")[2])
    state: Any = (await town.media.get(path, as_=ada)).json
    aged = "UPDATE resumable_uploads SET expires_at = expires_at - $2::interval WHERE id = $1"
    await town.database("media").execute(aged, upload_id, timedelta(hours=23))
    assert (await send_piece(town.media, ada, path, 0, TEXT[:10])).status == 204
    assert (await town.media.get(path, as_=ada)).json["expires_at"] >= state["expires_at"]
    await town.database("media").execute(aged, upload_id, timedelta(hours=25))
    assert (await town.media.get(path, as_=ada)).status == 404
    assert (await send_piece(town.media, ada, path, 10, TEXT[10:])).status == 404


async def test_an_upload_that_is_given_up_while_bytes_come_in_stays_gone(town: Town, ada: Person) -> None:
    path = await begun(town.media, ada, len(TEXT))
    headers = [("Authorization", f"Bearer {ada.token}"), ("Content-Length", str(len(TEXT))), *PIECE.items()]
    async with connected(town.base) as connection:
        await connection.send(request_of("PATCH", f"/api/media{path}", [*headers, ("Upload-Offset", "0")], TEXT[:1_000]))
        async with asyncio.timeout(10):
            while not draft_of(town, path).exists():
                await asyncio.sleep(0.01)
        assert (await town.media.delete(path, as_=ada, headers=TUS)).status == 204
        await connection.send(TEXT[1_000:])
        assert (await connection.answer()).status == 404
    assert not draft_of(town, path).exists()
    assert (await town.media.get(f"/users/{ada.id}/files", as_=ada)).items == []
