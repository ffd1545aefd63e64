"""Settings: which source wins, what each accepts, what is kept secret, and how a mistake is told."""

import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as profile
from hypothesis import strategies as st

from townsquare.settings import (
    PREFIX,
    SECRETS,
    Settings,
    SettingsError,
    explain_settings,
    load_settings,
    unknown_variables,
)

NAMES = Settings.__struct_fields__
SECRET = "hunter2-do-not-show"
SWITCHES = [name for name in NAMES if isinstance(getattr(Settings(), name), bool)]


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [key for key in os.environ if key.startswith(PREFIX)]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def write_file(text: str, folder: Path = Path("data")) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "townsquare.toml").write_text(text, "utf-8")


def sources(**options: object) -> dict[str, str]:
    return {origin.name: origin.source for origin in explain_settings(options)}


def shown() -> dict[str, str]:
    return {origin.name: origin.value for origin in explain_settings()}


def test_without_anything_every_setting_has_its_default_and_the_data_folder_is_absolute() -> None:
    assert load_settings() == msgspec.structs.replace(Settings(), data=Path.cwd() / "data")
    assert sources() == dict.fromkeys(NAMES, "default")


def test_options_win_over_variables_over_the_file_over_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    write_file("port = 1\nworkers = 2\npool_size = 3\nhost = '::1'")
    monkeypatch.setenv("TOWNSQUARE_PORT", "11")
    monkeypatch.setenv("TOWNSQUARE_WORKERS", "12")
    found = load_settings({"port": 21, "workers": None})
    assert (found.port, found.workers, found.pool_size, found.host) == (21, 12, 3, "::1")
    told = sources(port=21)
    assert [told[name] for name in ("port", "workers", "max_body")] == ["command line", "environment", "default"]
    assert told["pool_size"] == "data/townsquare.toml"


def test_the_file_is_that_of_the_chosen_data_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    for number, name in enumerate(("data", "one", "other"), start=1):
        write_file(f"port = {number}", Path(name))
    assert load_settings().port == 1
    monkeypatch.setenv("TOWNSQUARE_DATA", "one")
    assert load_settings().port == 2
    assert load_settings({"data": Path("other")}).port == 3


def test_a_file_may_be_named_and_must_then_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    write_file("port = 1")
    Path("elsewhere.toml").write_text("port = 7")
    monkeypatch.setenv("TOWNSQUARE_CONFIG", "elsewhere.toml")
    assert load_settings().port == 7
    monkeypatch.setenv("TOWNSQUARE_CONFIG", "gone.toml")
    with pytest.raises(SettingsError, match=r"TOWNSQUARE_CONFIG names gone\.toml"):
        load_settings()


def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.setenv(PREFIX + name.upper(), "")
    assert sources() == dict.fromkeys(NAMES, "default")


@pytest.mark.parametrize("name", SWITCHES)
@pytest.mark.parametrize(
    ("text", "value"),
    [("on", True), ("Off", False), ("true", True), ("FALSE", False), ("1", True), ("0", False), ("no", False)],
)
def test_a_switch_may_be_written_in_words(name: str, text: str, value: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PREFIX + name.upper(), text)
    assert getattr(load_settings(), name) is value
    assert shown()[name] == ("on" if value else "off")


def test_a_list_is_written_with_commas_or_as_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    write_file('trusted_proxies = ["10.0.0.1", "10.0.0.2"]')
    assert load_settings().trusted_proxies == ("10.0.0.1", "10.0.0.2")
    monkeypatch.setenv("TOWNSQUARE_TRUSTED_PROXIES", " 10.0.0.3,, 10.0.0.4 ")
    assert load_settings().trusted_proxies == ("10.0.0.3", "10.0.0.4")
    assert shown()["trusted_proxies"] == "10.0.0.3, 10.0.0.4"


