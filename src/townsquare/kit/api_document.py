"""What every service's OpenAPI document says: who we are, how one signs in, and which problems a call may meet."""

from typing import Any, cast

from litestar import Litestar
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme

from townsquare import __version__
from townsquare.kit.identity import SESSION_COOKIE
from townsquare.kit.problems import MEDIA_TYPE, PROBLEMS
from townsquare.topology import SERVICES

_OF_ANY_CALL = (400, 401, 403, 404, 405, 409, 412, 413, 415, 422, 429, 503)
_PROBLEM = {"$ref": "#/components/schemas/Problem"}
_PROBLEM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "title": "Problem",
    "description": "RFC 9457 problem; `code` is stable, `errors` says where.",
    "required": ["type", "title", "status", "code", "detail", "instance", "request_id"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string", "enum": list(PROBLEMS)},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
        "request_id": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["pointer", "detail"],
                "properties": {"pointer": {"type": "string"}, "detail": {"type": "string"}},
            },
        },
    },
}


def document_config(service: str) -> OpenAPIConfig:
    """Return the framework's configuration of one service's document."""
    return OpenAPIConfig(
        title=f"townsquare {service}",
        version=__version__,
        description=SERVICES[service].summary,
        render_plugins=[],
        components=Components(
            security_schemes={
                "token": SecurityScheme(type="http", scheme="bearer", description="An access token or a `pat_` token."),
                "cookie": SecurityScheme(type="apiKey", name=SESSION_COOKIE, security_scheme_in="cookie"),
            }
        ),
        security=[{}, {"token": []}, {"cookie": []}],
        use_handler_docstrings=True,
    )


def document_of(framework: Litestar) -> dict[str, Any]:
    """Return the service's document with the problems that any of its operations may answer."""
    document = framework.openapi_schema.to_schema()
    document["components"].setdefault("schemas", {})["Problem"] = _PROBLEM_SCHEMA
    for path in document["paths"].values():
        for operation in path.values():
            if isinstance(operation, dict) and "responses" in operation:
                _add_problems(cast("dict[str, Any]", operation["responses"]))
    return document


def _add_problems(responses: dict[str, Any]) -> None:
    for status in _OF_ANY_CALL:
        titles = [title for of, title in PROBLEMS.values() if of == status]
        responses[str(status)] = {
            "description": "; ".join(titles),
            "content": {MEDIA_TYPE.decode(): {"schema": _PROBLEM}},
        }
