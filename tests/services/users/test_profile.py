"""Profiles over HTTP: what everybody sees, what only the owner changes, and what nobody gets in."""

import pytest

from testbed.town import Town

WHOLE = {
    "display_name": "Ada, Countess of Lovelace",
    "bio": "Mathematics.\nAnd poetry.",
    "avatar": "/media/files/1/small.webp",
    "banner": "https://example.org/banner.png",
    "location": "London",
    "website": "https://example.org/ada",
    "fields": [{"name": "Pronouns", "value": "she"}, {"name": "Engine", "value": "Analytical"}],
}


async def test_a_profile_is_found_by_id_and_by_handle_whatever_its_case(town: Town) -> None:
    ada = await town.register("ada")
    by_id = await town.users.get(f"/profile/{ada.id}")
    by_handle = await town.users.get(f"/profile/@{ada.handle.upper()}")
    assert by_id.status == by_handle.status == 200
    assert by_id.body == by_handle.body


async def test_a_new_profile_has_no_more_than_it_must(town: Town) -> None:
    ada = await town.register("ada")
    profile = (await town.users.get(f"/profile/{ada.id}")).json
    assert profile.pop("created_at").endswith("Z")
    assert profile == {
        "id": str(ada.id),
        "handle": ada.handle,
        "display_name": "Ada",
        "bio": "",
        "fields": [],
        "counts": {"followers": 0, "following": 0, "posts": 0},
    }


@pytest.mark.parametrize(
    "user_id",
    ["@nobody_at_all", "nobody", "@", "@@x", "7", "@%00", "%ED%A0%80", "0190c9a2-0000-7000-8000-0000000000ff", "{x}"],
)
async def test_who_is_not_there_is_404(town: Town, user_id: str) -> None:
    answer = await town.users.get(f"/profile/{user_id}")
    assert (answer.status, answer.code) == (404, "not_found")


async def test_an_unchanged_profile_is_304(town: Town) -> None:
    ada = await town.register("ada")
    first = await town.users.get(f"/profile/{ada.id}")
    again = await town.users.get(f"/profile/{ada.id}", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status, again.body) == (304, b"")


async def test_the_blocked_see_no_profile_and_others_do(town: Town) -> None:
    ada, mallory, grace = [await town.register(name) for name in ("ada", "mallory", "grace")]
    await town.users.put(f"/users/{mallory.id}/block", as_=ada)
    for user_id in (ada.id, f"@{ada.handle}"):
        assert (await town.users.get(f"/profile/{user_id}", as_=mallory)).status == 404
        assert (await town.users.get(f"/profile/{user_id}", as_=grace)).status == 200
        assert (await town.users.get(f"/profile/{user_id}", as_=ada)).status == 200
        assert (await town.users.get(f"/profile/{user_id}")).status == 200
    assert (await town.users.get(f"/profile/{mallory.id}", as_=ada)).status == 200
    assert (await town.users.patch(f"/profile/{ada.id}", as_=mallory, json={"bio": "x"})).status == 404


async def test_the_hidden_have_no_profile_even_for_themselves(town: Town) -> None:
    ada = await town.register("ada")
    await town.database("users").execute("UPDATE people SET hidden_at = now() WHERE id = $1", ada.id)
    for viewer in (None, ada):
        assert (await town.users.get(f"/profile/{ada.id}", as_=viewer)).status == 404
        assert (await town.users.get(f"/profile/@{ada.handle}", as_=viewer)).status == 404
    assert (await town.users.put(f"/profile/{ada.id}", as_=ada, json={"display_name": "A"})).status == 404


async def test_put_writes_the_whole_profile(town: Town) -> None:
    ada = await town.register("ada")
    answer = await town.users.put(f"/profile/@{ada.handle}", as_=ada, json=WHOLE)
    assert answer.status == 200
    assert answer.json.items() >= WHOLE.items()
    assert (await town.users.get(f"/profile/{ada.id}")).body == answer.body


async def test_put_empties_what_is_left_out(town: Town) -> None:
    ada = await town.register("ada")
    await town.users.put(f"/profile/{ada.id}", as_=ada, json=WHOLE)
    profile = (await town.users.put(f"/profile/{ada.id}", as_=ada, json={"display_name": "Ada"})).json
    assert profile.keys() == {"id", "handle", "display_name", "bio", "fields", "counts", "created_at"}
    assert (profile["bio"], profile["fields"]) == ("", [])


