"""Microsoft's Agent Framework: the messages of a session in Clew. Install ``clew[agent-framework]``.

::

    async with connect("nats://127.0.0.1:4222", actor="assistant") as clew:
        agent = Agent(client=client, context_providers=[ClewHistoryProvider(clew)])

With ``load_messages=False`` it only stores: an audit beside another memory.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from typing import Any

from agent_framework import HistoryProvider, Message

from clew_adapters.conversation import Conversation, conversation_id, item_id
from clew_events.client import Clew
from clew_events.errors import Unavailable


class ClewHistoryProvider(HistoryProvider):
    """Keeps the messages of sessions in Clew, each session in a conversation.

    The options are those of ``HistoryProvider``. ``id_key`` is a secret from which, with a session's id, the id of its
    conversation follows; give one, always the same, where session ids are personal. Messages of one run are one commit.
    What is run without a session is kept in a conversation of its own, and not loaded again.
    """

    def __init__(
        self,
        clew: Clew,
        source_id: str = "clew",
        *,
        load_messages: bool = True,
        store_inputs: bool = True,
        store_context_messages: bool = False,
        store_context_from: set[str] | None = None,
        store_outputs: bool = True,
        id_key: bytes = b"",
    ) -> None:
        super().__init__(
            source_id,
            load_messages=load_messages,
            store_inputs=store_inputs,
            store_context_messages=store_context_messages,
            store_context_from=store_context_from,
            store_outputs=store_outputs,
        )
        self._clew = clew
        self._key = id_key
        self._uncertain: dict[str, Conversation] = {}
        """Those to which something was added last with an outcome that is unknown: they know under which command."""

    async def get_messages(
        self, session_id: str | None, *, state: dict[str, Any] | None = None, **kwargs: object
    ) -> list[Message]:
        """All messages of a session, oldest first."""
        if session_id is None:
            return []
        return [Message.from_dict(item["message"]) for item in await self._conversation(session_id).read()]

    async def save_messages(
        self,
        session_id: str | None,
        messages: Sequence[Message],
        *,
        state: dict[str, Any] | None = None,
        **kwargs: object,
    ) -> None:
        """Add messages to a session, all or none. Saved again, they are there once: see ``Conversation``."""
        conversation = self._conversation(session_id or str(uuid.uuid4()))
        try:
            await conversation.add(list(map(_item, messages)))
        except (Unavailable, asyncio.CancelledError):
            self._uncertain[conversation.thread_id] = conversation
            raise
        self._uncertain.pop(conversation.thread_id, None)

    def _conversation(self, session_id: str) -> Conversation:
        thread = conversation_id("agent_framework", session_id, key=self._key)
        metadata = {"agent_framework": "session", "session": session_id}
        return self._uncertain.get(thread) or Conversation(self._clew, thread, metadata)


def _item(message: Message) -> dict[str, object]:
    item: dict[str, object] = {"type": "agent_framework_message", "message": message.to_dict()}
    return item if message.message_id is None else {"id": item_id(message.message_id), **item}
