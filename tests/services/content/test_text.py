"""What people write comes out as they meant it, and never as anything a browser would run."""

import time
from html.parser import HTMLParser
from urllib.parse import unquote

import nh3
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from townsquare.services.content import text as module
from townsquare.services.content.text import (
    MAX_MENTIONS,
    MAX_TAG,
    MAX_TAGS,
    MAX_TEXT,
    REL,
    TextError,
    clean_text,
    render,
    tag_key,
)

FAR = f'rel="{REL}"'


# --- the text itself -----------------------------------------------------------------------------------------------


def test_clean_text_composes_letters_and_trims_the_end():
    assert clean_text("\n \n  Cafe\u0301\r\nau lait \n\n ") == "  Caf\u00e9\nau lait"


@pytest.mark.parametrize("bad", ["a\0b", "\ud800", "x\udfff"])
def test_clean_text_refuses_what_a_database_cannot_keep(bad: str):
    with pytest.raises(TextError, match="cannot be kept"):
        clean_text(bad)


@pytest.mark.parametrize("empty", ["", "  \n\t ", "\u2003"])
def test_clean_text_refuses_an_empty_text(empty: str):
    with pytest.raises(TextError, match="empty"):
        clean_text(empty)


def test_the_length_counts_characters_after_trimming():
    assert clean_text("🎉" * MAX_TEXT + "  \n") == "🎉" * MAX_TEXT
    assert len(clean_text("e\u0301" * MAX_TEXT)) == MAX_TEXT
    with pytest.raises(TextError, match="5,001"):
        clean_text("x" * (MAX_TEXT + 1))


# --- Markdown ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("one\ntwo\n\nthree", "<p>one<br>\ntwo</p>\n<p>three</p>"),
        ("*a* **b** ~~c~~ `d`", "<p><em>a</em> <strong>b</strong> <s>c</s> <code>d</code></p>"),
        ("- a\n- b", "<ul>\n<li>a</li>\n<li>b</li>\n</ul>"),
        ("3. a\n4. b", '<ol start="3">\n<li>a</li>\n<li>b</li>\n</ol>'),
        ("> a", "<blockquote>\n<p>a</p>\n</blockquote>"),
        ("```py\n<b>\n```", "<pre><code>&lt;b&gt;\n</code></pre>"),
        ("# A *title*\nb", "<p><strong>A <em>title</em></strong></p>\n<p>b</p>"),
        ("no title\n===", "<p>no title<br>\n===</p>"),
        ("    no code", "<p>no code</p>"),
        ("[a]: https://a.example", f'<p>[a]: <a href="https://a.example" {FAR}>https://a.example</a></p>'),
        ("<b>bold</b>", "<p>&lt;b&gt;bold&lt;/b&gt;</p>"),
    ],
)
def test_markdown_is_what_a_post_needs(text: str, html: str):
    assert render(text).html == html


@pytest.mark.parametrize(
    ("text", "href", "label"),
    [
        ("[a](https://a.example/b)", "https://a.example/b", "a"),
        ("[a](mailto:a@b.example)", "mailto:a@b.example", "a"),
        ("<https://a.example/_x_>", "https://a.example/_x_", "https://a.example/_x_"),
        ("see https://a.example/@b#c_d_e.", "https://a.example/@b#c_d_e", "https://a.example/@b#c_d_e"),
        ("(https://a.example/b)", "https://a.example/b", "https://a.example/b"),
        ("**https://a.example/b**", "https://a.example/b", "https://a.example/b"),
        ("HTTPS://a.example", "HTTPS://a.example", "HTTPS://a.example"),
        ("![alt](https://a.example/b.png)", "https://a.example/b.png", "alt"),
    ],
)
def test_addresses_become_links_that_lend_no_weight(text: str, href: str, label: str):
    assert f'<a href="{href}" {FAR}>{label}</a>' in render(text).html


@pytest.mark.parametrize(
    "text",
    [
        "[a](/logout)",
        "[a](//evil.example)",
        "[a](javascript:alert(1))",
        "[a](data:text/html,b)",
        "javascript://alert",
        "xhttps://a.example",
        "README.md",
        "mail me@a.example",
    ],
)
def test_nothing_else_becomes_a_link(text: str):
    assert "<a" not in render(text).html


# --- tags ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("#Garden and #garden", ["garden"]),
        ("#ＣＡＦÉ #Cafe\u0301", ["café"]),
        ("#Straße", ["strasse"]),
        ("#हिन्दी #日本語 #été_2024", ["हिन्दी", "日本語", "été_2024"]),
        ("🎉#party, (#b) *#c* __#d__ a\n#e", ["party", "b", "c", "d", "e"]),
        ("#_snake_case_", ["_snake_case_"]),
        ("#1a #a1 but #123 #__ # #-", ["1a", "a1"]),
        ("a#b ##c /#d &#e; #@f", []),
        ("`#a` [#b](https://a.example) https://a.example/#c <https://a.example/ #d>", ["d"]),
        ("    #a\n\n```\n#b\n```", ["a"]),
        ("\\#a", []),
        ("#" + "a" * MAX_TAG + " #" + "b" * (MAX_TAG + 1), ["a" * MAX_TAG]),
        ("#ﷺ", []),
    ],
)
def test_tags_are_found_where_they_are_meant(text: str, tags: list[str]):
    assert list(render(text).tags) == tags


def test_a_tag_links_to_its_key_and_shows_what_was_written():
    assert render("#Garden").html == '<p><a href="/tags/garden" class="tag">#Garden</a></p>'


def test_tags_beyond_the_limit_stay_text_while_earlier_ones_still_link():
    rendered = render(" ".join(f"#t{n}" for n in range(MAX_TAGS + 5)) + " #t0")
    assert rendered.tags == tuple(f"t{n}" for n in range(MAX_TAGS))
    assert rendered.html.count("<a ") == MAX_TAGS + 1


