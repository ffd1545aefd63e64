"""Spans around what takes time: fills and looks into the second level. Off unless a tracer is given.

OpenTelemetry's `Tracer` is one as it stands (`opentelemetry.trace.get_tracer("townsquare.cache")`); this package does not
need it installed. Hits have no spans: they are over before a span would have begun.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Final, Protocol


class Tracer(Protocol):
    """The one method of OpenTelemetry's tracer that is used."""

    def start_as_current_span(
        self, name: str, *, attributes: Mapping[str, str] | None = None
    ) -> AbstractContextManager[object]:
        """Begin a span that ends with the context; an exception that leaves it is recorded."""
        ...


class NoTracer:
    """Traces nothing."""

    _NO_SPAN: Final = nullcontext()

    def start_as_current_span(
        self, name: str, *, attributes: Mapping[str, str] | None = None
    ) -> AbstractContextManager[object]:
        """Return a context that does nothing."""
        return self._NO_SPAN
