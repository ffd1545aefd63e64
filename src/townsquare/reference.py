"""`python -m townsquare.reference FOLDER`: the reference pages, made from what they describe.

Settings come from the settings object, commands from the command line, problems from their table; API and metrics
from a platform that is started for it on an empty data folder. A test fails when a page is not what this makes.
"""

import ast
import asyncio
import inspect
import sys
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import click
import msgspec
from prometheus_client.parser import text_string_to_metric_families

from townsquare import cache_reference, hosting, settings
from townsquare.catalogue import BUILT
from townsquare.cli import COMMANDS, cli
from townsquare.kit.problems import PROBLEMS
from townsquare.settings import PREFIX, Settings
from townsquare.topology import SERVICES

MADE = "Made by `make docs`; do not edit.\n"
METHODS = ("get", "post", "put", "patch", "delete")
ANY_CALL = "400"
"""Statuses from here on are problems that any call may answer; they are described once, on their own page."""


async def pages() -> dict[str, str]:
    """Return every page by its file's name, reading API and metrics from a platform started for it."""
    with tempfile.TemporaryDirectory(prefix="townsquare-docs-") as folder:
        own = msgspec.structs.replace(Settings(), data=Path(folder), rate_limits=False)
        async with hosting.database_server(own) as server:
            await hosting.prepare(own, server)
            host = hosting.Host(hosting.ALL, own, server)
            async with host.running():
                documents = {name: await _document(host, name) for name in BUILT}
                metrics = (await host.metrics.gathered()).decode()
    return pages_of(documents, metrics)


async def _document(host: hosting.Host, name: str) -> dict[str, Any]:
    reply = await host.upstreams[name].call("GET", "/openapi.json")
    return cast("dict[str, Any]", msgspec.json.decode(reply.body))


def pages_of(documents: dict[str, dict[str, Any]], metrics: str) -> dict[str, str]:
    """Return every page by its file's name, from the services' OpenAPI documents and a scrape of `/metrics`."""
    return {
        "README.md": _index(),
        "settings.md": _settings_page(),
        "commands.md": _commands_page(),
        "problems.md": _problems_page(),
        "metrics.md": _metrics_page(metrics),
        "cache.md": f"# Cache\n\n{MADE}\n{cache_reference.page()}",
        **{f"api-{name}.md": _api_page(name, document) for name, document in documents.items()},
    }


def _index() -> str:
    lines = ["# Reference", "", MADE, "| page | what |", "|---|---|"]
    lines += [
        f"| [API: {name}](api-{name}.md) | {SERVICES[name].summary}, under `{SERVICES[name].prefix}` |" for name in BUILT
    ]
    lines += [
        "| [Problems](problems.md) | every error code, with its status |",
        "| [Settings](settings.md) | every variable and its default |",
        "| [Commands](commands.md) | the command line |",
        "| [Metrics](metrics.md) | what `/metrics` shows |",
        "| [Cache](cache.md) | what is kept, for whom, and what each write changes |",
        "| [Benchmarks](benchmarks.md) | what was measured, against what (made by `make bench`) |",
    ]
    return "\n".join(lines) + "\n"


def _settings_page() -> str:
    about = dict(_field_docs())
    lines = ["# Settings", "", MADE]
    lines += [
        f"A variable wins over the file (`townsquare.toml` in the data folder, or the one that `{PREFIX}CONFIG` names),"
    ]
    lines += ["which wins over the default. In the file the names are the same, in lower case and without the prefix."]
    lines += [
        "`townsquare config` shows each value and where it came from.",
        "",
        "| variable | default | what |",
        "|---|---|---|",
    ]
    defaults = Settings()
    for name in Settings.__struct_fields__:
        lines.append(f"| `{PREFIX}{name.upper()}` | {_default(getattr(defaults, name))} | {_cell(about.get(name, ''))} |")
    return "\n".join(lines) + "\n"


def _field_docs() -> Iterator[tuple[str, str]]:
    """Read the sentence under each field: Python keeps it in the source alone."""
    tree = ast.parse(inspect.getsource(settings))
    body = next(node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == Settings.__name__)
    for field, sentence in pairwise(body):
        match field, sentence:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                yield name, text
            case _:
                continue


def _default(value: object) -> str:
    if value is None or value == ():
        return ""
    if isinstance(value, bool):
        return "`on`" if value else "`off`"
    return f"`{value}`"


def _commands_page() -> str:
    parts = ["# Commands", "", MADE]
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        if command is not None:
            parts += _command(f"townsquare {name}", command, click.Context(command, info_name=name))
    return "\n".join(parts) + "\n"


def _command(path: str, command: click.Command, context: click.Context) -> list[str]:
    arguments = [piece for piece in command.collect_usage_pieces(context) if piece != "[OPTIONS]"]
    lines = [f"## `{' '.join((path, *arguments))}`", "", _paragraph(command.help or ""), ""]
    options = [record for parameter in command.params if (record := parameter.get_help_record(context))]
    if options:
        lines += [
            "| option | what |",
            "|---|---|",
            *(f"| `{_cell(names)}` | {_cell(text)} |" for names, text in options),
            "",
        ]
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            if inner is not None:
                lines += _command(f"{path} {name}", inner, click.Context(inner, info_name=name, parent=context))
    return lines


