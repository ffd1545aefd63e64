"""What people write, checked and made into HTML.

A post is Markdown as CommonMark has it, less what a post does not need: no HTML, no pictures (posts have media),
no link definitions, no code by indentation, and headings are only strong lines. `#tags` and `@handles` become
links. The renderer is built so that nothing else can come out, and nh3 goes over its output all the same.
"""

import re
import unicodedata
from typing import NamedTuple, Protocol

import nh3
from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore
from markdown_it.rules_inline import StateInline, link
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
ALLOWED_TAGS = frozenset(["a", "blockquote", "br", "code", "em", "hr", "li", "ol", "p", "pre", "s", "strong", "ul"])
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
    tags: dict[str, None] = {}
    mentions: dict[str, None] = {}
    markup = _MARKDOWN.render(text, {"tags": tags, "mentions": mentions, "vain_brackets": set[int]()})
    return Rendered(_CLEANER.clean(markup).strip(), tuple(tags), tuple(mentions))


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
    end = start + len(_less_closing(state, state.src[start:end]))
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
        name = _less_closing(state, near[1])
        handle = name.lower()
        if len(handle) < 2 or not _has_room(state, "mentions", handle, MAX_MENTIONS):
            return False
        if not silent:
            state.env["mentions"][handle] = None
            _push_link(state, f"@{name}", f"/@{handle}", "mention")
        state.pos += 1 + len(name)
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


def _less_closing(state: StateInline, name: str) -> str:
    # In `_@carol_` the last underscore closes what the first has opened.
    opened = state.src.startswith("_", max(0, state.pos - 1), state.pos)
    return name.rstrip("_") if opened else name


def _has_room(state: StateInline, kind: str, key: str, most: int) -> bool:
    return key in state.env[kind] or len(state.env[kind]) < most


def _push_link(state: StateInline, text: str, href: str, kind: str | None) -> None:
    opening = state.push("link_open", "a", 1)
    opening.attrs["href"] = href
    if kind:
        opening.attrs["class"] = kind
    state.push("text", "", 0).content = text
    state.push("link_close", "a", -1)


# --- links ---------------------------------------------------------------------------------------------------------
# markdown-it's own rules, kept from doing work that grows with the square of a text made to be slow.


_MAX_VAIN_BRACKETS = 100
"""Brackets that look like a link's beginning and are none. Each may cost a look at the whole rest of the text."""


def _link(state: StateInline, silent: bool) -> bool:
    vain = state.env["vain_brackets"]
    if state.src[state.pos] != "[" or len(vain) >= _MAX_VAIN_BRACKETS:
        return False
    if state.src.find("](", state.pos, state.posMax) < 0:
        return False
    if link(state, silent):
        return True
    vain.add(state.pos)
    return False


_SCHEME = re.compile(r"(?<![a-z0-9.+-])https?\Z", re.IGNORECASE)
_MAX_ADDRESS = 2_048


class _Address(Protocol):
    url: str


class _Linkifier(Protocol):
    """The part of linkify-it that is used here; the library comes without types."""

    def match_at_start(self, text: str) -> _Address | None: ...


def _linkifier(state: StateInline) -> _Linkifier:
    assert state.md.linkify is not None  # noqa: S101 - the option `linkify` is on
    return state.md.linkify


def _bare_address(state: StateInline, silent: bool) -> bool:
    at = state.pos
    if state.linkLevel or not state.src.startswith("://", at):
        return False
    scheme = _SCHEME.search(state.pending[-6:])
    if scheme is None:
        return False
    start = at - len(scheme[0])
    found = _linkifier(state).match_at_start(state.src[start : min(state.posMax, start + _MAX_ADDRESS)])
    if found is None:
        return False
    address = found.url.rstrip("*_~")  # these close an emphasis around the address
    href = state.md.normalizeLink(address)
    if not state.md.validateLink(href):
        return False
    if not silent:
        state.pending = state.pending[: -len(scheme[0])]
        _push_link(state, state.md.normalizeLinkText(address), href, None)
    state.pos = start + len(address)
    return True


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
    markdown.enable("strikethrough")
    # Not the core rule "linkify": it would also link bare hosts and e-mail addresses, but `README.md` is no address,
    # and an e-mail address is not to be made easier to harvest.
    markdown.inline.ruler.before("newline", "bare_address", _bare_address)
    markdown.inline.ruler.at("link", _link)
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
