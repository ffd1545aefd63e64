"""`/developers`: the API for people who read, made from the merged OpenAPI document."""

import shlex
from collections.abc import Iterator
from html import escape
from typing import Any, cast

import msgspec

from townsquare.gateway.html import html_page, table
from townsquare.kit.api_document import REF, Json
from townsquare.kit.openapi import METHODS

_MOST_DEEP = 6
_BOUNDS = {"minimum": "from", "maximum": "to", "minLength": "at least", "maxLength": "at most", "maxItems": "at most"}
_SAMPLES = {"uuid": "00000000-0000-7000-8000-000000000000", "date-time": "2026-01-31T12:00:00Z"}


def developers_page(document: Json) -> bytes:
    """Return the page that shows this document: services, their operations, and the schemas."""
    parts = [_introduction(document)]
    parts += [_service(document, tag) for tag in document["tags"]]
    schemas: Json = document["components"]["schemas"]
    parts.append('<h2 id="schemas">Schemas</h2>\n' + "".join(_schema(name, schemas[name]) for name in schemas))
    return html_page(f"{document['info']['title']} for developers", "\n".join(parts))


def _introduction(document: Json) -> str:
    info: Json = document["info"]
    links = "".join(
        f'<li><a href="#{escape(tag["name"])}">{escape(tag["name"])}</a>: {escape(tag["description"])}</li>\n'
        for tag in document["tags"]
    )
    return (
        f"<h1>{escape(info['title'])} for developers</h1>\n<p>{escape(info.get('description', ''))}</p>\n"
        f'<p>Version {escape(info["version"])}. The same for programs: <a href="/openapi.json">openapi.json</a>. '
        'What can go wrong: <a href="/problems">problems</a>.</p>\n'
        f'<nav aria-label="Contents"><ul>\n{links}<li><a href="#schemas">Schemas</a></li>\n</ul></nav>\n'
        "<p>To try the lines below, say where this platform is and who you are:</p>\n"
        "<pre>TOWNSQUARE=http://127.0.0.1:8000\nTOKEN=&lt;an access token from POST /api/users/login&gt;</pre>\n"
    )


def _service(document: Json, tag: Json) -> str:
    operations = "".join(
        _operation(document, path, method, operation)
        for path, method, operation in _operations(document)
        if tag["name"] in operation["tags"]
    )
    name = escape(tag["name"])
    return f'<section aria-labelledby="{name}">\n<h2 id="{name}">{name}</h2>\n{operations}</section>\n'


def _operations(document: Json) -> Iterator[tuple[str, str, Json]]:
    for path, item in sorted(cast("Json", document["paths"]).items()):
        for method in METHODS:
            if method in item:
                yield path, method, item[method]


def _operation(document: Json, path: str, method: str, operation: Json) -> str:
    parameters = [
        (
            f"<code>{escape(parameter['name'])}</code>",
            escape(parameter["in"]) + (", required" if parameter.get("required") else ""),
            _type(parameter.get("schema", {})),
            escape(parameter.get("description", "")),
        )
        for parameter in operation.get("parameters", ())
    ]
    body = _body_schema(operation)
    return (
        f'<details id="{escape(operation["operationId"])}">\n<summary><span class="method">{method.upper()}</span> '
        f"<code>{escape(path)}</code> {escape(operation.get('summary', ''))}</summary>\n<div>\n"
        f"<p>{escape(operation.get('description', ''))}</p>\n"
        f'<p class="note">{"For who is signed in." if _needs_token(operation) else "Open to anyone."}</p>\n'
        + table(("Parameter", "Where", "Type", "Meaning"), parameters)
        + (f"<p>Body: {_type(body)}</p>\n" if body is not None else "")
        + table(("Answer", "Meaning", "Body"), _answers(document, operation))
        + f"<pre>{escape(curl_line(document, path, method, operation))}</pre>\n</div>\n</details>\n"
    )


def _answers(document: Json, operation: Json) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    shared: Json = document["components"]["responses"]
    for status, said in operation["responses"].items():
        answer = shared[said["$ref"].rpartition("/")[2]] if "$ref" in said else said
        kinds = [
            f"<code>{escape(kind)}</code> {_type(of.get('schema', {}))}" for kind, of in answer.get("content", {}).items()
        ]
        rows.append((escape(status), escape(answer.get("description", "")), "<br>".join(kinds)))
    return rows


