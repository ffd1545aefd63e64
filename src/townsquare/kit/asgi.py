"""ASGI as the platform uses it: HTTP alone, so that a scope's fields need no questions."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from litestar import Request
from litestar.types import HTTPScope, Receive, Send

HTTPApp: TypeAlias = Callable[[HTTPScope, Receive, Send], Awaitable[None]]
Headers: TypeAlias = list[tuple[bytes, bytes]]
AnyRequest: TypeAlias = Request[Any, Any, Any]
