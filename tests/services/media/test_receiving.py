"""A form as it comes in, piece by piece: nothing of it is believed, and nothing of its file is lost unnoticed."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest
from litestar.datastructures import Headers

from testbed.uploads import form
from townsquare.kit.asgi import AnyRequest
from townsquare.kit.problems import Problem
from townsquare.services.media import receiving
from townsquare.services.media.receiving import receive, require_size

BODY, BOUNDARY = form(bytes(3000))


class Sent:
    """As much of a request as is read here."""

    def __init__(self, body: bytes, **headers: str) -> None:
        self._body = body
        sent = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"} | headers
        self.headers = Headers(sent)

    async def stream(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._body), 1000):
            yield self._body[start : start + 1000]


def sent(body: bytes, **headers: str) -> AnyRequest:
    return cast("AnyRequest", Sent(body, **headers))


async def test_a_disk_that_is_full_at_the_last_byte_is_told(tmp_path: Path) -> None:
    (tmp_path / "original").symlink_to("/dev/full")  # takes what is buffered, and nothing when it is written
    with pytest.raises(Problem) as raised:
        await receive(sent(BODY), tmp_path, 10_000)
    assert raised.value.code == "unavailable"


async def test_a_trickle_that_never_stands_still_ends_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def trickle(_: Sent) -> AsyncIterator[bytes]:
        yield BODY[:-10]
        while True:
            await asyncio.sleep(0.01)
            yield b""

    monkeypatch.setattr(Sent, "stream", trickle)
    monkeypatch.setattr(receiving, "LONGEST_SECONDS", 0.1)
    with pytest.raises(Problem) as raised:
        async with asyncio.timeout(5):
            await receive(sent(BODY), tmp_path, 10_000)
    assert raised.value.code == "request_timeout"
    assert "pieces" in (raised.value.detail or "")


@pytest.mark.parametrize("said", ["-1", "1_0", "²", "x", "9" * 5000, "99999999"])
def test_a_length_that_is_none_or_too_much_is_refused(said: str) -> None:
    with pytest.raises(Problem) as raised:
        require_size(sent(BODY, **{"content-length": said}), 10_000)
    assert raised.value.code == "too_large"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'name="file"', b'name="\xff"'),
        (b"Content-Type: image/x", b"Content-Length: 5"),
        (b"Content-Type: image/x", b"No colon"),
    ],
)
async def test_heads_of_parts_that_are_none_are_refused_in_words(tmp_path: Path, old: bytes, new: bytes) -> None:
    with pytest.raises(Problem) as raised:
        await receive(sent(BODY.replace(old, new)), tmp_path, 10_000)
    assert raised.value.code == "malformed_request"
    assert "Error(" not in (raised.value.detail or "")


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ('filename="../../etc/passwd"', "passwd"),
        ('filename="C:\\\\a b.jpg"', "a b.jpg"),
        ("filename*=UTF-8''%ed%a0%80", "file"),
        ('filename=""', "file"),
    ],
)
async def test_a_name_is_what_can_be_shown_of_it(tmp_path: Path, said: str, name: str) -> None:
    body = BODY.replace(b'filename="photo.jpg"', said.encode())
    received = await receive(sent(body), tmp_path, 10_000)
    assert (received.name, received.path.read_bytes()) == (name, bytes(3000))
