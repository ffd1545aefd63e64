"""Pictures that mean harm, or were harmed: each a name and its bytes. All are made here, and small."""

import io
import random
import struct
import zlib
from collections.abc import Iterator

from PIL import Image

Files = Iterator[tuple[str, bytes]]

WHOLE = ("JPEG", "PNG", "GIF", "WEBP", "AVIF", "TIFF")


def whole(format_: str, side: int = 96, **options: object) -> bytes:
    """Return a sound picture with structure in it, so that cutting and flipping hits something."""
    picture = Image.radial_gradient("L").resize((side, side))
    file = io.BytesIO()
    Image.merge("RGB", (picture, picture.rotate(90), picture.transpose(Image.Transpose.FLIP_TOP_BOTTOM))).save(
        file, format_, **options
    )
    return file.getvalue()


def cut() -> Files:
    """Each format, cut at every tenth."""
    for format_ in WHOLE:
        content = whole(format_)
        for tenth in range(10):
            yield f"{format_} cut at {tenth}/10", content[: len(content) * tenth // 10]


def flipped(seed: int, many: int) -> Files:
    """Each format, some bytes of it replaced by others."""
    chance = random.Random(seed)
    for format_ in WHOLE:
        content = whole(format_)
        for number in range(many):
            damaged = bytearray(content)
            for _ in range(chance.choice((1, 2, 8, 40))):
                # The first bytes stay: a file of no known kind goes no further than that.
                damaged[chance.randrange(12, len(damaged))] = chance.randrange(256)
            yield f"{format_} flipped {number}", bytes(damaged)


def bombs() -> Files:
    """Small files that say, or are, very much."""
    yield "PNG of 60,000 x 60,000", png(60_000, 60_000, b"")
    yield "PNG of 2^31 - 1", png(0x7FFFFFFF, 0x7FFFFFFF, b"")
    yield "PNG of no size", png(0, 0, b"")
    yield "PNG of 10,000 x 10,000 in one colour", png(10_000, 10_000, zlib.compress(bytes(10_001 * 10_000), 9), depth=1)
    yield "PNG with a text of 100 MB", png(8, 8, zlib.compress(bytes(25 * 8)), _chunk(b"zTXt", b"x\0\0" + deflated(100)))
    yield "PNG with a profile of 100 MB", png(8, 8, zlib.compress(bytes(25 * 8)), _chunk(b"iCCP", b"x\0\0" + deflated(100)))
    yield "GIF of 65,535 x 65,535", gif(65_535, 65_535)
    yield "GIF whose frames are larger than it", gif(8, 8, frames=3, frame=(65_535, 65_535))
    yield "GIF of 5,000 frames", gif(8, 8, frames=5_000)
    yield "GIF of 500 frames of 4,000 x 4,000", gif(4_000, 4_000, frames=500)
    webp = bytearray(whole("WEBP"))
    webp[26:30] = b"\xff\x3f\xff\x3f"
    yield "WebP that says 16,383 x 16,383", bytes(webp)
    avif = whole("AVIF")
    yield (
        "AVIF that says 2^31",
        avif.replace(b"ispe\0\0\0\0" + struct.pack(">II", 96, 96), b"ispe\0\0\0\0" + b"\x7f\xff\xff\xff" * 2),
    )
    yield "JPEG that says 65,500 x 65,500", jpeg_size(65_500, 65_500)
    yield "JPEG that says 20,000 x 6,000", jpeg_size(20_000, 6_000)
    yield "TIFF that says 2^32 - 1", tiff((256, 4, 1, 0xFFFFFFFF), (257, 4, 1, 0xFFFFFFFF), (273, 4, 1, 8), (279, 4, 1, 8))
    yield "BMP", whole("BMP")


def liars() -> Files:
    """Lengths, offsets and tables inside that are not what they say."""
    yield "TIFF whose directory is followed by itself", tiff((256, 3, 1, 8), (257, 3, 1, 8), following=8)
    yield (
        "TIFF whose strips are past the end",
        tiff((256, 3, 1, 8), (257, 3, 1, 8), (273, 4, 1, 1 << 31), (279, 4, 1, 1 << 31)),
    )
    yield "TIFF with a count of 2^32 - 1", tiff((256, 3, 1, 8), (257, 3, 1, 8), (273, 4, 0xFFFFFFFF, 8))
    jpeg = whole("JPEG")
    for name, body in exifs():
        yield f"JPEG with EXIF {name}", jpeg[:2] + _segment(0xE1, b"Exif\0\0" + body) + jpeg[2:]
    for name, body in profiles():
        yield f"JPEG with a profile {name}", jpeg[:2] + _segment(0xE2, b"ICC_PROFILE\0\x01\x01" + body) + jpeg[2:]
        yield f"PNG with a profile {name}", whole("PNG", icc_profile=body)
    yield (
        "JPEG with a profile in 255 parts, of which one came",
        jpeg[:2] + _segment(0xE2, b"ICC_PROFILE\0\x07\xff" + bytes(9)) + jpeg[2:],
    )
    yield "JPEG whose segment is longer than the file", jpeg[:2] + b"\xff\xe1\xff\xff" + jpeg[2:]
    yield "JPEG without an end", jpeg[:-2]
    yield "PNG with a wrong checksum", whole("PNG").replace(b"IEND", b"IENE")
    yield "GIF without colours", gif(8, 8).replace(b"\xf0\0\0", b"\0\0\0", 1)


def exifs() -> Files:
    """EXIF directories that go in circles, or point outside."""
    head = b"II*\0\x08\0\0\0"
    yield "in a circle", head + struct.pack("<HHHIII", 1, 0x8769, 4, 1, 8, 8)
    yield "outside", head + struct.pack("<HHHIII", 1, 0x010F, 2, 0xFFFFFFF0, 0xFFFFFFF0, 0xFFFFFFF0)
    yield "with 65,535 entries", head + b"\xff\xff"
    yield "with orientation 200", head + struct.pack("<HHHIII", 1, 0x0112, 3, 1, 200, 0)
    yield "cut", head[:5]


def profiles() -> Files:
    """Colour profiles that are none."""
    yield "of nothing", b"\0" * 128
    yield (
        "that says 4 GB",
        b"\xff\xff\xff\xff" + b"lcms\x02\x10\0\0mntrRGB XYZ " + bytes(16) + b"acsp" + bytes(88) + b"\xff\xff\xff\xff",
    )
    yield "of noise", random.Random(7).randbytes(2_000)


def mistaken() -> Files:
    """What is no picture, whatever it is called, and what is a picture and something else."""
    yield "empty", b""
    yield "one byte", b"\xff"
    yield "a page", b"<!doctype html><script>alert(1)</script>"
    yield "a page in front of a picture", b"<script>alert(1)</script>" + whole("JPEG")
    yield "a program", b"\x7fELF\x02\x01\x01" + bytes(200)
    yield "a PDF", b"%PDF-1.4\n1 0 obj<<>>endobj"
    yield "PostScript", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) (w) file\n"
    yield "a Radiance picture", b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 8 +X 8\n" + bytes(300)
    yield "a PPM", b"P6 60000 60000 255\n" + bytes(100)
    yield "a .v of libvips", b"\xb6\xa6\xf2\x08" + struct.pack(">II", 60_000, 60_000) + bytes(100)
    yield "a picture with a page behind it", whole("PNG") + b"<script>alert(1)</script>"
    yield "a picture with an archive behind it", whole("GIF") + b"PK\x03\x04" + bytes(40)
    yield "a picture with a page in its comment", whole("GIF", comment=b"<script>alert(1)</script>")


