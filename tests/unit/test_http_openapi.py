"""The description of the API says what there is, no more and no less."""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from html.parser import HTMLParser
from typing import Any, Final, cast

import msgspec
import pytest
from jsonschema import Draft202012Validator
from starlette.routing import Route

import clew_events.operations
from clew_events.contract.contract_files import operations_table
from clew_events.http_forms import AsOfMoment
from clew_events.objects import Gone
from clew_events.operations import BY_NAME, OPERATIONS, PATH_PARAMETERS, HttpRoute, Operation, http_routes
from clew_services.api_keys import Keys
from clew_services.http import routes as route_modules
from clew_services.http.api_page import render, type_text
from clew_services.http.app import Paths, open_doors, routes
from clew_services.http.call import Call
from clew_services.http.middleware import Doorway
from clew_services.http.openapi import document
from clew_services.http.responses import Answer, json_answer
from clew_services.http.routes.threads import Threads
from clew_services.settings import Settings
from clew_services.version import clew_version
from support.asgi import ID, NAMED, Parts, call


def references(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        yield from ([node["$ref"]] if "$ref" in node else ())
        for part in node.values():
            yield from references(part)
    elif isinstance(node, list):
        for part in node:
            yield from references(part)


def resolved(reference: str) -> object:
    node: object = document()
    for step in reference.removeprefix("#/").split("/"):
        assert isinstance(node, dict)
        node = node[step]
    return node


async def test_the_description_is_there_for_everybody_and_always_the_same():
    first = await call(Parts(), "GET", "/openapi.json", headers={})
    again = await call(Parts(), "GET", "/openapi.json", headers={})
    assert first.status == 200
    assert first.body == again.body
    assert json.loads(first.body)["openapi"] == "3.1.0"


def test_every_route_is_described_and_every_description_is_routed():
    described = {(path, method) for path, item in document()["paths"].items() for method in item}
    routed = set()
    for route in routes(Parts(), Keys({}), Settings()):
        assert isinstance(route, Route)
        if isinstance(route.endpoint, Doorway):
            routed |= {(route.path, method.lower()) for method in route.endpoint.methods - {"HEAD"}}
        elif route.path in {"/healthz", "/readyz"}:
            routed.add((route.path, "get"))
    assert described == routed


def test_what_is_at_a_path_is_found_as_starlettes_router_finds_it():
    everywhere, paths = routes(Parts(), Keys({}), Settings()), Paths()
    for route in everywhere:
        paths.add(route.path, route.app)
    known = [route.path.format(**NAMED) for route in everywhere]
    for path in (
        *known,
        *(f"{path}/" for path in known),
        *(f"{path}/messages" for path in known),
        "/v1/threads//fork",
        "",
        "/v1",
    ):
        matches = [route.matches({"type": "http", "path": path})[1] for route in everywhere]
        first = next((match for match in matches if match), None)
        expected = (first["endpoint"], first["path_params"]) if first is not None else None
        assert paths.find(path) == expected, path


def test_a_route_that_no_method_answers_is_seen_at_once():
    with pytest.raises(LookupError, match="create_thread"):
        open_doors()


async def test_a_new_route_is_one_entry_and_one_method(monkeypatch: pytest.MonkeyPatch):
    route = HttpRoute(
        name="name_thread", method="GET", path="/v1/threads/{thread_id}/name", tag="Threads", summary="Say its name",
        form=AsOfMoment, answer=Gone, answered={"id": ID, "object": "thread.deleted", "deleted": True},
    )  # fmt: skip

    async def name_thread(_: Threads, call: Call) -> Answer:
        return json_answer({"id": call.thread_id, "as_of": call.as_of})

    table = (*OPERATIONS, Operation(name="name_thread", scope="audit", routes=(route,)))
    monkeypatch.setattr(clew_events.operations, "OPERATIONS", table)
    monkeypatch.setattr(Threads, "name_thread", name_thread, raising=False)
    parts, path = Parts(), f"/v1/threads/{ID}/name"
    assert json.loads((await call(parts, "GET", f"{path}?as_of=3")).body) == {"id": ID, "as_of": 3}
    assert (await call(parts, "GET", f"{path}?other=3")).error["code"] == "unknown_parameter"
    assert (await call(parts, "POST", path)).status == 405
    described = document.__wrapped__()["paths"]["/v1/threads/{thread_id}/name"]["get"]
    assert described["operationId"] == "nameThread"
    assert described["description"] == "Takes an API key with the scope `audit`."
    assert f"| `name_thread` |  | `GET {route.path}` |" in operations_table()


def test_every_method_that_takes_a_call_answers_a_route_of_the_table():
    names = {route.name for _, route in http_routes()}
    answering = set()
    for part in pkgutil.iter_modules(route_modules.__path__, f"{route_modules.__name__}."):
        module = importlib.import_module(part.name)
        for kind in vars(module).values():
            if isinstance(kind, type) and kind.__module__ == module.__name__:
                answering |= {
                    name
                    for name, function in vars(kind).items()
                    if not name.startswith("_") and "call" in getattr(function, "__annotations__", {})
                }
    assert answering == names


def test_the_variable_parts_of_every_path_are_described():
    for _, route in http_routes():
        assert set(re.findall(r"{(\w+)}", route.path)) <= set(PATH_PARAMETERS)


def test_a_route_that_answers_about_the_past_too_takes_another_scope_for_it():
    for _, route in http_routes():
        takes = {field.encode_name for field in msgspec.structs.fields(route.form)} if route.form is not None else set()
        if route.also is not None:
            assert "as_of" in takes
            assert BY_NAME[route.also].scope == "audit"
            assert BY_NAME[route.also].routes == ()


def test_every_operation_is_offered_by_http():
    elsewhere = {route.also for _, route in http_routes()}
    nats_alone = {"replace_item", "pop_item", "clear_items"}
    assert {each.name for each in OPERATIONS if not each.routes and each.name not in elsewhere} == nats_alone


def test_every_reference_leads_somewhere():
    found = set(references(document()))
    assert found
    for reference in found:
        assert resolved(reference)


def test_every_schema_is_one():
    schemas = document()["components"]["schemas"]
    assert {"Thread", "Message", "CreateThreadBody", "NewMessage", "ErrorResponse"} <= set(schemas)
    for schema in schemas.values():
        Draft202012Validator.check_schema(schema)


def operations() -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in document()["paths"].items():
        for described in item.values():
            yield path, described


def test_the_description_says_of_which_clew_it_is_and_where_that_is():
    assert document()["info"]["version"] == clew_version()
    assert [server["url"] for server in document()["servers"]] == ["/"]


def test_every_operation_is_in_a_group_and_every_group_is_described():
    tags = {tag["name"]: tag["description"] for tag in document()["tags"]}
    assert all(tags.values())
    assert {tag for _, described in operations() for tag in described["tags"]} == set(tags)
    assert {len(described["tags"]) for _, described in operations()} == {1}


def test_every_operation_says_which_scope_it_takes():
    taking = {(route.path, route.method.lower()): operation for operation, route in http_routes()}
    for (path, method), operation in taking.items():
        scope = "` or `".join(operation.scopes)
        if operation.anyone:
            assert document()["paths"][path][method]["description"].endswith("Takes any API key.")
            continue
        described = document()["paths"][path][method]
        assert described["description"].endswith(f"Takes an API key with the scope `{scope}`.") or (
            f"Takes an API key with the scope `{scope}`, or with `as_of` one with the scope `audit`."
            in described["description"]
        )


def test_every_parameter_is_described():
    for path, described in operations():
        for parameter in described.get("parameters", ()):
            whole = resolved(parameter["$ref"]) if "$ref" in parameter else parameter
            assert isinstance(whole, dict)
            assert whole["description"], (path, whole["name"])


def test_no_property_that_a_request_may_leave_out_has_a_default():
    waiting = [reference for _, each in operations() for reference in references(each.get("requestBody"))]
    reached: set[str] = set()
    while waiting:
        reference = waiting.pop()
        if reference not in reached:
            reached.add(reference)
            schema = resolved(reference)
            assert isinstance(schema, dict)
            assert [name for name, part in schema.get("properties", {}).items() if "default" in part] == [], reference
            waiting.extend(references(schema))
    assert {"CreateThreadBody", "NewMessage", "MetadataPatch"} <= {each.rpartition("/")[2] for each in reached}


def test_no_query_parameter_has_null_for_a_default():
    for path, described in operations():
        for parameter in described.get("parameters", ()):
            assert parameter.get("schema", {}).get("default", "none") is not None, (path, parameter["name"])


def test_a_file_is_described_by_its_media_type():
    described = document()["paths"]["/v1/threads/{thread_id}/export"]["get"]
    content = described["responses"]["200"]["content"]
    assert content == {"application/zstd": {"schema": {"type": "string", "format": "binary"}}}


DOCUMENTS = [route for _, route in http_routes() if not route.media_types]


@pytest.mark.parametrize("route", DOCUMENTS, ids=lambda route: route.name)
def test_every_example_keeps_to_its_schema(route):
    described = document()["paths"][route.path][route.method.lower()]
    contents = [described["responses"][str(route.status)]["content"]["application/json"]]
    if "requestBody" in described:
        contents.append(described["requestBody"]["content"]["application/json"])
    for content in contents:
        whole = {**content["schema"], "components": document()["components"]}
        Draft202012Validator(whole).validate(content["example"])


def test_what_is_streamed_is_described_beside_the_page():
    described = document()["paths"]["/v1/events"]["get"]
    content = described["responses"]["200"]["content"]
    assert set(content) == {"application/json", "text/event-stream"}
    *_, last = content["text/event-stream"]["example"].strip().split("\n")
    whole = {"$ref": "#/components/schemas/FeedCommit", "components": document()["components"]}
    Draft202012Validator(whole).validate(json.loads(last.removeprefix("data: ")))
    assert {"$ref": "#/components/parameters/lastEventId"} in described["parameters"]


def test_nobody_is_told_that_a_key_is_not_needed():
    assert document()["security"] == [{"bearer": []}]
    for path, item in document()["paths"].items():
        for described in item.values():
            assert ("security" in described) == (path in {"/healthz", "/readyz"})


class _Tags(HTMLParser):
    """The elements of a page and their attributes, which have to be closed in order."""

    EMPTY: Final = frozenset({"meta"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(page)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.EMPTY:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


async def test_the_api_is_described_on_a_page_that_asks_nobody_for_anything():
    answered = await call(Parts(), "GET", "/docs", headers={})
    assert (answered.status, answered.headers["content-type"]) == (200, "text/html; charset=utf-8")
    page = _Tags(answered.body.decode())
    kinds = {tag for tag, _ in page.tags}
    assert not kinds & {"script", "link", "img", "iframe", "object", "form", "base"}
    assert not any(name.startswith("on") or name in {"src", "style"} for _, said in page.tags for name in said)
    # Every operation is there, what is linked to is there, and all of it in this service.
    ids = {said["id"] for _, said in page.tags if "id" in said}
    links = [str(said["href"]) for tag, said in page.tags if tag == "a"]
    assert {link for link in links if not link.startswith("#")} == {"openapi.json", "explorer"}
    assert {link.removeprefix("#") for link in links if link.startswith("#")} <= ids
    for path, methods in document()["paths"].items():
        for method, operation in methods.items():
            assert operation["operationId"] in ids
            assert f"{method.upper()} {path}" in page.text
            assert operation["summary"].replace("`", "") in page.text
    policy = answered.headers["content-security-policy"].split("; ")
    style = re.findall("<style>(.*?)</style>", answered.body.decode(), re.DOTALL)
    assert policy[:2] == [
        "default-src 'none'", f"style-src 'sha256-{b64encode(sha256(style[0].encode()).digest()).decode()}'"
    ]  # fmt: skip


def test_no_text_of_the_description_becomes_markup():
    evil = '`<script>alert("&amp;")</script>`'

    def spoilt(node: object) -> object:
        if isinstance(node, dict):
            return {name: node[name] if name in {"$ref", "in", "name", "tags"} else spoilt(node[name]) for name in node}
        return [spoilt(each) for each in node] if isinstance(node, list) else evil if isinstance(node, str) else node

    page = _Tags(render(cast("dict[str, object]", spoilt(document()))))
    assert not any(tag == "script" for tag, _ in page.tags)
    assert page.text.count(evil.strip("`")) > 100


def test_a_type_is_told_in_a_few_words():
    message = {"$ref": "#/components/schemas/NewMessage"}
    for schema, said in (
        ({"type": "string", "maxLength": 64}, "string (up to 64)"),
        ({"anyOf": [{"type": "integer", "minimum": 1, "maximum": 9}, message]}, "integer (from 1, to 9) or NewMessage"),
        ({"type": "array", "items": message, "maxItems": 2}, "array of NewMessage (at most 2)"),
        ({"enum": ["asc", "desc"]}, '"asc" or "desc"'),
        ({}, "anything"),
    ):
        assert type_text(schema) == said
