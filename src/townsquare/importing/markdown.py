"""Writes text as Markdown, escaped only where Markdown would read something else in it."""

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple


class Piece(NamedTuple):
    """A run of a line.

    `text` is shown as it stands, `name` is a tag or a mention, `address` a bare link, `link` one with a label (its
    address is `href`), `code` is code, and `mark` opens or closes an emphasis.
    """

    kind: Literal["text", "name", "address", "link", "code", "mark"]
    value: str
    href: str = ""


def write_plain(pieces: Sequence[Piece]) -> list[str]:
    """Return the lines of a paragraph as plain text."""
    shown = (f"{piece.value} ({piece.href})" if piece.href else piece.value for piece in pieces if piece.kind != "mark")
    return _lines("".join(shown))


def write_markdown(pieces: Sequence[Piece]) -> list[str]:
    """Return the lines of a paragraph as Markdown."""
    out = ""
    for at, piece in enumerate(pieces):
        after = pieces[at + 1].value[:1] if at + 1 < len(pieces) else ""
        out += _write_piece(piece, out[-1:], after)
    # A line that begins with a tag, a link or code begins with none of these.
    return [_LINE_START.sub(_escape_start, line) for line in _lines(out)]


def write_fence(pieces: Sequence[Piece]) -> list[str]:
    """Return the lines of a block of code."""
    text = "".join(piece.value for piece in pieces).strip("\n")
    fence = "`" * max(3, 1 + _longest_run(text))
    return [fence, *text.split("\n"), fence] if text else []


def _lines(text: str) -> list[str]:
    # The spaces around a line are not shown, and two empty lines are no more than one.
    joined = "\n".join(line.strip(" ") for line in text.split("\n"))
    lines = re.sub(r"\n{3,}", "\n\n", joined.strip()).split("\n")
    return lines if lines != [""] else []


def _write_piece(piece: Piece, before: str, after: str) -> str:
    match piece.kind:
        case "text":
            return _escape(piece.value, before, after)
        case "address":
            return _write_address(piece.value, before, after)
        case "link":
            return _write_link(piece.value, piece.href)
        case "code":
            return _write_code(piece.value)
        case _:
            return piece.value


_SPECIAL = re.compile(
    r"[\\`\[]"
    r"|\*(?!\s)|(?<!\s)\*"  # a star between spaces is a star
    r"|(?<![^\W_])_|_(?![^\W_])"  # and so is an underscore within a word
    r"|~(?=~)|(?<=~)~"
    r"|<(?=[A-Za-z/!?])"
    r"|&(?=\#?\w+;)"
    r"|(?<!\w)\#(?=\w)"  # what was no tag and no mention over there
    r"|(?<!\w)@(?=\w)"  # is not to become one here
    r"|(?<=https):(?=//)|(?<=http):(?=//)",
    re.IGNORECASE,
)
_LINE_START = re.compile(r"^(?:#{1,6}(?=\s|$)|>|[-+*](?=\s|$|[-*])|\d{1,9}[.)](?=\s|$)|=+$)")


def _escape(text: str, before: str, after: str) -> str:
    whole = before + text + after
    out, done, end = "", len(before), len(before) + len(text)
    for found in _SPECIAL.finditer(whole, done):
        if found.start() >= end:
            break
        out += whole[done : found.start()] + "\\"
        done = found.start()
    return out + whole[done:end]


def _escape_start(found: re.Match[str]) -> str:
    marker = found[0]
    # Of `1.` the point is what makes it a list; a digit cannot be escaped.
    return f"{marker[:-1]}\\{marker[-1]}" if marker[0].isdigit() else f"\\{marker}"


_PLAIN_ADDRESS = re.compile(
    r"https?://(?:[a-z0-9](?:-?[a-z0-9])*\.)+[a-z]{2,24}(?:[/?#](?:[a-z0-9/_=&#+~%:@-]|[.?](?=[a-z0-9]))*)?(?<=[a-z0-9/])",
    re.IGNORECASE,
)


def _write_address(address: str, before: str, after: str) -> str:
    alone = (not before or before.isspace()) and (not after or after.isspace())
    if alone and _PLAIN_ADDRESS.fullmatch(address) and "--" not in address:
        return address
    return f"<{_encode(address)}>"


def _write_link(label: str, href: str) -> str:
    shown = _escape(label.replace("\n", " "), "", "").replace("]", "\\]").strip()
    if not shown:
        return _write_address(href, ".", ".")
    target = re.sub(r"&(?=#?\w+;)", r"\\&", _encode(href))
    return f"[{shown}](<{target}>)"


def _encode(address: str) -> str:
    return re.sub(r"[\x00-\x20<>\\\x7f]", lambda found: f"%{ord(found[0]):02X}", address)


def _write_code(text: str) -> str:
    text = text.replace("\n", " ")
    if not text.strip():
        return text
    fence = "`" * (1 + _longest_run(text))
    pad = " " if text[0] in "` " or text[-1] in "` " else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def _longest_run(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)
