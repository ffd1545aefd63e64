"""What a file is, told by its content alone."""

import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from townsquare.images.sniff import HEAD, OTHER, Recognised, recognise

Recognise = Callable[[bytes], Recognised]


@pytest.fixture
def of(tmp_path: Path) -> Recognise:
    def of(content: bytes) -> Recognised:
        # The name lies on purpose: it must not matter.
        path = tmp_path / "holiday.jpg.html"
        path.write_bytes(content)
        return recognise(path)

    return of


def painted(format_: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), "teal").save(file, format_)
    return file.getvalue()


def zipped(*entries: tuple[str, bytes], padding: int = 0) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in entries:
            archive.writestr(name, content)
        archive.writestr("media/photo", b"x" * padding)
    return file.getvalue()


def ftyp(*brands: bytes) -> bytes:
    return struct.pack(">I", 12 + 4 * len(brands)) + b"ftyp" + brands[0] + bytes(4) + b"".join(brands[1:]) + bytes(40)


def mp3(frames: int = 4) -> bytes:
    return (b"\xff\xfb\x90\x00" + bytes(413)) * frames  # MPEG 1 layer III, 128 kbit/s at 44.1 kHz: 417 bytes


def adts(frames: int = 4) -> bytes:
    return (b"\xff\xf1\x50\x80\x02\x1f\xfc" + bytes(9)) * frames


def ogg(codec: bytes) -> bytes:
    return b"OggS\0\x02" + bytes(20) + bytes([1, len(codec)]) + codec + bytes(60)


def ebml(doctype: bytes) -> bytes:
    return (
        b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\xf7\x81\x01\x42\x82" + bytes([0x80 | len(doctype)]) + doctype + bytes(40)
    )


SVG = b'<svg xmlns="http://www.w3.org/2000/svg"/>'
DOCTYPE = b'<!DOCTYPE svg [ <!ENTITY a "]>"> <!-- <html> --> ]>'
OFFICE = "vnd.openxmlformats-officedocument"

