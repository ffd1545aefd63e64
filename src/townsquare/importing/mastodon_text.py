"""Mastodon's HTML turned back into what was written: Markdown for posts, plain text for profiles.

Mastodon keeps a post as plain text and makes HTML of a few kinds from it: paragraphs, line breaks, and links of which
it hides parts (`https://` and whatever follows the thirtieth character stand in spans that are not shown). Its forks
also let people write emphasis, code, lists and quotes. Of everything else, the text is kept.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html.parser import HTMLParser
from urllib.parse import urlsplit

from townsquare.importing.markdown import Piece, write_fence, write_markdown, write_plain


def to_markdown(html: str, names: Mapping[str, str] | None = None) -> str:
    """Return Markdown that renders as the HTML did.

    Args:
        html: as it stands in a note's `content`.
        names: who is meant by a mention, from the short name in lower case (`bob`) to the full one
            (`@bob@example.social`). Without an entry, the host of the mention's link is taken.
    """
    return _read(html, _Reader(names or {}, write_markdown))


def to_plain_text(html: str) -> str:
    """Return the text of the HTML, with full addresses in place of links."""
    return _read(html, _Reader({}, write_plain))


def _read(html: str, reader: "_Reader") -> str:
    reader.feed(html.replace("<![", "&lt;!["))  # at a marked section that it does not know, html.parser asserts
    reader.close()
    return reader.finish()


@dataclass
class _Context:
    """A quote or a list's item that the coming lines stand in."""

    first: str
    others: str
    begun: bool = False

    def take_prefix(self) -> str:
        prefix = self.others if self.begun else self.first
        self.begun = True
        return prefix


@dataclass
class _List:
    number: int | None
    """The number of the next item; None where items have bullets."""
    items: int = 0

    def take_item(self) -> _Context:
        self.items += 1
        if self.number is None:
            return _Context("- ", "  ")
        marker = f"{self.number}. "
        self.number += 1
        return _Context(marker, " " * len(marker))


_BLOCKS = frozenset({"p", "div", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "li", "blockquote", "pre", "tr", "hr"})
_UNSEEN = frozenset({"script", "style", "template"})
_MARKS = {"em": "*", "i": "*", "strong": "**", "b": "**", "del": "~~", "s": "~~", "strike": "~~"}
_ADDRESS = re.compile(r"https?://\S+", re.IGNORECASE)
_DEEPEST = 6
"""Quotes and lists within each other; what is deeper stands at this depth."""


