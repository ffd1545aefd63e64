"""Spans, with the real OpenTelemetry: what takes time has one, what fails says so, hits have none."""

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from townsquare.cache.cache import Cache, Filled
from townsquare.cache.entries import Entry
from townsquare.cache.second_level import SharedEntry
from townsquare.cache.snapshots import Snapshot
from townsquare.cache.strategies import Strategy

KIND = Strategy("KIND", lifetime=100, grace=50)


class EmptySecond:
    async def get(self, key: str) -> SharedEntry | None:
        return None

    def put(self, entry: Entry) -> None:
        return


async def test_fills_and_looks_into_the_second_level_have_spans():
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    cache = Cache(second=EmptySecond(), tracer=provider.get_tracer("townsquare.cache"))
    cache.begin(Snapshot(1, 1), 1)
    cache.looked(Snapshot(1, 1), [], cache.now + 60)

    async def fill() -> Filled:
        return Filled("value", 10, frozenset())

    async def failing() -> Filled:
        raise ConnectionError("away")

    for _ in range(3):
        await cache.fetch("key", KIND, fill)
    with pytest.raises(ConnectionError):
        await cache.fetch("other", KIND, failing)
    spans = exporter.get_finished_spans()
    assert [span.name for span in spans] == ["cache.second_level", "cache.fill", "cache.second_level", "cache.fill"]
    assert all(span.attributes == {"cache.strategy": "KIND"} for span in spans)
    assert [span.status.is_ok for span in spans] == [True, True, True, False]
