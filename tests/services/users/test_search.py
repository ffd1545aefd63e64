"""People search over HTTP: beginnings, typos, order, pages, and that nothing typed into it breaks it."""

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from testbed.town import Person, Town
from townsquare.kit.pages import encode_cursor

ANY_EXAMPLES = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789_"


async def found(town: Town, q: str, limit: int = 100, as_: Person | None = None) -> list[str]:
    """The handles of all pages, in order."""
    handles: list[str] = []
    params: dict[str, str | int] = {"q": q, "limit": limit}
    while True:
        answer = await town.users.get("/search", params=params, as_=as_)
        assert answer.status == 200, answer.body
        handles += [item["handle"] for item in answer.items]
        if answer.json["next_cursor"] is None:
            return handles
        params["cursor"] = answer.json["next_cursor"]


@pytest.fixture(scope="module")
async def ada(town: Town) -> Person:
    """Ada, whose handle is nobody else's."""
    return await town.register("ada_lovelace", display_name="Ada Lovelace")


@pytest.mark.parametrize(
    "q",
    ["ada", "ADA", "  ada l ", "Lovelace", "lovel", "lovelace, ada", "adalove", "Áda Lôvelace", "@ada_lovelace", "ａｄａ"],
)
async def test_the_beginning_of_any_word_finds(town: Town, ada: Person, q: str) -> None:
    assert ada.handle in await found(town, q)


@pytest.mark.parametrize(
    "q",
    [
        "adaa lovelace",
        "lovlace",
        "ada_lvelace",
        "lovelaec",
        "livelace",
        "olvelace",
        "ada loveelace",
        "lovlace ada",
        "aad lovelace",
        "adalovelce",
        "lovlace a",
    ],
)
async def test_one_typo_finds(town: Town, ada: Person, q: str) -> None:
    handle, _, number = ada.handle.rpartition("_")
    assert ada.handle in await found(town, q.replace("adalovelce", f"adalovelce{number}")), handle


@pytest.mark.parametrize("q", ["lvelce", "zdz lovelace", "lavolace x", "xx", "ada turing"])
async def test_two_typos_or_another_name_do_not(town: Town, ada: Person, q: str) -> None:
    assert ada.handle not in await found(town, q)


async def test_typos_in_short_words_are_found(town: Town) -> None:
    word = town.handle("q").removeprefix("q_")
    john = await town.register("x", display_name=f"John {word}")
    assert john.handle in await found(town, f"jhon {word}")
    assert john.handle in await found(town, f"{word} jon")


async def test_the_exact_handle_comes_first_then_equal_names_then_longer_ones_then_typos(town: Town) -> None:
    word = town.handle("bach").replace("_", "")
    typo = await town.register("x", display_name=f"{word[:3]}{word[4:]} typo")
    longer = await town.register("x", display_name=f"{word} Junior")
    name = await town.register("x", display_name=word)
    handle = await town.users.post(
        "/register",
        json={"handle": word, "email": f"{word}@example.org", "password": "correct horse battery staple"},
    )
    assert handle.status == 201, handle.body
    for limit in (1, 2, 100):
        assert await found(town, word, limit) == [word, name.handle, longer.handle, typo.handle]


async def test_somebody_is_found_once_by_handle_and_name(town: Town) -> None:
    word = town.handle("echo").replace("_", "")
    person = await town.register("x", display_name=f"{word} {word}son {word}a")
    assert await found(town, word, limit=1) == [person.handle]


async def test_a_new_name_is_found_and_the_old_one_no_more(town: Town) -> None:
    old, new = town.handle("old").replace("_", ""), town.handle("new").replace("_", "")
    person = await town.register("x", display_name=old)
    await town.users.patch(f"/profile/{person.id}", as_=person, json={"display_name": new})
    assert await found(town, new) == [person.handle]
    assert await found(town, old) == []


async def test_the_hidden_and_those_who_block_the_viewer_are_not_found(town: Town) -> None:
    word = town.handle("nightjar").replace("_", "")
    shy, gone, seen, viewer = [await town.register("x", display_name=f"{word} {n}") for n in range(4)]
    await town.users.put(f"/users/{viewer.id}/block", as_=shy)
    await town.database("users").execute("UPDATE people SET hidden_at = now() WHERE id = $1", gone.id)
    for q in (word, word.replace("jar", "jra")):
        assert await found(town, q) == [shy.handle, seen.handle, viewer.handle]
        assert await found(town, q, as_=viewer) == [seen.handle, viewer.handle]


async def test_pages_stay_put_while_people_come(town: Town) -> None:
    word = town.handle("magpie").replace("_", "")
    people = [await town.register("x", display_name=f"{word} {n}") for n in "bdfh"]
    first = await town.users.get("/search", params={"q": word, "limit": 2})
    await town.register("x", display_name=f"{word} a")
    params = {"q": word, "limit": 2, "cursor": first.json["next_cursor"]}
    second = await town.users.get("/search", params=params)
    handles = [item["handle"] for item in (*first.items, *second.items)]
    assert handles == [person.handle for person in people]
    assert 'rel="next"' in first.headers["Link"]
    assert "Link" not in second.headers


@pytest.mark.parametrize("params", [{}, {"q": ""}, {"q": "  \t "}, {"q": "x" * 101}, {"q": "a", "limit": 101}])
async def test_a_search_that_cannot_be_is_422(town: Town, params: dict[str, str | int]) -> None:
    answer = await town.users.get("/search", params=params)
    assert (answer.status, answer.code) == (422, "invalid")


@pytest.mark.parametrize("q", ["!!!", "_", "%", "\\", "🚀", "' OR 1=1 --", "x" * 100, "नमस्ते", "ﷺ" * 100])
async def test_odd_characters_are_just_text(town: Town, q: str) -> None:
    assert (await town.users.get("/search", params={"q": q})).status == 200


