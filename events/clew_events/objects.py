"""The objects that callers get: those of OpenAI's Threads and Messages API, with its fields in its order."""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from clew_events.content import Attachment, ExpiresAfter, ImageFile, ImageUrl, Metadata, Role
from clew_events.events import ForkedFrom
from clew_events.items import Item


class CodeInterpreterFiles(Struct, frozen=True):
    """Files that the code interpreter may use."""

    file_ids: tuple[str, ...] = ()


class SearchStores(Struct, frozen=True):
    """Vector stores that file search may use."""

    vector_store_ids: tuple[str, ...] = ()


class Resources(Struct, frozen=True, omit_defaults=True):
    """What a thread's tools may use. Tools without resources are omitted."""

    code_interpreter: CodeInterpreterFiles | None = None
    file_search: SearchStores | None = None


class Thread(Struct, frozen=True, kw_only=True):
    """A thread. ``created_at`` is in Unix seconds.

    ``expires_after`` is there only where it is set, and with it ``expires_at``, in Unix seconds: the time from which on
    retention removes the thread, unless a legal hold forbids it.
    ``erased`` is there, and true, only in answers about the past, where contents about the thread itself were erased
    since: its metadata and tools of then are not known. ``forked_from`` is there only where it is a fork.
    """

    id: str
    object: Literal["thread"] = "thread"
    created_at: int
    metadata: Metadata
    tool_resources: Resources
    expires_after: ExpiresAfter | UnsetType = UNSET
    expires_at: int | UnsetType = UNSET
    erased: bool | UnsetType = UNSET
    forked_from: ForkedFrom | UnsetType = UNSET


class TextValue(Struct, frozen=True):
    """A text and its annotations. A message that a caller creates has none."""

    value: str
    annotations: tuple[str, ...] = ()


class TextPart(Struct, frozen=True, tag_field="type", tag="text"):
    """A text part of a message."""

    text: TextValue


class Message(Struct, frozen=True, kw_only=True):
    """A message. ``created_at`` is in Unix seconds, and the same for all messages of one commit.

    ``erased`` is there, and true, only in answers about the past, where the message's contents were erased since. What
    it said is then not known, nor its role, which is given as ``user``.
    """

    id: str
    object: Literal["thread.message"] = "thread.message"
    created_at: int
    assistant_id: str | None = None
    thread_id: str
    run_id: str | None = None
    role: Role
    content: tuple[TextPart | ImageFile | ImageUrl, ...]
    attachments: tuple[Attachment, ...] = ()
    metadata: Metadata
    status: Literal["in_progress", "incomplete", "completed"] = "completed"
    completed_at: int | None = None
    incomplete_at: int | None = None
    incomplete_details: None = None
    erased: bool | UnsetType = UNSET


class Gone(Struct, frozen=True, kw_only=True):
    """The answer to the deletion of a thread, a message or another item, a policy of retention, or a standing hold.

    The ``id`` of the last two is their name.
    """

    id: str
    object: Literal[
        "thread.deleted", "thread.message.deleted", "thread.item.deleted", "retention.deleted", "hold.deleted"
    ]
    deleted: bool = True


class HeldThread(Struct, frozen=True, kw_only=True):
    """The legal holds that a thread has, in the order in which they were placed. ``id`` is the thread's."""

    id: str
    object: Literal["thread.holds"] = "thread.holds"
    holds: tuple[str, ...]
    deleted: bool


class ThreadReceipt(Struct, frozen=True, kw_only=True):
    """The result of a change to a thread, for callers that are not always permitted to read it.

    ``version`` is the thread's ``n`` after the change. ``metadata`` holds what the change itself set, and is omitted if
    it set none.
    """

    id: str
    object: Literal["thread"] = "thread"
    created_at: int
    version: int
    metadata: Metadata | UnsetType = UNSET


class MessageReceipt(Struct, frozen=True, kw_only=True):
    """The result of a change to a message, for callers that are not always permitted to read it.

    ``version`` is the ``n`` of the message's thread after the change. ``content`` and ``metadata`` hold what the change
    itself set, and are omitted if it set none.
    """

    id: str
    object: Literal["thread.message"] = "thread.message"
    created_at: int
    version: int
    content: tuple[TextPart | ImageFile | ImageUrl, ...] | UnsetType = UNSET
    metadata: Metadata | UnsetType = UNSET


class RunPage(Struct, frozen=True, kw_only=True):
    """The runs of a thread: none, since Clew runs nothing."""

    object: Literal["list"] = "list"
    data: tuple[()] = ()
    first_id: None = None
    last_id: None = None
    has_more: bool = False


class ItemsReceipt(Struct, frozen=True, kw_only=True):
    """The result of a change to items of a thread: the ids of those that it put there, in their order.

    ``version`` is the thread's ``n`` after the change, and ``id`` is the thread's.
    """

    id: str
    object: Literal["thread.items"] = "thread.items"
    version: int
    ids: tuple[str, ...]


class ItemPage(Struct, frozen=True, kw_only=True):
    """A page of items. ``first_id`` and ``last_id`` are null if it is empty."""

    object: Literal["list"] = "list"
    data: tuple[Item, ...]
    first_id: str | None
    last_id: str | None
    has_more: bool


class MessagePage(Struct, frozen=True, kw_only=True):
    """A page of messages. ``first_id`` and ``last_id`` are null if it is empty."""

    object: Literal["list"] = "list"
    data: tuple[Message, ...]
    first_id: str | None
    last_id: str | None
    has_more: bool
