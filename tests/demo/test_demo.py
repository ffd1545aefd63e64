"""The demo community is there as a whole, once, the same for a seed, and its numbers are those of its rows."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

import msgspec
import pytest

from testbed.postgres import start_test_postgres
from testbed.town import Person, Town, running_town
from townsquare import demo
from townsquare.demo import telling
from townsquare.demo.arrivals import DOMAIN, PASSWORD
from townsquare.demo.grammar import load_language
from townsquare.demo.people import Resident, make_residents
from townsquare.demo.talk import WEEKS, Story, make_stories
from townsquare.kit.clock import now
from townsquare.kit.ids import time_of
from townsquare.topology import SERVICES

PEOPLE, SEED = 20, 3
UNTIL = datetime(2026, 3, 14, 15, 9, tzinfo=UTC)


def ignore(what: str, done: int, total: int) -> None:
    """No progress bar."""


def invent(people: int, seed: int, until: datetime = UNTIL) -> tuple[list[Resident], list[Story]]:
    language, chance = load_language(), Random(seed)
    residents = make_residents(language, people, chance)
    return residents, make_stories(language, residents, until, chance)


@pytest.fixture(scope="module")
async def square(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    """A platform with nobody but the demo people."""
    server = await start_test_postgres(tmp_path_factory.mktemp("pg"))
    try:
        await server.ensure_databases([service.database for service in SERVICES.values()])
        async with running_town(tmp_path_factory.mktemp("town"), server.url("postgres")) as town:
            await fill(town)
            yield town
    finally:
        await server.stop()


async def fill(town: Town, people: int = PEOPLE, seed: int = SEED) -> demo.DemoReport:
    assert town.settings.database_url is not None
    return await demo.fill(town.settings, town.settings.database_url, people, seed, ignore)


async def everybody(town: Town) -> list[Person]:
    """Sign in as each of them, with the password that the command prints."""
    rows = await town.database("users").fetch(
        "SELECT p.id, p.handle, a.email FROM people AS p JOIN accounts AS a ON a.person_id = p.id ORDER BY p.handle"
    )
    signer = town.host.services["users"].context.signer
    return [
        Person(row["id"], row["handle"], row["email"], signer.sign(row["id"], row["handle"], row["handle"], None))
        for row in rows
        if row["email"].endswith(DOMAIN)
    ]


async def sizes(town: Town) -> dict[str, int]:
    counted = {"users": ["people", "follows", "skills", "endorsements"], "content": ["posts", "comments", "reactions"]}
    return {
        table: int(str(await town.database(service).fetchval(f"SELECT count(*) FROM {table}")))
        for service, tables in counted.items()
        for table in tables
    }


# --- what is invented ----------------------------------------------------------------------------------------------


def test_a_seed_always_makes_the_same_community():
    assert msgspec.to_builtins(invent(30, 7)) == msgspec.to_builtins(invent(30, 7))
    later = UNTIL + timedelta(days=3)
    assert [story.text for story in invent(30, 7)[1]] != [story.text for story in invent(30, 8)[1]]
    texts = {story.number: (story.author, story.text, len(story.comments)) for story in invent(30, 7)[1]}
    assert texts == {story.number: (story.author, story.text, len(story.comments)) for story in invent(30, 7, later)[1]}


@pytest.mark.parametrize("people", [2, 3, 60, 500])
def test_handles_are_valid_and_each_is_somebody_s_alone(people: int):
    residents, _ = invent(people, 1)
    handles = [resident.handle for resident in residents]
    assert len(set(handles)) == people
    assert all(2 <= len(handle) <= 30 and set(handle) <= set("abcdefghijklmnopqrstuvwxyz0123456789_") for handle in handles)
    assert all(resident.number not in resident.follows for resident in residents)
    assert all(len(set(resident.follows)) == len(resident.follows) for resident in residents)


def test_a_few_are_followed_by_many_and_most_by_few():
    residents, _ = invent(200, 1)
    followers = sorted(sum(resident.number in other.follows for other in residents) for resident in residents)
    assert followers[-1] > 4 * followers[100] > 0


def test_everything_happened_in_the_last_weeks_and_in_order():
    _, stories = invent(60, 1)
    for story in stories:
        assert UNTIL - timedelta(weeks=WEEKS, days=1) < story.at < UNTIL
        for said in story.comments:
            assert timedelta() < said.after < UNTIL - story.at
            assert said.parent is None or story.comments[said.parent].after < said.after
        assert all(timedelta() < felt.after < UNTIL - story.at for felt in story.reactions)


def test_there_is_a_day_and_a_night():
    _, stories = invent(300, 1)
    by_night = sum(1 <= story.at.hour <= 5 for story in stories)
    in_the_evening = sum(18 <= story.at.hour <= 22 for story in stories)
    assert in_the_evening > 10 * by_night


def test_no_text_has_a_hole_and_none_is_too_long():
    _, stories = invent(300, 5)
    texts = [story.text for story in stories] + [said.text for story in stories for said in story.comments]
    assert not [text for text in texts if "{" in text or "}" in text or not 0 < len(text) <= 1_000]


# --- what is told --------------------------------------------------------------------------------------------------


async def test_one_signs_in_as_any_of_them_with_the_password_that_is_printed(square: Town):
    report = await fill(square)
    answer = await square.users.post("/login", json={"login": report.handle, "password": report.password})
    assert (answer.status, report.password) == (200, PASSWORD)


async def test_each_profile_s_counts_are_those_of_the_lists(square: Town):
    people = await everybody(square)
    assert len(people) == PEOPLE
    for person in people:
        profile = (await square.users.get(f"/profile/{person.id}")).json
        assert profile["bio"]
        followers = await square.users.all_items(f"/users/{person.id}/followers")
        following = await square.users.all_items(f"/users/{person.id}/following")
        posts = await square.content.all_items(f"/users/{person.id}/posts", as_=person)
        shown = [post for post in posts if post["visibility"] != "private"]
        assert profile["counts"] == {"followers": len(followers), "following": len(following), "posts": len(shown)}


async def test_each_post_s_counts_are_those_of_its_comments_and_reactions(square: Town):
    comments, reactions, days = 0, 0, set[date]()
    for person in await everybody(square):
        for post in await square.content.all_items(f"/users/{person.id}/posts", as_=person):
            said = await square.content.all_items(f"/posts/{post['id']}/comments", as_=person)
            felt = await square.content.all_items(f"/posts/{post['id']}/reactions", as_=person)
            assert post["counts"] == {"comments": len(said), "reactions": len(felt)}
            assert said == sorted(said, key=lambda comment: comment["created_at"])
            for comment in said:  # its id, too, is of the time at which it was said
                at = datetime.fromisoformat(comment["created_at"])
                assert abs(time_of(UUID(comment["id"])) - at) < timedelta(seconds=1)
                days.add(at.date())
            comments, reactions = comments + len(said), reactions + len(felt)
    assert comments > PEOPLE
    assert reactions > PEOPLE
    assert len(days) > WEEKS


async def test_skills_and_their_names_are_counted(square: Town):
    known = {item["name"]: item["people"] for item in await square.users.all_items("/skills")}
    found: dict[str, int] = {}
    for person in await everybody(square):
        for skill in await square.users.all_items(f"/users/{person.id}/skills"):
            found[skill["name"]] = found.get(skill["name"], 0) + 1
            given = "SELECT count(*) FROM endorsements WHERE skill = $1"
            assert skill["endorsements"] == await square.database("users").fetchval(given, UUID(skill["id"]))
    assert found == known


async def test_times_and_places_in_lists_are_those_of_the_story(square: Town):
    posts = await square.content.all_items("/public/posts")
    assert len(posts) > 4 * PEOPLE
    for post in posts:
        assert abs(time_of(UUID(post["id"])) - datetime.fromisoformat(post["created_at"])) < timedelta(seconds=1)
        assert now() - timedelta(weeks=WEEKS, days=2) < datetime.fromisoformat(post["created_at"]) < now()
    assert any(post["tags"] for post in posts)
    word = next(word for word in posts[0]["text"].split() if word.isalpha() and len(word) > 4)
    assert (await square.content.get(f"/search?q={word}")).items


async def test_a_second_run_adds_nothing(square: Town):
    before = await sizes(square)
    report = await fill(square)
    assert report.already
    assert (report.people, report.follows, report.posts, report.comments, report.reactions) == (0, 0, 0, 0, 0)
    assert (await fill(square, people=30, seed=9)).already
    assert await sizes(square) == before


async def test_a_run_that_was_cut_off_is_finished_by_the_next(square: Town, monkeypatch: pytest.MonkeyPatch):
    await remove(square)
    whole, done = telling.tell, 0

    async def tell_a_little(*arguments: Any) -> telling.Told:
        nonlocal done
        done += 1
        if done > 3:
            raise ConnectionResetError
        return await whole(*arguments)

    monkeypatch.setattr("townsquare.demo.community.tell", tell_a_little)
    with pytest.raises(ConnectionResetError):
        await fill(square)
    monkeypatch.undo()
    begun = (await sizes(square))["posts"]
    report = await fill(square)
    _, stories = invent(PEOPLE, SEED)
    now_there = await sizes(square)
    assert begun > 0
    assert begun + report.posts == now_there["posts"] == len(stories)
    assert now_there["comments"] == sum(len(story.comments) for story in stories)
    assert now_there["reactions"] == sum(len(story.reactions) for story in stories)


async def test_all_of_them_go_however_many_they_are_and_their_handles_are_free(
    square: Town, monkeypatch: pytest.MonkeyPatch
):
    await fill(square)
    monkeypatch.setattr("townsquare.services.users.accounts.AT_ONCE", 3)  # what the hourly job takes
    assert await remove(square) == PEOPLE
    assert (await sizes(square))["people"] == 0
    assert await square.database("users").fetchval("SELECT count(*) FROM retired_handles") == 0


async def test_who_lives_here_keeps_their_handle_and_is_left_alone(square: Town):
    await remove(square)
    residents, _ = invent(PEOPLE, SEED)
    body = {"handle": residents[0].handle, "email": "me@example.org", "password": "correct horse battery"}
    mine = (await square.users.post("/register", json=body)).json["user"]
    assert square.settings.database_url is not None
    assert await demo.fill_if_empty(square.settings, square.settings.database_url, ignore) is None
    assert (await sizes(square))["people"] == 1
    await fill(square)
    assert (await square.users.get(f"/profile/@{residents[0].handle}")).json["id"] == mine["id"]
    other = await square.users.get(f"/profile/@{residents[0].handle}_demo")
    assert other.json["display_name"] == residents[0].name
    await remove(square)
    assert (await sizes(square)) == {
        "people": 1, "follows": 0, "skills": 0, "endorsements": 0, "posts": 0, "comments": 0, "reactions": 0
    }  # fmt: skip


async def remove(town: Town) -> int:
    assert town.settings.database_url is not None
    return await demo.remove(town.settings, town.settings.database_url, ignore)


async def test_the_command_fills_a_running_platform_and_removes(square: Town):
    filled = await townsquare(square, "--people", "5", "--seed", "2", "--json")
    assert (filled["people"], filled["already"]) == (5, False)
    assert (await townsquare(square, "--people", "5", "--seed", "2", "--json"))["already"]
    assert len(await everybody(square)) == 5
    assert await townsquare(square, "--remove", "--json") == {"people": 5}
    assert await everybody(square) == []


async def townsquare(town: Town, *arguments: str) -> Any:
    environment = os.environ | {
        "TOWNSQUARE_DATABASE_URL": str(town.settings.database_url),
        "TOWNSQUARE_DATA": str(town.settings.data),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "townsquare", "demo", *arguments, env=environment, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    return msgspec.json.decode(out)
