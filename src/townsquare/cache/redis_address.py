"""Where Redis is: one server, the sentinels that know which one it is, or some nodes of a cluster.

    redis://[[name]:password@]host[:port][/db]
    redis+sentinel://[[name]:password@]host[:port],host[:port].../[db][?name=mymaster]
    redis+cluster://[[name]:password@]host[:port],host[:port]...

`rediss` in place of `redis` is TLS. `?ssl_ca_certs=FILE` names who signed the servers' certificates where the system does
not know them, `ssl_certfile` and `ssl_keyfile` are our own; `sentinel_username` and `sentinel_password` are for the
sentinels.
"""

import re
from dataclasses import dataclass, field
from typing import Final, Literal, cast
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

Kind = Literal["single", "sentinel", "cluster"]

PORT: Final = 6379
SENTINEL_PORT: Final = 26379
SCHEMES: Final = ("redis", "rediss", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster")
_NO_HOST: Final = "Expected a host and perhaps a port; signs in a password go as %XX"
_TLS_OPTIONS: Final = frozenset({"ssl_ca_certs", "ssl_certfile", "ssl_keyfile"})
_SENTINEL_OPTIONS: Final = frozenset({"name", "sentinel_username", "sentinel_password"})


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """An address, taken apart. `options` are those of its query."""

    kind: Kind
    tls: bool
    hosts: tuple[tuple[str, int], ...]
    username: str | None
    password: str | None = field(repr=False)
    db: int
    options: dict[str, str] = field(repr=False)

    @classmethod
    def parse(cls, url: str) -> "RedisAddress":
        """Read an address; raises ValueError, whose text never repeats the address: it may hold a password."""
        # Some Pythons refuse several hosts of which one is an IPv6 address, so these are not theirs to split.
        scheme, _, rest = url.partition("://")
        place = re.split("[/?#]", rest, maxsplit=1)[0]
        parts = urlsplit(f"{scheme}://{rest.removeprefix(place)}")
        if parts.scheme not in SCHEMES:
            raise ValueError(f"Expected an address that begins with {'://, '.join(SCHEMES[:-1])}:// or {SCHEMES[-1]}://")
        kind = cast("Kind", parts.scheme.partition("+")[2] or "single")  # one of SCHEMES
        credentials, _, hosts = place.rpartition("@")
        username, _, password = credentials.partition(":")
        return cls(
            kind,
            parts.scheme.startswith("rediss"),
            _hosts(hosts, kind),
            unquote(username) or None,
            unquote(password) or None,
            _db(parts.path, kind),
            _options(parts, kind),
        )

    @property
    def tls_options(self) -> dict[str, str]:
        """The options that say whom to trust."""
        return {name: value for name, value in self.options.items() if name in _TLS_OPTIONS}


def _hosts(text: str, kind: Kind) -> tuple[tuple[str, int], ...]:
    try:
        parts = [urlsplit(f"//{host}") for host in text.split(",")]
        default = SENTINEL_PORT if kind == "sentinel" else PORT
        hosts = [(part.hostname or "", default if part.port is None else part.port) for part in parts]
    except ValueError:
        hosts = []
    if not hosts or not all(host and port for host, port in hosts) or (kind == "single" and len(hosts) > 1):
        raise ValueError(_NO_HOST)
    return tuple(hosts)


def _db(path: str, kind: Kind) -> int:
    number = path.strip("/")
    if number and not (number.isdecimal() and len(number) < 6):
        raise ValueError("Expected the number of a database after the host, or nothing")
    if kind == "cluster" and int(number or 0):
        raise ValueError("Expected no database but 0 of a cluster")
    return int(number or 0)


def _options(parts: SplitResult, kind: Kind) -> dict[str, str]:
    known = _TLS_OPTIONS | _SENTINEL_OPTIONS if kind == "sentinel" else _TLS_OPTIONS
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if options.keys() - known:  # not repeated either: a password may have slipped there
        raise ValueError(f"Expected no options but {', '.join(sorted(known))}")
    return options