def test_a_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TOWNSQUARE_DATA", "~/community")
    assert load_settings().data == tmp_path / "community"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("port", "http"),
        ("port", "65536"),
        ("port", "-1"),
        ("port", "8000.5"),
        ("workers", "0"),
        ("workers", "65"),
        ("pool_size", "101"),
        ("request_deadline", "0"),
        ("request_deadline", "nan"),
        ("request_deadline", "inf"),
        ("rate_limits", "maybe"),
        ("rate_limit_reads", "9" * 30),
        ("log_level", "loud"),
        ("log_format", "xml"),
        ("database_url", "sqlite:///x.db"),
        ("database_url", "postgresql://[::1"),
        ("database_url", "postgresql://town:pass/word@db"),
        ("database_url", "postgresql://one,two:port"),
        ("redis_url", "localhost:6379"),
        ("smtp_url", "mail.example.org"),
        ("smtp_url", "smtp://"),
        ("smtp_url", "smtp://host:port"),
        ("public_url", "example.org"),
        ("public_url", "https://example.org/"),
        ("upstream", "http://{host}:{port}"),
        ("upstream", "http://{port.real}"),
        ("host", "a\tb"),
        ("data", "~nobody-of-that-name/data"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_the_setting_s_name_and_source(
    name: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PREFIX + name.upper(), text)
    with pytest.raises(SettingsError, match=rf"setting '{name}' \(from environment\): Expected|Invalid enum"):
        load_settings()


@pytest.mark.parametrize("upstream", ["http://{service}:{port}", "https://{service}.internal", "http://127.0.0.1:{port}"])
def test_an_upstream_may_name_service_and_port(upstream: str) -> None:
    assert load_settings({"upstream": upstream}).upstream == upstream


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:p%40ss@db.example.org",
        "postgres://one:5432,two:5433/?target_session_attrs=primary",
        "postgresql:///?host=/run/postgresql",
        "postgresql://town@/postgres?host=%2Frun&port=5432",
        "postgresql://[::1]:5432",
    ],
)
def test_any_postgresql_may_be_named(url: str) -> None:
    assert load_settings({"database_url": url}).database_url == url


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("prot = 1", r"there is no setting prot \(in data/townsquare.toml\); did you mean port\?"),
        ("[users]\nport = 1", r"there is no setting users"),
        ('"a\\u0000b" = 1', r"there is no setting 'a\\x00b'"),
        ("port = 'x'", r"setting 'port' \(from data/townsquare.toml\)"),
        ("port = 2020-01-01", r"setting 'port' \(from data/townsquare.toml\)"),
        ("data = 3", r"setting 'data' \(from data/townsquare.toml\)"),
        ("host = 3", r"setting 'host' \(from data/townsquare.toml\)"),
        ("host = 'a\\u0000b'".replace("'", '"'), r"setting 'host' \(from data/townsquare.toml\)"),
        ("port", r"data/townsquare.toml is not valid TOML"),
        ("a = " + "[" * 100_000, r"data/townsquare.toml is not valid TOML"),
        ("port = " + "9" * 5000, r"data/townsquare.toml is not valid TOML|setting 'port'"),
    ],
)
def test_a_mistake_in_the_file_is_refused_by_name(text: str, sentence: str) -> None:
    write_file(text)
    with pytest.raises(SettingsError, match=sentence):
        load_settings()


def test_a_file_that_is_no_text_or_cannot_be_read_is_refused() -> None:
    Path("data").mkdir()
    (Path("data") / "townsquare.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="not valid TOML"):
        load_settings()
    (Path("data") / "townsquare.toml").unlink()
    (Path("data") / "townsquare.toml").mkdir()
    with pytest.raises(SettingsError, match="cannot be read: Is a directory"):
        load_settings()


def test_a_variable_that_is_no_setting_is_told_with_what_may_have_been_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    assert unknown_variables() == []
    monkeypatch.setenv("TOWNSQUARE_REDIS_ULR", "redis://x")
    monkeypatch.setenv("TOWNSQUARE_ZZZ", "1")
    assert unknown_variables() == [
        "TOWNSQUARE_REDIS_ULR is no setting; did you mean TOWNSQUARE_REDIS_URL?",
        "TOWNSQUARE_ZZZ is no setting",
    ]
    assert load_settings().redis_url is None


SECRET_VALUES = {
    "database_url": f"postgresql://town:{SECRET}@db",
    "redis_url": f"redis://:{SECRET}@cache",
    "smtp_url": f"smtp://town:{SECRET}@mail",
}


@pytest.mark.parametrize("name", sorted(SECRETS))
def test_a_secret_is_never_shown(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PREFIX + name.upper(), SECRET_VALUES.get(name, SECRET))
    assert SECRET in str(getattr(load_settings(), name))
    assert shown()[name] == "********"
    assert SECRET not in str(explain_settings())


@pytest.mark.parametrize("url", [SECRET, f"redis://town:{SECRET}/x@host", f"smtp://town:{SECRET}", f"http://[{SECRET}"])
@pytest.mark.parametrize("name", ["database_url", "redis_url", "smtp_url"])
def test_a_secret_is_not_in_the_complaint_about_it(name: str, url: str) -> None:
    with pytest.raises(SettingsError) as raised:
        load_settings({name: url})
    assert SECRET not in str(raised.value)


@profile(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    name=st.sampled_from(NAMES),
    text=st.text(max_size=60)
    | st.builds(
        "{}://{}".format, st.sampled_from(["http", "smtp", "redis", "postgresql"]), st.text("a:@/[]{},%?#0123", max_size=20)
    ),
)
def test_any_text_gives_a_value_or_an_error_that_names_the_setting(name: str, text: str) -> None:
    try:
        value = getattr(load_settings({name: text}), name)
    except SettingsError as error:
        assert f"setting {name!r} (from command line)" in str(error)
        str(error).encode()
    else:
        str(value).encode()
        assert isinstance(value, type(getattr(Settings(), name)) | str)
