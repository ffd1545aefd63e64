"""What people write, checked and made into HTML.

A post is Markdown as CommonMark has it, less what a post does not need: no HTML, no pictures (posts have media),
no link definitions, no code by indentation, and headings are only strong lines. `#tags` and `@handles` become
links. The renderer is built so that nothing else can come out, and nh3 goes over its output all the same.
"""

import re
import unicodedata
from typing import NamedTuple

import nh3
from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

MIN_TEXT = 1
MAX_TEXT = 5_000
"""Characters (code points, after trimming) of a post or a comment."""

MAX_TAGS = 30
"""Distinct tags that a post is found under; the ones after these stay plain text."""

MAX_TAG = 64
"""Characters of a tag's key."""

MAX_MENTIONS = 30
"""Distinct people whom one post can call; more would make a post a way to ring at every door."""

REL = "nofollow noopener noreferrer ugc"
ALLOWED_TAGS = frozenset("a blockquote br code em hr li ol p pre s strong ul".split())
ALLOWED_SCHEMES = frozenset({"http", "https", "mailto"})


class TextError(ValueError):
    """A text that cannot be kept, with a sentence for its author."""


class Rendered(NamedTuple):
    """HTML fit to be shown, and whom and what it names, each once and in order of appearance."""

    html: str
    tags: tuple[str, ...]
    mentions: tuple[str, ...]


def clean_text(text: str) -> str:
    """Return the text as it is kept: NFC, without white space at its end or empty lines at its beginning.

    Raises:
        TextError: for a NUL or a lone surrogate, neither of which PostgreSQL can keep, and for a text that is
            shorter than `MIN_TEXT` or longer than `MAX_TEXT` characters once it is trimmed.
    """
    if "\0" in text or any("\ud800" <= char <= "\udfff" for char in text):
        raise TextError("The text has characters that cannot be kept.")
    text = unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n"))
    # Only whole lines go at the beginning: the spaces of the first line may be meant.
    text = re.sub(r"\A(?:[^\S\n]*\n)+", "", text.rstrip())
    if len(text) < MIN_TEXT:
        raise TextError("The text is empty.")
    if len(text) > MAX_TEXT:
        raise TextError(f"The text has {len(text):,} characters; at most {MAX_TEXT:,} are possible.")
    return text


def render(text: str) -> Rendered:
    """Render a text that `clean_text` has returned."""
    found = {"tags": dict[str, None](), "mentions": dict[str, None]()}
    html = _CLEANER.clean(_MARKDOWN.render(text, found)).strip()
    return Rendered(html, tuple(found["tags"]), tuple(found["mentions"]))


def tag_key(word: str) -> str | None:
    """Return the key that a tag is kept and found under, or None when the word cannot be a tag.

    The word comes without its `#`. Case and width make no difference (`#Café` and `#ＣＡＦÉ` are one tag); letters,
    marks, digits and underscores may stand in it, and one letter must.
    """
    key = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", word).casefold())
    if len(key) > MAX_TAG or not all(map(_of_a_tag, key)) or not any(map(str.isalpha, key)):
        return None
    return key


def _of_a_tag(char: str) -> bool:
    # Marks count as well, or the words of half of India's scripts would break in their middle.
    return char == "_" or unicodedata.category(char) in _TAG_CATEGORIES


_TAG_CATEGORIES = frozenset({"Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Nd"})


# --- tags and mentions ---------------------------------------------------------------------------------------------
# Inline rules of markdown-it: they are asked only where text is parsed, so never inside code or an address, and
# `linkLevel` tells them that they stand in a link's label.

_MENTION = re.compile(r"@([A-Za-z0-9_]{2,30})(?![\w@])(?!\.\w)")
# Somebody on another server. The host has a dot and ends in something like a top-level domain.
_FAR_MENTION = re.compile(
    r"@([A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,62}[A-Za-z0-9_])?)"
    r"@((?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.){1,8}[a-z](?:[a-z0-9-]{0,61}[a-z0-9]))(?![\w@-])(?!\.\w)",
    re.IGNORECASE | re.ASCII,
)
_TAG_REACH = 2 * MAX_TAG
"""How far a tag is looked for: composition may shorten a word on its way to its key, though not by so much."""


