"""The platform's API document, and the page that shows it to people."""

import base64
import hashlib
import re
from html.parser import HTMLParser
from typing import Any

import jsonschema_rs
import pytest
from schemathesis.specs.openapi import definitions

from testbed.town import Town
from townsquare.gateway.developers import curl_line, developers_page, sample_of
from townsquare.kit.openapi import METHODS, merge


@pytest.fixture
async def document(town: Town) -> Any:
    """The merged document, as it is served."""
    answer = await town.gateway.get("/openapi.json")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    return answer.json


def operations(document: Any) -> list[tuple[str, str, Any]]:
    return [(path, m, item[m]) for path, item in document["paths"].items() for m in METHODS if m in item]


def references(value: Any) -> set[str]:
    if isinstance(value, list):
        return {found for item in value for found in references(item)}
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own | {found for item in value.values() for found in references(item)}
    return set()


async def test_the_document_is_valid_openapi_3_1(document: Any) -> None:
    definitions.OPENAPI_31_VALIDATOR.validate(document)


async def test_each_service_has_a_valid_document_of_its_own(town: Town) -> None:
    for client in (town.users, town.content):
        definitions.OPENAPI_31_VALIDATOR.validate((await client.get("/openapi.json")).json)


async def test_every_schema_is_a_valid_json_schema(document: Any) -> None:
    for name, schema in document["components"]["schemas"].items():
        assert jsonschema_rs.meta.is_valid(schema), name


async def test_every_reference_leads_somewhere(document: Any) -> None:
    for reference in references(document):
        place = document
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]


async def test_paths_stand_where_the_gateway_has_them_and_ids_are_unique(document: Any) -> None:
    found = operations(document)
    ids = [operation["operationId"] for _, _, operation in found]
    assert len(set(ids)) == len(ids)
    assert {"users_read_profile", "content_read_post", "gateway_show_problem"} <= set(ids)
    for path, _, operation in found:
        [service] = operation["tags"]
        assert path.startswith(f"/api/{service}/") or service == "gateway", path


async def test_operations_say_who_may_call_and_what_they_do(document: Any) -> None:
    by_id = {operation["operationId"]: operation for _, _, operation in operations(document)}
    assert {} not in by_id["users_read_account"]["security"]
    assert "security" not in by_id["users_read_profile"]
    assert by_id["users_read_profile"]["summary"] == "Read a person's profile"


async def test_bodies_that_refuse_unknown_fields_say_so(document: Any) -> None:
    bodies = [
        content["schema"]
        for _, _, operation in operations(document)
        for content in operation.get("requestBody", {}).get("content", {}).values()
    ]
    assert bodies
    for body in bodies:
        schema = resolved(document, body)
        assert schema.get("format") == "binary" or schema["additionalProperties"] is False, body


def resolved(document: Any, schema: Any) -> Any:
    """Follow a reference, where it is one."""
    return document["components"]["schemas"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema


def service(**schemas: Any) -> Any:
    item = {"get": {"operationId": "read", "responses": {"200": {"$ref": "#/components/schemas/Outer"}}}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "one", "version": "1"},
        "paths": {"/things": item},
        "components": {"schemas": schemas, "securitySchemes": {}},
        "security": [],
    }


def test_a_schema_that_means_two_things_is_named_after_its_service_and_so_is_what_refers_to_it() -> None:
    outer = {"properties": {"inner": {"$ref": "#/components/schemas/Inner"}}}
    merged = merge(
        {
            "/api/shop": service(Inner={"type": "string"}, Outer=outer, Same={"type": "null"}),
            "/api/media": service(Inner={"type": "integer"}, Outer=outer, Same={"type": "null"}),
        }
    )
    schemas = merged["components"]["schemas"]
    assert set(schemas) == {"ShopInner", "MediaInner", "ShopOuter", "MediaOuter", "Same"}
    assert schemas["ShopOuter"]["properties"]["inner"]["$ref"] == "#/components/schemas/ShopInner"
    answer = merged["paths"]["/api/media/things"]["get"]["responses"]["200"]
    assert answer["$ref"] == "#/components/schemas/MediaOuter"


class Page(HTMLParser):
    """What a page consists of."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.ids += [value for name, value in attrs if name == "id" and value]
        self.links += [value for name, value in attrs if name in ("href", "src") and value]


async def test_the_page_shows_every_operation_and_schema_and_no_link_is_broken(town: Town, document: Any) -> None:
    answer = await town.gateway.get("/developers")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    page = Page()
    page.feed(answer.body.decode())
    assert {operation["operationId"] for _, _, operation in operations(document)} <= set(page.ids)
    assert {f"schema-{name}" for name in document["components"]["schemas"]} <= set(page.ids)
    assert len(set(page.ids)) == len(page.ids)
    for link in page.links:
        if link.startswith("#"):
            assert link[1:] in page.ids
        else:
            assert (await town.gateway.get(link)).status == 200


async def test_the_page_needs_no_script_and_is_allowed_none(town: Town) -> None:
    answer = await town.gateway.get("/developers")
    page = Page()
    page.feed(answer.body.decode())
    assert not {"script", "img", "link", "iframe", "form"} & set(page.tags)
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("sandbox; default-src 'none'; ")
    style = re.search(r"<style>(.*?)</style>", answer.body.decode(), re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"'sha256-{digest}'" in policy


def test_whatever_a_document_says_is_shown_as_text() -> None:
    evil = "<script>alert(1)</script>"
    document = service(Outer={"description": evil, "properties": {evil: {"type": evil}}})
    document["info"] |= {"title": evil, "description": evil}
    document["paths"]["/things"]["get"] |= {"summary": evil, "description": evil, "operationId": evil}
    document["components"]["responses"] = {"Problem": {"description": evil}}
    document["paths"]["/things"]["get"]["responses"] = {"200": {"$ref": "#/components/responses/Problem"}}
    shown = developers_page(merge({f"/api/{evil}": document}))
    assert b"<script" not in shown


async def test_the_curl_lines_send_bodies_that_the_schemas_allow(document: Any) -> None:
    for path, method, operation in operations(document):
        line = curl_line(document, path, method, operation)
        assert line.startswith("curl ")
        for kind, content in operation.get("requestBody", {}).get("content", {}).items():
            schema = resolved(document, content["schema"])
            if kind == "application/json":
                assert set(schema.get("required", ())) <= sample_of(document, content["schema"]).keys()


async def test_a_file_goes_into_a_curl_line_as_a_file(document: Any) -> None:
    paths = document["paths"]
    form = curl_line(document, "/api/media/upload", "post", paths["/api/media/upload"]["post"])
    assert form.endswith('-F file=@file "$TOWNSQUARE/api/media/upload"')
    piece = paths["/api/media/uploads/{upload_id}"]["patch"]
    words = curl_line(document, "/api/media/uploads/{upload_id}", "patch", piece)
    assert "-H 'Tus-Resumable: 1.0.0' -H 'Upload-Offset: 0'" in words
    assert "-H 'Content-Type: application/offset+octet-stream' --data-binary @file" in words


async def test_the_document_is_made_once_and_anew_when_a_service_has_changed(town: Town) -> None:
    first = await town.gateway.get("/openapi.json")
    again = await town.gateway.get("/openapi.json")
    assert first.body == again.body
