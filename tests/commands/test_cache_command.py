"""`townsquare cache` beside a running platform: what it shows agrees with what requests were told; a purge reaches it."""

import asyncio
import re
from urllib.parse import urlsplit

from testbed.command_line import CommandLine
from testbed.town import Person, Town
from townsquare.catalogue import BUILT


def port_of(square: Town) -> str:
    return str(urlsplit(square.base).port)


async def status_of(square: Town, person: Person, **options: object) -> str:
    answer = await square.users.get(f"/profile/{person.id}", **options)
    return answer.headers["Cache-Status"]


async def until_kept(square: Town, person: Person) -> None:
    """Ask until the answer is a hit: what was written a moment ago is not kept before the process has looked again."""
    async with asyncio.timeout(5):
        while "hit" not in await status_of(square, person):
            await asyncio.sleep(0.01)


async def explained(square: Town, cli: CommandLine, person: Person, *options: str) -> dict[str, object]:
    path = f"/api/users/profile/{person.id}"
    return (await cli.beside("cache", "explain", path, "--port", port_of(square), "--json", *options)).json


async def test_explain_says_why_a_path_is_a_hit_and_why_not(square: Town, cli: CommandLine) -> None:
    ada = await square.register("ada")
    before = await explained(square, cli, ada)
    assert before["reason"] == "A miss."
    await until_kept(square, ada)
    found = await explained(square, cli, ada)
    assert (found["reason"], found["strategy"], found["audience"]) == ("A hit.", "USER_PROFILE", "plain")
    assert found["entries"][0]["tags"] == [f"profile:{ada.id}"]
    await square.users.patch(f"/profile/{ada.id}", as_=ada, json={"bio": "New."})
    changed = await explained(square, cli, ada)
    assert changed["reason"] == "A miss."
    assert f"changed profile:{ada.id}" in changed["entries"][0]["reason"]


async def test_explain_for_somebody_tells_whose_entries_are_looked_for(square: Town, cli: CommandLine) -> None:
    ada = await square.register("ada")
    found = await explained(square, cli, ada, "--as", ada.handle)
    assert [entry["whose"] for entry in found["entries"]] == ["-", ada.id.hex]


async def test_explain_for_one_whom_a_block_singles_out_looks_for_theirs_alone(square: Town, cli: CommandLine) -> None:
    ada, eve = await square.register("ada"), await square.register("eve")
    assert (await square.users.put(f"/users/{eve.id}/block", as_=ada)).status == 204
    await until_kept(square, ada)
    assert (await explained(square, cli, ada))["reason"] == "A hit."
    found = await explained(square, cli, ada, "--as", eve.handle)
    assert found["reason"] == "A miss."
    assert [entry["whose"] for entry in found["entries"]] == [eve.id.hex]


async def test_explain_knows_that_somebody_followed_has_posted(square: Town, cli: CommandLine) -> None:
    reader, author = await square.register("reader"), await square.register("author")
    await square.befriend(reader, author)
    path = f"/feed/{reader.id}"
    asking = ("cache", "explain", f"/api/content{path}", "--as", reader.handle, "--port", port_of(square), "--json")
    assert (await square.content.get(path, as_=reader)).status == 200
    assert (await cli.beside(*asking)).json["reason"] == "A hit."
    assert (await square.content.post("/posts", as_=author, json={"text": "hello"})).status == 201
    found = (await cli.beside(*asking)).json
    assert found["reason"] == "A miss."
    assert "somebody followed has posted" in found["entries"][0]["reason"]


async def test_a_purge_reaches_the_running_platform_and_nothing_else_goes(square: Town, cli: CommandLine) -> None:
    ada, grace = await square.register("ada"), await square.register("grace")
    for person in (ada, grace):
        await until_kept(square, person)
    purged = await cli.beside("cache", "purge", f"profile:{ada.id}", "--json")
    assert purged.json == {"tag": f"profile:{ada.id}", "services": list(BUILT)}
    async with asyncio.timeout(5):
        while "hit" in await status_of(square, ada):
            await asyncio.sleep(0.02)
    assert "hit" in await status_of(square, grace)


async def test_clear_drops_everything(square: Town, cli: CommandLine) -> None:
    ada = await square.register("ada")
    await until_kept(square, ada)
    await cli.beside("cache", "clear")
    async with asyncio.timeout(5):
        while "hit" in await status_of(square, ada):
            await asyncio.sleep(0.02)


async def test_stats_count_what_requests_were_told(square: Town, cli: CommandLine) -> None:
    async def profiles() -> dict[str, int]:
        found = (await cli.beside("cache", "stats", "--port", port_of(square), "--json")).json
        return next(one["results"] for one in found["strategies"] if one["strategy"] == "USER_PROFILE")

    before = await profiles()
    ada = await square.register("ada")
    told = [await status_of(square, ada) for _ in range(3)]
    after = await profiles()
    assert after["hit"] - before["hit"] == sum("hit" in status for status in told)
    assert after["miss"] - before["miss"] == sum("miss" in status for status in told)
    shown = await cli.beside("cache", "stats", "--port", port_of(square))
    assert "USER_PROFILE" in shown.out


async def test_nobody_of_that_name_is_said(square: Town, cli: CommandLine) -> None:
    for handle in ("nobody_of_this_name", "ada/../ada", "a?x"):
        done = await cli.beside("cache", "explain", "/api/users/skills", "--as", handle, "--port", port_of(square))
        assert (done.status, done.err) == (1, f"townsquare: there is nobody called @{handle} here\n")


async def test_a_port_on_which_something_else_answers_is_a_sentence(square: Town, cli: CommandLine) -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example\r\n")
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        done = await cli.beside("cache", "stats", "--port", str(server.sockets[0].getsockname()[1]))
    assert (done.status, done.out) == (1, "")
    assert re.fullmatch(r"townsquare: what answers at http://127.0.0.1:\d+ is no townsquare \(\w+\)\n", done.err)


async def test_an_address_of_six_colons_can_be_asked(square: Town, cli: CommandLine) -> None:
    done = await cli.beside("cache", "stats", "--port", "1", variables={"TOWNSQUARE_HOST": "::"})
    assert (done.status, done.err.startswith("townsquare: no platform answers at http://[::1]:1;")) == (1, True), done


async def test_no_platform_and_no_such_path_are_a_sentence_and_exit_code_1(square: Town, cli: CommandLine) -> None:
    for arguments in (("stats", "--port", "1"), ("explain", "/nowhere", "--port", port_of(square))):
        done = await cli.beside("cache", *arguments)
        assert done.status == 1
        assert done.err.count("\n") == 1
