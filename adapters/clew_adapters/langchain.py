"""LangChain: the messages of a chat in Clew. Install ``clew[langchain]``.

::

    with connect("nats://127.0.0.1:4222", actor="assistant") as clew:
        history = ClewChatMessageHistory(clew, "session-1")
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import TypeVar

from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import BaseMessage, message_to_dict, messages_from_dict

from clew_adapters.conversation import Conversation, conversation_id, item_id
from clew_events.client import Clew as AsyncClew
from clew_events.client.sync import Clew, run

T = TypeVar("T")


class ClewChatMessageHistory(BaseChatMessageHistory):
    """Keeps the messages of one session in Clew, for programs with and without ``async``.

    ``clew`` is the client without ``async``. ``id_key`` is a secret from which, with ``session_id``, the id of the
    conversation follows; give one, always the same, where session ids are personal.

    Messages that are added together are one commit. If one of them has an id, or after an outcome that is unknown, they
    can be added again, and are there once.
    """

    def __init__(self, clew: Clew, session_id: str, *, id_key: bytes = b"") -> None:
        self._clew = clew
        self._thread = conversation_id("langchain", session_id, key=id_key)
        self._metadata = {"langchain": "session", "session": session_id}
        self._conversation: Conversation | None = None

    @property
    def messages(self) -> list[BaseMessage]:  # type: ignore[override]  # LangChain declares an attribute
        """All messages, oldest first."""
        found = self._run(lambda conversation: conversation.read())
        return messages_from_dict([{"type": item["kind"], "data": item["message"]} for item in found])

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Add messages at the end, all or none.

        Raises:
            TypeError: one of them holds a value that JSON has not.
        """
        self._run(lambda conversation: conversation.add(list(map(_item, messages))))

    def clear(self) -> None:
        """Delete all messages. Clew keeps their history until they are erased."""
        self._run(lambda conversation: conversation.clear())

    def _run(self, work: Callable[[Conversation], Coroutine[None, None, T]]) -> T:
        def begin(clew: AsyncClew) -> Coroutine[None, None, T]:
            self._conversation = self._conversation or Conversation(clew, self._thread, self._metadata)
            return work(self._conversation)

        return run(self._clew, begin)


def _item(message: BaseMessage) -> dict[str, object]:
    stored = message_to_dict(message)
    item = {"type": "langchain_message", "kind": stored["type"], "message": stored["data"]}
    return item if message.id is None else {"id": item_id(message.id), **item}
