"""Redis behind sentinels, as a cluster, with TLS and with rights of its own for us: real servers each."""

import asyncio
import datetime
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from redis.exceptions import ResponseError

from testbed.proxy import running_proxy
from testbed.second_level import an_entry, running_level, until, written
from testbed.valkey import Cluster, Valkey, Watched, running_cluster, running_sentinel, running_valkey
from townsquare.cache.redis_level import RedisLevel

DEADLINE = 0.25
"""Longer than in earnest: the tests' machine may be busy, and a breaker that opens for that would make them wait."""


async def shares(level: RedisLevel) -> bool:
    level.put(an_entry("shared"))
    return await level.get("shared") is not None


# --- Sentinel --------------------------------------------------------------------------------------------------------


@pytest.fixture
async def watched(tmp_path: Path) -> AsyncIterator[Watched]:
    async with running_sentinel(tmp_path) as servers:
        yield servers


async def test_the_primary_is_found_by_the_sentinels_of_which_one_may_be_away(watched: Watched) -> None:
    async with running_level(watched.url) as level:
        await written(level, an_entry("profile"))
        assert await level.get("profile") is not None
        assert await watched.primary.ask("DBSIZE") == 1
        await level.ping()


@pytest.mark.parametrize("blow", ["kill", "freeze"])
async def test_after_a_failover_the_former_replica_is_used_and_still_has_what_was_kept(watched: Watched, blow: str) -> None:
    async with running_level(watched.url, deadline=DEADLINE) as level:
        await until(lambda: shares(level))
        await until(lambda: holds(watched.replica))
        getattr(watched.primary, blow)()
        await until(lambda: moved(watched))
        await until(lambda: level.get("shared"))
        await until(lambda: shares(level))


async def holds(server: Valkey) -> bool:
    return await server.ask("DBSIZE") == 1


async def moved(watched: Watched) -> bool:
    return await watched.primary_port() == watched.replica.port


async def test_a_primary_that_was_made_a_replica_is_left(watched: Watched) -> None:
    async with running_level(watched.url, deadline=DEADLINE) as level:
        await until(lambda: shares(level))
        await until(lambda: is_told_to_move(watched))
        await until(lambda: moved(watched))
        puts = level.counts.puts
        await until(lambda: shares(level))
        await until(lambda: level.counts.puts > puts)


async def is_told_to_move(watched: Watched) -> bool:
    try:
        return await watched.sentinel.ask("SENTINEL", "FAILOVER", Watched.NAME)
    except ResponseError:  # it does not know yet that its replica is a good one
        return False


async def test_without_any_sentinel_it_is_left_alone(watched: Watched) -> None:
    watched.sentinel.kill()
    async with running_level(watched.url, deadline=DEADLINE) as level:
        await until(lambda: is_left_alone(level))
        await watched.sentinel.start()
        await until(lambda: shares(level))


async def is_left_alone(level: RedisLevel) -> bool:
    assert await level.get("shared") is None
    return not level.breaker.closed


# --- Cluster ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    async with running_cluster(tmp_path_factory.mktemp("cluster")) as servers:
        yield servers


async def test_entries_are_spread_over_a_cluster_and_found_again(cluster: Cluster) -> None:
    entries = [an_entry(f"profile {number}", f"person {number}") for number in range(60)]
    async with running_level(cluster.url) as level:
        await written(level, *entries)
        found = await asyncio.gather(*(level.get(entry.key) for entry in entries))
        assert [shared and shared.value for shared in found] == [entry.value for entry in entries]
        assert all([await node.ask("DBSIZE") for node in cluster.nodes])
        await level.ping()


@pytest.mark.parametrize("blow", ["kill", "freeze"])
async def test_a_node_of_the_cluster_that_is_away_is_noticed_and_used_again_when_it_is_back(
    cluster: Cluster, blow: str
) -> None:
    keys = [f"profile {number}" for number in range(30)]
    node = cluster.nodes[1]
    async with running_level(cluster.url, deadline=DEADLINE) as level:
        await until(lambda: all_are_shared(level, keys))
        getattr(node, blow)()
        try:
            await until(lambda: somebody_notices(level, keys))
        finally:
            if blow == "kill":
                await node.start()
            else:
                node.thaw()
        await cluster.healthy()
        await until(lambda: all_are_shared(level, keys))


async def test_when_a_replica_takes_over_its_slots_are_found_there(tmp_path: Path) -> None:
    keys = [f"profile {number}" for number in range(30)]
    async with (
        running_cluster(tmp_path, with_replica=True) as cluster,
        running_level(cluster.url, deadline=DEADLINE) as level,
    ):
        await until(lambda: all_are_shared(level, keys))
        cluster.nodes[0].kill()
        await until(lambda: somebody_notices(level, keys))
        await until(lambda: all_are_shared(level, keys))


