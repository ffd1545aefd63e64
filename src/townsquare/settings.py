"""One typed settings object: `TOWNSQUARE_*` variables over one TOML file over defaults.

`townsquare config` shows each value with where it came from.
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

PREFIX = "TOWNSQUARE_"
SECRETS = frozenset({"database_url", "redis_url", "smtp_url", "metrics_token", "internal_secret"})

Positive = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(gt=0)]


class SettingsError(Exception):
    """A setting is unknown or out of its range; the message names it and where it was given."""


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that an operator can set. Names of variables are these, upper case, behind `TOWNSQUARE_`."""

    data: Path = Path("data")
    """Folder of the embedded PostgreSQL, the keys, the mail and the files."""
    host: str = "127.0.0.1"
    """Address to listen on."""
    port: Annotated[int, Meta(ge=0, le=65535)] = 8000
    """Port of the gateway."""
    workers: Positive = 1
    """Processes on one port; one core each."""
    public_url: str = "http://127.0.0.1:8000"
    """Where people reach the community; used in mails."""

    upstream: str = "http://127.0.0.1:{port}"
    """Where services on ports of their own are reached; may name `{service}` and `{port}`."""

    database_url: str | None = None
    """Any PostgreSQL 15 or later (`postgresql://...`, without a database's name); the embedded one when absent."""
    database_pooler: bool = False
    """True behind a transaction pooler such as PgBouncer: no prepared statements, no session state."""
    pg_bin: str | None = None
    """Folder of PostgreSQL's programs; the wheel's or the system's when absent."""
    pool_size: Annotated[int, Meta(ge=1, le=100)] = 10
    """Most connections that one process opens to one service's database."""
    request_deadline: Seconds = 5.0
    """Seconds after which a request that waits for the database is answered with 503."""

    redis_url: str | None = None
    """Shared cache (Redis 6.2+ or Valkey); never required."""

    smtp_url: str | None = None
    """`smtp://user:password@host:587` or `smtps://...:465`; without it mail is written to `data/mail`."""
    mail_from: str = "townsquare@localhost"
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
    metrics_token: str | None = None
    """Bearer token that opens `/metrics` and readiness details to callers who are not on this machine."""
    internal_secret: str | None = None
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


def _read(overrides: Mapping[str, object]) -> tuple[Settings, dict[str, str]]:
    given = {name: value for name, value in overrides.items() if value is not None}
    from_environment = _environment()
    data = Path(str(given.get("data", from_environment.get("data", "data"))))
    file = Path(os.environ.get(PREFIX + "CONFIG", data / "townsquare.toml"))
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
    if isinstance(value, str) and name == "trusted_proxies":
        value = [part.strip() for part in value.split(",") if part.strip()]
    if isinstance(value, str) and name == "rate_limits":
        value = {"on": True, "off": False}.get(value.lower(), value)
    if isinstance(value, Path):
        value = str(value)
    try:
        checked = msgspec.convert({name: value}, Settings, strict=False, dec_hook=_path)
    except msgspec.ValidationError as error:
        raise SettingsError(f"setting {name!r} (from {source}): {error}") from None
    return msgspec.structs.replace(settings, **{name: getattr(checked, name)})


def _path(wanted: type, value: object) -> object:
    return Path(str(value)).expanduser() if wanted is Path else value


def _environment() -> dict[str, object]:
    names = {PREFIX + name.upper(): name for name in Settings.__struct_fields__}
    return {names[key]: value for key, value in os.environ.items() if key in names}


def _file(path: Path) -> dict[str, object]:
    if not path.is_file():
        return {}
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not valid TOML: {error}") from None


def _shown(name: str, value: object) -> str:
    if value is None:
        return ""
    return "********" if name in SECRETS else str(value)