async def test_patch_changes_what_it_names_and_null_empties(town: Town) -> None:
    ada = await town.register("ada")
    await town.users.put(f"/profile/{ada.id}", as_=ada, json=WHOLE)
    change = {"bio": None, "avatar": None, "fields": None, "location": "Marylebone"}
    merge_patch = {"Content-Type": "application/merge-patch+json"}
    answer = await town.users.patch(f"/profile/{ada.id}", as_=ada, json=change, headers=merge_patch)
    assert answer.status == 200
    assert (answer.json["bio"], answer.json["fields"], answer.json["location"]) == ("", [], "Marylebone")
    assert "avatar" not in answer.json
    assert {name: answer.json[name] for name in ("display_name", "banner", "website")} == {
        name: WHOLE[name] for name in ("display_name", "banner", "website")
    }


async def test_only_the_owner_changes_a_profile(town: Town) -> None:
    ada, grace = await town.register("ada"), await town.register("grace")
    for change in (town.users.put, town.users.patch):
        answer = await change(f"/profile/{ada.id}", as_=grace, json={"display_name": "Mine"})
        assert (answer.status, answer.code) == (403, "forbidden")
        anonymous = await change(f"/profile/{ada.id}", json={"display_name": "Mine"})
        assert (anonymous.status, anonymous.code) == (401, "unauthenticated")


async def test_a_change_of_what_is_no_longer_there_is_412(town: Town) -> None:
    ada = await town.register("ada")
    read = await town.users.get(f"/profile/{ada.id}")
    if_match = {"If-Match": read.headers["ETag"]}
    first = await town.users.patch(f"/profile/{ada.id}", as_=ada, json={"bio": "One."}, headers=if_match)
    second = await town.users.patch(f"/profile/{ada.id}", as_=ada, json={"bio": "Two."}, headers=if_match)
    third = await town.users.put(f"/profile/{ada.id}", as_=ada, json=WHOLE, headers=if_match)
    assert (first.status, second.status, third.status) == (200, 412, 412)
    assert second.code == "precondition_failed"
    assert (await town.users.get(f"/profile/{ada.id}")).json["bio"] == "One."


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"display_name": ""}, "/display_name"),
        ({"display_name": "   "}, "/display_name"),
        ({"display_name": None}, "/display_name"),
        ({"display_name": "x" * 101}, "/display_name"),
        ({"display_name": "two\nlines"}, "/display_name"),
        ({"display_name": "nul\0"}, "/display_name"),
        ({"bio": "x" * 2001}, "/bio"),
        ({"bio": 1}, "/bio"),
        ({"location": "x" * 101}, "/location"),
        ({"website": "javascript:alert(1)"}, "/website"),
        ({"website": "https://"}, "/website"),
        ({"website": "https://example.org/" + "x" * 200}, "/website"),
        ({"avatar": "//elsewhere.example/x.png"}, "/avatar"),
        ({"avatar": "data:image/png;base64,x"}, "/avatar"),
        ({"banner": "x" * 501}, "/banner"),
        ({"fields": [{"name": "n", "value": "v"}] * 9}, "/fields"),
        ({"fields": [{"name": "", "value": "v"}]}, "/fields/0/name"),
        ({"fields": [{"name": "n", "value": "v" * 301}]}, "/fields/0/value"),
        ({"fields": [{"name": "n", "value": "v", "more": 1}]}, "/fields/0"),
    ],
)
async def test_what_does_not_fit_is_422_and_says_where(town: Town, change: object, pointer: str) -> None:
    ada = await town.register("ada")
    before = (await town.users.get(f"/profile/{ada.id}")).body
    answer = await town.users.patch(f"/profile/{ada.id}", as_=ada, json=change)
    assert (answer.status, answer.code) == (422, "invalid"), answer.body
    assert [error["pointer"] for error in answer.json.get("errors", [])] == [pointer], answer.body
    assert (await town.users.get(f"/profile/{ada.id}")).body == before


@pytest.mark.parametrize("change", [{"followers": 7}, {"handle": "eve"}, [], None, 7])
async def test_what_is_no_change_of_a_profile_is_422(town: Town, change: object) -> None:
    ada = await town.register("ada")
    answer = await town.users.patch(f"/profile/{ada.id}", as_=ada, json=change)
    assert (answer.status, answer.code) == (422, "invalid"), answer.body


async def test_others_are_told_of_a_new_name_and_only_of_that(town: Town) -> None:
    ada = await town.register("ada")
    await town.users.patch(f"/profile/{ada.id}", as_=ada, json={"display_name": "Ada L."})
    await town.users.patch(f"/profile/{ada.id}", as_=ada, json={"bio": "Mathematics."})
    told = await town.database("users").fetch(
        "SELECT topic, tags, payload->>'display_name' AS name FROM outbox WHERE key = $1 ORDER BY id DESC LIMIT 2",
        str(ada.id),
    )
    assert [(row["topic"], row["name"]) for row in told] == [("profile", None), ("person", "Ada L.")]
    assert all(f"profile:{ada.id}" in row["tags"] for row in told)
    assert "people" in told[1]["tags"]
