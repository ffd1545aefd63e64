"""One OpenAPI document for the whole platform, merged from the services' own."""

from collections.abc import Iterator, Mapping
from typing import Any, cast

from townsquare.kit.api_document import REF, Json, renamed

METHODS = ("get", "put", "post", "delete", "patch", "options", "head")


def merge(documents: Mapping[str, Json]) -> Json:
    """Merge documents by the prefix under which their paths stand (`/api/users`; `` for the gateway's own).

    Operations are tagged with their service, which also begins their id. A schema whose name means different things
    in different services is named after its service.
    """
    renamings = _renamings(documents)
    first = next(iter(documents.values()))
    merged: Json = {
        "openapi": first["openapi"],
        "info": first["info"],
        "servers": [{"url": "/"}],
        "tags": [],
        "paths": {},
        "components": first["components"] | {"schemas": {}},
        "security": first["security"],
    }
    for prefix, document in documents.items():
        service = service_of(prefix)
        own = cast("Json", renamed(document, renamings[prefix]))
        merged["tags"].append({"name": service, "description": document["info"].get("description", "")})
        merged["components"]["schemas"] |= own["components"].get("schemas", {})
        for path, item in own["paths"].items():
            merged["paths"][prefix + path] = _tagged(item, service)
    merged["components"]["schemas"] = dict(sorted(merged["components"]["schemas"].items()))
    return merged


def service_of(prefix: str) -> str:
    """Return the name of the service whose paths stand under a prefix."""
    return prefix.rpartition("/")[2] or "gateway"


def _tagged(item: Json, service: str) -> Json:
    return {
        method: operation | {"tags": [service], "operationId": f"{service}_{operation['operationId']}"}
        if method in METHODS
        else operation
        for method, operation in item.items()
    }


def _renamings(documents: Mapping[str, Json]) -> dict[str, dict[str, str]]:
    """Say for each document which schemas are to be called otherwise."""
    clashing = _clashing([document["components"].get("schemas", {}) for document in documents.values()])
    return {prefix: {name: service_of(prefix).title() + name for name in clashing} for prefix in documents}


def _clashing(all_schemas: list[Json]) -> set[str]:
    """Return the names that mean different things, also where only what they refer to is different."""
    names = [name for schemas in all_schemas for name in schemas]
    shared = {name for name in names if names.count(name) > 1}
    meanings = {name: [schemas[name] for schemas in all_schemas if name in schemas] for name in shared}
    clashing = {name for name, found in meanings.items() if any(schema != found[0] for schema in found)}
    while True:
        more = {name for name in shared - clashing if clashing & set(_references(meanings[name]))}
        if not more:
            return clashing
        clashing |= more


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for item in cast("list[Any]", value):
            yield from _references(item)
    elif isinstance(value, dict):
        for key, item in cast("Json", value).items():
            if key == "$ref" and isinstance(item, str):
                yield item.removeprefix(REF)
            else:
                yield from _references(item)
