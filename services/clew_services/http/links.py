"""What can be asked next about what was answered: the links of the API's description."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_OF_A_THREAD: Final = (
    "getThread",
    "modifyThread",
    "patchThread",
    "deleteThread",
    "createMessage",
    "listMessages",
    "listEvents",
    "diffThread",
    "blameThread",
    "proveThread",
)
_OF_A_MESSAGE: Final = ("getMessage", "modifyMessage", "patchMessage", "deleteMessage")
_THREAD: Final = {"thread_id": "$response.body#/id"}
_MESSAGE: Final = {"thread_id": "$request.path.thread_id", "message_id": "$response.body#/id"}
_WITHIN: Final = {"thread_id": "$request.path.thread_id", "message_id": "$response.body#/first_id"}

Links = dict[str, dict[str, object]]


def links_of(operation: str) -> Links:
    """The links of what an operation answers, by the name of the operation they lead to."""
    if operation in {"createThread", "modifyThread", "patchThread"}:
        return _links(_OF_A_THREAD, _THREAD)
    if operation in {"createMessage", "modifyMessage", "patchMessage"}:
        return _links(_OF_A_MESSAGE, _MESSAGE)
    return _links(_OF_A_MESSAGE, _WITHIN) if operation == "listMessages" else {}


def _links(operations: tuple[str, ...], parameters: Mapping[str, str]) -> Links:
    return {name: {"operationId": name, "parameters": dict(parameters)} for name in operations}
