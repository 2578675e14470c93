"""The parts of requests about threads and messages, with the contract's limits.

Sources: OpenAI's OpenAPI description of ``CreateThreadRequest``, ``CreateMessageRequest`` and ``Metadata``, and for
what it leaves open, what the live service enforced. Lengths are in Unicode characters. Unlike the stored types in
:mod:`clew_events.content`, these reject unknown fields.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from clew_events.content import Detail, ExpiryAnchor, Role, StaticChunking, ToolName

MAX_PAIRS = 16
MAX_KEY = 64
MAX_VALUE = 512
MAX_TEXT = 256_000
MAX_MESSAGES_PER_CREATE = 100
MAX_FILES = 20
MAX_VECTOR_STORES = 1
MAX_DAYS = 36_500

Key = Annotated[str, Meta(max_length=MAX_KEY)]
Value = Annotated[str, Meta(max_length=MAX_VALUE)]
MetadataIn = Annotated[dict[Key, Value], Meta(max_length=MAX_PAIRS)]
Body = Annotated[str, Meta(max_length=MAX_TEXT)]
Days = Annotated[int, Meta(ge=1, le=MAX_DAYS)]


class Request(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The base of all types that callers send: unknown fields are rejected, fields with a default may be omitted."""


class NewTextValue(Request, frozen=True, kw_only=True):
    """A text as answers show it."""

    value: Body
    annotations: Annotated[tuple[str, ...], Meta(max_length=0)] = ()


class NewText(Request, frozen=True, kw_only=True, tag_field="type", tag="text"):
    """A text part: its text, or that as answers show it."""

    text: Body | NewTextValue

    @property
    def value(self) -> str:
        """The text, however it was given."""
        return self.text if isinstance(self.text, str) else self.text.value


class NewImageFileSource(Request, frozen=True, kw_only=True):
    """An uploaded image, by file id."""

    file_id: str
    detail: Detail = "auto"


class NewImageFile(Request, frozen=True, kw_only=True, tag_field="type", tag="image_file"):
    """An image part, by file id."""

    image_file: NewImageFileSource


class NewImageUrlSource(Request, frozen=True, kw_only=True):
    """An external image, by URL."""

    url: str
    detail: Detail = "auto"


class NewImageUrl(Request, frozen=True, kw_only=True, tag_field="type", tag="image_url"):
    """An image part, by URL."""

    image_url: NewImageUrlSource


class NewTool(Request, frozen=True, kw_only=True):
    """A tool that may use an attachment."""

    type: ToolName


class NewAttachment(Request, frozen=True, kw_only=True):
    """A file attached to a message, and the tools that may use it."""

    file_id: str
    tools: tuple[NewTool, ...] = ()


class NewMessage(Request, frozen=True, kw_only=True):
    """A message to add to a thread.

    It may be a message as answers show it: what Clew sets by itself is then ignored, and must be what Clew would set
    it to; ``id`` and ``created_at``, which the new message has of its own, may be any.
    """

    role: Role
    content: Body | Annotated[tuple[NewText | NewImageFile | NewImageUrl, ...], Meta(min_length=1)]
    attachments: tuple[NewAttachment, ...] | None = None
    metadata: MetadataIn | None = None
    id: str | None = None
    object: Literal["thread.message"] = "thread.message"
    created_at: int | None = None
    assistant_id: None = None
    thread_id: str | None = None
    run_id: None = None
    status: Literal["completed"] = "completed"
    completed_at: None = None
    incomplete_at: None = None
    incomplete_details: None = None


class NewStaticChunking(StaticChunking, frozen=True, forbid_unknown_fields=True):
    """The size and overlap of a file's chunks for search, in tokens. The overlap is at most half of the size."""

    max_chunk_size_tokens: Annotated[int, Meta(ge=100, le=4096)]
    chunk_overlap_tokens: Annotated[int, Meta(ge=0, le=2048)]


class NewAutoStrategy(Request, frozen=True, kw_only=True, tag_field="type", tag="auto"):
    """Chunking that the search chooses."""


class NewStaticStrategy(Request, frozen=True, kw_only=True, tag_field="type", tag="static"):
    """Chunking that the caller chooses."""

    static: NewStaticChunking


class NewVectorStore(Request, frozen=True, kw_only=True):
    """A vector store to create with the thread. It is stored under an id; Clew does not search it."""

    file_ids: tuple[str, ...] = ()
    chunking_strategy: NewAutoStrategy | NewStaticStrategy | None = None
    metadata: MetadataIn | None = None


class FilesForCode(Request, frozen=True, kw_only=True):
    """At most 20 files for the code interpreter."""

    file_ids: Annotated[tuple[str, ...], Meta(max_length=MAX_FILES)] = ()


class StoresForSearch(Request, frozen=True, kw_only=True):
    """At most one vector store for file search."""

    vector_store_ids: Annotated[tuple[str, ...], Meta(max_length=MAX_VECTOR_STORES)] = ()


class NewStoresForSearch(Request, frozen=True, kw_only=True):
    """At most one vector store for file search: an existing one, or one to create, not both."""

    vector_store_ids: Annotated[tuple[str, ...], Meta(max_length=MAX_VECTOR_STORES)] = ()
    vector_stores: Annotated[tuple[NewVectorStore, ...], Meta(max_length=MAX_VECTOR_STORES)] = ()


class ToolResourcesIn(Request, frozen=True, kw_only=True):
    """What a thread's tools may use, in place of all that they could use before."""

    code_interpreter: FilesForCode | None = None
    file_search: StoresForSearch | None = None


class NewToolResources(Request, frozen=True, kw_only=True):
    """What a new thread's tools may use."""

    code_interpreter: FilesForCode | None = None
    file_search: NewStoresForSearch | None = None


class ExpiresAfterIn(Request, frozen=True, kw_only=True):
    """When a thread expires: so many days, 1 to 36,500, after it was created, or was last active."""

    anchor: ExpiryAnchor
    days: Days


class MetadataPatch(Request, frozen=True, kw_only=True):
    """Keys to set and to remove. Other keys stay as they are, so writers of different keys do not conflict."""

    set: MetadataIn = field(default_factory=dict)
    unset: tuple[Key, ...] = ()
