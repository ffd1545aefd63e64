"""`townsquare export`: the same ZIP that a person gets over HTTP, as a file."""

import io
import json
import stat
import zipfile
from pathlib import Path

import pytest

from testbed.command_line import CommandLine
from testbed.content import publish
from testbed.town import Town


def contents(archive: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


async def test_it_is_what_the_person_gets_over_http(square: Town, cli: CommandLine, tmp_path: Path) -> None:
    ada = await square.register("ada")
    post = await publish(square, ada, "Kept for later")
    target = tmp_path / "ada.zip"
    ran = await cli.beside("export", f"@{ada.handle}", "--out", str(target), "--json")
    assert (ran.json["handle"], ran.json["file"], ran.json["bytes"]) == (ada.handle, str(target), target.stat().st_size)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600, "only for whoever made it"
    over_http = await square.users.get("/account/export", as_=ada)
    assert over_http.status == 200, over_http.body
    exported = contents(target.read_bytes())
    assert exported == contents(over_http.body)
    assert ran.json["parts"] == list(exported)
    assert [json.loads(line)["id"] for line in exported["content/posts.ndjson"].splitlines()] == [post["id"]]


async def test_hidden_and_suspended_people_have_their_data_too(square: Town, cli: CommandLine, tmp_path: Path) -> None:
    ada = await square.register("ada")
    await cli.beside("users", "suspend", ada.handle)
    await cli.beside("users", "delete", ada.handle, "--yes")
    assert (await cli.beside("export", ada.email, "--out", str(tmp_path / "x.zip"))).status == 0


async def test_a_file_that_is_there_is_replaced_only_on_demand(
    square: Town, cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ada = await square.register("ada")
    target = tmp_path / f"townsquare-{ada.handle}.zip"
    target.write_text("mine")
    ran = await cli.beside("export", ada.handle)
    assert (ran.status, ran.out, ran.err) == (1, "", f"townsquare: {target.name} is there already; --force replaces it\n")
    assert target.read_text() == "mine"
    ran = await cli.beside("export", ada.handle, "--force")
    assert ran.status == 0
    assert (
        ran.out
        == f"{target.name}: {target.stat().st_size} bytes, {len(contents(target.read_bytes()))} files about @{ada.handle}.\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == [target.name]


async def test_it_goes_to_standard_output(square: Town, cli: CommandLine) -> None:
    ada = await square.register("ada")
    process = await cli.start("export", ada.handle, "--out", "-")
    archive, said = await process.communicate()
    assert (process.returncode, said) == (0, b"")
    assert "account.json" in contents(archive)


async def test_failures_are_one_sentence_and_leave_no_file(square: Town, cli: CommandLine, tmp_path: Path) -> None:
    ada = await square.register("ada")
    ran = await cli.beside("export", "nobody_here", "--out", str(tmp_path / "x.zip"))
    assert (ran.status, ran.err) == (1, "townsquare: there is nobody called nobody_here here\n")
    missing = tmp_path / "no" / "such" / "x.zip"
    ran = await cli.beside("export", ada.handle, "--out", str(missing))
    assert ran.status == 1
    assert ran.err.endswith("No such file or directory\n")
    assert ran.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