# Each SVG stands on one line, however long.
# ruff: noqa: E501
def drawings(file: str, address: str) -> Files:
    """SVGs that would fetch, read or run something, or never come to an end."""
    head = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="99" height="99"'
    lol = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    for name, text in {
        "with a script": f'{head} onload="alert(1)"><script>alert(1)</script></svg>',
        "with a billion laughs": f'<!DOCTYPE svg [<!ENTITY l0 "lol">{lol}]>{head}><text>&l9;</text></svg>',
        "with an entity of a file": f'<!DOCTYPE svg [<!ENTITY x SYSTEM "file://{file}">]>{head}><text y="50">&x;</text></svg>',
        "with an entity of an address": f'<!DOCTYPE svg [<!ENTITY x SYSTEM "{address}/entity">]>{head}><text>&x;</text></svg>',
        "with a doctype elsewhere": f'<!DOCTYPE svg SYSTEM "{address}/doctype">{head}/>',
        "with a parameter entity": f'<!DOCTYPE svg [<!ENTITY % x SYSTEM "{address}/parameter"> %x;]>{head}/>',
        "with a picture of a file": f'{head}><image xlink:href="file://{file}" width="99" height="99"/></svg>',
        "with a picture of a path": f'{head}><image href="{file}" width="99" height="99"/></svg>',
        "with a picture elsewhere": f'{head}><image href="{address}/picture.png" width="99" height="99"/></svg>',
        "with a sheet elsewhere": f'<?xml-stylesheet href="{address}/sheet.css"?>{head}><style>@import "{address}/style";</style></svg>',
        "with an inclusion": f'{head} xmlns:xi="http://www.w3.org/2001/XInclude"><xi:include href="file://{file}" parse="text"/></svg>',
        "with a use elsewhere": f'{head}><use href="{address}/other.svg#x"/><use href="{file}#x"/></svg>',
        "with a use of itself": f'{head}><g id="a"><use href="#a"/><use href="#a"/></g></svg>',
        "with uses of uses": head + ">" + "".join(_doubling()) + '<use href="#u22"/></svg>',
        "with a blur of everything": f'{head}><filter id="f"><feGaussianBlur stdDeviation="99999"/></filter><rect width="99" height="99" filter="url(#f)"/></svg>',
        "nested deeply": head + ">" + "<g>" * 20_000 + "</g>" * 20_000 + "</svg>",
        "of 10^9": head.replace('"99"', '"1000000000"') + "/>",
        "of no size": '<svg xmlns="http://www.w3.org/2000/svg" width="0" height="-3"/>',
        "cut": head,
    }.items():
        yield f"SVG {name}", text.encode()


