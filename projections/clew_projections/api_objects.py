"""API objects made from views."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from msgspec import UNSET
from msgspec.structs import replace

from clew_events.content import ImageFile, ImageUrl, Part, Text, ToolResources
from clew_events.list_reply import FilterHold, Retention
from clew_events.objects import (
    CodeInterpreterFiles,
    HeldThread,
    Message,
    MessagePage,
    Resources,
    SearchStores,
    TextPart,
    TextValue,
    Thread,
)
from clew_projections.tenant_state import RetentionPolicy, StandingHold
from clew_projections.views import MessageView, ThreadView

NO_RESOURCES: Final = Resources()
RETRIEVED_NO_RESOURCES: Final = Resources(code_interpreter=CodeInterpreterFiles())


def thread_object(view: ThreadView) -> Thread:
    """Return a thread as the answers to changes show it."""
    return Thread(
        id=view.id,
        created_at=_seconds(view.created_at),
        metadata=view.metadata,
        tool_resources=_resources(view.tool_resources),
        expires_after=view.expires_after or UNSET,
        expires_at=UNSET if (due := view.expires_at) is None else _seconds(due),
    )


def retrieved_thread(view: ThreadView, *, erased: bool = False) -> Thread:
    """Return a thread as queries answer it; ``erased`` if contents were missing in what its view was folded from.

    As in OpenAI's API, a thread without resources has ``{}`` in the answer to a change, and an empty list of files in
    the answer to a query.
    """
    thread = thread_object(view)
    thread = replace(thread, erased=True) if erased else thread
    return thread if thread.tool_resources != NO_RESOURCES else replace(thread, tool_resources=RETRIEVED_NO_RESOURCES)


def message_object(view: MessageView) -> Message:
    """Return a message as the API shows it: always complete, since callers send whole messages."""
    return Message(
        id=view.id,
        created_at=_seconds(view.created_at),
        thread_id=view.thread,
        role=view.role,
        content=content_object(view.content),
        attachments=view.attachments,
        metadata=view.metadata,
        erased=view.erased or UNSET,
    )


def message_page(messages: Sequence[Message], *, more: bool, backward: bool) -> MessagePage:
    """Return a page of messages, which were read in its order, or ``backward`` from its end."""
    data = tuple(reversed(messages) if backward else messages)
    return MessagePage(
        data=data,
        first_id=data[0].id if data else None,
        last_id=data[-1].id if data else None,
        has_more=more,
    )


def content_object(parts: tuple[Part, ...]) -> tuple[TextPart | ImageFile | ImageUrl, ...]:
    """Return the parts of a message as the API shows them."""
    return tuple(TextPart(TextValue(part.text)) if isinstance(part, Text) else part for part in parts)


def _seconds(moment: datetime | None) -> int:
    return int(moment.timestamp()) if moment is not None else 0


def _resources(tools: ToolResources) -> Resources:
    code, search = tools.code_interpreter, tools.file_search
    return Resources(
        code_interpreter=CodeInterpreterFiles(code.file_ids) if code is not None else None,
        file_search=SearchStores(search.vector_store_ids) if search is not None else None,
    )


def held_thread(view: ThreadView) -> HeldThread:
    """Return the legal holds of a thread as callers get them."""
    return HeldThread(id=view.id, holds=view.holds, deleted=view.status != "open")


def standing_objects(holds: Mapping[str, StandingHold]) -> tuple[FilterHold, ...]:
    """Return standing holds as callers get them, by their names."""
    return tuple(FilterHold(id=name, where=holds[name].condition) for name in sorted(holds))


def retention_object(policy: RetentionPolicy) -> Retention:
    """Return a policy of retention as callers get it."""
    return Retention(
        name=policy.name,
        after_days=policy.after_days,
        since=policy.since,
        where=policy.condition,
        then=policy.then,
        erase_after_days=policy.erase_after_days,
    )
