"""What a file is, told by its content; its name and what the sender called it are never asked.

The answer decides how a file is served, so a doubt is `application/octet-stream`: a signature counts at the file's first
byte only, and the structure behind it must fit. Nothing is ever HTML or script: a text is `text/plain`, whatever it says.

Own code, where libraries were at hand: `filetype` knows neither SVG nor text and looks for some marks anywhere in the head,
`puremagic` weighs guesses against the file's name, libmagic says `text/html`. Each would be overruled here line by line.
"""

import codecs
import re
import struct
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Final, Literal, TypeAlias
from xml.parsers import expat

from msgspec import Struct

Kind: TypeAlias = Literal["image", "video", "audio", "document", "other"]

HEAD: Final = 64 * 1024
"""So much is read of the beginning, and as much of the end or of what follows a leading tag where that is asked."""


class Recognised(Struct, frozen=True):
    """What a file is: its media type, and the kind that people would call it."""

    media_type: str
    kind: Kind


OTHER: Final = Recognised("application/octet-stream", "other")


class _Look:
    """A file under examination: its beginning, its length, and any other place of it when asked."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = path.stat().st_size
        self.head = self.at(0)

    def at(self, offset: int) -> bytes:
        with self.path.open("rb") as file:
            file.seek(offset)
            return file.read(HEAD)


def recognise(path: Path) -> Recognised:
    """Return what the file at `path` is. Reads at most two times `HEAD` bytes; raises `OSError` when it cannot."""
    look = _Look(path)
    return next((found for detect in _DETECTORS if (found := detect(look))), OTHER)


# ---- pictures ----


def _image(media_type: str) -> Recognised:
    return Recognised(f"image/{media_type}", "image")


def _picture(look: _Look) -> Recognised | None:
    head = look.head
    if head[:3] == b"\xff\xd8\xff" and head[3:4] >= b"\xc0":
        return _image("jpeg")
    if head[:8] == b"\x89PNG\r\n\x1a\n" and head[12:16] == b"IHDR":
        return _image("png")
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return _image("gif")
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return _image("tiff")
    if head[:2] == b"BM" and head[14:18] in _BMP_HEADERS:
        return _image("bmp")
    return None


_BMP_HEADERS: Final = frozenset(struct.pack("<I", size) for size in (12, 40, 52, 56, 64, 108, 124))


# ---- RIFF, ISO base media, EBML, Ogg: containers whose second word says what is in them ----


def _riff(look: _Look) -> Recognised | None:
    head = look.head
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP" and head[12:16] in (b"VP8 ", b"VP8L", b"VP8X"):
        return _image("webp")
    if head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE":
        return Recognised("audio/wav", "audio")
    return None


_BRANDS: Final[dict[bytes, Recognised]] = {
    **dict.fromkeys((b"avif", b"avis"), _image("avif")),
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"), _image("heic")),
    **dict.fromkeys((b"M4A ", b"M4B ", b"M4P ", b"F4A ", b"F4B "), Recognised("audio/mp4", "audio")),
    b"qt  ": Recognised("video/quicktime", "video"),
    **dict.fromkeys((b"M4V ", b"M4VH", b"M4VP", b"F4V "), Recognised("video/mp4", "video")),
    **dict.fromkeys(
        b"isom iso2 iso3 iso4 iso5 iso6 iso7 iso8 iso9 mp41 mp42 avc1 av01 hvc1 dash cmfc MSNV mmp4".split(),
        Recognised("video/mp4", "video"),
    ),
}
_STILLS: Final = (b"mif1", b"mif2", b"miaf", b"msf1")


def _iso_media(look: _Look) -> Recognised | None:
    head = look.head
    if head[4:8] in (b"moov", b"mdat", b"wide") and 8 <= int.from_bytes(head[:4]) <= look.size:
        return Recognised("video/quicktime", "video")  # QuickTime from before there was `ftyp`
    length = int.from_bytes(head[:4])
    if head[4:8] != b"ftyp" or not 16 <= length <= min(4096, len(head)):
        return None
    brands = [head[8:12], *(head[at : at + 4] for at in range(16, length - 3, 4))]
    if brands[0] in _STILLS:
        return next(
            (_BRANDS[brand] for brand in brands if brand in _BRANDS and _BRANDS[brand].kind == "image"), _image("heif")
        )
    if brands[0][:3] in (b"3gp", b"3g2"):
        return Recognised("video/3gpp", "video")
    return _BRANDS.get(brands[0])


def _ebml(look: _Look) -> Recognised | None:
    # The EBML header is small and comes first; its DocType (0x4282) tells Matroska from the part of it that the web took.
    found = re.search(rb"\x42\x82[\x81-\x88]([a-z]+)", look.head[4:128]) if look.head[:4] == b"\x1a\x45\xdf\xa3" else None
    types = {b"webm": "video/webm", b"matroska": "video/x-matroska"}
    name = types.get(found[1]) if found else None
    return Recognised(name, "video") if name else None


def _ogg(look: _Look) -> Recognised | None:
    if look.head[:5] != b"OggS\0":
        return None
    # The first pages name one stream each, before any has data: with pictures among them it is a video.
    opening = look.head[:4096]
    if b"\x80theora" in opening:
        return Recognised("video/ogg", "video")
    if any(mark in opening for mark in (b"OpusHead", b"\x01vorbis", b"\x7fFLAC", b"Speex   ")):
        return Recognised("audio/ogg", "audio")
    return None


# ---- sound without a container ----

_MP3: Final = Recognised("audio/mpeg", "audio")
_AAC: Final = Recognised("audio/aac", "audio")
_FLAC: Final = Recognised("audio/flac", "audio")


def _sound(look: _Look) -> Recognised | None:
    head = look.head
    if head[:3] != b"ID3":
        return _bare_sound(head)
    if len(head) < 10 or head[3] not in (2, 3, 4) or any(byte > 0x7F for byte in head[6:10]):
        return None
    # An ID3 tag may hold a cover of megabytes: the sound begins behind it. Its length has 7 bits a byte.
    length = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
    return _bare_sound(look.at(10 + length).lstrip(b"\0"))


def _bare_sound(data: bytes) -> Recognised | None:
    if data[:4] == b"fLaC" and data[4:5] in (b"\0", b"\x80"):
        return _FLAC
    # Two bytes of sync occur in any data. Three frames that lead to each other do not.
    if _chain(data, _adts_frame):
        return _AAC
    return _MP3 if _chain(data, _mpeg_frame) else None


def _chain(data: bytes, length_of: Callable[[bytes], int]) -> bool:
    return sum(1 for _ in islice(_frames(data, length_of), 3)) == 3


def _frames(data: bytes, length_of: Callable[[bytes], int]) -> Iterator[int]:
    at = 0
    while length := length_of(data[at : at + 7]):
        yield at
        at += length


def _adts_frame(start: bytes) -> int:
    """Return the length of an AAC frame (ISO 14496-3, 1.A.2.2), 0 when this is none."""
    if len(start) < 7 or start[0] != 0xFF or start[1] & 0xF6 != 0xF0:
        return 0
    length = (start[3] & 3) << 11 | start[4] << 3 | start[5] >> 5
    return length if length > 7 else 0


# ISO 11172-3, 2.4.2.3, and 13818-3 for the lower rates; kbit/s and Hz. Layers I and II are not in use any more.
_RATES_1: Final = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0)
_RATES_2: Final = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0)
_FREQUENCIES: Final = (44_100, 48_000, 32_000)


def _mpeg_frame(start: bytes) -> int:
    """Return the length of an MPEG layer III frame, 0 when this is none."""
    if len(start) < 4 or start[0] != 0xFF or start[1] & 0xE6 != 0xE2:
        return 0
    version, rate, frequency = start[1] >> 3 & 3, start[2] >> 4, start[2] >> 2 & 3
    if version == 1 or frequency == 3:
        return 0
    first = version == 3
    hertz = _FREQUENCIES[frequency] >> {3: 0, 2: 1, 0: 2}[version]
    kilobits = (_RATES_1 if first else _RATES_2)[rate]
    return (144 if first else 72) * kilobits * 1000 // hertz + (start[2] >> 1 & 1) if kilobits else 0


# ---- documents and text ----

_OFFICE: Final = "application/vnd.openxmlformats-officedocument."
_OFFICE_FOLDERS: Final = {
    b"word/": f"{_OFFICE}wordprocessingml.document",
    b"xl/": f"{_OFFICE}spreadsheetml.sheet",
    b"ppt/": f"{_OFFICE}presentationml.presentation",
}
_DECLARED: Final = {
    b"application/vnd.oasis.opendocument.text",
    b"application/vnd.oasis.opendocument.spreadsheet",
    b"application/vnd.oasis.opendocument.presentation",
    b"application/epub+zip",
}


def _document(look: _Look) -> Recognised | None:
    if look.head[:5] == b"%PDF-":
        return Recognised("application/pdf", "document")
    if look.head[:4] == b"PK\x03\x04":
        return _zipped(look)
    return None


def _zipped(look: _Look) -> Recognised | None:
    # OpenDocument and EPUB: the first entry is called `mimetype`, is stored as it is, and has nothing else in it.
    first = re.match(rb"PK\x03\x04.{4}\0\0.{16}\x08\0..mimetype([a-z.+/-]+)", look.head, re.DOTALL)
    if first:
        return Recognised(first[1].decode(), "document") if first[1] in _DECLARED else None
    # Office Open XML: told by its folders. Their names stand before each entry, and once more in the list at the end.
    names = _entry_names(look.head) | _entry_names(look.at(max(0, look.size - HEAD)))
    if b"[Content_Types].xml" not in names:
        return None
    parts = (kind for folder, kind in _OFFICE_FOLDERS.items() if any(name.startswith(folder) for name in names))
    return next((Recognised(kind, "document") for kind in parts), None)


def _entry_names(part: bytes) -> set[bytes]:
    """Return the names of a zip file's entries that begin in this part of it."""
    found: set[bytes] = set()
    for mark, length_at, name_at in ((b"PK\x03\x04", 26, 30), (b"PK\x01\x02", 28, 46)):
        for entry in re.finditer(re.escape(mark), part):
            length = int.from_bytes(part[entry.start() + length_at : entry.start() + length_at + 2], "little")
            found.add(part[entry.start() + name_at : entry.start() + name_at + min(length, 256)])
    return found


