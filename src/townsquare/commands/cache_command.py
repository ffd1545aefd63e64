"""`townsquare cache`: what the caches of a running platform hold, why a path is a hit or not, and dropping by hand."""

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlencode

import aiohttp
import click
import msgspec
from msgspec import Struct
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from townsquare import hosting
from townsquare.cache.ledger import EVERYTHING
from townsquare.catalogue import BUILT
from townsquare.commands.database import database_of, existing_server
from townsquare.commands.shared import (
    CommandError,
    Words,
    data_option,
    json_option,
    print_facts,
    print_json,
    print_table,
    run,
    task_settings,
)
from townsquare.kit import keys
from townsquare.kit.cache_metrics import RESULTS
from townsquare.kit.cache_operations import Explanation
from townsquare.kit.outbox import CHANNEL, NewEvent, insert_events
from townsquare.kit.upstream import INTERNAL_HEADER
from townsquare.kit.user_ids import read_user_id
from townsquare.settings import Settings
from townsquare.topology import SERVICES

SECONDS = 5.0
PURGE = "cache_purge"


class StrategyStats(Struct, frozen=True):
    """How the requests of one strategy were answered, over all processes."""

    service: str
    strategy: str
    hit_ratio: float
    results: dict[str, int]


class ServiceStats(Struct, frozen=True):
    """What the caches of one service hold, over all processes."""

    service: str
    entries: int
    bytes: int
    capacity_bytes: int
    evictions: int
    processes_in_touch: int


class Stats(Struct, frozen=True):
    """All of it."""

    services: list[ServiceStats]
    strategies: list[StrategyStats]


class Purged(Struct, frozen=True):
    """A tag that was dropped in the caches of these services."""

    tag: str
    services: list[str]


_port_option = click.option("--port", type=click.IntRange(1, 65535), help="Port of the gateway (default 8000).")


@click.group("cache")
def command() -> None:
    """Show what the caches hold and why; drop things by hand. How it works is in docs/cache."""


@command.command("stats")
@_port_option
@data_option
@json_option
def stats(port: int | None, data: Path | None, as_json: bool) -> None:
    """Show hits, misses and room of a running platform, summed over its processes."""
    found = run(_stats(task_settings(data=data, port=port)))
    if as_json:
        print_json(found)
        return
    columns = ("service", "strategy", "hit ratio", *(result.replace("_", " ") for result in RESULTS))
    print_table(columns, ((s.service, s.strategy, f"{s.hit_ratio:.0%}", *s.results.values()) for s in found.strategies))
    columns = ("service", "entries", "MB", "of MB", "evictions", "processes in touch")
    print_table(columns, (_row(service) for service in found.services))


@command.command("explain")
@click.argument("path", type=Words())
@click.option("--as", "handle", type=Words(), help="Who asks: a handle; nobody when left out.")
@_port_option
@data_option
@json_option
def explain(path: str, handle: str | None, port: int | None, data: Path | None, as_json: bool) -> None:
    """Explain how a running platform would answer a GET of PATH (`/api/users/profile/@ada`).

    Of several processes on one port, one answers: each has a memory of its own.
    """
    found = run(_explain(task_settings(data=data, port=port), path, handle))
    if as_json:
        print_json(found)
    else:
        _print_explanation(found)


@command.command("purge")
@click.argument("tag", type=Words())
@data_option
@json_option
def purge(tag: str, data: Path | None, as_json: bool) -> None:
    """Drop every answer that depends on TAG (`profile:ID`), in all processes and in the shared level."""
    _say_purged(run(_purge(task_settings(data=data), tag)), as_json=as_json)


@command.command("clear")
@data_option
@json_option
def clear(data: Path | None, as_json: bool) -> None:
    """Drop every answer that is kept anywhere."""
    _say_purged(run(_purge(task_settings(data=data), EVERYTHING)), as_json=as_json)


# --- stats ---------------------------------------------------------------------------------------------------------


async def _stats(settings: Settings) -> Stats:
    body = await _ask_gateway(settings, "/metrics")
    if body is None:
        raise CommandError(f"what answers at {hosting.local_address(settings.host, settings.port)} is no townsquare")
    families = text_string_to_metric_families(body.decode())
    samples = [sample for family in families for sample in family.samples if sample.name.startswith("cache_")]
    services = [sample.labels["service"] for sample in samples if sample.name == "cache_entries"]
    return Stats([_service_stats(name, samples) for name in services], _strategy_stats(samples))


def _service_stats(name: str, samples: Sequence[Sample]) -> ServiceStats:
    values = {sample.name: int(sample.value) for sample in samples if sample.labels == {"service": name}}
    return ServiceStats(
        name,
        values["cache_entries"],
        values["cache_bytes"],
        values["cache_capacity_bytes"],
        values["cache_evictions_total"],
        values["cache_in_touch"],
    )


def _strategy_stats(samples: Sequence[Sample]) -> list[StrategyStats]:
    ratios = {_named(sample): sample.value for sample in samples if sample.name == "cache_hit_ratio"}
    results: dict[tuple[str, str], dict[str, int]] = {}
    for sample in samples:
        if sample.name == "cache_requests_total":
            counts = results.setdefault(_named(sample), dict.fromkeys(RESULTS, 0))
            counts[sample.labels["result"]] = int(sample.value)
    return [StrategyStats(*name, ratios.get(name, 0.0), counts) for name, counts in sorted(results.items())]