async def all_are_shared(level: RedisLevel, keys: list[str]) -> bool:
    for key in keys:
        level.put(an_entry(key))
    return None not in await asyncio.gather(*map(level.get, keys))


async def somebody_notices(level: RedisLevel, keys: list[str]) -> bool:
    await asyncio.gather(*map(level.get, keys))
    return not level.breaker.closed


async def test_a_slot_that_has_moved_is_followed(cluster: Cluster) -> None:
    source, target = cluster.nodes[0], cluster.nodes[1]
    async with running_level(cluster.url, "{town}") as level:
        await written(level, an_entry())
        slot = await source.ask("CLUSTER", "KEYSLOT", "{town}")
        source, target = sorted((source, target), key=lambda node: not node.folder.name.endswith(str(slot // 5462)))
        ids = [(await node.ask("CLUSTER", "MYID")).decode() for node in (source, target)]
        await target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[0])
        await source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[1])
        await source.ask("MIGRATE", "127.0.0.1", target.port, "{town}:profile", 0, 5000)
        for node in (target, source):
            await node.ask("CLUSTER", "SETSLOT", slot, "NODE", ids[1])
        assert await level.get("profile") is not None


# --- TLS -------------------------------------------------------------------------------------------------------------


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """Make a certificate that signs itself; returns the files of it and of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = folder / f"{name}.pem", folder / f"{name}.key"
    files[0].write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files


def speaks_for(files: tuple[Path, Path], clients: Path | None = None) -> ssl.SSLContext:
    """What a server needs to speak TLS under a certificate; with `clients` it wants one of theirs."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*files)
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(clients)
    return context


async def test_tls_to_whom_the_address_trusts_and_to_nobody_else(tmp_path: Path) -> None:
    mine, others = certificate(tmp_path, "localhost"), certificate(tmp_path, "elsewhere")
    async with (
        running_valkey(tmp_path / "valkey", password="s3cret") as valkey,
        running_proxy(valkey.port, speaks_for(mine)) as proxy,
    ):
        url = f"rediss://:s3cret@localhost:{proxy.port}"
        async with running_level(f"{url}?ssl_ca_certs={mine[0]}") as level:
            await written(level, an_entry())
            assert await level.get("profile") is not None
        misnamed = f"rediss://:s3cret@127.0.0.1:{proxy.port}?ssl_ca_certs={mine[0]}"
        for untrusted in (url, f"{url}?ssl_ca_certs={others[0]}", misnamed):
            async with running_level(untrusted) as level:
                await until(lambda level=level: is_left_alone(level))


async def test_tls_where_the_server_wants_a_certificate_of_ours(tmp_path: Path) -> None:
    mine, ours = certificate(tmp_path, "localhost"), certificate(tmp_path, "client")
    async with (
        running_valkey(tmp_path / "valkey") as valkey,
        running_proxy(valkey.port, speaks_for(mine, ours[0])) as proxy,
    ):
        url = f"rediss://localhost:{proxy.port}?ssl_ca_certs={mine[0]}"
        async with running_level(f"{url}&ssl_certfile={ours[0]}&ssl_keyfile={ours[1]}") as level:
            await written(level, an_entry())
        async with running_level(url) as level:
            await until(lambda: is_left_alone(level))


# --- a password, and rights ------------------------------------------------------------------------------------------


async def test_a_password_with_signs_in_it(tmp_path: Path) -> None:
    async with running_valkey(tmp_path, password="p@ss/w:rd") as valkey:
        url = f"redis://:p%40ss%2Fw%3Ard@127.0.0.1:{valkey.port}/2"
        async with running_level(url) as level:
            await written(level, an_entry())
            assert (await valkey.ask("INFO", "keyspace"))["db2"]["keys"] == 1


async def test_it_needs_no_right_but_to_read_and_write_its_own_keys(tmp_path: Path) -> None:
    async with running_valkey(tmp_path) as valkey:
        await valkey.ask("ACL", "SETUSER", "town", "on", ">s3cret", "~townsquare:*", "+get", "+set", "+pttl")
        async with running_level(f"redis://town:s3cret@127.0.0.1:{valkey.port}", "townsquare:1") as level:
            await written(level, an_entry())
            assert await level.get("profile") is not None
            await level.ping()


async def test_without_the_right_to_read_it_is_left_alone_until_it_has_it(tmp_path: Path) -> None:
    async with running_valkey(tmp_path) as valkey:
        await valkey.ask("ACL", "SETUSER", "town", "on", ">s3cret", "~townsquare:*", "+set")
        async with running_level(f"redis://town:s3cret@127.0.0.1:{valkey.port}", "townsquare:1") as level:
            await until(lambda: is_left_alone(level))
            await valkey.ask("ACL", "SETUSER", "town", "+get", "+pttl")
            await until(lambda: shares(level))
