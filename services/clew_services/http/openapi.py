"""The OpenAPI 3.1 description of the API, made from the table of operations and its types."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any, Final

import msgspec
from msgspec import Struct

from clew_events.contract.examples import EXAMPLES
from clew_events.contract.json_schema import as_json, definitions, references, type_name
from clew_events.http_forms import EraseBody
from clew_events.http_objects import Conversation, ConversationItems
from clew_events.ids import ACTOR_PATTERN, CODE_PATTERN, COMMAND_ID_PATTERN, REASON_PATTERN
from clew_events.objects import Message, MessagePage, MessageReceipt, Thread, ThreadReceipt
from clew_events.operations import BY_NAME, PATH_PARAMETERS, QUERY_PARAMETERS, TAGS, HttpRoute, Operation, http_routes
from clew_services.http.error_responses import ErrorResponse
from clew_services.http.health import Health, Ready
from clew_services.http.responses import Answer, json_answer
from clew_services.version import clew_version

_THREADS_ONLY: Final = "(thread|conv_)", "thread"
"""What becomes of the pattern of a thread's id where it is that of no conversation."""
_SCHEMAS: Final = "#/components/schemas/"

Document = dict[str, Any]

ERRORS: Final = {
    400: "The request does not follow the contract; `param` names the field at fault.",
    401: "No API key, or one that nobody was given.",
    403: "The API key does not reach this far.",
    404: "There is no such thread, conversation, message, item or erasure.",
    409: "The idempotency key was used for something else, or others changed the thread all the while.",
    412: "The thread is not at the version that `If-Match` names.",
    413: "The body has more bytes than the service takes.",
    415: "The body is said to be compressed, or in another encoding than UTF-8.",
    429: "The API key is used faster than it may be; try again after the seconds in `Retry-After`.",
    500: "Something is broken, in the record or in the service.",
    503: "Not now; try again after the seconds in `Retry-After`.",
}
_HEALTH: Final = "Health", "Whether the process lives, and can do its work."
_ALWAYS: Final = frozenset({400, 401, 403, 429, 500, 503})
_OF_A_CHANGE: Final = frozenset({409, 413})
_RECEIPTS: Final[dict[type, type]] = {Thread: ThreadReceipt, Message: MessageReceipt}
_TAGGED: Final = (Thread, Message, MessagePage)
_TAG: Final = r'(W/)?"[!#-~]*"'
_TAGS: Final = rf"^(\*|{_TAG}( *, *{_TAG})*)$"


def _header(name: str, text: str, *, required: bool = False, **schema: object) -> Document:
    described = {"type": "string", **schema}
    return {"name": name, "in": "header", "required": required, "description": text, "schema": described}


HEADERS: Final = {
    "beta": _header("OpenAI-Beta", "`assistants=v2`, or nothing.", enum=["assistants=v2", ""]),
    "idempotency": _header(
        "Idempotency-Key",
        "1 to 128 visible ASCII characters: the same key makes it happen once.",
        pattern=COMMAND_ID_PATTERN,
    ),
    "actor": _header(
        "Clew-Actor", "Who asks, as the history names them; without it, the key's name.", pattern=ACTOR_PATTERN
    ),
    "reason": _header("Clew-Reason", "Why: stored with the commit.", pattern=REASON_PATTERN),
    "code": _header(
        "Clew-Reason", "Why, as a code, where the body does not say so: kept for ever.", pattern=CODE_PATTERN
    ),
    "ifMatch": _header(
        "If-Match",
        "Act only if the thread is at this version (its `ETag`), or at one of several with commas between them.",
        pattern=_TAGS,
    ),
    "lastEventId": _header(
        "Last-Event-ID", "With server-sent events, the `id` of the last one that was seen: used instead of `after`."
    ),
    "ifNoneMatch": _header("If-None-Match", "Answer 304 if the thread is at this version (its `ETag`).", pattern=_TAGS),
}