def _doubling() -> Iterator[str]:
    yield '<g id="u0"><rect width="9" height="9"/></g>'
    for n in range(1, 23):
        yield f'<g id="u{n}"><use href="#u{n - 1}"/><use href="#u{n - 1}"/></g>'


def deflated(megabytes: int) -> bytes:
    """Return so many megabytes of nothing, compressed."""
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(1 << 20)) for _ in range(megabytes)) + packer.flush()


def png(width: int, height: int, data: bytes, extra: bytes = b"", depth: int = 8) -> bytes:
    """Return a PNG with any header and any data (RGB of 8 bits, or grey of fewer)."""
    header = struct.pack(">IIBBBBB", width, height, depth, 2 if depth == 8 else 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + extra + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def gif(width: int, height: int, frames: int = 1, frame: tuple[int, int] | None = None) -> bytes:
    """Return a GIF of any size whose frames have one pixel of data each."""
    one = b"\x21\xf9\x04\0\x01\0\0\0\x2c\0\0\0\0" + struct.pack("<HH", *(frame or (width, height))) + b"\0\x02\x02\x44\x01\0"
    return b"GIF89a" + struct.pack("<HH", width, height) + b"\xf0\0\0" + b"\0\0\0\xff\xff\xff" + one * frames + b";"


def jpeg_size(width: int, height: int) -> bytes:
    """Return a JPEG that says it has this size, with the data of a small one."""
    jpeg = bytearray(whole("JPEG"))
    at = jpeg.index(b"\xff\xc0") + 5
    jpeg[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(jpeg)


def tiff(*entries: tuple[int, int, int, int], following: int = 0) -> bytes:
    """Return a TIFF of one directory with these entries: tag, type, count, value."""
    fixed = (*entries, (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (277, 3, 1, 1))
    directory = b"".join(struct.pack("<HHII", *entry) for entry in sorted(fixed))
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(fixed)) + directory + struct.pack("<I", following) + bytes(64)


def _segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body
