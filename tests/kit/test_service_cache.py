"""A service's cache beside the service: what it is given when it begins, and how it ends."""

import asyncio
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from testbed.town import Town, running_town
from townsquare.cache.cache import Cache, Filled
from townsquare.cache.strategies import Strategy
from townsquare.cache.tracing import NoTracer
from townsquare.kit.postgres import EmbeddedPostgres
from townsquare.topology import SERVICES

KIND = Strategy("KIND", lifetime=600, grace=60, hard_deadline=60)


@pytest.fixture
async def server(postgres: EmbeddedPostgres) -> str:
    await postgres.ensure_databases([service.database for service in SERVICES.values()])
    return postgres.url("postgres")


def cache_of(town: Town) -> Cache:
    cache = town.host.services["users"].context.cache
    assert cache is not None
    return cache


async def test_a_fill_that_is_under_way_at_a_stop_is_ended_before_its_database_goes(server: str, tmp_path: Path) -> None:
    async with running_town(tmp_path, server) as town:
        cache, database = cache_of(town), town.database("users")

        async def hanging() -> Filled:
            return Filled(await database.fetchval("SELECT pg_sleep(60)"), 1, frozenset())

        asked = [asyncio.create_task(cache.fetch("key", KIND, hanging)) for _ in range(2)]
        async with asyncio.timeout(10):
            while not database.in_use:
                await asyncio.sleep(0.005)
    ended = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(error) for error in ended] == [asyncio.CancelledError] * 2
    assert "cache fill" not in {task.get_name() for task in asyncio.all_tasks()}


async def test_where_opentelemetry_is_set_up_fills_have_spans(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)  # which can be set once in a process
    async with running_town(tmp_path, server) as town:
        assert (await town.users.get("/skills")).status == 200
    spans = [span for span in exporter.get_finished_spans() if span.attributes == {"cache.strategy": "SKILLS"}]
    assert [span.name for span in spans] == ["cache.fill"]
    assert spans[0].instrumentation_scope is not None
    assert spans[0].instrumentation_scope.name == "townsquare.cache"


async def test_where_it_is_not_set_up_nothing_is_traced(town: Town) -> None:
    assert isinstance(cache_of(town)._filler._tracer, NoTracer)
