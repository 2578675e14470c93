"""API objects made from views."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

import msgspec
from msgspec import UNSET, Raw, to_builtins
from msgspec.structs import replace

from clew_events import content, ids, items
from clew_events.content import ImageFile, ImageUrl, Part, Text, ToolResources
from clew_events.list_reply import FilterHold, Retention
from clew_events.objects import (
    CodeInterpreterFiles,
    HeldThread,
    ItemPage,
    Message,
    MessagePage,
    Resources,
    SearchStores,
    TextPart,
    TextValue,
    Thread,
)
from clew_projections.page_size import ShownPage
from clew_projections.tenant_state import RetentionPolicy, StandingHold
from clew_projections.views import ItemView, ThreadView

_ENCODE: Final = msgspec.json.Encoder().encode
NO_RESOURCES: Final = Resources()
_NO_TOOLS: Final = ToolResources()
RETRIEVED_NO_RESOURCES: Final = Resources(code_interpreter=CodeInterpreterFiles())


def thread_object(view: ThreadView) -> Thread:
    """Return a thread as the answers to changes show it."""
    return Thread(
        id=view.id,
        created_at=_seconds(view.created_at),
        metadata=view.metadata,
        tool_resources=_resources(view.tool_resources) if view.tool_resources != _NO_TOOLS else NO_RESOURCES,
        expires_after=view.expires_after or UNSET,
        expires_at=UNSET if (due := view.expires_at) is None else _seconds(due),
        forked_from=view.forked_from,
    )


def retrieved_thread(view: ThreadView, *, erased: bool = False) -> Thread:
    """Return a thread as queries answer it; ``erased`` if contents were missing in what its view was folded from.

    As in OpenAI's API, a thread without resources has ``{}`` in the answer to a change, and an empty list of files in
    the answer to a query.
    """
    thread = thread_object(view)
    thread = replace(thread, erased=True) if erased else thread
    return thread if thread.tool_resources != NO_RESOURCES else replace(thread, tool_resources=RETRIEVED_NO_RESOURCES)


def message_object(view: ItemView) -> Message:
    """Return a message as the Threads API shows it: always complete, since callers send whole messages.

    One that was erased is shown as a message by the user without content.
    """
    return shown_message(view) or _message(view, content.Message(role="user", content=(), metadata={}))


def shown_message(view: ItemView) -> Message | None:
    """Return an item as the Threads API shows it; ``None`` if that API cannot show it."""
    if view.erased and ids.is_message_id(view.id):
        return _message(view, view.message or content.Message(role="user", content=(), metadata={}))
    return _message(view, message) if (message := view.shown) is not None else None


def _message(view: ItemView, message: content.Message) -> Message:
    return Message(
        id=view.id,
        created_at=_seconds(view.created_at),
        thread_id=view.thread,
        role=message.role,
        content=content_object(message.content),
        attachments=message.attachments,
        metadata=message.metadata,
        erased=view.erased or UNSET,
    )


def item_object(view: ItemView) -> Raw:
    """Return an item as it was given, with its id; a message of the Threads API as one of type message.

    Of one that was erased only its id is left.
    """
    if view.erased:
        return Raw(_ENCODE({"id": view.id, "erased": True}))
    if view.body is None:
        stored = {} if view.message is None else to_builtins(view.message)
        return Raw(_ENCODE({"id": view.id, "type": "message", **stored}))
    has_id = items.read_text(items.read_fields(view.body), "id") is not None
    return view.body if has_id else items.with_field(view.body, "id", view.id)


def item_page(page: ShownPage[Raw], *, backward: bool) -> ItemPage:
    """Return a page of items, which were read in its order, or ``backward`` from its end."""
    step = -1 if backward else 1
    named = page.ids[::step]
    return ItemPage(
        data=tuple(page.data[::step]),
        first_id=named[0] if named else None,
        last_id=named[-1] if named else None,
        has_more=page.more,
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
    return tuple([TextPart(TextValue(part.text)) if isinstance(part, Text) else part for part in parts])


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