def test_a_key_is_its_own_key():
    for word in ["Straße", "ＣＡＦÉ", "ǅ", "İstanbul", "ΐ"]:
        key = tag_key(word)
        assert key is not None
        assert tag_key(key) == key


# --- mentions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "mentions"),
    [
        ("@Alice and @alice", ["alice"]),
        ("(@bob) @bob's *@carol* _@frank_ @_dan_ @__eve__", ["bob", "carol", "frank", "_dan_", "__eve__"]),
        ("me@alice.example a.b+@alice /@alice #@alice @@alice", []),
        ("@a @" + "a" * 31 + " @alicé", []),
        ("@alice.example", []),
        ("@alice.", ["alice"]),
        ("`@alice` [@bob](https://a.example) https://a.example/@carol", []),
        ("\\@alice", []),
    ],
)
def test_mentions_are_found_where_they_are_meant(text: str, mentions: list[str]):
    assert list(render(text).mentions) == mentions


def test_a_mention_links_to_the_profile():
    assert render("@Alice").html == '<p><a href="/@alice" class="mention">@Alice</a></p>'


def test_somebody_on_another_server_is_linked_there_and_nobody_here_is_called():
    rendered = render("@alice@Example.social.")
    assert rendered.html == f'<p><a href="https://example.social/@alice" {FAR}>@alice@Example.social</a>.</p>'
    assert rendered.mentions == ()


def test_one_post_cannot_call_everybody():
    rendered = render(" ".join(f"@p{n:03}" for n in range(MAX_MENTIONS + 5)))
    assert len(rendered.mentions) == rendered.html.count("<a ") == MAX_MENTIONS


# --- whatever is thrown at it --------------------------------------------------------------------------------------


class Page(HTMLParser):
    """Reads HTML as a browser would and complains about everything that is not on the list."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.mentions: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in module.ALLOWED_TAGS
        if tag == "a":
            self.link(dict(attrs))
        else:
            assert not attrs or (tag, attrs[0][0], len(attrs)) == ("ol", "start", 1)

    def link(self, attrs: dict[str, str | None]) -> None:
        href = attrs.pop("href") or ""
        match attrs:
            case {"class": "tag", **rest} if not rest:
                assert href.startswith("/tags/")
                self.tags.append(unquote(href.removeprefix("/tags/")))
            case {"class": "mention", **rest} if not rest:
                assert href.startswith("/@")
                self.mentions.append(href.removeprefix("/@"))
            case _:
                assert attrs == {"rel": REL}
                assert href.lower().startswith(("http://", "https://", "mailto:"))

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    handle_decl = handle_pi = unknown_decl = handle_comment


SNIPPETS = [
    *"#@[]()<>*_~`\\&;:!/.- \n\"'=",
    *["#tag", "@alice", "@a@b.example", "https://a.example/", "](", "javascript:", "data:", "<script>", "</a>", "&#106;"],
    *[
        "&lt;",
        "<img src=x onerror=y>",
        "](https://a.example)",
        "```",
        "\n> ",
        "\n- ",
        "\n# ",
        "'onclick='",
        "\u202e",
        "<!--",
    ],
]
TEXTS = st.one_of(st.text(max_size=200), st.lists(st.sampled_from(SNIPPETS) | st.text(max_size=5), max_size=40).map("".join))


@settings(max_examples=600, deadline=None)
@given(TEXTS)
@example("[a](javascript:alert(1))")
@example("<a href='javascript:x'>y</a>")
@example('[a](<https://b.example/"onclick=alert(1)//>)')
@example("\0")
def test_only_what_is_on_the_list_comes_out_and_what_is_found_is_what_is_linked(text: str):
    rendered = render(text)
    page = Page(rendered.html)
    assert list(rendered.tags) == list(dict.fromkeys(page.tags))
    assert list(rendered.mentions) == list(dict.fromkeys(page.mentions))
    assert all(tag_key(tag) == tag for tag in rendered.tags)


@settings(max_examples=200, deadline=None)
@given(TEXTS)
def test_cleaning_again_changes_nothing(text: str):
    html = render(text).html
    assert module._CLEANER.clean(html) == html
    assert nh3.is_html(html) or html == ""


@settings(max_examples=200, deadline=None)
@given(TEXTS)
def test_a_kept_text_stays_the_same_when_it_is_cleaned_again(text: str):
    try:
        kept = clean_text(text)
    except TextError:
        return
    assert clean_text(kept) == kept


def test_a_rendering_leaves_nothing_behind_for_the_next():
    assert render("#a @alice").tags == ("a",)
    assert render("nothing") == ("<p>nothing</p>", (), ())


SLOW = [
    "[",
    "*",
    ">",
    "@",
    "#",
    "`",
    "<",
    "_",
    "~",
    "(",
    "![",
    "[a](",
    "[a]([",
    "*a_ ",
    "> ",
    "- ",
    "1. ",
    "://",
    "<http://",
]


@pytest.mark.parametrize("unit", [*SLOW, "#a\n", "[_", "[a](b", "``a`", "a\n\n", "@a@b.", "**a*", "a://"])
def test_a_text_made_to_be_slow_is_not(unit: str):
    text = (unit * MAX_TEXT)[:MAX_TEXT]
    started = time.process_time()
    Page(render(text).html)
    # Measured: 15-50 ms. Ten times that still tells what grows with the square of the length from what does not.
    assert time.process_time() - started < 0.5


def test_deep_nesting_is_cut_not_followed():
    assert render("> " * 2_000 + "a").html.count("<blockquote>") < 20
    assert render("- " * 2_000 + "a").html.count("<ul>") < 20