async def test_a_name_in_any_script_is_found(town: Town) -> None:
    suffix = town.handle("q").removeprefix("q_")
    for name in ("Ольга Иванова", "नमिता शर्मा", "李 小龙", "🚀 Rocket", "ΣΊΣΥΦΟΣ"):
        person = await town.register("x", display_name=f"{name} {suffix}")
        for q in (f"{name} {suffix}", f"{name.casefold()} {suffix}", name):
            assert person.handle in await found(town, q), q


@given(q=st.text(max_size=110), cursor=st.none() | st.text(max_size=60))
@ANY_EXAMPLES
async def test_nothing_typed_breaks_it(town: Town, q: str, cursor: str | None) -> None:
    params = {"q": q} | ({} if cursor is None else {"cursor": cursor})
    q = q.encode("utf-8", "replace").decode()
    params["q"] = q
    answer = await town.users.get("/search", params=params)
    assert answer.status in (200, 422), answer.body


@given(
    keys=st.tuples(
        st.one_of(st.booleans(), st.integers(), st.none()),
        st.text(alphabet=st.characters(codec="utf-8"), max_size=40),
        st.booleans(),
        st.one_of(st.uuids(), st.text(max_size=5, alphabet=st.characters(codec="utf-8"))),
    )
)
@ANY_EXAMPLES
async def test_no_cursor_breaks_it(town: Town, keys: tuple[object, ...]) -> None:
    answer = await town.users.get("/search", params={"q": "ada", "cursor": encode_cursor(*keys)})
    assert answer.status in (200, 422), answer.body


@given(data=st.data())
@ANY_EXAMPLES
async def test_any_one_typo_in_a_handle_finds_it(town: Town, ada: Person, data: st.DataObject) -> None:
    typed = data.draw(one_edit_of(ada.handle))
    assert ada.handle in await found(town, typed), typed


@st.composite
def one_edit_of(draw: st.DrawFn, text: str, letters: str = LETTERS) -> str:
    """A letter left out, put in, replaced, or swapped with the next."""
    at = draw(st.integers(0, len(text) - 1))
    letter = draw(st.sampled_from(letters))
    return draw(
        st.sampled_from(
            [
                text[:at] + text[at + 1 :],
                text[:at] + letter + text[at:],
                text[:at] + letter + text[at + 1 :],
                text[:at] + text[at : at + 2][::-1] + text[at + 2 :],
            ]
        )
    )


LETTERS_OF_NAMESAKES = "αβγ"
"""Nobody else's, so that what is found can be foretold."""


@pytest.fixture(scope="module")
async def namesakes(town: Town) -> dict[str, str]:
    """The names, by handle, of many who are called nearly the same."""
    chance = random.Random(7)
    names = {f"namesake_{n}": " ".join(a_word(chance) for _ in range(chance.randint(1, 3))) for n in range(150)}
    await town.database("users").execute(
        "INSERT INTO people (id, handle, display_name) SELECT gen_random_uuid(), * FROM unnest($1::text[], $2::text[])",
        list(names),
        list(names.values()),
    )
    return names


def a_word(chance: random.Random) -> str:
    return "".join(chance.choices(LETTERS_OF_NAMESAKES, k=chance.randint(1, 6)))


@given(data=st.data(), limit=st.sampled_from([1, 3, 100]))
@ANY_EXAMPLES
async def test_found_are_all_who_are_called_so_or_one_typo_away_and_nobody_else(
    town: Town, namesakes: dict[str, str], data: st.DataObject, limit: int
) -> None:
    word = st.text(LETTERS_OF_NAMESAKES, min_size=1, max_size=6)
    name = st.sampled_from(sorted(namesakes.values())).filter(lambda name: len(name) > 1)
    edited = name.flatmap(lambda name: one_edit_of(name, LETTERS_OF_NAMESAKES + " "))
    typed = data.draw(st.one_of(edited, st.lists(word, min_size=1, max_size=3).map(" ".join)))
    expected = {handle: place for handle, name in namesakes.items() if (place := foretold(typed, name)) is not None}
    handles = await found(town, typed, limit)
    assert sorted(handles) == sorted(expected), typed
    assert [expected[handle] for handle in handles] == sorted(expected.values()), typed


def foretold(typed: str, name: str) -> tuple[bool, str] | None:
    """Whether it takes a typo to find them, and by which key; None when they are not found."""
    beginning = [key for key in keys_of(name) if key.startswith(" ".join(typed.split()))]
    typos = [key for key in keys_of(name) for asked in keys_of(typed) if misspelt(key, asked)]
    return (False, min(beginning)) if beginning else (True, min(typos)) if typos else None


def keys_of(name: str) -> list[str]:
    words = name.split()
    return [*(" ".join(words[at:] + words[:at]) for at in range(len(words))), "".join(words)]


def misspelt(key: str, asked: str) -> bool:
    word, meant = asked.partition(" ")[0], key.partition(" ")[0]
    return len(word) >= 3 and key.startswith(meant + asked[len(word) :]) and one_typo_apart(meant, word)


def one_typo_apart(a: str, b: str) -> bool:
    """Said by making every edit there is."""
    letters = sorted(set(b)) or ["a"]
    edits = {a}
    for at in range(len(a) + 1):
        edits |= {a[:at] + letter + a[at:] for letter in letters}
        edits |= {a[:at] + letter + a[at + 1 :] for letter in ["", *letters] if at < len(a)}
        edits.add(a[:at] + a[at : at + 2][::-1] + a[at + 2 :])
    return b in edits