KNOWN = [
    ("image/jpeg", painted("JPEG")),
    ("image/png", painted("PNG")),
    ("image/gif", painted("GIF")),
    ("image/webp", painted("WEBP")),
    ("image/avif", painted("AVIF")),
    ("image/tiff", painted("TIFF")),
    ("image/bmp", painted("BMP")),
    ("image/avif", ftyp(b"mif1", b"miaf", b"avif")),
    ("image/heic", ftyp(b"heic", b"mif1")),
    ("image/heic", ftyp(b"mif1", b"heic")),
    ("image/heif", ftyp(b"mif1", b"miaf")),
    ("image/svg+xml", SVG),
    ("image/svg+xml", b"\xef\xbb\xbf \n" + SVG),
    ("image/svg+xml", b"<?xml version='1.0'?><!-- <html> -->" + DOCTYPE + SVG),
    ("image/svg+xml", b"<s:svg xmlns:s='http://www.w3.org/2000/svg'></s:svg>"),
    ("image/svg+xml", SVG.decode().encode("utf-16")),
    ("video/mp4", ftyp(b"isom", b"iso2", b"avc1")),
    ("video/mp4", ftyp(b"mp42")),
    ("video/mp4", ftyp(b"M4V ")),
    ("video/quicktime", ftyp(b"qt  ")),
    ("video/quicktime", b"\0\0\0\x08wide\0\0\0\x10mdat" + bytes(40)),
    ("video/3gpp", ftyp(b"3gp5")),
    ("video/webm", ebml(b"webm")),
    ("video/x-matroska", ebml(b"matroska")),
    ("video/ogg", ogg(b"\x80theora")),
    ("audio/mpeg", mp3()),
    ("audio/mpeg", b"ID3\x04\0\0\0\0\x01\x00" + bytes(128) + mp3()),
    ("audio/mpeg", b"ID3\x03\0\0\x00\x0c\x00\x00" + b"c" * (12 << 14) + bytes(30) + mp3()),
    ("audio/flac", b"ID3\x03\0\0\0\0\0\x04" + bytes(4) + b"fLaC\0\0\0\x22" + bytes(34)),
    ("audio/mp4", ftyp(b"M4A ", b"isom")),
    ("audio/ogg", ogg(b"OpusHead")),
    ("audio/ogg", ogg(b"\x01vorbis")),
    ("audio/flac", b"fLaC\0\0\0\x22" + bytes(34)),
    ("audio/wav", b"RIFF\x24\0\0\0WAVEfmt " + bytes(24)),
    ("audio/aac", adts()),
    ("application/pdf", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"),
    (
        f"application/{OFFICE}.wordprocessingml.document",
        zipped(("[Content_Types].xml", b"<Types/>"), ("word/document.xml", b"")),
    ),
    (f"application/{OFFICE}.spreadsheetml.sheet", zipped(("xl/workbook.xml", b""), ("[Content_Types].xml", b"<Types/>"))),
    (
        f"application/{OFFICE}.presentationml.presentation",
        zipped(("[Content_Types].xml", b"x" * 2 * HEAD), ("ppt/presentation.xml", b""), padding=2 * HEAD),
    ),
    (
        "application/vnd.oasis.opendocument.text",
        zipped(("mimetype", b"application/vnd.oasis.opendocument.text"), ("content.xml", b"")),
    ),
    ("application/epub+zip", zipped(("mimetype", b"application/epub+zip"), ("book.opf", b""))),
    ("text/plain", "Grüße, 你好\r\n\tname,price\n".encode()),
    ("text/plain", b"x" * (HEAD - 1) + "é".encode() * 9),
]


@pytest.mark.parametrize(("media_type", "content"), KNOWN, ids=[f"{n}-{name}" for n, (name, _) in enumerate(KNOWN)])
def test_a_file_is_what_its_content_is(of: Recognise, media_type: str, content: bytes) -> None:
    found = of(content)
    kind = media_type.partition("/")[0]
    assert found == Recognised(media_type, "document" if kind in ("application", "text") else kind)  # type: ignore[arg-type]


# A page, a script, or something of either with a picture behind it or in it.
PAGES = [
    b"<!doctype html><script>alert(1)</script>",
    b"<html xmlns='http://www.w3.org/1999/xhtml'/>",
    b"<?xml version='1.0'?><rss/>",
    b"<html>" + SVG + b"</html>",
    b"<!-- <svg> --><html><svg/></html>",
    b"// a script\nalert(document.cookie)",
    b"GIF89" + b"; alert(1)",
    b"%!PS-Adobe-3.0\n",
    b"BM is how this text begins, and it goes on",
    b"<svg",
    b"{\\rtf1 hello}",
]


@pytest.mark.parametrize("content", PAGES)
def test_what_is_written_is_text_and_never_a_page_or_a_picture(of: Recognise, content: bytes) -> None:
    assert of(content) == Recognised("text/plain", "document")


@pytest.mark.parametrize("picture", ["JPEG", "PNG", "GIF", "WEBP", "AVIF", "TIFF", "BMP"])
def test_a_page_or_anything_else_in_front_of_a_picture_makes_it_no_picture(of: Recognise, picture: str) -> None:
    for front in (b"<html><script>1</script>", b"\0", b"%PNG", b"\xff"):
        assert of(front + painted(picture)).kind in ("document", "other")


@pytest.mark.parametrize("tail", [b"<script>alert(1)</script>", zipped(("evil.class", b"1")), b"%PDF-1.7"])
def test_what_stands_first_decides_of_a_file_that_is_two_things(of: Recognise, tail: bytes) -> None:
    assert of(painted("PNG") + tail).media_type == "image/png"
    assert of(painted("GIF") + tail).media_type == "image/gif"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0",
        b"\x7fELF\x02\x01\x01" + bytes(60),
        b"MZ" + bytes(60),
        b"text with a \0 in it",
        b"text with an escape \x1b[31m",
        b"latin \xe9 one",
        b"PK\x03\x04" + bytes(26),
        zipped(("readme.txt", b"an ordinary archive")),
        zipped(("word/document.xml", b"an office document without its list of types")),
        zipped(("mimetype", b"text/html")),
        b"\x1f\x8b\x08\0" + bytes(20),
        b"\x89PNG\r\n\x1a\n" + b"no header",
        b"\xff\xd8\xff",
        b"RIFF\x24\0\0\0AVI LIST",
        b"RIFF\x24\0\0\0WEBPjunk",
        ftyp(b"evil"),
        struct.pack(">I", 0xFFFFFFFF) + b"ftypisom",
        b"\xff\xff\xff\xffmdat",
        ebml(b"evil"),
        ogg(b"\x01evil"),
        b"ID3\x04\0\0\0\0\0\x00" + b"no sound at all",
        b"ID3\xff\0\0\xff\xff\xff\xff",
        mp3(frames=1) + bytes(400),
        adts(frames=1),
        b"OggS\x01" + bytes(20),
    ],
)
def test_what_is_not_known_for_certain_is_only_bytes(of: Recognise, content: bytes) -> None:
    assert of(content) == OTHER


def test_an_entity_that_would_become_a_gigabyte_costs_nothing(of: Recognise) -> None:
    lol = b"".join(b'<!ENTITY l%d "%s">' % (n, b"&l%d;" % (n - 1) * 10) for n in range(1, 10))
    bomb = b'<!DOCTYPE svg [<!ENTITY l0 "lol">' + lol + b']><svg a="&l9;">&l9;</svg>'
    assert of(bomb).media_type in ("image/svg+xml", "text/plain")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(start=st.sampled_from([content[:32] for _, content in KNOWN]), rest=st.binary(max_size=80))
def test_no_file_makes_it_fail(of: Recognise, start: bytes, rest: bytes) -> None:
    assert isinstance(of(start + rest), Recognised)
    assert of(rest).media_type != "text/html"
