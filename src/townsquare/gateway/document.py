"""The OpenAPI document of the gateway's own paths."""

from townsquare import __version__
from townsquare.kit.api_document import REF, Json, problem_reference, problem_responses, security_components

_DESCRIPTION = (
    "The platform that a community runs itself. Sign in at POST /api/users/login and send the access token as "
    "`Authorization: Bearer <token>`. Lists have `limit` and `cursor`; errors are problems (RFC 9457) with a stable `code`."
)

_CHECK: Json = {
    "type": "object",
    "description": "A check of any service's, or a service.",
    "required": ["status"],
    "properties": {
        "status": {"enum": ["ok", "failed", "ready", "degraded", "unready"]},
        "latency_ms": {"type": "number"},
        "reason": {"type": "string"},
    },
}
_READINESS: Json = {
    "type": "object",
    "required": ["status"],
    "properties": {
        "status": {"enum": ["ready", "degraded", "unready"]},
        "checks": {"type": "object", "description": "For operators only.", "additionalProperties": _CHECK},
    },
}


def gateway_document() -> Json:
    """Return the document. It is whole when it is merged with a service's, whose schemas of health it refers to."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "townsquare", "version": __version__, "description": _DESCRIPTION},
        "paths": {
            "/": _get("show_index", "Say what is here", "application/json", {"type": "object"}),
            "/health": _get("show_health", "Say that the process lives", "application/json", {"$ref": f"{REF}Health"}),
            "/health/ready": _get(
                "show_readiness",
                "Say whether requests can be served, by all services",
                "application/json",
                _READINESS,
                unready=True,
            ),
            "/metrics": _get(
                "show_metrics", "Show the metrics in Prometheus' text format", "text/plain", {"type": "string"}
            ),
            "/openapi.json": _get("show_document", "Show this document", "application/json", {"type": "object"}),
            "/developers": _get("show_developers", "Show this document to people", "text/html", {"type": "string"}),
            "/problems": _get("list_problems", "List what can go wrong", "text/html", {"type": "string"}),
            "/problems/{code}": _get("show_problem", "Explain a problem", "text/html", {"type": "string"})
            | {"parameters": [{"name": "code", "in": "path", "required": True, "schema": {"type": "string"}}]},
        },
        "components": {"responses": problem_responses(), **security_components().to_schema()},
        "security": [{}],
    }


def _get(operation: str, summary: str, kind: str, schema: Json, *, unready: bool = False) -> Json:
    answer: Json = {"description": "As asked.", "content": {kind: {"schema": schema}}}
    responses: Json = {"200": answer}
    for status in (401, 403, 404, 405, 429, 503):
        responses[str(status)] = problem_reference(status)
    if unready:
        responses["503"] = {"description": "Not ready.", "content": answer["content"]}
    return {"get": {"operationId": operation, "summary": summary, "responses": responses}}
