"""The AsyncAPI 3.0 description of Clew on NATS: its subjects, messages and replies.

The described application is Clew: it *receives* commands and queries, and *sends* commits and rejections. AsyncAPI
cannot describe the stream that stores a subject's messages; that is under ``x-jetstream``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from clew_events import subjects
from clew_events.commit import FORMAT
from clew_events.contract.examples import EXAMPLES, STORED_BODY
from clew_events.contract.json_schema import GROUPS, as_json, definitions, describe, type_name
from clew_events.operations import COMMANDS, OPERATIONS, QUERIES, REPLIES
from clew_events.replies import Rejection

Part = dict[str, object]

_SCHEMAS: Final = "#/components/schemas/"
_TENANT: Final[Part] = {"description": "Whose thread it is."}
_PLACE_IN_INBOX: Final[Part] = {"description": "Which message of the inbox it was."}
_COMMAND: Final[Part] = {"description": "The command's name on the wire.", "enum": list(COMMANDS)}
_PLACE: Final[Part] = {
    "shard": {"description": "CRC-32 of the thread's id modulo the number of shards, in two digits."},
    "tenant": _TENANT,
    "thread": {"description": "The thread's id."},
}
_TRACE: Final[Part] = {"type": "string", "description": "W3C trace context."}
_ID: Final[Part] = {"type": "string", "description": "Makes JetStream drop a repeat within two minutes."}
_ERROR: Final[Part] = {"type": "string", "description": "Only on an error: its message."}
_ERROR_CODE: Final[Part] = {"type": "string", "description": "Only on an error: its number, as in HTTP."}
_SEQUENCE: Final[Part] = {"type": "string", "description": "Only when live: the sequence in the shard's stream."}
_BODY: Final[Part] = {
    "title": "StoredCommit",
    "type": "string",
    "description": "Lines, each ended by a line feed: a CommitRecord; a CommandContent, or nothing; for each event its "
    "content, such as an ItemAddedContent, or nothing.",
}
_STORED_COMMIT: Final[Part] = {
    "name": "StoredCommit",
    "title": "StoredCommit",
    "summary": "A commit as it is stored, byte for byte.",
    "contentType": "text/plain; charset=utf-8",
    "headers": {
        "type": "object",
        "properties": {"traceparent": _TRACE, "Nats-Msg-Id": _ID, "Nats-Sequence": _SEQUENCE},
    },
    "payload": {"$ref": f"{_SCHEMAS}StoredCommit"},
    "examples": [{"payload": STORED_BODY}],
}


def asyncapi() -> dict[str, object]:
    """The complete document. Payloads are the JSON Schemas of the types, each with examples."""
    messages: tuple[type[Struct], ...] = (*COMMANDS.values(), *QUERIES.values(), *REPLIES, Rejection)
    return {
        "asyncapi": "3.0.0",
        "id": "urn:clew",
        "info": {
            "title": "Clew",
            "version": f"{FORMAT}.0.0",
            "description": "Conversation threads as a history: published to, replayed and queried.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {"nats": {"host": "127.0.0.1:4222", "pathname": "", "protocol": "nats"}},
        "channels": _channels(),
        "operations": _operations(),
        "components": {
            "messages": {type_name(kind): _message(kind) for kind in messages} | {"StoredCommit": _STORED_COMMIT},
            "schemas": definitions((*messages, *GROUPS["log"]), _SCHEMAS) | {"StoredCommit": _BODY},
        },
    }


def _channels() -> Part:
    channels: Part = {}
    for operation in OPERATIONS:
        if operation.request is not None:
            channels[operation.name] = _channel(operation.subject("{tenant}"), [operation.request])
    for name, command in COMMANDS.items():
        channels[f"inbox_{name}"] = _channel(
            subjects.inbox_subject("{tenant}", name),
            [command],
            {"stream": subjects.INBOX_STREAM, "retention": "workqueue"},
        )
    channels["rejected"] = _channel(
        subjects.rejected_subject("{tenant}", "{command}", "{place}"),
        [Rejection],
        {"stream": subjects.REJECTED_STREAM, "retention": "limits"},
        {"tenant": _TENANT, "command": _COMMAND, "place": _PLACE_IN_INBOX},
    )
    log = f"{subjects.EVENTS}.{{shard}}.{{tenant}}.{{thread}}"
    stored: Part = {"messages": {"StoredCommit": {"$ref": "#/components/messages/StoredCommit"}}}
    channels["log"] = {
        **_channel(log, [], {"stream": "CLEW_EVT_{shard}", "retention": "limits", "discard": "new"}, _PLACE),
        **stored,
    }
    channels["live"] = {**_channel(log.replace("clew.", f"{subjects.LIVE}.", 1), [], None, _PLACE), **stored}
    for reply in REPLIES:
        channels[type_name(reply)] = {
            "address": None,
            "title": "The caller's own inbox, which its request names.",
            "messages": _by_name([reply]),
        }
    return channels


def _channel(
    address: str,
    kinds: Iterable[type[Struct]],
    jetstream: Part | None = None,
    parameters: Part | None = None,
) -> Part:
    channel: Part = {
        "address": address,
        "messages": _by_name(kinds),
        "parameters": parameters or {"tenant": _TENANT},
    }
    return channel if jetstream is None else {**channel, "x-jetstream": jetstream}


def _operations() -> Part:
    operations: Part = {}
    for operation in OPERATIONS:
        if operation.request is not None and operation.reply is not None:
            operations[operation.name] = _request(operation.name, operation.request, operation.reply)
    for name in COMMANDS:
        summary = f"Carry out {name} when a handler is there; answer on `reply_to`, if the command names one."
        operations[f"inbox_{name}"] = _operation("receive", f"inbox_{name}", summary)
    operations["rejected"] = _operation("send", "rejected", "Record what the inbox refused, and why.")
    operations["log"] = _operation("send", "log", "Record a commit. Read it with any JetStream consumer.")
    operations["live"] = _operation("send", "live", "Publish each commit when it is stored.")
    return operations


def _operation(action: str, channel: str, summary: str) -> Part:
    return {"action": action, "channel": {"$ref": f"#/channels/{channel}"}, "summary": summary}


def _request(name: str, kind: type[Struct], reply: type[Struct]) -> Part:
    operation = _operation("receive", name, _first_line(kind))
    return {**operation, "reply": {"channel": {"$ref": f"#/channels/{type_name(reply)}"}}}


def _by_name(kinds: Iterable[type[Struct]]) -> Part:
    return {type_name(kind): {"$ref": f"#/components/messages/{type_name(kind)}"} for kind in kinds}


def _message(kind: type[Struct]) -> Part:
    name = type_name(kind)
    return {
        "name": name,
        "title": name,
        "summary": _first_line(kind),
        "contentType": "application/json",
        "headers": {"type": "object", "properties": _headers(kind)},
        "payload": {"$ref": _SCHEMAS + name},
        "examples": [{"payload": as_json(example)} for example in EXAMPLES.get(name, ())],
    }


def _headers(kind: type[Struct]) -> Part:
    if kind in REPLIES:
        return {"Nats-Service-Error": _ERROR, "Nats-Service-Error-Code": _ERROR_CODE}
    return {"traceparent": _TRACE}


def _first_line(kind: type[Struct]) -> str:
    return describe(kind).partition("\n")[0]
