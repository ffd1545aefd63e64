"""What Mastodon made HTML of comes back as what was written, and renders as it did there."""

import re
from html.parser import HTMLParser

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from testbed.mastodon import LINKS, as_html
from townsquare.importing.mastodon_text import to_markdown, to_plain_text
from townsquare.services.content.text import render


def shown(html: str) -> str:
    """Return what a reader sees, with the white space that no browser shows taken out."""
    text = HTMLText(html).text
    return "\n".join(line for line in (re.sub(r"[ \t]+", " ", line).strip() for line in text.split("\n")) if line)


class HTMLText(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.text = ""
        self.feed(html.replace("\n", ""))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.text += "\n" if tag in {"br", "p"} else "" if tag in {"a", "span"} else f"<{tag}>"

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("address", LINKS)
def test_a_shortened_link_becomes_its_full_address_again(address: str):
    markdown = to_markdown(as_html(f"see {address} there"))
    assert markdown in {f"see {address} there", f"see <{address}> there"}
    assert f'href="{address.replace("&", "&amp;")}"' in render(markdown).html


@pytest.mark.parametrize(
    ("html", "markdown"),
    [
        (as_html("one\ntwo\n\nthree"), "one\ntwo\n\nthree"),
        (as_html("#Garden, #日本語"), "#Garden, #日本語"),
        (as_html("hi @bob@other.example!"), "hi @bob@other.example!"),
        ("<p>a &lt;b&gt; &amp;amp; c</p>", "a \\<b> \\&amp; c"),
        ("<p>*a* _b_ snake_case 2 * 3 `c` [d](e) ~~f~~</p>", r"\*a\* \_b\_ snake_case 2 * 3 \`c\` \[d](e) \~\~f\~\~"),
        ("<p># a<br>&gt; b<br>- c<br>1. d<br>===<br>#1</p>", "\\# a\n\\> b\n\\- c\n1\\. d\n\\===\n\\#1"),
        ("<p>@nobody me@x.example</p>", r"\@nobody me@x.example"),
        (
            '<a href="https://a.example">a</a><a href="https://b.example/x">b</a>',
            "[a](<https://a.example>)[b](<https://b.example/x>)",
        ),
        ('<p>x<a href="https://a.example/">https://a.example/</a>y</p>', "x<https://a.example/>y"),
        ('<a href="https://a.example/?a=1&amp;copy;">label]</a>', r"[label\]](<https://a.example/?a=1\&copy;>)"),
        ('<a href="javascript:alert(1)">a</a>', "a"),
        ('<a href="gemini://a.example">gemini://a.example</a>', "gemini://a.example"),
        ("<p>a <strong>b</strong> <em>c</em> <del>d</del> <code>e`f</code></p>", "a **b** *c* ~~d~~ ``e`f``"),
        ("<p>a <em> b </em></p>", "a  b"),
        ("<ul><li>a</li><li>b<ul><li>c</li></ul></li></ul><p>d</p>", "- a\n- b\n  - c\n\nd"),
        ("<ol start='3'><li><p>a</p></li><li><p>b</p></li></ol>", "3. a\n4. b"),
        ("<blockquote><p>a</p><p>b</p></blockquote><p>c</p>", "> a\n>\n> b\n\nc"),
        ("<pre><code>x\n  *y*</code></pre>", "```\nx\n  *y*\n```"),
        ("<p>a<script>b</script><!-- c --></p>", "a"),
        (
            '<p class="quote-inline">RE: <a href="https://a.example/1">https://a.example/1</a></p><p>b</p>',
            "RE: https://a.example/1\n\nb",
        ),
        ("", ""),
        ("<p></p>", ""),
        ("</p></blockquote></ul></em></a>x<p", "x\\<p"),
    ],
)
def test_html_becomes_markdown(html: str, markdown: str):
    assert to_markdown(html) == markdown


def test_a_mention_is_completed_from_the_tags_before_its_links_host():
    html = '<span class="h-card"><a href="https://social.b.example/@bob" class="u-url mention">@<span>bob</span></a></span>'
    assert to_markdown(html) == "@bob@social.b.example"
    assert to_markdown(html, {"bob": "@bob@b.example"}) == "@bob@b.example"


def test_a_profile_becomes_plain_text():
    assert to_plain_text("<p>_I_ <b>bake</b> &amp;<br>sing</p><p>" + as_html(LINKS[1])) == f"_I_ bake &\nsing\n\n{LINKS[1]}"


WRITTEN = st.lists(
    st.sampled_from([*"\\`*_{}[]()<>#+-.!~|&@:=/ \n1a\"'", "&amp;", "&#35;", "#tag", "**", "](", "http:", "- ", "1. ", "> "])
    | st.text(st.characters(exclude_categories=["C", "Z"]), max_size=3),
    max_size=30,
).map("".join)


@settings(max_examples=1_500, deadline=None)
@given(WRITTEN)
@example("a\n- b\n\n1. c")
@example("&copy; &#35; <3 \\* #1")
@example("*\n*")
def test_whatever_was_written_is_read_the_same_here(text: str):
    html = as_html(text)
    rendered = render(to_markdown(html)).html
    assert shown(rendered) == shown(html)


SCRAPS = """<p> </p> <a_href='https://x.example'> </a> <b> </b> <li> </ul> <ol> <pre> </pre> <code> </code> <blockquote>
</blockquote> <![CDATA[ <! <? <br &#0; ]]> a <script> <!-- --> <![x""".replace("_", " ").split()


@settings(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from(SCRAPS) | st.text(max_size=4), max_size=30).map("".join))
def test_broken_html_is_read_as_well_as_it_can_be(html: str):
    to_markdown(html)
    to_plain_text(html)