class _RootElement(Exception):
    """Ends the parsing at the first element: what comes before it tells nothing, what comes after it is not looked at."""


def _svg(look: _Look) -> Recognised | None:
    # The standard library's parser knows byte order marks, comments, and doctypes in all their forms. It fetches nothing.
    parser = expat.ParserCreate()
    parser.StartElementHandler = _stop
    try:
        parser.Parse(look.head if look.head[:2] in _UTF_16 else look.head.lstrip(), False)
    except _RootElement as root:
        return _image("svg+xml") if str(root).rpartition(":")[2] == "svg" else None
    except (expat.ExpatError, ValueError):
        return None
    return None


_UTF_16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def _stop(name: str, _attributes: dict[str, str]) -> None:
    raise _RootElement(name)


def _text(look: _Look) -> Recognised | None:
    try:
        # Not the last character of the head when it is cut in two: the decoder waits for its other half.
        text = codecs.getincrementaldecoder("utf-8")().decode(look.head, final=look.size <= HEAD)
    except UnicodeDecodeError:
        return None
    return Recognised("text/plain", "document") if text and not _CONTROL.search(text) else None


_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f]")

# In this order: what has a signature before what is told by a chain of frames, text last.
_DETECTORS: Final[tuple[Callable[[_Look], Recognised | None], ...]] = (
    _picture,
    _riff,
    _iso_media,
    _ebml,
    _ogg,
    _document,
    _sound,
    _svg,
    _text,
)
