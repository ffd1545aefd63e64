"""What every service's OpenAPI document says: who we are, how one signs in, and which problems a call may meet.

The framework makes the document from the handlers' types. What it leaves out is added here: that unknown fields are refused,
the problems and headers that any call may meet, and names that a reader and a client generator can live with.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import msgspec
from litestar import Litestar
from litestar.di import Provide
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme
from litestar.types import ControllerRouterHandler

from townsquare import __version__
from townsquare.kit.idempotency import MAX_KEY
from townsquare.kit.identity import SESSION_COOKIE
from townsquare.kit.problems import MEDIA_TYPE, PROBLEMS
from townsquare.topology import SERVICES

Json = dict[str, Any]

OF_ANY_CALL = (400, 401, 403, 404, 405, 409, 412, 413, 415, 422, 429, 503)
REF = "#/components/schemas/"
_SIGNED_IN: list[Json] = [{"token": []}, {"cookie": []}]
_ASKS_WHO = frozenset({"person", "account"})
_USER_ID = "^(@[A-Za-z0-9_]{2,30}|[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12})$"
_PROBLEM_SCHEMA: Json = {
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
_IDEMPOTENCY_KEY: Json = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Makes a repetition safe: the same key gives the same answer again for 24 hours.",
    "schema": {"type": "string", "minLength": 1, "maxLength": MAX_KEY, "pattern": "^[!-~]+$"},
}


def problem_responses() -> Json:
    """Return the components that describe answers which are problems, one for each status."""
    return {f"Problem{status}": _problem_response(status) for status in OF_ANY_CALL}


def problem_reference(status: int) -> Json:
    """Return the reference to one of them."""
    return {"$ref": f"#/components/responses/Problem{status}"}


def _problem_response(status: int) -> Json:
    titles = [title for of, title in PROBLEMS.values() if of == status]
    return {"description": "; ".join(titles), "content": {MEDIA_TYPE.decode(): {"schema": {"$ref": f"{REF}Problem"}}}}


def security_components() -> Components:
    """Return the ways to sign in."""
    return Components(
        security_schemes={
            "token": SecurityScheme(type="http", scheme="bearer", description="An access token or a `pat_` token."),
            "cookie": SecurityScheme(type="apiKey", name=SESSION_COOKIE, security_scheme_in="cookie"),
        }
    )


def document_of(service: str, routes: Sequence[ControllerRouterHandler], dependencies: Mapping[str, Provide]) -> Json:
    """Return the service's document, completed. Takes half a second: for a thread, once.

    It is made by an app of its own. The app that serves would also serve what the framework makes of a document: pages with
    scripts from elsewhere.
    """
    framework = Litestar(routes, dependencies=dict(dependencies), openapi_config=_config(service))
    document = framework.openapi_schema.to_schema()
    handlers = _handlers(framework)
    schemas: Json = document["components"].setdefault("schemas", {})
    schemas["Problem"] = _PROBLEM_SCHEMA
    document["components"]["responses"] = problem_responses()
    for name in _closed_names(handlers.values()) & schemas.keys():
        schemas[name]["additionalProperties"] = False
    for path in document["paths"].values():
        for method, operation in path.items():
            _complete(method, operation, handlers[operation["operationId"]])
    return cast("Json", renamed(document, {name: _plain_name(name) for name in schemas}))


def _config(service: str) -> OpenAPIConfig:
    return OpenAPIConfig(
        title=f"townsquare {service}",
        version=__version__,
        description=SERVICES[service].summary,
        components=security_components(),
        security=[{}, *_SIGNED_IN],
        use_handler_docstrings=True,
        operation_id_creator=lambda handler, _, __: handler.handler_name,
    )


def renamed(value: Any, names: dict[str, str]) -> Any:
    """Return a copy of a document, or of a part of it, in which schemas are called otherwise."""
    if isinstance(value, list):
        return [renamed(item, names) for item in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    result: Json = {}
    for key, item in cast("Json", value).items():
        if key == "$ref" and isinstance(item, str) and item.startswith(REF):
            result[key] = REF + names.get(item.removeprefix(REF), item.removeprefix(REF))
        elif key == "schemas" and isinstance(item, dict):
            result[key] = {names.get(name, name): renamed(schema, names) for name, schema in cast("Json", item).items()}
        else:
            result[key] = renamed(item, names)
    return result


def _handlers(framework: Litestar) -> dict[str, HTTPRouteHandler]:
    handlers = [handler for route in framework.routes for handler in getattr(route, "route_handlers", ())]
    return {handler.handler_name: handler for handler in handlers if isinstance(handler, HTTPRouteHandler)}


def _closed_names(handlers: Iterable[HTTPRouteHandler]) -> set[str]:
    """Name the structs in requests that refuse unknown fields, which the framework does not say of them."""
    fields = [handler.parsed_fn_signature.parameters.get("data") for handler in handlers]
    _, components = msgspec.json.schema_components([field.annotation for field in fields if field is not None])
    return {name for name, schema in components.items() if schema.get("additionalProperties") is False}


def _complete(method: str, operation: Json, handler: HTTPRouteHandler) -> None:
    operation.pop("deprecated", None)
    _describe(operation)
    if _ASKS_WHO & handler.parsed_fn_signature.parameters.keys():
        operation["security"] = _SIGNED_IN
    for parameter in operation.get("parameters", ()):
        if parameter["name"] == "user_id":
            parameter |= {"description": "A UUID or `@handle`.", "schema": {"type": "string", "pattern": _USER_ID}}
    if method == "post":
        operation.setdefault("parameters", []).append(_IDEMPOTENCY_KEY)
    _add_answers(method, operation["responses"])


def _describe(operation: Json) -> None:
    """A docstring's first line is the summary; the framework would make one of the handler's name."""
    first, _, rest = str(operation.pop("description", "")).partition("\n")
    operation["summary"] = first.rstrip(".")
    if rest.strip():
        operation["description"] = rest.strip()


def _add_answers(method: str, responses: Json) -> None:
    if method == "get" and "application/json" in responses.get("200", {}).get("content", {}):
        responses["304"] = {"description": "It is as `If-None-Match` has it."}
    responses.pop("400", None)  # the framework's own shape of an error, which it never answers here
    responses.get("204", {}).pop("content", None)
    for status in OF_ANY_CALL:
        declared = responses.get(str(status))
        if declared is None:
            responses[str(status)] = problem_reference(status)
        else:  # such as what /health/ready answers when it is not
            declared["content"] = declared.get("content", {}) | _problem_response(status)["content"]
    for status in sorted(responses):
        responses[status] = responses.pop(status)


def _plain_name(name: str) -> str:
    """`Page_townsquare.services.content.post_view.Post_` is `PageOfPost` to a reader."""
    generic, *arguments = [part for part in re.sub(r"_(?:[a-z_0-9]+\.)+", "_", name).split("_") if part]
    return f"{generic}Of{'Or'.join(arguments)}" if arguments else name
