"""Whatever goes wrong in a handler, as a problem; the last resort is a 500 that says nothing and logs everything."""

import re
from typing import Any, cast

import asyncpg
from litestar.exceptions import (
    ClientException,
    HTTPException,
    MethodNotAllowedException,
    NotFoundException,
    SerializationException,
    ValidationException,
)

from townsquare.kit.database import DatabaseUnavailable, OutcomeUnknown
from townsquare.kit.methods import allow
from townsquare.kit.problems import Code, FieldError, Problem, invalid, not_found, unavailable

_BY_STATUS: dict[int, Code] = {400: "malformed_request", 413: "too_large", 415: "unsupported_media_type"}
# What the framework says of what is missing.
_NO_BODY = "'data'"
_MISSING = re.compile(r"Missing required query parameter '(\w+)'")
_BAD_TEXT = (asyncpg.DataError, UnicodeError, asyncpg.exceptions.UntranslatableCharacterError)


def to_problem(error: Exception) -> Problem:
    """Say what an exception means to the caller."""
    match error:
        case Problem():
            return error
        case OutcomeUnknown():
            return unavailable("The database was lost in the middle; whether anything was changed is not known.")
        case DatabaseUnavailable():
            return unavailable("The database does not answer right now; nothing was changed.")
        case ValidationException():
            return _validation(error)
        case NotFoundException():
            return not_found()
        case MethodNotAllowedException():
            return Problem(
                "method_not_allowed", headers={"Allow": allow((error.headers or {}).get("allow", "").split(", "))}
            )
        case SerializationException() | ClientException():
            return Problem(_BY_STATUS.get(getattr(error, "status_code", 400), "malformed_request"), _said(error))
        case RecursionError():
            return Problem("malformed_request", "The JSON is nested too deeply.")
        case UnicodeDecodeError():
            return Problem("malformed_request", "The request is not valid UTF-8.")
        case _ if isinstance(error, _BAD_TEXT):
            return Problem("invalid", "A text holds characters that cannot be stored, such as NUL.")
        case HTTPException() if error.status_code in _BY_STATUS:
            return Problem(_BY_STATUS[error.status_code], error.detail)
        case _:
            return Problem("internal")


def _said(error: Exception) -> str:
    detail = getattr(error, "detail", "") or str(error)
    return detail if isinstance(detail, str) else ""


def _validation(error: ValidationException) -> Problem:
    said = cast("list[dict[str, Any]]", error.extra if isinstance(error.extra, list) else [])
    errors = [FieldError(_pointer(item), str(item.get("message", ""))) for item in said]
    if any(item.get("source") == "path" for item in said):
        return not_found()
    if not said and (missing := _MISSING.match(error.detail)) is not None:
        return invalid(f"?{missing[1]}", "This parameter is needed.")
    if [item.get("message") for item in said] == [_NO_BODY]:
        return Problem("malformed_request", "A JSON body is needed.")
    return Problem("invalid", errors[0].detail if errors else _said(error), errors=errors)


def _pointer(item: dict[str, Any]) -> str:
    key = str(item.get("key", ""))
    source = item.get("source")  # an enum of strings: equal to them, and shown otherwise
    if source in ("query", "header", "cookie"):
        return ("?" if source == "query" else "/") + key
    return "/" + key.replace(".", "/").replace("[", "/").replace("]", "") if key else ""
