"""Search in public posts."""

import pytest

from testbed.content import ids, publish
from testbed.town import Town


def word(town: Town, name: str = "word") -> str:
    """Return a word that no other test has used."""
    return town.handle(name).replace("_", "")


async def search(town: Town, q: str, **options: object) -> list[str]:
    return ids(await town.content.get("/search", params={"q": q}, **options))


async def test_words_are_found_without_case_and_accents_newest_first(town: Town) -> None:
    ada, rare = await town.register("ada"), word(town)
    one = (await publish(town, ada, f"{rare} Crème **brûlée**"))["id"]
    two = (await publish(town, ada, f"{rare.upper()} creme #Brulee"))["id"]
    other = (await publish(town, ada, f"{rare} cream"))["id"]
    assert await search(town, f"{rare} CREME brulee") == [two, one]
    assert await search(town, f"{rare} crème") == [two, one]
    assert await search(town, rare) == [other, two, one]


async def test_phrases_or_and_not_mean_what_people_expect(town: Town) -> None:
    ada, rare = await town.register("ada"), word(town)
    one = (await publish(town, ada, f"{rare} red apple"))["id"]
    two = (await publish(town, ada, f"{rare} apple, not red"))["id"]
    pear = (await publish(town, ada, f"{rare} pear"))["id"]
    assert await search(town, f'{rare} "red apple"') == [one]
    assert await search(town, f"{rare} -red") == [pear]
    assert await search(town, f"{rare} pear or {rare} red") == [pear, two, one]


async def test_only_public_posts_are_found_also_by_their_author(town: Town) -> None:
    ada, rare = await town.register("ada"), word(town)
    post = await publish(town, ada, rare, visibility="followers")
    await publish(town, ada, rare, visibility="private")
    assert await search(town, rare, as_=ada) == []
    await town.content.patch(f"/posts/{post['id']}", as_=ada, json={"visibility": "public"})
    assert await search(town, rare) == [post["id"]]


async def test_an_edited_post_is_found_by_what_it_says_now(town: Town) -> None:
    ada, before, after, warning = await town.register("ada"), word(town, "old"), word(town, "new"), word(town, "cw")
    post = await publish(town, ada, before)
    change = {"text": after, "content_warning": warning}
    await town.content.patch(f"/posts/{post['id']}", as_=ada, json=change)
    assert await search(town, before) == []
    assert await search(town, after) == await search(town, warning) == [post["id"]]


async def test_pages_follow_on(town: Town) -> None:
    ada, rare = await town.register("ada"), word(town)
    posts = [(await publish(town, ada, f"{rare} {number}"))["id"] for number in range(7)]
    found = await town.content.all_items(f"/search?q={rare}", limit=3)
    assert [item["id"] for item in found] == posts[::-1]


async def test_what_lies_behind_the_newest_thousand_is_found(town: Town) -> None:
    ada, rare = await town.register("ada"), word(town)
    old = (await publish(town, ada, f"{rare} once"))["id"]
    await town.database("content").execute(
        "INSERT INTO posts (id, author_id, text, html, visibility, created_at)"
        " SELECT ($2::text || lpad(to_hex(n), 4, '0'))::uuid, $1, 'filler', '', 'public', now()"
        " FROM generate_series(1, 1100) AS n",
        ada.id,
        "ffffffff-0000-7000-8000-00000000",
    )
    try:
        new = (await publish(town, ada, f"{rare} again"))["id"]
        assert await search(town, rare) == [new, old]
    finally:
        await town.database("content").execute("DELETE FROM posts WHERE text = 'filler'")


@pytest.mark.parametrize("q", ["!!!", "-word", "&|!:*", "'", '"', "\\", "()", "-"])
async def test_a_search_without_a_word_finds_nothing(town: Town, q: str) -> None:
    assert await search(town, q) == []


@pytest.mark.parametrize("query", ["", "q=", "q=" + "x" * 201, "q=a%00b"])
async def test_a_search_that_cannot_be_is_refused(town: Town, query: str) -> None:
    answer = await town.content.get(f"/search?{query}")
    assert (answer.status, answer.code) == (422, "invalid")