def _tag(state: StateInline, silent: bool) -> bool:
    if not _may_begin(state, "#"):
        return False
    end = start = state.pos + 1
    reach = min(state.posMax, start + _TAG_REACH + 1)
    while end < reach and _of_a_tag(state.src[end]):
        end += 1
    key = tag_key(state.src[start:end])
    if key is None or not _has_room(state, "tags", key, MAX_TAGS):
        return False
    if not silent:
        state.env["tags"][key] = None
        _push_link(state, state.src[state.pos : end], f"/tags/{key}", "tag")
    state.pos = end
    return True


def _mention(state: StateInline, silent: bool) -> bool:
    if not _may_begin(state, "@"):
        return False
    if near := _MENTION.match(state.src, state.pos, state.posMax):
        handle = near[1].lower()
        if not _has_room(state, "mentions", handle, MAX_MENTIONS):
            return False
        if not silent:
            state.env["mentions"][handle] = None
            _push_link(state, near[0], f"/@{handle}", "mention")
        state.pos = near.end()
        return True
    if far := _FAR_MENTION.match(state.src, state.pos, state.posMax):
        if not silent:
            _push_link(state, far[0], f"https://{far[2].lower()}/@{far[1]}", None)
        state.pos = far.end()
        return True
    return False


_BEFORE = re.compile(r"(?:^|[^\w#@/&=%+\\*~])[*_~]*\Z")
"""What may stand before a tag or a mention: anything that cannot be the inside of a word or of an address."""


def _may_begin(state: StateInline, marker: str) -> bool:
    if state.src[state.pos] != marker or state.linkLevel:
        return False
    # Markers of emphasis are looked through; more than eight of them are no emphasis, and not looked through.
    return _BEFORE.search(state.src[max(0, state.pos - 9) : state.pos]) is not None


def _has_room(state: StateInline, kind: str, key: str, most: int) -> bool:
    return key in state.env[kind] or len(state.env[kind]) < most


def _push_link(state: StateInline, text: str, href: str, kind: str | None) -> None:
    opening = state.push("link_open", "a", 1)
    opening.attrs = {"href": href} | ({"class": kind} if kind else {})
    state.push("text", "", 0).content = text
    state.push("link_close", "a", -1)


# --- the renderer --------------------------------------------------------------------------------------------------


class _PostMarkdown(MarkdownIt):
    def validateLink(self, url: str) -> bool:  # noqa: N802 - markdown-it's name for it
        # Stricter than the original, which lets relative addresses pass: nobody's post links to `/logout`.
        return _ADDRESS.match(url) is not None


_ADDRESS = re.compile(r"https?://[^/?#]|mailto:.", re.IGNORECASE)


def _flatten_headings(state: StateCore) -> None:
    for at, token in enumerate(state.tokens):
        if token.type == "heading_open":
            line = state.tokens[at + 1]
            line.children = [
                Token("strong_open", "strong", 1),
                *(line.children or []),
                Token("strong_close", "strong", -1),
            ]
        if token.type in {"heading_open", "heading_close"}:
            token.tag = "p"


def _mark_links(state: StateCore) -> None:
    for token in state.tokens:
        for child in token.children or []:
            if child.type == "link_open" and not str(child.attrs["href"]).startswith("/"):
                child.attrs["rel"] = REL


def _build_markdown() -> MarkdownIt:
    markdown = _PostMarkdown("commonmark", {"html": False, "linkify": True, "breaks": True, "maxNesting": 12})
    markdown.enable(["strikethrough", "linkify"])
    # The core rule of the same name would also link bare hosts and e-mail addresses: `README.md` is no address,
    # and an e-mail address is not to be made easier to harvest.
    markdown.core.ruler.disable("linkify")
    markdown.disable(["code", "html_block", "html_inline", "image", "lheading", "reference"])
    markdown.inline.ruler.before("escape", "tag", _tag)
    markdown.inline.ruler.before("escape", "mention", _mention)
    markdown.core.ruler.push("flatten_headings", _flatten_headings)
    markdown.core.ruler.push("mark_links", _mark_links)
    return markdown


def _build_cleaner() -> nh3.Cleaner:
    return nh3.Cleaner(
        tags=set(ALLOWED_TAGS),
        attributes={"a": {"href"}, "ol": {"start"}},
        tag_attribute_values={"a": {"rel": {REL}, "class": {"tag", "mention"}}},
        link_rel=None,
        url_schemes=set(ALLOWED_SCHEMES),
    )


# Both are set up once and only read afterwards: a rendering's own state travels in its `env`.
_MARKDOWN = _build_markdown()
_CLEANER = _build_cleaner()