class _Reader(HTMLParser):
    def __init__(self, names: Mapping[str, str], write: Callable[[Sequence[Piece]], list[str]]) -> None:
        super().__init__(convert_charrefs=True)
        self._names = names
        self._write = write
        self._lines: list[str] = []
        self._pieces: list[Piece] = []
        self._contexts: list[_Context] = []
        self._lists: list[_List] = []
        self._anchor: tuple[dict[str, str], int] | None = None
        self._marks: list[tuple[str, int]] = []
        self._code: int | None = None
        self._in_pre = False
        self._unseen = 0
        self._tight = False

    def finish(self) -> str:
        """Return what was read."""
        self._end_block()
        return "\n".join(self._lines)

    # What the parser calls.

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin a block or a span."""
        facts = {name: value or "" for name, value in attrs}
        if tag in _BLOCKS:
            self._begin_block(tag, facts)
        elif tag in _UNSEEN:
            self._unseen += 1
        elif tag == "br":
            self._put(Piece("text", "\n"))
        elif tag == "img":
            self._put(Piece("text", facts.get("alt", "")))
        elif tag == "a":
            self._end_anchor()
            self._anchor = (facts, len(self._pieces))
        elif tag == "code" and not self._in_pre:
            self._code = len(self._pieces)
        elif tag in _MARKS:
            self._marks.append((tag, len(self._pieces)))

    def handle_endtag(self, tag: str) -> None:
        """End what was begun."""
        if tag in _BLOCKS:
            self._end_block()
            self._leave(tag)
        elif tag in _UNSEEN:
            self._unseen = max(0, self._unseen - 1)
        elif tag == "a":
            self._end_anchor()
        elif tag == "code":
            self._end_code()
        elif self._marks and self._marks[-1][0] == tag:
            self._end_mark(*self._marks.pop())

    def handle_data(self, data: str) -> None:
        """Take text."""
        if not self._unseen:
            self._put(Piece("text", data if self._in_pre else re.sub(r"[\t\n\r\f]+", " ", data)))

    # Blocks.

    def _begin_block(self, tag: str, facts: dict[str, str]) -> None:
        self._end_block()
        if tag in {"ul", "ol"}:
            start = facts.get("start", "")
            number = int(start) if re.fullmatch("[0-9]{1,4}", start) else 1
            self._lists.append(_List(number if tag == "ol" else None))
        elif tag == "li":
            around = self._lists[-1] if self._lists else _List(None)
            self._tight = around.items > 0 or len(self._lists) > 1
            self._enter(around.take_item())
        elif tag == "blockquote":
            self._enter(_Context("> ", "> "))
        elif tag == "pre":
            self._in_pre = True

    def _enter(self, context: _Context) -> None:
        self._contexts.append(context if len(self._contexts) < _DEEPEST else _Context("", ""))

    def _leave(self, tag: str) -> None:
        if tag in {"li", "blockquote"} and self._contexts:
            self._contexts.pop()
        elif tag in {"ul", "ol"} and self._lists:
            self._lists.pop()
        elif tag == "pre":
            self._in_pre = False

    def _end_block(self) -> None:
        self._end_anchor()
        self._end_code()
        while self._marks:
            self._end_mark(*self._marks.pop())
        lines = write_fence(self._pieces) if self._in_pre else self._write(self._pieces)
        self._pieces.clear()
        if not lines:
            return
        if self._lines and not self._tight:
            self._lines.append("".join(context.others for context in self._contexts if context.begun).rstrip())
        self._tight = False
        for line in lines:
            self._lines.append(("".join(context.take_prefix() for context in self._contexts) + line).rstrip())

    # Spans.

    def _put(self, piece: Piece) -> None:
        if piece.kind == "text" and len(self._pieces) > self._fixed() and self._pieces[-1].kind == "text":
            piece = Piece("text", self._pieces.pop().value + piece.value)
        if piece.value:
            self._pieces.append(piece)

    def _fixed(self) -> int:
        """Return how many pieces stand before what is open: those are not to be added to."""
        opened = [start for _, start in self._marks[-1:]]
        if self._anchor:
            opened.append(self._anchor[1])
        if self._code is not None:
            opened.append(self._code)
        return max(opened, default=0)

    def _text_from(self, start: int) -> str:
        return "".join(piece.value for piece in self._pieces[start:])

    def _replace_from(self, start: int, piece: Piece) -> None:
        del self._pieces[start:]
        if piece.value:
            self._pieces.append(piece)

    def _end_anchor(self) -> None:
        if self._anchor is None:
            return
        (facts, start), self._anchor = self._anchor, None
        href, classes, text = facts.get("href", "").strip(), facts.get("class", "").split(), self._text_from(start)
        if "hashtag" in classes and re.fullmatch(r"#\w+", text):
            self._replace_from(start, Piece("name", text))
        elif "mention" in classes and (name := self._full_name(text, href)):
            self._replace_from(start, Piece("name", name))
        elif _ADDRESS.fullmatch(href):
            shown = text.strip().removesuffix("…")
            is_address = bool(shown) and shown in href and len(shown) > len(href) / 3
            self._replace_from(start, Piece("address", href) if is_address else Piece("link", text, href))

    def _full_name(self, text: str, href: str) -> str | None:
        short = re.fullmatch(r"@([A-Za-z0-9_.-]+)(@[A-Za-z0-9.-]+)?", text)
        if short is None or short[2]:
            return short and text
        host = _host(href)
        return self._names.get(short[1].lower()) or (f"{text}@{host}" if host else None)

    def _end_code(self) -> None:
        if self._code is not None:
            start, self._code = self._code, None
            self._replace_from(start, Piece("code", self._text_from(start)))

    def _end_mark(self, tag: str, start: int) -> None:
        inside = self._pieces[start:]
        # Anything but a letter or a digit at either end may keep Markdown from seeing the mark as one.
        bounds = (inside[0], inside[-1]) if inside else ()
        if not bounds or any(piece.kind != "text" for piece in bounds):
            return
        if bounds[0].value[0].isalnum() and bounds[1].value[-1].isalnum():
            self._pieces.insert(start, Piece("mark", _MARKS[tag]))
            self._pieces.append(Piece("mark", _MARKS[tag]))


def _host(href: str) -> str | None:
    try:
        return urlsplit(href).hostname
    except ValueError:
        return None