def curl_line(document: Json, path: str, method: str, operation: Json) -> str:
    """Return a command line that makes the call, with samples where the caller has to choose."""
    words = ["curl"] if method == "get" else ["curl", "-X", method.upper()]
    if _needs_token(operation):
        words += ["-H", '"Authorization: Bearer $TOKEN"']
    needed = [p for p in operation.get("parameters", ()) if p.get("required")]
    for header in (p for p in needed if p["in"] == "header"):
        words += ["-H", shlex.quote(f"{header['name']}: {sample_of(document, header.get('schema', {}))}")]
    words += _body_words(document, operation)
    query = "&".join(f"{p['name']}={p['name'].upper()}" for p in needed if p["in"] == "query")
    return " ".join([*words, f'"$TOWNSQUARE{path}{"?" + query if query else ""}"'])


def sample_of(document: Json, schema: Json, depth: int = 0) -> Any:
    """Make a value that looks as the schema says, of the required fields only."""
    if "$ref" in schema:
        return sample_of(document, document["components"]["schemas"][schema["$ref"].removeprefix(REF)], depth + 1)
    for choice in ("oneOf", "anyOf"):
        if schema.get(choice):
            return sample_of(document, schema[choice][0], depth)
    if "default" in schema or "const" in schema or schema.get("enum"):
        return schema.get("default", schema.get("const", next(iter(schema.get("enum", [])), None)))
    if depth < _MOST_DEEP and schema.get("type") == "object":
        properties: Json = schema.get("properties", {})
        wanted = schema.get("required") or list(properties)[:1]
        return {name: sample_of(document, properties[name], depth + 1) for name in wanted if name in properties}
    if depth < _MOST_DEEP and schema.get("minItems"):
        return [sample_of(document, schema.get("items", {}), depth + 1)]
    return _simple_sample(schema)


def _simple_sample(schema: Json) -> object:
    match schema.get("type"):
        case "integer":
            return int(schema.get("minimum", 1))
        case "number":
            return 1.5
        case "boolean":
            return True
        case "array":
            return []
        case "object":
            return {}
        case _:
            return _SAMPLES.get(str(schema.get("format")), "...")


def _needs_token(operation: Json) -> bool:
    return bool(operation.get("security")) and {} not in operation["security"]


def _body_schema(operation: Json) -> Json | None:
    content: Json = operation.get("requestBody", {}).get("content", {})
    return next((of.get("schema", {}) for of in content.values()), None)


def _body_words(document: Json, operation: Json) -> list[str]:
    """Say how curl sends the body: a form's files and a file's bytes come from files, anything else is JSON."""
    content: Json = operation.get("requestBody", {}).get("content", {})
    for kind, of in content.items():
        schema: Json = of.get("schema", {})
        if kind == "multipart/form-data":
            return [word for name in schema.get("required", ()) for word in ("-F", f"{name}=@{name}")]
        if schema.get("format") == "binary":
            return ["-H", shlex.quote(f"Content-Type: {kind}"), "--data-binary", "@file"]
        sample = msgspec.json.encode(sample_of(document, schema)).decode()
        return ["-H", "'Content-Type: application/json'", "-d", shlex.quote(sample)]
    return []


def _schema(name: str, schema: Json) -> str:
    required = set(schema.get("required", ()))
    rows = [
        (
            f"<code>{escape(field)}</code>{'' if field in required else ' (optional)'}",
            _type(of),
            escape(of.get("description", "")),
        )
        for field, of in schema.get("properties", {}).items()
    ]
    return (
        f'<section aria-labelledby="schema-{escape(name)}">\n<h3 id="schema-{escape(name)}">{escape(name)}</h3>\n'
        f"<p>{escape(schema.get('description', ''))}</p>\n{table(('Field', 'Type', 'Meaning'), rows)}</section>\n"
    )


def _type(schema: Json) -> str:
    """Say in a word or two what a schema allows, with a link to what it refers to."""
    if "$ref" in schema:
        name = escape(schema["$ref"].removeprefix(REF))
        return f'<a href="#schema-{name}">{name}</a>'
    for choice in ("oneOf", "anyOf"):
        if choice in schema:
            return " or ".join(_type(of) for of in schema[choice]) + _bounds(schema)
    if "enum" in schema:
        return " or ".join(f"<code>{escape(str(value))}</code>" for value in schema["enum"])
    if schema.get("type") == "array":
        return "list of " + _type(schema.get("items", {})) + _bounds(schema)
    return escape(str(schema.get("format") or schema.get("type") or "anything")) + _bounds(schema)


def _bounds(schema: Json) -> str:
    said = [f"{word} {schema[key]:g}" for key, word in _BOUNDS.items() if key in schema]
    return escape(", " + ", ".join(said)) if said else ""
