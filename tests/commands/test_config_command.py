"""`townsquare config` and `townsquare migrate`."""

from testbed.command_line import CommandLine
from testbed.postgres_users import programs_on
from townsquare.catalogue import BUILT, definition_of
from townsquare.settings import Settings


def test_every_setting_is_shown_with_where_it_came_from(bare: CommandLine) -> None:
    (bare.data / "townsquare.toml").write_text("workers = 3")
    variables = {"TOWNSQUARE_PORT": "9000", "TOWNSQUARE_SMTP_URL": "smtp://town:hunter2@mail"}
    shown = {origin["name"]: origin for origin in bare("config", "--json", variables=variables).json}
    assert list(shown) == list(Settings.__struct_fields__)
    assert (shown["port"]["value"], shown["port"]["source"]) == ("9000", "environment")
    assert (shown["workers"]["value"], shown["workers"]["source"]) == ("3", str(bare.data / "townsquare.toml"))
    assert (shown["data"]["value"], shown["host"]["source"]) == (str(bare.data), "default")
    table = bare("config", variables=variables).out
    assert "hunter2" not in table
    assert "********" in table
    assert str(bare.data / "townsquare.toml") in table


def test_migrating_says_what_it_applied_and_then_that_nothing_is_left(bare: CommandLine) -> None:
    wanted = {
        name: [
            f"{folder.parent.name}/{path.name}"
            for folder in definition_of(name).schemas
            for path in sorted(folder.glob("*.sql"))
        ]
        for name in BUILT
    }
    first = bare("migrate", "users", "--json")
    assert first.json == {"users": wanted["users"]}
    assert first.err == ""
    assert bare("migrate", "--json").json == wanted | {"users": []}
    assert bare("migrate").out == "".join(f"{name}: up to date\n" for name in BUILT)
    assert programs_on(bare.data) == []
    listed = bare("users", "--json")
    assert (listed.json["items"], programs_on(bare.data)) == ([], []), "a server that was not running is stopped again"


def test_a_database_of_another_release_is_refused_with_what_to_do(cli: CommandLine, bare: CommandLine) -> None:
    bare("migrate", "users")
    ran = bare("jobs")
    assert (ran.status, ran.out) == (1, "")
    assert ran.err.startswith("townsquare: the database content lacks kit/0001_platform.sql, ")
    assert ran.err.endswith("bring it up with `townsquare migrate`\n")
