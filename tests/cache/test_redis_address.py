"""How Redis is named."""

import pytest

from townsquare.cache.redis_address import RedisAddress


def test_one_server() -> None:
    address = RedisAddress.parse("redis://cache.example:6380/3")
    assert (address.kind, address.tls, address.hosts, address.db) == ("single", False, (("cache.example", 6380),), 3)
    assert (address.username, address.password) == (None, None)


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("redis://cache", (("cache", 6379),)),
        ("redis://[::1]", (("::1", 6379),)),
        ("redis+cluster://a:7000,b", (("a", 7000), ("b", 6379))),
        ("redis+sentinel://a,[fe80::1]:5000,c:26380", (("a", 26379), ("fe80::1", 5000), ("c", 26380))),
    ],
)
def test_hosts_have_the_usual_port_of_their_kind_unless_they_name_one(url: str, hosts: object) -> None:
    assert RedisAddress.parse(url).hosts == hosts


@pytest.mark.parametrize(
    ("login", "username", "password"),
    [("town:s3cret@", "town", "s3cret"), (":p%40ss%2Fw%3A@", None, "p@ss/w:"), ("", None, None)],
)
def test_names_and_passwords_are_decoded(login: str, username: str | None, password: str | None) -> None:
    for kind in ("redis", "redis+sentinel", "redis+cluster"):
        address = RedisAddress.parse(f"{kind}://{login}cache")
        assert (address.username, address.password) == (username, password)


def test_tls_and_whom_it_trusts() -> None:
    address = RedisAddress.parse("rediss+sentinel://cache?ssl_ca_certs=/etc/ca.pem&name=town")
    assert address.tls
    assert address.tls_options == {"ssl_ca_certs": "/etc/ca.pem"}
    assert address.options["name"] == "town"


@pytest.mark.parametrize(
    "url",
    [
        "", "cache", "http://cache", "redis://", "redis://:pw@", "redis://cache:0", "redis://cache:99999",
        "redis://cache:x", "redis://a,b", "redis+cluster://a,,b", "redis+cluster://a/1", "redis://cache/one",
        "redis://cache/-1", "redis://cache?db=1", "redis://cache?name=x", "redis+other://cache",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"^Expected "):
        RedisAddress.parse(url)


def test_a_password_is_never_repeated() -> None:
    assert "s3cret" not in repr(RedisAddress.parse("redis://:s3cret@cache"))
    for rest in ("cache:0", "cache/x", "cache?x=1", "[cache", "cache\u2100", "a,b", "h?s3cret=1"):
        with pytest.raises(ValueError, match=r"\w") as raised:
            RedisAddress.parse(f"redis://:s3cret@{rest}")
        assert "s3cret" not in str(raised.value)
