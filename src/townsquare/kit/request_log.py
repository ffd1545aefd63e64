"""What is noted of every request of a service, whoever answers it: a count, and a line where somebody wants one."""

from http import HTTPStatus
from typing import Final

from townsquare.kit.context import Context
from townsquare.kit.logs import get_logger, log_request

SLOW_SECONDS: Final = 1.0
LONG_POLLS: Final = frozenset({"/events"})


class RequestLog:
    """Counts a service's requests, and logs those that failed or were slow, or all where the settings say so."""

    def __init__(self, context: Context) -> None:
        self.metrics = context.request_metrics
        self._service = context.name
        self._log_all = context.settings.log_requests == "all"
        self._log = get_logger("request")

    def ended(self, method: str, route: str, status: int, seconds: float, request_id: str) -> None:
        """Note a request that has been answered; `route` is a template, never a path."""
        self.metrics.observe(method, route, status, seconds)
        slow = seconds > SLOW_SECONDS and route not in LONG_POLLS
        if self._log_all or slow or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            log_request(self._log, method, route, status, seconds, request_id, self._service)

    def unhandled(self, error: Exception, method: str, request_id: str) -> None:
        """Note what nobody had expected, before it is answered as a 500."""
        self._log.error("unhandled error", exc_info=error, method=method, request_id=request_id)