@functools.cache
def document() -> Document:
    """The whole description."""
    paths: Document = {}
    for operation, route in http_routes():
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(operation, route)
    for path, summary in {"/healthz": "Whether the process lives", "/readyz": "Whether it can do its work"}.items():
        paths[path] = {"get": _window(path.strip("/"), summary)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Clew",
            "version": clew_version(),
            "description": (
                "Conversation threads as an append-only history. The wire format is that of OpenAI's Threads and "
                "Messages API, Assistants version 2, and of its Conversations API."
            ),
        },
        "servers": [{"url": "/", "description": "The Clew that serves this description."}],
        "security": [{"bearer": []}],
        "tags": [{"name": name, "description": text} for name, text in (*TAGS.items(), _HEALTH)],
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "description": "A Clew API key."}},
            "parameters": HEADERS,
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
    forms: set[type[Struct]] = {ErrorResponse, Health, Ready}
    for _, route in http_routes():
        forms.update(form for form in (route.body, route.answer, _receipt(route)) if form is not None)
    named = sorted(forms, key=lambda form: form.__name__)
    schemas: Document = dict(sorted(definitions(named, _SCHEMAS).items()))
    bodies = [route.body.__name__ for _, route in http_routes() if route.body is not None]
    for name in _reached(bodies, schemas):
        # What a request may leave out has no value that a program had better send instead.
        for described in schemas[name].get("properties", {}).values():
            described.pop("default", None)
    return schemas


def _reached(names: Iterable[str], schemas: Document) -> set[str]:
    """The schemas of these names, and all that they consist of."""
    reached: set[str] = set()
    waiting = list(names)
    while waiting:
        if (name := waiting.pop()) not in reached:
            reached.add(name)
            waiting += [each.removeprefix(_SCHEMAS) for each in references(schemas[name])]
    return reached


def _operation(operation: Operation, route: HttpRoute) -> Document:
    links = _links(route)
    described: Document = {
        "operationId": operation_id(route.name),
        "summary": route.summary,
        "description": _description(operation, route),
        "tags": [route.tag],
        "parameters": [
            *(_path_parameter(name, route) for name in PATH_PARAMETERS if f"{{{name}}}" in route.path),
            *({"$ref": f"#/components/parameters/{name}"} for name in _headers(route)),
            *_query_parameters(route),
        ],
        "responses": {
            str(route.status): {
                "description": "Done.",
                **({"headers": {"ETag": _ETAG}} if route.answer in _TAGGED else {}),
                "content": _content(operation, route),
                **({"links": links} if links else {}),
            },
            **({"304": {"description": "The caller has it already."}} if "ifNoneMatch" in route.headers else {}),
            **{str(status): {"$ref": f"#/components/responses/{status}"} for status in _errors(route)},
        },
    }
    if route.body is not None:
        described["requestBody"] = {"required": route.body_required, "content": _json(route.body, route.asked)}
    return described


def _description(operation: Operation, route: HttpRoute) -> str:
    scope = f"Takes an API key with the scope {' or '.join(f'`{each}`' for each in operation.scopes)}"
    if operation.anyone:
        scope = "Takes any API key"
    elif route.also is not None:
        scope += f", or with `as_of` one with the scope `{BY_NAME[route.also].scope}`"
    return f"{route.description} {scope}.".lstrip()


def operation_id(name: str) -> str:
    """A route's name as OpenAPI spells it: ``createThread`` for ``create_thread``."""
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))


def _headers(route: HttpRoute) -> tuple[str, ...]:
    reason = "code" if route.body is EraseBody else "reason"
    of_commands = ("actor", reason) if "idempotency" in route.headers else ()
    return (*(("beta",) if route.versioned else ()), *route.headers, *of_commands)


def _path_parameter(name: str, route: HttpRoute) -> Document:
    pattern, text = PATH_PARAMETERS[name]
    if name == "thread_id" and route.threads_only:
        pattern = pattern.replace(*_THREADS_ONLY)
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": text,
        "schema": {"type": "string", "pattern": pattern},
    }


def _query_parameters(route: HttpRoute) -> list[Document]:
    if route.form is None:
        return []
    described = msgspec.json.schema(route.form)["$defs"][route.form.__name__]["properties"]
    return [
        {
            "name": name,
            "in": "query",
            "required": False,
            "description": QUERY_PARAMETERS[name],
            "schema": {key: value for key, value in schema.items() if (key, value) != ("default", None)},
        }
        for name, schema in described.items()
    ]


