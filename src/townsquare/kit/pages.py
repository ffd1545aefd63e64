"""Lists in pages: an opaque cursor that names the last row seen, so that a list is stable while rows are added.

A cursor is base64url of a JSON array of sort keys. It is no secret and grants nothing: what a viewer may see is decided in
the query. A cursor that was not made here is answered with 422.
"""

import base64
import binascii
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Generic, TypeAlias, TypeVar, cast
from urllib.parse import urlencode
from uuid import UUID

import msgspec
from litestar import Response
from litestar.params import QueryParameter
from msgspec import Struct

from townsquare.kit.asgi import AnyRequest
from townsquare.kit.calls import call_of
from townsquare.kit.problems import Problem, invalid

T = TypeVar("T")
R = TypeVar("R")
K = TypeVar("K")

Limit: TypeAlias = Annotated[int, QueryParameter(ge=1, le=100, description="How many items at most.")]
CursorText: TypeAlias = Annotated[
    str | None, QueryParameter(max_length=400, description="`next_cursor` of the page before.")
]
DEFAULT_LIMIT = 20
_EARLIEST = datetime.min.replace(tzinfo=UTC) + timedelta(days=1)
_LATEST = datetime.max.replace(tzinfo=UTC) - timedelta(days=1)


class Page(Struct, Generic[T], frozen=True):
    """One page of a list; `next_cursor` is null on the last."""

    items: list[T]
    next_cursor: str | None


def encode_cursor(*keys: object) -> str:
    """Make the cursor that stands behind the row with these sort keys."""
    return base64.urlsafe_b64encode(msgspec.json.encode(keys)).rstrip(b"=").decode()


def decode_cursor(cursor: str | None, keys: type[K]) -> K | None:
    """Read a cursor as the tuple type `keys`, for example `tuple[UUID]`; raises the 422."""
    if cursor is None:
        return None
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        decoded = msgspec.json.decode(raw, type=keys)
    except (binascii.Error, ValueError, msgspec.MsgspecError, RecursionError):
        raise _not_ours() from None
    if not all(_can_be_asked_for(key) for key in cast("Iterable[object]", decoded)):
        raise _not_ours()
    return decoded


def _can_be_asked_for(key: object) -> bool:
    """False for what Python can hold and PostgreSQL cannot be asked for."""
    match key:
        case str():
            return "\0" not in key
        case int():
            return -(2**31) <= key < 2**31  # the keys that are numbers are counts
        case datetime():
            return key.tzinfo is not None and _EARLIEST < key < _LATEST
        case _:
            return True


def _not_ours() -> Problem:
    return invalid("?cursor", "This cursor was not made by this list.")


def after_id(cursor: str | None) -> UUID | None:
    """Read the cursor of a list that is sorted by id alone."""
    keys = decode_cursor(cursor, tuple[UUID])
    return None if keys is None else keys[0]


def page_of(rows: Sequence[R], limit: int, item: Callable[[R], T], keys: Callable[[R], tuple[object, ...]]) -> Page[T]:
    """Make a page from rows that were read with `LIMIT limit + 1`: the one too many says that there is more."""
    shown = rows[:limit]
    more = len(rows) > limit
    return Page([item(row) for row in shown], encode_cursor(*keys(shown[-1])) if more else None)


def answer_page(request: AnyRequest, page: Page[T]) -> Response[Page[T]]:
    """Answer a page with its `Link: <...>; rel="next"` header (RFC 8288)."""
    if page.next_cursor is None:
        return Response(page)
    query = [(name, value) for name, value in request.query_params.multi_items() if name != "cursor"]
    query.append(("cursor", page.next_cursor))
    path = call_of(request.scope).prefix + request.url.path
    return Response(page, headers={"Link": f'<{path}?{urlencode(query)}>; rel="next"'})
