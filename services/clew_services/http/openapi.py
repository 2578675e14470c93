"""The API described for machines: OpenAPI 3.1, made from the types that the service itself decodes and encodes."""

from __future__ import annotations

import functools
from typing import Any, Final

from clew_events.contract.json_schema import definitions
from clew_events.objects import Thread
from clew_services.http.error_responses import ErrorResponse
from clew_services.http.health import Health, Ready
from clew_services.http.http_examples import links_of
from clew_services.http.operations import ERRORS, HEADERS, OPERATIONS, PATH, QUERY, Operation
from clew_services.http.responses import Answer, json_answer

_SCHEMAS: Final = "#/components/schemas/"

Document = dict[str, Any]


@functools.cache
def document() -> Document:
    """The whole description."""
    paths: Document = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    for path, summary in {"/healthz": "Whether the process lives", "/readyz": "Whether it can do its work"}.items():
        paths[path] = {"get": _window(path.strip("/"), summary)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Clew",
            "version": "v1",
            "description": (
                "Conversation threads as an append-only history. The wire format is that of OpenAI's Threads and "
                "Messages API, Assistants version 2; what goes beyond it are headers and PATCH."
            ),
        },
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "description": "A Clew API key."}},
            "parameters": {name: dict(parameter) for name, parameter in {**HEADERS, **QUERY}.items()},
            "responses": {str(status): _error(status, text) for status, text in ERRORS.items()},
        },
    }


async def description() -> Answer:
    """``GET /openapi.json``."""
    return _render()


@functools.cache
def _render() -> Answer:
    return json_answer(document())


def _schemas() -> Document:
    spoken = ((each.body, each.answer, each.receipt) for each in OPERATIONS)
    forms = {form for some in spoken for form in some if form is not None}
    named = sorted((*forms, ErrorResponse, Health, Ready), key=lambda form: form.__name__)
    return dict(sorted(definitions(named, _SCHEMAS).items()))


def _operation(operation: Operation) -> Document:
    links = links_of(operation.name)
    described: Document = {
        "operationId": operation.name,
        "summary": operation.summary,
        "parameters": [
            *(dict(parameter) for name, parameter in PATH.items() if f"{{{name}}}" in operation.path),
            *({"$ref": f"#/components/parameters/{name}"} for name in operation.parameters),
        ],
        "responses": {
            "200": {
                "description": "Done.",
                **({"headers": {"ETag": _ETAG}} if operation.answer is Thread else {}),
                "content": _content(operation),
                **({"links": links} if links else {}),
            },
            **({"304": {"description": "The caller has it already."}} if operation.name == "getThread" else {}),
            **{str(status): {"$ref": f"#/components/responses/{status}"} for status in operation.errors},
        },
    }
    if operation.body is not None:
        described["requestBody"] = {
            "required": operation.name != "createThread",
            "content": _json(operation.body, operation.asked),
        }
    return described


_ETAG: Final[Document] = {
    "description": "The thread's version, in quotes.",
    "schema": {"type": "string", "examples": ['"3"']},
}

_RETRY_AFTER: Final[Document] = {
    "description": "Seconds to wait before trying again.",
    "schema": {"type": "integer", "minimum": 1, "maximum": 60},
}


def _window(name: str, summary: str) -> Document:
    answers = {"200": {"description": "Yes.", "content": _json(Health, {"ok": True, "reasons": []})}}
    if name == "readyz":
        yes = {"ok": True, "reasons": [], "notes": [], "shards": [{"shard": 0, "state": "idle"}], "parked": 0}
        no = {"ok": False, "reasons": ["JetStream did not answer within 2 s"], "notes": [], "shards": []}
        answers["200"]["content"] = _json(Ready, yes)
        answers["503"] = {"description": "No, and why not.", "content": _json(Ready, no)}
    return {"operationId": name, "summary": summary, "security": [], "responses": answers}


def _content(operation: Operation) -> Document:
    if operation.file is not None:
        return {operation.file: {"schema": {"type": "string", "format": "binary"}}}
    assert operation.answer is not None
    answered = _json(operation.answer, operation.answered)
    if operation.receipt is not None:
        forms = [{"$ref": _SCHEMAS + form.__name__} for form in (operation.answer, operation.receipt)]
        answered["application/json"]["schema"] = {"anyOf": forms}
    return {**answered, **_stream_schema(operation.streamed)}


def _stream_schema(example: str | None) -> Document:
    # OpenAPI 3.1 has no words for what each of the events is.
    return {"text/event-stream": {"schema": {"type": "string"}, "example": example}} if example is not None else {}


def _error(status: int, text: str) -> Document:
    headers = {"headers": {"Retry-After": _RETRY_AFTER}} if status in {429, 503} else {}
    return {"description": text, **headers, "content": _json(ErrorResponse, None)}


def _json(form: type, example: object) -> Document:
    content: Document = {"schema": {"$ref": _SCHEMAS + form.__name__}}
    return {"application/json": content if example is None else {**content, "example": example}}
