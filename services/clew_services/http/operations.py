"""What can be done over HTTP, listed for the description: one entry for each route and method."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import Struct

from clew_events.audit_replies import Blame, Difference
from clew_events.checkpoint_messages import CheckpointPage, KeptProof, ListCheckpoints, SignedCheckpoint
from clew_events.contract.examples import EXAMPLES
from clew_events.contract.json_schema import as_json
from clew_events.ids import COMMAND_ID_PATTERN, MESSAGE_ID_PATTERN, THREAD_ID_PATTERN
from clew_events.list_reply import ThreadList
from clew_events.objects import Gone, Message, MessagePage, MessageReceipt, Thread, ThreadReceipt
from clew_events.requests import NewMessage
from clew_services.http import http_examples
from clew_services.http.bodies import (
    Between,
    CreateThreadBody,
    ModifyMessageBody,
    ModifyThreadBody,
    PageOfFeed,
    PageOfHistory,
    PageOfMessages,
    PageOfThreads,
    PatchBody,
)
from clew_services.http.commit_objects import CommitPage, FeedPage
from clew_services.http.routes.audit import MEDIA_TYPE
from clew_services.http.routes.checkpoints import NUMBER_PATTERN

THREADS: Final = "/v1/threads"
THREAD: Final = "/v1/threads/{thread_id}"
FEED: Final = "/v1/events"
MESSAGES: Final = "/v1/threads/{thread_id}/messages"
PROOF: Final = "/v1/threads/{thread_id}/proof"
EXPORT: Final = "/v1/threads/{thread_id}/export"
CHECKPOINTS: Final = "/v1/checkpoints"
CHECKPOINT: Final = "/v1/checkpoints/{number}"
EVENTS: Final = "/v1/threads/{thread_id}/events"
DIFF: Final = "/v1/threads/{thread_id}/diff"
BLAME: Final = "/v1/threads/{thread_id}/blame"
MESSAGE: Final = "/v1/threads/{thread_id}/messages/{message_id}"

ERRORS: Final[Mapping[int, str]] = {
    400: "The request does not follow the contract; `param` names the field at fault.",
    401: "No API key, or one that nobody was given.",
    403: "The API key does not reach this far.",
    404: "There is no such thread or message.",
    409: "The idempotency key was used for something else, or others changed the thread all the while.",
    412: "The thread is not at the version that `If-Match` names.",
    413: "The body has more bytes than the service takes.",
    429: "The API key is used faster than it may be; try again after the seconds in `Retry-After`.",
    500: "Something is broken, in the record or in the service.",
    503: "Not now; try again after the seconds in `Retry-After`.",
}
_RECEIPTS: Final[Mapping[type | None, type]] = {Thread: ThreadReceipt, Message: MessageReceipt}
_ALWAYS: Final = (400, 401, 403, 429, 500, 503)


_TAG: Final = r'"(0|[1-9][0-9]{0,14})"'


def _header(name: str, text: str, *, required: bool = False, **schema: object) -> Mapping[str, object]:
    described = {"type": "string", **schema}
    return {"name": name, "in": "header", "required": required, "description": text, "schema": described}


def _id(name: str, pattern: str) -> Mapping[str, object]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "pattern": pattern}}


PATH: Final[Mapping[str, Mapping[str, object]]] = {
    "thread_id": _id("thread_id", THREAD_ID_PATTERN),
    "message_id": _id("message_id", MESSAGE_ID_PATTERN),
    "number": _id("number", NUMBER_PATTERN),
}
HEADERS: Final[Mapping[str, Mapping[str, object]]] = {
    "beta": _header("OpenAI-Beta", "`assistants=v2`.", required=True, enum=["assistants=v2"]),
    "idempotency": _header(
        "Idempotency-Key",
        "1 to 128 visible ASCII characters: the same key makes it happen once.",
        pattern=COMMAND_ID_PATTERN,
    ),
    "ifMatch": _header(
        "If-Match", "Act only if the thread is at this version (its `ETag`).", pattern=rf"^({_TAG}|\*)$"
    ),
    "lastEventId": _header(
        "Last-Event-ID", "With server-sent events, the `id` of the last one that was seen: used instead of `after`."
    ),
    "ifNoneMatch": _header("If-None-Match", "Answer 304 if the thread is at this version (its `ETag`)."),
}


def _query_parameters(form: type, prefix: str = "") -> dict[str, Mapping[str, object]]:
    schema = msgspec.json.schema(form)["$defs"][form.__name__]
    return {
        prefix + name: {"name": name, "in": "query", "required": False, "schema": described}
        for name, described in schema["properties"].items()
    }


THREADS_QUERY: Final = _query_parameters(PageOfThreads, "threads_")
MESSAGES_QUERY: Final = _query_parameters(PageOfMessages)
BETWEEN_QUERY: Final = _query_parameters(Between, "diff_")
HISTORY_QUERY: Final = _query_parameters(PageOfHistory, "history_")
FEED_QUERY: Final = _query_parameters(PageOfFeed, "feed_")
CHECKPOINTS_QUERY: Final = _query_parameters(ListCheckpoints, "checkpoints_")
QUERY: Final = {**THREADS_QUERY, **MESSAGES_QUERY, **BETWEEN_QUERY, **HISTORY_QUERY, **FEED_QUERY, **CHECKPOINTS_QUERY}


def _of(reply: str) -> object:
    example = as_json(EXAMPLES[reply][0])
    assert isinstance(example, dict)
    return example["ok"]


class Operation(Struct, frozen=True, kw_only=True):
    """One method of one path: what it takes, what it answers, and an example of both.

    ``streamed`` is the beginning of what is answered instead to who asks for server-sent events. With a ``file``, which
    is its media type, that is answered and no JSON.
    """

    name: str
    method: str
    path: str
    summary: str
    body: type | None = None
    asked: object = None
    answer: type | None = None
    answered: object = None
    file: str | None = None
    streamed: str | None = None
    parameters: tuple[str, ...] = ("beta", "idempotency", "ifMatch")
    errors: tuple[int, ...] = (*_ALWAYS, 404, 409, 412, 413)

    @property
    def receipt(self) -> type | None:
        """What a change answers to a key that may not read."""
        return _RECEIPTS.get(self.answer) if self.method != "GET" else None


OPERATIONS: Final[tuple[Operation, ...]] = (
    Operation(
        name="createThread", method="POST", path=THREADS,
        summary="Create a thread, with messages already in it or without",
        body=CreateThreadBody, asked=http_examples.CREATED, answer=Thread, answered=http_examples.THREAD,
        errors=(*_ALWAYS, 409, 412, 413),
    ),
    Operation(
        name="listThreads", method="GET", path=THREADS,
        summary="List threads by what they are, what was said in them, and when",
        answer=ThreadList, answered=http_examples.THREADS,
        parameters=("beta", *THREADS_QUERY), errors=_ALWAYS,
    ),
    Operation(
        name="getThread", method="GET", path=THREAD,
        summary="Retrieve a thread, never behind what was acknowledged",
        answer=Thread, answered=http_examples.THREAD,
        parameters=("beta", "ifNoneMatch", "as_of"), errors=(*_ALWAYS, 404),
    ),
    Operation(
        name="modifyThread", method="POST", path=THREAD,
        summary="Change a thread; `metadata` replaces all of it",
        body=ModifyThreadBody, asked=http_examples.METADATA, answer=Thread, answered=http_examples.THREAD,
    ),
    Operation(
        name="patchThread", method="PATCH", path=THREAD,
        summary="Set and unset single metadata keys of a thread",
        body=PatchBody, asked=http_examples.PATCH, answer=Thread, answered=http_examples.THREAD,
    ),
    Operation(
        name="deleteThread", method="DELETE", path=THREAD,
        summary="Delete a thread; its history stays",
        answer=Gone, answered=http_examples.THREAD_GONE,
    ),
    Operation(
        name="createMessage", method="POST", path=MESSAGES,
        summary="Put a message at the end of a thread",
        body=NewMessage, asked=http_examples.ASKED, answer=Message, answered=http_examples.MESSAGE,
    ),
    Operation(
        name="listMessages", method="GET", path=MESSAGES,
        summary="List a thread's messages, a page at a time",
        answer=MessagePage, answered=http_examples.PAGE,
        parameters=("beta", *MESSAGES_QUERY), errors=(*_ALWAYS, 404),
    ),
    Operation(
        name="getMessage", method="GET", path=MESSAGE,
        summary="Retrieve a message",
        answer=Message, answered=http_examples.MESSAGE,
        parameters=("beta", "as_of"), errors=(*_ALWAYS, 404),
    ),
    Operation(
        name="modifyMessage", method="POST", path=MESSAGE,
        summary="Change a message; `metadata` replaces all of it",
        body=ModifyMessageBody, asked=http_examples.METADATA, answer=Message, answered=http_examples.MESSAGE,
    ),
    Operation(
        name="patchMessage", method="PATCH", path=MESSAGE,
        summary="Set and unset single metadata keys of a message",
        body=PatchBody, asked=http_examples.PATCH, answer=Message, answered=http_examples.MESSAGE,
    ),
    Operation(
        name="deleteMessage", method="DELETE", path=MESSAGE,
        summary="Delete a message",
        answer=Gone, answered=http_examples.MESSAGE_GONE,
    ),
    Operation(
        name="listEvents", method="GET", path=EVENTS,
        summary="List the commits by which a thread came to be what it is; takes the scope `audit`",
        answer=CommitPage, answered=http_examples.COMMITS,
        parameters=("beta", *HISTORY_QUERY), errors=(*_ALWAYS, 404),
    ),
    Operation(
        name="feed", method="GET", path=FEED,
        summary="All commits of all threads in the order in which the log took them, or live as server-sent events",
        answer=FeedPage, answered=http_examples.FEED, streamed=http_examples.STREAMED,
        parameters=("lastEventId", *FEED_QUERY), errors=_ALWAYS,
    ),
    Operation(
        name="diffThread", method="GET", path=DIFF,
        summary="Say what changed between two moments, and by which commits; takes the scope `audit`",
        answer=Difference, answered=_of("DifferenceReply"),
        parameters=("beta", *BETWEEN_QUERY), errors=(*_ALWAYS, 404, 413),
    ),
    Operation(
        name="blameThread", method="GET", path=BLAME,
        summary="Say who last set each part of a thread, and who removed what is gone; takes the scope `audit`",
        answer=Blame, answered=_of("BlameReply"),
        parameters=("beta", "as_of"), errors=(*_ALWAYS, 404),
    ),
    Operation(
        name="proveThread", method="GET", path=PROOF,
        summary="Prove what a thread's head was under the last signed checkpoint; takes the scope `audit`",
        answer=KeptProof, answered=http_examples.PROOF,
        parameters=("beta",), errors=(*_ALWAYS, 404),
    ),
    Operation(
        name="exportThread", method="GET", path=EXPORT,
        summary="Download a thread's audit pack, to be read and checked without a server; takes the scope `audit`",
        file=MEDIA_TYPE,
        parameters=("beta",), errors=(*_ALWAYS, 404),
    ),
    Operation(
        name="listCheckpoints", method="GET", path=CHECKPOINTS,
        summary="List the signed checkpoints of the log, the newest first; takes the scope `audit`",
        answer=CheckpointPage, answered=http_examples.CHECKPOINTS,
        parameters=tuple(CHECKPOINTS_QUERY), errors=_ALWAYS,
    ),
    Operation(
        name="getCheckpoint", method="GET", path=CHECKPOINT,
        summary="Retrieve a signed checkpoint by its number, or the `latest`; takes the scope `audit`",
        answer=SignedCheckpoint, answered=http_examples.CHECKPOINT,
        parameters=(), errors=(*_ALWAYS, 404),
    ),
)  # fmt: skip
