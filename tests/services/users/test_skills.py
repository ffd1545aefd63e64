"""Skills, their endorsements and the names people know, over HTTP."""

import asyncio

import pytest

from testbed.town import Person, Town
from townsquare.kit.ids import new_id
from townsquare.services.users.endorsements import withdraw_all_endorsements
from townsquare.services.users.skill_names import forget_names_of
from townsquare.services.users.skills import MAX_SKILLS


async def add(town: Town, person: Person, name: str, level: str = "expert") -> dict:
    """Add a skill and return it."""
    answer = await town.users.post(f"/users/{person.id}/skills", as_=person, json={"name": name, "level": level})
    assert answer.status == 201, answer.body
    return answer.json


async def listed(town: Town, person: Person) -> list[dict]:
    return await town.users.all_items(f"/users/{person.id}/skills", limit=2)


async def test_a_new_skill_is_answered_whole_and_found_where_it_says(town: Town) -> None:
    ada = await town.register("ada")
    answer = await town.users.post(
        f"/users/@{ada.handle}/skills", as_=ada, json={"name": "  Differential   engines ", "level": "advanced"}
    )
    assert answer.status == 201
    skill = answer.json
    assert skill == {"id": skill["id"], "name": "Differential engines", "level": "advanced", "endorsements": 0}
    assert answer.headers["Location"] == f"/api/users/users/{ada.id}/skills/{skill['id']}"
    assert (await town.users.get(f"/users/{ada.id}/skills/{skill['id']}")).json == skill
    assert await listed(town, ada) == [skill]


async def test_the_list_is_alphabetical_page_by_page(town: Town) -> None:
    ada = await town.register("ada")
    for name in ("weaving", "Algebra", "Éditing", "cooking", "baking"):
        await add(town, ada, name)
    assert [skill["name"] for skill in await listed(town, ada)] == ["Algebra", "baking", "cooking", "weaving", "Éditing"]


@pytest.mark.parametrize("same", ["Poetry", "POETRY", " poetry\u00a0", "ｐｏｅｔｒｙ"])
async def test_the_same_name_twice_is_409(town: Town, same: str) -> None:
    ada = await town.register("ada")
    await add(town, ada, "Poetry")
    answer = await town.users.post(f"/users/{ada.id}/skills", as_=ada, json={"name": same, "level": "beginner"})
    assert (answer.status, answer.code) == (409, "taken")
    assert answer.json["errors"][0]["pointer"] == "/name"
    assert len(await listed(town, ada)) == 1


@pytest.mark.parametrize(
    "body",
    [
        {"name": "", "level": "expert"},
        {"name": "   ", "level": "expert"},
        {"name": "x" * 51, "level": "expert"},
        {"name": "ﷺ" * 50, "level": "expert"},
        {"name": "two\nlines", "level": "expert"},
        {"name": "nul\0", "level": "expert"},
        {"name": "Poetry", "level": "master"},
        {"name": "Poetry"},
        {"name": "Poetry", "level": "expert", "endorsements": 99},
    ],
)
async def test_a_skill_that_does_not_fit_is_422(town: Town, body: dict) -> None:
    ada = await town.register("ada")
    answer = await town.users.post(f"/users/{ada.id}/skills", as_=ada, json=body)
    assert (answer.status, answer.code) == (422, "invalid"), answer.body
    assert await listed(town, ada) == []


async def test_nobody_has_more_skills_than_the_most(town: Town) -> None:
    ada = await town.register("ada")
    await town.database("users").execute(
        """
        INSERT INTO skills (id, person, name, name_key, level, created_at)
        SELECT gen_random_uuid(), $1, n::text, n::text, 'expert', now() FROM generate_series(1, $2) AS n
        """,
        ada.id,
        MAX_SKILLS - 1,
    )
    bodies = [{"name": f"One more {n}", "level": "expert"} for n in range(3)]
    answers = await asyncio.gather(*(town.users.post(f"/users/{ada.id}/skills", as_=ada, json=body) for body in bodies))
    assert sorted(answer.status for answer in answers) == [201, 422, 422]
    assert len(await town.users.all_items(f"/users/{ada.id}/skills")) == MAX_SKILLS


async def test_only_the_owner_adds_and_deletes(town: Town) -> None:
    ada, grace = await town.register("ada"), await town.register("grace")
    skill = await add(town, ada, "Poetry")
    body = {"name": "Gossip", "level": "expert"}
    assert (await town.users.post(f"/users/{ada.id}/skills", as_=grace, json=body)).status == 403
    assert (await town.users.post(f"/users/{ada.id}/skills", json=body)).status == 401
    assert (await town.users.post(f"/users/{new_id()}/skills", as_=ada, json=body)).status == 404
    path = f"/users/{ada.id}/skills/{skill['id']}"
    assert (await town.users.delete(path, as_=grace)).status == 403
    assert (await town.users.delete(path)).status == 401
    assert (await town.users.delete(f"/users/{grace.id}/skills/{skill['id']}", as_=grace)).status == 404
    assert (await town.users.delete(path, as_=ada)).status == 204
    assert (await town.users.delete(path, as_=ada)).status == 404
    assert (await town.users.get(path)).status == 404


