"""OpenAI's Agents SDK: sessions in Clew over NATS. Install ``clew[agents]``.

::

    async with connect("nats://127.0.0.1:4222", actor="assistant") as clew:
        await Runner.run(agent, "Where is my parcel?", session=ClewSession(clew, "session-1"))

Over HTTP the SDK's own ``OpenAIConversationsSession`` works, without an adapter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from agents.memory import SessionSettings

from clew_adapters.conversation import Conversation, conversation_id
from clew_events import ids
from clew_events.client import Clew

if TYPE_CHECKING:
    from agents import TResponseInputItem

_SDK_ID: Final = "sdk_id"
"""Where an item's own id is kept: the SDK uses one id for several items, Clew does not."""


class ClewSession:
    """The items of one session, in one conversation of Clew: that of the id, if ``session_id`` is one (``conv_…``).

    ``id_key`` is a secret from which the conversation's id follows with any other ``session_id``; give one, always the
    same, where session ids are personal. Items that are added together are one commit.
    """

    def __init__(
        self,
        clew: Clew,
        session_id: str,
        *,
        session_settings: SessionSettings | None = None,
        id_key: bytes = b"",
    ) -> None:
        own = session_id.startswith("conv_") and ids.is_thread_id(session_id)
        thread = session_id if own else conversation_id("agents", session_id, key=id_key)
        self.session_id = session_id
        self.session_settings = session_settings
        self._conversation = Conversation(clew, thread, {"agents": "session", "session": session_id})

    async def get_items(self, limit: int | None = None) -> list[TResponseInputItem]:
        """The newest ``limit`` items, by default those of the settings, or all; oldest first."""
        if limit is None and self.session_settings is not None:
            limit = self.session_settings.limit
        return [_show_id(item) for item in await self._conversation.read(limit)]

    async def add_items(self, items: list[TResponseInputItem]) -> None:
        """Add items at the end, all or none. Added again after an outcome that is unknown, they are there once."""
        await self._conversation.add([_hide_id(cast("dict[str, Any]", item)) for item in items])

    async def pop_item(self) -> TResponseInputItem | None:
        """Take the newest item away and return it; None if there is none."""
        item = await self._conversation.pop()
        return None if item is None else _show_id(item)

    async def clear_session(self) -> None:
        """Delete all items. Clew keeps their history until they are erased."""
        await self._conversation.clear()


def _hide_id(item: dict[str, Any]) -> dict[str, Any]:
    return {_SDK_ID if key == "id" else key: value for key, value in item.items()}


def _show_id(item: dict[str, Any]) -> TResponseInputItem:
    own = {"id" if key == _SDK_ID else key: value for key, value in item.items() if key != "id"}
    return cast("TResponseInputItem", own)