def _named(sample: Sample) -> tuple[str, str]:
    return sample.labels["service"], sample.labels["strategy"]


def _row(one: ServiceStats) -> tuple[object, ...]:
    return one.service, one.entries, _mb(one.bytes), _mb(one.capacity_bytes), one.evictions, one.processes_in_touch


def _mb(number: int) -> str:
    return f"{number / (1 << 20):.1f}"


# --- explain -------------------------------------------------------------------------------------------------------


async def _explain(settings: Settings, path: str, handle: str | None) -> Explanation:
    service, prefix, rest = _service_of(path)
    viewer = None if handle is None else await _id_of(settings, handle.removeprefix("@"))
    query = urlencode({"path": rest, "prefix": prefix} | ({"asking": viewer} if viewer else {}))
    body = await _ask_service(settings, service, f"/cache/explain?{query}")
    if body is None:
        raise CommandError("the cache of this platform is switched off")
    return msgspec.json.decode(body, type=Explanation)


def _service_of(path: str) -> tuple[str, str, str]:
    """Return the service, the prefix and the service's own path of a path as it is seen through the gateway."""
    for name in BUILT:
        prefix = SERVICES[name].prefix
        if path.startswith(prefix + "/"):
            return name, prefix, path.removeprefix(prefix)
    wanted = ", ".join(f"{SERVICES[name].prefix}/..." for name in BUILT)
    raise CommandError(f"{path} is not a path of a service; these are: {wanted}")


async def _id_of(settings: Settings, handle: str) -> str:
    known = read_user_id(f"@{handle}")
    body = None if known is None else await _ask_service(settings, "users", f"/profile/@{known}")
    if body is None:
        raise CommandError(f"there is nobody called @{handle} here")
    return str(msgspec.json.decode(body)["id"])


async def _ask_service(settings: Settings, service: str, target: str) -> bytes | None:
    """Ask a service on its own port, where it has one, or else inside the process that has them all."""
    try:
        return await _ask(settings, hosting.port_of(service, settings), target)
    except aiohttp.ClientConnectorError:
        return await _ask_gateway(settings, SERVICES[service].prefix + target)


async def _ask_gateway(settings: Settings, target: str) -> bytes | None:
    try:
        return await _ask(settings, settings.port, target)
    except aiohttp.ClientConnectorError:
        address = hosting.local_address(settings.host, settings.port)
        raise CommandError(f"no platform answers at {address}; start it with `townsquare up`, or name its --port") from None


async def _ask(settings: Settings, port: int, target: str) -> bytes | None:
    """Return what is answered, or None where there is no such thing; raises ClientConnectorError where nobody listens."""
    address = hosting.local_address(settings.host, port)
    headers = {INTERNAL_HEADER: keys.internal_secret(settings)}
    timeout = aiohttp.ClientTimeout(total=SECONDS)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(address + target, headers=headers) as answer,
        ):
            if answer.status not in (200, 404):
                raise CommandError(f"the platform answered {answer.status}")
            return await answer.read() if answer.status == 200 else None
    except aiohttp.ClientConnectorError:
        raise
    except aiohttp.ClientError as error:
        raise CommandError(f"what answers at {address} is no townsquare ({type(error).__name__})") from error


def _print_explanation(found: Explanation) -> None:
    print_facts(
        [
            ("path", found.path),
            ("answer", found.reason),
            ("route", found.route),
            ("strategy", found.strategy),
            ("audience", found.audience),
            ("parameters", ", ".join(found.parameters)),
        ]
    )
    for entry in found.entries:
        whose = "everybody's" if entry.whose == "-" else f"of {entry.whose} alone"
        click.echo()
        print_facts(
            [
                (f"entry {whose}", entry.reason),
                ("key", entry.key),
                ("fresh for", None if entry.fresh_for is None else f"{entry.fresh_for:g} s"),
                ("age", None if entry.age is None else f"{entry.age:g} s"),
                ("bytes", entry.bytes),
                ("tags", ", ".join(entry.tags)),
                ("watched", entry.watched or None),
                ("snapshot", entry.snapshot),
            ]
        )


# --- purge ---------------------------------------------------------------------------------------------------------


async def _purge(settings: Settings, tag: str) -> Purged:
    """Tell every service's outbox that the tag has changed: who follows it, drops what depends on it."""
    async with existing_server(settings) as server:
        for service in BUILT:
            async with database_of(service, settings, server) as database:
                async with database.transaction() as connection:
                    await insert_events(connection, [NewEvent(PURGE, tag, (tag,), {"tag": tag})])
                await database.execute("SELECT pg_notify($1, '')", CHANNEL)
    return Purged(tag, list(BUILT))


def _say_purged(purged: Purged, *, as_json: bool) -> None:
    if as_json:
        print_json(purged)
        return
    what = "Everything" if purged.tag == EVERYTHING else f"What depends on {purged.tag}"
    click.echo(f"{what} is dropped in every running process of {', '.join(purged.services)}, within a second at the latest.")
