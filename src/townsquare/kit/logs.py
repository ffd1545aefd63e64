"""Structured logs in the Elastic Common Schema's names: JSON lines on stdout, or readable lines on a terminal.

What is logged never holds tokens, passwords, e-mail addresses or query strings: fields with such names are masked.
"""

import logging
import sys
import traceback
from collections.abc import MutableMapping
from typing import Any, Final, TextIO, cast

import asyncpg
import structlog
from structlog.stdlib import BoundLogger

from townsquare.settings import Settings

SECRET_FIELDS: Final = frozenset(
    {"password", "token", "access_token", "refresh_token", "authorization", "cookie", "email", "secret", "query", "dsn"}
)
MASK: Final = "***"

# Our short names, as ECS calls them.
_ECS: Final = {
    "level": "log.level",
    "logger": "log.logger",
    "event": "message",
    "timestamp": "@timestamp",
    "service": "service.name",
    "method": "http.request.method",
    "route": "url.path",
    "status": "http.response.status_code",
    "request_id": "http.request.id",
    "error_type": "error.type",
}

Event = MutableMapping[str, Any]


def configure(settings: Settings, stream: TextIO | None = None) -> None:
    """Set up logging for the process; everything that uses the standard library's logging goes the same way.

    `stream` is standard output, but for a command that prints an answer there.
    """
    output = stream or sys.stdout
    console = settings.log_format == "console" or (settings.log_format == "auto" and output.isatty())
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _mask,
    ]
    last: list[Any] = (
        [structlog.dev.ConsoleRenderer()] if console else [_errors, _rename, structlog.processors.JSONRenderer()]
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
    )
    handler = logging.StreamHandler(output)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.log_level.upper())
    for name in ("uvicorn", "uvicorn.error", "litestar"):
        logging.getLogger(name).handlers = []
    for noisy in ("aiohttp.access", "asyncio", "uvicorn.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


def get_logger(name: str) -> BoundLogger:
    """Return the logger of one part of the platform."""
    return cast("BoundLogger", structlog.get_logger(f"townsquare.{name}"))


def log_request(
    logger: BoundLogger, method: str, route: str, status: int, seconds: float, request_id: str, service: str
) -> None:
    """Log one request, by its route's template: a path may hold names."""
    report = logger.error if status >= 500 else logger.info
    report(
        "request",
        method=method,
        route=route,
        status=status,
        request_id=request_id,
        service=service,
        **{"event.duration": round(seconds * 1e9)},
    )


def _mask(_: Any, __: str, event: Event) -> Event:
    for name in event.keys() & SECRET_FIELDS:
        event[name] = MASK
    return event


def _errors(_: Any, __: str, event: Event) -> Event:
    """Write an exception as ECS has it."""
    info = event.pop("exc_info", None)
    error = info if isinstance(info, BaseException) else sys.exc_info()[1] if info else None
    if error is not None:
        event["error.type"] = type(error).__name__
        event["error.message"] = _without_values(str(error), error)
        event["error.stack_trace"] = _without_values("".join(traceback.format_exception(error)), error)
    return event


def _without_values(text: str, error: BaseException | None) -> str:
    """Mask what PostgreSQL quotes of a row (`Key (email)=(...) already exists`), in the error and in what led to it."""
    while error is not None:
        if detail := getattr(error, "detail", None) if isinstance(error, asyncpg.PostgresError) else None:
            text = text.replace(detail, MASK)
        error = error.__cause__ or error.__context__
    return text


def _rename(_: Any, __: str, event: Event) -> Event:
    return {_ECS.get(name, name): value for name, value in event.items()} | {"ecs.version": "8.11"}