def _errors(route: HttpRoute) -> list[int]:
    missing = {404} if "{" in route.path else set()
    changing = _OF_A_CHANGE if route.method != "GET" else set()
    conditional = {412} if "ifMatch" in route.headers else set()
    coded = {415} if route.body is not None else set()
    return sorted(_ALWAYS | missing | changing | conditional | coded | set(route.errors))


def _receipt(route: HttpRoute) -> type[Struct] | None:
    """What a change answers to a key that may not read."""
    return _RECEIPTS.get(route.answer) if route.answer is not None and route.method != "GET" else None


def _links(route: HttpRoute) -> Document:
    """The links of what a route answers, by the name of the operation they lead to."""
    within = {"thread_id": "$request.path.thread_id"}
    if route.answer is MessagePage:
        return _links_to("{message_id}", {**within, "message_id": "$response.body#/first_id"})
    if route.answer is ConversationItems:
        within = {"conversation_id": "$request.path.conversation_id"}
        return _links_to("{item_id}", {**within, "item_id": "$response.body#/first_id"})
    if route.answer is Conversation and route.method != "GET":
        # Routes of threads take it too, but for those of threads only.
        return _links_to("{conversation_id}", {"conversation_id": "$response.body#/id"}) | _links_to(
            "{thread_id}", {"thread_id": "$response.body#/id"}, threads_only=False
        )
    if _receipt(route) is None:
        return {}
    if route.answer is Thread:
        made = {"thread_id": "$response.body#/id"}
        # What takes conversations too answers them.
        return _links_to("{thread_id}", made, threads_only="{thread_id}" not in route.path or route.threads_only)
    return _links_to("{message_id}", {**within, "message_id": "$response.body#/id"})


def _links_to(part: str, parameters: Document, *, threads_only: bool = True) -> Document:
    """Links to every route that has ``part`` as the last variable part of its path, and answers JSON.

    Those that take no conversation are left out unless ``threads_only``.
    """
    names = [
        operation_id(route.name)
        for _, route in http_routes()
        if route.path.rfind("{") == route.path.find(part) != -1
        and not route.media_types
        and (threads_only or not route.threads_only)
    ]
    return {name: {"operationId": name, "parameters": parameters} for name in names}


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
    return {
        "operationId": name,
        "summary": summary,
        "description": "Takes no API key.",
        "tags": [_HEALTH[0]],
        "security": [],
        "responses": answers,
    }


def _content(operation: Operation, route: HttpRoute) -> Document:
    if route.media_types:
        file = {"type": "string", "format": "binary"}
        return {
            kind: {"schema": {"type": "object"} if kind == "application/json" else file} for kind in route.media_types
        }
    assert route.answer is not None
    answered = _json(route.answer, _example(operation, route))
    if (receipt := _receipt(route)) is not None:
        forms = [{"$ref": _SCHEMAS + form.__name__} for form in (route.answer, receipt)]
        answered["application/json"]["schema"] = {"anyOf": forms}
    return {**answered, **_stream_schema(route.streamed)}


def _example(operation: Operation, route: HttpRoute) -> object:
    if route.answered is not None or operation.reply is None:
        return route.answered
    reply = as_json(EXAMPLES[type_name(operation.reply)][0])
    assert isinstance(reply, dict)
    return reply["ok"]


def _stream_schema(example: str | None) -> Document:
    # OpenAPI 3.1 has no words for what each of the events is.
    return {"text/event-stream": {"schema": {"type": "string"}, "example": example}} if example is not None else {}


def _error(status: int, text: str) -> Document:
    headers = {"headers": {"Retry-After": _RETRY_AFTER}} if status in {429, 503} else {}
    return {"description": text, **headers, "content": _json(ErrorResponse, None)}


def _json(form: type, example: object) -> Document:
    content: Document = {"schema": {"$ref": _SCHEMAS + form.__name__}}
    return {"application/json": content if example is None else {**content, "example": example}}
