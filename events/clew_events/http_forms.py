"""The forms of HTTP request bodies and query strings. A new message is :class:`NewMessage` itself."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType, field

from clew_events.admin_objects import KeyScope
from clew_events.content import Anchor, Disposal
from clew_events.events import ForkedFrom
from clew_events.ids import KEY_NAME_FORM, KEY_NAME_PATTERN, Code, ItemId, ThreadId
from clew_events.items import Item, Items
from clew_events.list_query import MAX_SEARCH, Condition, OrderBy, Positions
from clew_events.queries import AsOf, Cursor, Instant, Limit, Order, PartLimit
from clew_events.requests import (
    MAX_MESSAGES_PER_CREATE,
    Days,
    ExpiresAfterIn,
    MetadataIn,
    MetadataPatch,
    NewMessage,
    NewToolResources,
    Request,
    ToolResourcesIn,
)

Include = Literal[
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
    "reasoning.encrypted_content",
    "message.output_text.logprobs",
]
"""The parts of items that the Conversations API leaves out unless they are asked for."""


class CreateThreadBody(Request, frozen=True, kw_only=True):
    """The body of ``POST /v1/threads``. It may be a thread as it is answered: its id and times are ignored."""

    messages: Annotated[tuple[NewMessage, ...], Meta(max_length=MAX_MESSAGES_PER_CREATE)] | None = None
    metadata: MetadataIn | None = None
    tool_resources: NewToolResources | None = None
    expires_after: ExpiresAfterIn | None = None
    id: ThreadId | None = None
    object: Literal["thread"] = "thread"
    created_at: int | None = None
    expires_at: int | None = None


class ModifyThreadBody(Request, frozen=True, kw_only=True):
    """The body of ``POST /v1/threads/{thread_id}``. What is left out stays as it is.

    It may be the thread as it is answered: its times are ignored, and the other fields that Clew sets have to be right.
    """

    metadata: MetadataIn | UnsetType | None = UNSET
    tool_resources: ToolResourcesIn | UnsetType | None = UNSET
    expires_after: ExpiresAfterIn | UnsetType | None = UNSET
    id: str | None = None
    object: Literal["thread"] = "thread"
    created_at: int | None = None
    expires_at: int | None = None
    forked_from: ForkedFrom | UnsetType = UNSET


class ModifyMessageBody(Request, frozen=True, kw_only=True):
    """The body of ``POST /v1/threads/{thread_id}/messages/{message_id}``."""

    metadata: MetadataIn | UnsetType | None = UNSET


class PatchBody(Request, frozen=True, kw_only=True):
    """The body of ``PATCH`` on a thread or a message: single metadata keys, the others left alone."""

    metadata: MetadataPatch


class ForkBody(Request, frozen=True, kw_only=True):
    """The body of a request to fork a thread, which may be left out."""

    at: Annotated[int, Meta(ge=1)] | ItemId | None = None
    metadata: MetadataIn | UnsetType | None = UNSET


class OpenSessionBody(Request, frozen=True, kw_only=True):
    """The body of a request to open a session, which has no fields. It may be left out."""


class RestoreBody(Request, frozen=True, kw_only=True):
    """The body of a request to restore a thread, which has no fields. It may be left out."""


class EraseBody(Request, frozen=True, kw_only=True):
    """The body of a request to erase a thread or a message, which may be left out.

    ``reason`` is why, as a code. Where forks show what would go, they lose it too: that takes ``forks``.
    """

    reason: Code | None = None
    forks: bool = False


class PlaceHoldBody(Request, frozen=True, kw_only=True):
    """The body of a request to place a legal hold: its name, a code."""

    hold: Code


class StandingHoldBody(Request, frozen=True, kw_only=True):
    """The body of ``POST /v1/holds``: the name of a standing hold, a code, and which threads it is on."""

    hold: Code
    where: Condition


class SetRetentionBody(Request, frozen=True, kw_only=True):
    """The body of ``POST /v1/retention``: the fields of :class:`~clew_events.commands.SetRetention`."""

    name: Code
    after_days: Days
    since: Anchor
    then: Disposal
    erase_after_days: Days | None = None
    where: Condition | None = None
    confirm: bool = False


class NewKeyBody(Request, frozen=True, kw_only=True):
    """The body of ``POST /v1/keys``: who uses the key, for the record, and its scopes."""

    name: Annotated[str, Meta(pattern=KEY_NAME_PATTERN, description=KEY_NAME_FORM)]
    scopes: Annotated[tuple[KeyScope, ...], Meta(min_length=1)]


class RetryBody(Request, frozen=True, kw_only=True):
    """The body of a request to retry a rejected command, which has no fields. It may be left out."""


class PageOfRejections(Request, frozen=True, kw_only=True):
    """The query string of ``GET /v1/rejections``."""

    limit: Limit = 20
    after: Annotated[int, Meta(ge=1, lt=2**53)] | None = None


class CreateConversationBody(Request, frozen=True, kw_only=True):
    """The body of ``POST /v1/conversations``. It may be a conversation as it is answered: its id and times are ignored.

    It may be left out.
    """

    items: Items | None = None
    metadata: MetadataIn | None = None
    expires_after: ExpiresAfterIn | None = None
    id: str | None = None
    object: Literal["conversation"] = "conversation"
    created_at: int | None = None
    expires_at: int | None = None


class UpdateConversationBody(Request, frozen=True, kw_only=True):
    """The body of ``POST /v1/conversations/{conversation_id}``: metadata, which replaces all of it; null clears it.

    It may be the conversation as it is answered.
    """

    metadata: MetadataIn | None
    expires_after: ExpiresAfterIn | UnsetType | None = UNSET
    id: str | None = None
    object: Literal["conversation"] = "conversation"
    created_at: int | None = None
    expires_at: int | None = None


class CreateItemsBody(Request, frozen=True, kw_only=True):
    """The body of ``POST /v1/conversations/{conversation_id}/items``."""

    items: Items


class RenderBody(Request, frozen=True, kw_only=True):
    """The body of ``POST /v1/rendered_items``: items, or messages as the Threads API answers them."""

    items: Annotated[tuple[Item, ...], Meta(min_length=1, max_length=100)]


class ShownParts(Request, frozen=True, kw_only=True):
    """The query string of routes that answer items; ``include[]`` may be there several times, with brackets or not."""

    include: tuple[Include, ...] = field(name="include[]", default=())


class OneItem(ShownParts, frozen=True, kw_only=True):
    """The query string of ``GET /v1/conversations/{conversation_id}/items/{item_id}``."""

    as_of: AsOf | None = None


class PageOfItems(ShownParts, frozen=True, kw_only=True):
    """The query string of ``GET /v1/conversations/{conversation_id}/items``."""

    limit: Limit = 20
    order: Order = "desc"
    after: str | None = None
    before: str | None = None
    as_of: AsOf | None = None


class PageOfHistory(Request, frozen=True, kw_only=True):
    """The query string of ``GET /v1/threads/{thread_id}/events``. Several types are separated by commas."""

    limit: Annotated[int, Meta(ge=1, le=1000)] = 20
    order: Order = "asc"
    after: Cursor | None = None
    before: Cursor | None = None
    type: str | None = None
    actor: Annotated[str, Meta(min_length=1, max_length=128)] | None = None
    by: Annotated[str, Meta(min_length=1, max_length=128)] | None = None
    since: Instant | None = None
    until: Instant | None = None
    stored: Literal["true", "false"] = "false"


class PageOfFeed(Request, frozen=True, kw_only=True):
    """The query string of ``GET /v1/events``. Several types are separated by commas."""

    after: str | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    order: Order = "asc"
    type: str | None = None
    actor: Annotated[str, Meta(min_length=1, max_length=128)] | None = None
    by: Annotated[str, Meta(min_length=1, max_length=128)] | None = None
    thread_id: ThreadId | None = None
    since: Instant | None = None
    until: Instant | None = None
    stream: Literal["true", "false"] = "false"


class PageOfThreads(Request, frozen=True, kw_only=True):
    """The query string of ``GET /v1/threads``: all of a question as JSON in ``query``, or what it says most often."""

    limit: Limit = 20
    order: Order = "desc"
    order_by: OrderBy | None = None
    after: str | None = None
    before: str | None = None
    search: Annotated[str, Meta(max_length=MAX_SEARCH)] | None = None
    count: Literal["true", "false"] = "false"
    at_least: Positions | None = None
    query: str | None = None


class PageOfMessages(Request, frozen=True, kw_only=True):
    """The query string of ``GET /v1/threads/{thread_id}/messages``."""

    limit: Limit = 20
    order: Order = "desc"
    after: str | None = None
    before: str | None = None
    run_id: str | None = None
    as_of: AsOf | None = None


class PageOfRuns(Request, frozen=True, kw_only=True):
    """The query string of ``GET /v1/threads/{thread_id}/runs``. A cursor may be anything: there are no runs."""

    limit: Limit = 20
    order: Order = "desc"
    after: str | None = None
    before: str | None = None


class AsOfMoment(Request, frozen=True, kw_only=True):
    """The query string of routes that answer about now or ``as_of`` a moment."""

    as_of: AsOf | None = None


class ReportForm(Request, frozen=True, kw_only=True):
    """The query string of ``GET /v1/threads/{thread_id}/report``; ``as_of`` may be there several times."""

    as_of: Annotated[tuple[AsOf, ...], Meta(max_length=20)] = ()
    format: Literal["html", "csv", "json"] = "html"


class BlameForm(Request, frozen=True, kw_only=True):
    """The query string of ``GET /v1/threads/{thread_id}/blame``: of all items, or of the newest ``limit``."""

    as_of: AsOf | None = None
    limit: PartLimit | None = None


class Between(Request, frozen=True, kw_only=True):
    """The query string of ``GET /v1/threads/{thread_id}/diff``: from before the beginning to now, if left out."""

    since: AsOf = field(name="from", default=0)
    until: AsOf | None = field(name="to", default=None)
    limit: PartLimit | None = None