async def test_whose_skills_cannot_be_seen_are_404(town: Town) -> None:
    ada, mallory = await town.register("ada"), await town.register("mallory")
    skill = await add(town, ada, "Poetry")
    await town.users.put(f"/users/{mallory.id}/block", as_=ada)
    endorsement = f"/skills/{skill['id']}/endorsement"
    assert (await town.users.get(f"/users/{ada.id}/skills", as_=mallory)).status == 404
    assert (await town.users.get(f"/users/{ada.id}/skills/{skill['id']}", as_=mallory)).status == 404
    assert (await town.users.put(endorsement, as_=mallory)).status == 404
    assert (await town.users.delete(endorsement, as_=mallory)).status == 404
    assert (await town.users.get("/users/nobody/skills")).status == 404
    await town.database("users").execute("UPDATE people SET hidden_at = now() WHERE id = $1", ada.id)
    assert (await town.users.get(f"/users/{ada.id}/skills")).status == 404
    assert (await town.users.put(endorsement, as_=await town.register("grace"))).status == 404


async def test_an_endorsement_counts_once_and_can_be_withdrawn(town: Town) -> None:
    ada, grace, joan = [await town.register(name) for name in ("ada", "grace", "joan")]
    skill = await add(town, ada, "Poetry")
    path = f"/skills/{skill['id']}/endorsement"
    for person in (grace, grace, joan):
        assert (await town.users.put(path, as_=person)).status == 204
    assert (await listed(town, ada))[0]["endorsements"] == 2
    for _ in range(2):
        assert (await town.users.delete(path, as_=grace)).status == 204
    assert (await listed(town, ada))[0]["endorsements"] == 1
    told = await town.database("users").fetch(
        "SELECT payload->>'deleted' AS deleted, tags FROM outbox WHERE topic = 'endorsement' AND key = $1 ORDER BY id",
        f"{skill['id']}:{grace.id}",
    )
    assert [(row["deleted"], row["tags"]) for row in told] == [
        (None, [f"skills:{ada.id}"]),
        ("true", [f"skills:{ada.id}"]),
    ]


async def test_nobody_endorses_themselves_or_what_is_not_there(town: Town) -> None:
    ada = await town.register("ada")
    skill = await add(town, ada, "Poetry")
    for method in (town.users.put, town.users.delete):
        own = await method(f"/skills/{skill['id']}/endorsement", as_=ada)
        assert (own.status, own.code) == (403, "forbidden")
        assert (await method(f"/skills/{new_id()}/endorsement", as_=ada)).status == 404
        assert (await method("/skills/poetry/endorsement", as_=ada)).status == 404
        assert (await method(f"/skills/{skill['id']}/endorsement")).status == 401


async def test_endorsements_given_at_once_are_all_counted(town: Town) -> None:
    ada, *others = [await town.register(name) for name in ("ada", "one", "two", "three", "four", "five")]
    skill = await add(town, ada, "Poetry")
    await asyncio.gather(*(town.users.put(f"/skills/{skill['id']}/endorsement", as_=other) for other in others * 2))
    assert (await listed(town, ada))[0]["endorsements"] == len(others)


async def test_known_names_are_counted_and_the_commonest_come_first(town: Town) -> None:
    ada, grace, joan = [await town.register(name) for name in ("ada", "grace", "joan")]
    word = town.handle("zither")
    for person in (ada, grace, joan):
        await add(town, person, f"{word} tuning")
    for person in (ada, grace):
        await add(town, person, f"{word.title()} playing")
    skill = await add(town, ada, f"{word} mending")
    assert await names(town, word) == [
        (f"{word} tuning", 3),
        (f"{word.title()} playing", 2),
        (f"{word} mending", 1),
    ]
    assert await names(town, f"  {word.upper()}  P") == [(f"{word.title()} playing", 2)]
    await town.users.delete(f"/users/{ada.id}/skills/{skill['id']}", as_=ada)
    assert await names(town, f"{word} m") == []


async def names(town: Town, beginning: str) -> list[tuple[str, int]]:
    """All pages of the known names that begin so."""
    found, cursor = [], None
    while True:
        params = {"q": beginning, "limit": 2} | ({"cursor": cursor} if cursor else {})
        answer = await town.users.get("/skills", params=params)
        assert answer.status == 200, answer.body
        found += [(item["name"], item["people"]) for item in answer.items]
        cursor = answer.json["next_cursor"]
        if cursor is None:
            return found


async def test_all_known_names_are_listed_once_and_in_order(town: Town) -> None:
    ada = await town.register("ada")
    for n in range(7):
        await add(town, ada, f"Listed {town.handle()} {n}")
    items = await town.users.all_items("/skills", limit=3)
    places = [(-item["people"], item["name"].casefold()) for item in items]
    assert places == sorted(places)
    assert len(set(places)) == len(places)


@pytest.mark.parametrize("params", [{"q": "x" * 101}, {"limit": 0}, {"limit": 101}, {"limit": "x"}, {"cursor": "x"}])
async def test_a_list_that_cannot_be_is_422(town: Town, params: dict) -> None:
    answer = await town.users.get("/skills", params=params)
    assert (answer.status, answer.code) == (422, "invalid")


async def test_who_is_deleted_is_counted_out(town: Town) -> None:
    ada, grace = await town.register("ada"), await town.register("grace")
    word = town.handle("lute")
    for person in (ada, grace):
        await add(town, person, f"{word} playing")
    await add(town, ada, f"{word} tuning")
    graces = (await listed(town, grace))[0]
    await town.users.put(f"/skills/{graces['id']}/endorsement", as_=ada)
    async with town.database("users").transaction() as connection:
        await withdraw_all_endorsements(connection, ada.id)
        await forget_names_of(connection, ada.id)
        await connection.execute("DELETE FROM people WHERE id = $1", ada.id)
    assert await names(town, word) == [(f"{word} playing", 1)]
    assert (await listed(town, grace))[0]["endorsements"] == 0
