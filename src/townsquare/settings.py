"""One typed settings object: `TOWNSQUARE_*` variables over one TOML file over defaults.

`townsquare config` shows each value with where it came from. A setting that does not exist is an error in the file, which is
ours alone, and a warning among the variables, where others (Kubernetes, an older release's unit file) put theirs too. An
empty variable counts as none: that is how compose files and units leave something out.
"""

import os
import re
import tomllib
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from townsquare.cache.redis_address import RedisAddress

PREFIX = "TOWNSQUARE_"
SECRETS = frozenset({"database_url", "redis_url", "smtp_url", "metrics_token", "internal_secret", "storage_secret"})

CONFIG_VARIABLE = PREFIX + "CONFIG"
FILE_NAME = "townsquare.toml"

Positive = Annotated[int, Meta(ge=1, le=1_000_000_000)]
Seconds = Annotated[float, Meta(gt=0, le=3600)]
Text = Annotated[str, Meta(min_length=1, max_length=2000)]


class SettingsError(Exception):
    """A setting is unknown or out of its range; the message names it and where it was given."""


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that an operator can set. Names of variables are these, upper case, behind `TOWNSQUARE_`."""

    data: Path = Path("data")
    """Folder of the embedded PostgreSQL, the keys, the mail and the files."""
    host: Text = "127.0.0.1"
    """Address to listen on."""
    port: Annotated[int, Meta(ge=0, le=65535)] = 8000
    """Port of the gateway."""
    workers: Annotated[int, Meta(ge=1, le=64)] = 1
    """Processes on one port; one core each."""
    public_url: Text = "http://127.0.0.1:8000"
    """Where people reach the community; used in mails."""

    upstream: Text = "http://127.0.0.1:{port}"
    """Where services on ports of their own are reached; may name `{service}` and `{port}`."""

    database_url: Text | None = None
    """Any PostgreSQL 15 or later (`postgresql://...`, without a database's name); the embedded one when absent."""
    database_pooler: bool = False
    """True behind a transaction pooler such as PgBouncer: no prepared statements, no session state."""
    pg_bin: Text | None = None
    """Folder of PostgreSQL's programs; the wheel's or the system's when absent."""
    pool_size: Annotated[int, Meta(ge=1, le=100)] = 10
    """Most connections that one process opens to one service's database."""
    request_deadline: Seconds = 5.0
    """Seconds after which a request that waits for the database is answered with 503."""

    cache: bool = True
    """Whether answers are kept in memory; off to look for a fault, or for benchmarks of what is beneath."""
    cache_mb: Positive = 64
    """Megabytes that the kept answers of one service may take in one process."""
    redis_url: Text | None = None
    """Shared cache (Redis 6.2+ or Valkey); never required. `redis://`, `rediss://` (TLS), `redis+sentinel://`, `redis+cluster://`."""

    storage_url: Text | None = None
    """Where files are kept: `s3://bucket` or `s3://bucket/prefix`; in `data/media` when absent."""
    storage_endpoint: Text | None = None
    """Address of an S3 that is not Amazon's, such as `https://s3.example.org`."""
    storage_region: Text = "us-east-1"
    """Region of the bucket."""
    storage_key_id: Text | None = None
    """Access key of the bucket; without it the machine's own identity is used."""
    storage_secret: Text | None = None
    """Secret of the access key."""
    upload_mb: Positive = 100
    """Megabytes that a file may have that is uploaded in one request."""
    resumable_mb: Positive = 4096
    """Megabytes that a file may have that is uploaded in pieces."""
    quota_mb: Positive = 5120
    """Megabytes that one person's files may have together."""
    image_workers: Annotated[int, Meta(ge=1, le=64)] = 2
    """Processes of each process of the media service that work on pictures at a time."""

    smtp_url: Text | None = None
    """`smtp://user:password@host:587` or `smtps://...:465`; without it mail is written to `data/mail`."""
    mail_from: Text = "townsquare@localhost"
    """Sender of the platform's mail."""

    rate_limits: bool = True
    """Off for tests and benchmarks only."""
    rate_limit_reads: Positive = 300
    """Reads in a minute."""
    rate_limit_writes: Positive = 60
    """Writes in a minute."""
    rate_limit_sign_in: Positive = 10
    """Attempts to sign in within 5 minutes."""
    rate_limit_uploads: Positive = 30
    """Uploads in 30 minutes."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses of reverse proxies whose `X-Forwarded-For` is believed."""
    max_body: Positive = 1_048_576
    """Most bytes of a JSON body."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least level that is logged."""
    log_format: Literal["auto", "json", "console"] = "auto"
    """`auto`: console on a terminal, JSON otherwise."""
    log_requests: Literal["all", "errors"] = "errors"
    """Which requests are logged; errors and slow ones always are."""
    metrics_token: Text | None = None
    """Bearer token that opens `/metrics` and readiness details to callers who are not on this machine."""
    internal_secret: Text | None = None
    """Secret that services show each other; made in `data/keys` when absent."""


class Origin(Struct, frozen=True):
    """One setting's value and where it came from."""

    name: str
    value: str
    source: str


def load_settings(overrides: Mapping[str, object] | None = None) -> Settings:
    """Read the settings; `overrides` (the command line's options) win. Raises SettingsError."""
    return _read(overrides or {})[0]


def explain_settings(overrides: Mapping[str, object] | None = None) -> list[Origin]:
    """List each setting with its source; secrets are masked."""
    settings, sources = _read(overrides or {})
    return [
        Origin(name, _shown(name, getattr(settings, name)), sources.get(name, "default"))
        for name in Settings.__struct_fields__
    ]


def unknown_variables() -> list[str]:
    """Say of each `TOWNSQUARE_*` variable that is no setting what it may have been meant for."""
    known = {*Settings.__struct_fields__, "config"}
    given = sorted(key for key in os.environ if key.startswith(PREFIX))
    unknown = [key for key in given if key.removeprefix(PREFIX).lower() not in known or not key.isupper()]
    return [f"{_printable(key)} is no setting{_meant(key.removeprefix(PREFIX), prefix=PREFIX)}" for key in unknown]


def _read(overrides: Mapping[str, object]) -> tuple[Settings, dict[str, str]]:
    given = {name: value for name, value in overrides.items() if value is not None}
    from_environment = _environment()
    data = _data_folder(given, from_environment)
    file = _config_file(data)
    layers: list[tuple[str, Mapping[str, object]]] = [
        (str(file), _file(file)),
        ("environment", from_environment),
        ("command line", given),
    ]
    values: dict[str, object] = {}
    sources: dict[str, str] = {}
    for source, layer in layers:
        for name, value in layer.items():
            values[name], sources[name] = value, source
    settings = Settings()
    for name, value in values.items():
        settings = _with(settings, name, value, sources[name])
    return msgspec.structs.replace(settings, data=settings.data.absolute()), sources


def _with(settings: Settings, name: str, value: object, source: str) -> Settings:
    """Set one field, so that an error can name it and its source."""
    if name not in Settings.__struct_fields__:
        raise SettingsError(f"there is no setting {_printable(name)} (in {source}){_meant(name)}")
    try:
        checked = msgspec.convert({name: _plain(name, value)}, Settings, strict=False, dec_hook=_path)
        if (check := _CHECKS.get(name)) is not None and (text := getattr(checked, name)) is not None:
            check(text)
    except (msgspec.ValidationError, ValueError) as error:
        reason = str(error).partition(" - at `$")[0]
        raise SettingsError(f"setting {name!r} (from {source}): {reason}") from None
    return msgspec.structs.replace(settings, **{name: getattr(checked, name)})


def _plain(name: str, value: object) -> object:
    """Return the value as the conversion takes it: lists and switches may be written in words."""
    if isinstance(value, Path):
        value = str(value)
    if not isinstance(value, str):
        return value
    if _UNPRINTABLE.search(value):
        raise ValueError("Expected text without control characters, in UTF-8")
    if isinstance(getattr(_DEFAULTS, name), bool):
        return _SWITCH.get(value.lower(), value)
    if name == "trusted_proxies":
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def _path(wanted: type, value: object) -> object:
    if wanted is not Path or not isinstance(value, str) or not value:
        raise ValueError("Expected the path of a folder")
    try:
        return Path(value).expanduser()
    except RuntimeError:  # of a person who has no home, or is not known
        raise ValueError("Expected a path whose ~ leads to a home folder") from None


def _environment() -> dict[str, object]:
    names = {PREFIX + name.upper(): name for name in Settings.__struct_fields__}
    return {names[key]: value for key, value in os.environ.items() if key in names and value}


def _data_folder(given: Mapping[str, object], from_environment: Mapping[str, object]) -> Path:
    """Return the folder whose file is read; that file may then name another one."""
    for source, layer in (("command line", given), ("environment", from_environment)):
        if "data" in layer:
            return _with(_DEFAULTS, "data", layer["data"], source).data
    return _DEFAULTS.data


def _config_file(data: Path) -> Path:
    named = os.environ.get(CONFIG_VARIABLE)
    if not named:
        return data / FILE_NAME
    if _UNPRINTABLE.search(named) or not Path(named).is_file():
        raise SettingsError(f"{CONFIG_VARIABLE} names {_printable(named)}, and there is no such file")
    return Path(named)


def _file(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{path} is not valid TOML: {error}") from None


def _shown(name: str, value: object) -> str:
    if value is None:
        return ""
    if name in SECRETS:
        return "********"
    if isinstance(value, bool):
        return "on" if value else "off"
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)  # pyright: ignore[reportUnknownArgumentType]


def _meant(name: str, prefix: str = "") -> str:
    close = get_close_matches(name.lower(), Settings.__struct_fields__, n=1)
    return f"; did you mean {prefix}{close[0].upper() if prefix else close[0]}?" if close else ""


def _printable(text: str) -> str:
    return ascii(text) if _UNPRINTABLE.search(text) else text


def _check_address(*schemes: str) -> Callable[[str], None]:
    """Return the check of an address with one of these schemes; it never repeats the address, which may hold a password."""
    wanted = f"Expected an address that begins with {' or '.join(f'{scheme}://' for scheme in schemes)}"

    def check(url: str) -> None:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise ValueError(f"{wanted} and names a host and perhaps a port; signs in a password go as %XX") from None
        if parts.scheme not in schemes or not parts.hostname or port == 0:
            raise ValueError(f"{wanted} and names a host")

    return check


def _check_database_url(url: str) -> None:
    """Look at scheme and hosts; there may be several, or none and `?host=`. asyncpg judges the rest."""
    hosts = re.split("[/?#]", url.partition("://")[2])[0].rpartition("@")[2]
    if not url.startswith(("postgresql://", "postgres://")) or not all(map(_HOST.fullmatch, hosts.split(","))):
        raise ValueError("Expected an address like postgresql://role:password@host:5432; signs in a password go as %XX")


def _check_redis_url(url: str) -> None:
    RedisAddress.parse(url)


def _check_upstream(template: str) -> None:
    filled = template.replace("{service}", "users").replace("{port}", "8001")
    if "{" in filled or "}" in filled:
        raise ValueError("Expected an address that names {service} and {port}, and nothing else in braces")
    _check_address("http", "https")(filled)


def _check_public_url(url: str) -> None:
    _check_address("http", "https")(url)
    if url.endswith("/"):
        raise ValueError("Expected an address without a slash at its end")


_DEFAULTS = Settings()
# Control characters, and the lone surrogates that stand for bytes that are no UTF-8.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:\s]*)(:[0-9]{1,5})?")
_SWITCH = {"on": True, "yes": True, "off": False, "no": False}
_CHECKS: dict[str, Callable[[str], None]] = {
    "public_url": _check_public_url,
    "upstream": _check_upstream,
    "database_url": _check_database_url,
    "redis_url": _check_redis_url,
    "storage_url": _check_address("s3"),
    "storage_endpoint": _check_address("http", "https"),
    "smtp_url": _check_address("smtp", "smtps"),
}