def _problems_page() -> str:
    lines = ["# Problems", "", MADE]
    lines += [
        "Every answer of 400 and above is `application/problem+json` (RFC 9457). `code` is stable; `errors` says where:"
    ]
    lines += ["a JSON pointer into the body, `?name` for a parameter, `/Header-Name` for a header.", ""]
    lines += ["| code | status | meaning |", "|---|---|---|"]
    lines += [f"| `{code}` | {status} | {title} |" for code, (status, title) in PROBLEMS.items()]
    return "\n".join(lines) + "\n"


def _metrics_page(text: str) -> str:
    lines = ["# Metrics", "", MADE, "`GET /metrics`, for this machine or by token. Routes are templates, never paths.", ""]
    lines += ["| metric | type | labels | what |", "|---|---|---|---|"]
    for family in sorted(text_string_to_metric_families(text), key=lambda one: one.name):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = sorted({label for sample in family.samples for label in sample.labels} - {"le"})
        lines.append(f"| `{name}` | {family.type} | {', '.join(labels)} | {_cell(family.documentation)} |")
    return "\n".join(lines) + "\n"


def _api_page(name: str, document: dict[str, Any]) -> str:
    lines = [f"# API: {name}", "", MADE]
    lines += [f"{SERVICES[name].summary}. Paths are the service's own (port {SERVICES[name].port} in split mode);"]
    lines += [f"through the gateway they stand under `{SERVICES[name].prefix}`."]
    lines += ["Any call may answer a [problem](problems.md)."]
    for path, operations in sorted(document["paths"].items()):
        for method in METHODS:
            if method in operations:
                lines += _operation(method, path, operations[method], document)
    return "\n".join(lines) + "\n"


def _operation(method: str, path: str, operation: dict[str, Any], document: dict[str, Any]) -> list[str]:
    about = operation.get("description") or operation.get("summary", "")
    lines = ["", f"## `{method.upper()} {path}`", "", _paragraph(about), ""]
    parameters = [p for p in operation.get("parameters", []) if p["in"] != "path"]
    lines += [f"- `{_marks(p['in'])}{p['name']}` {_type(p['schema'], document)}" for p in parameters]
    body = operation.get("requestBody")
    if body is not None:
        schema = next(iter(body["content"].values()))["schema"]
        lines += [f"- body {_type(schema, document)}"]
    for status, answer in operation["responses"].items():
        if status < ANY_CALL:
            content = answer.get("content")
            shown = _type(next(iter(content.values())).get("schema", {}), document) if content else "no body"
            lines += [f"- {status}: {shown}"]
    return lines


def _marks(place: str) -> str:
    return "?" if place == "query" else ""


def _type(schema: dict[str, Any], document: dict[str, Any], depth: int = 0) -> str:
    """Write a schema in a line: `{id: uuid, name: text (1-50), ...}`."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        return _type(document["components"]["schemas"][name], document, depth) if depth < 3 else name
    for several in ("oneOf", "anyOf"):
        if several in schema:
            return " or ".join(dict.fromkeys(_type(one, document, depth) for one in schema[several]))
    if "enum" in schema:
        return " | ".join(f"`{value}`" for value in schema["enum"])
    match schema.get("type"):
        case "object" if "properties" in schema:
            return _object(schema, document, depth)
        case "array":
            return f"[{_type(schema.get('items', {}), document, depth)}, ...]"
        case str() as kind:
            return _scalar(kind, schema)
        case None:
            return "anything"
        case kinds:
            return " or ".join(cast("list[str]", kinds))


def _object(schema: dict[str, Any], document: dict[str, Any], depth: int) -> str:
    needed = set(schema.get("required", ()))
    fields = [
        f"`{name}`{'' if name in needed else '?'}: {_type(field, document, depth + 1)}"
        for name, field in schema["properties"].items()
    ]
    return "{" + ", ".join(fields) + "}"


def _scalar(kind: str, schema: dict[str, Any]) -> str:
    name = schema.get("format") or ("text" if kind == "string" else kind)
    low = schema.get("minLength", schema.get("minimum"))
    high = schema.get("maxLength", schema.get("maximum"))
    if low is None and high is None:
        return str(name)
    return f"{name} ({'' if low is None else f'{low:g}'}-{'' if high is None else f'{high:g}'})"


def _paragraph(text: str) -> str:
    return " ".join(inspect.cleandoc(text).split())


def _cell(text: str) -> str:
    return _paragraph(text).replace("|", "\\|")


def main() -> None:
    """Write the pages into the folder that the command line names."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/reference")
    folder.mkdir(parents=True, exist_ok=True)
    for name, page in asyncio.run(pages()).items():
        (folder / name).write_text(page, "utf-8")
        print(folder / name)


if __name__ == "__main__":
    main()
