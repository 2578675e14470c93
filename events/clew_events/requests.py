"""What a caller may say about threads and messages: the request's spelling, with the contract's limits.

Sources: OpenAI's OpenAPI description of ``CreateThreadRequest``, ``CreateMessageRequest`` and ``Metadata``; where that
is silent, what the live service enforced. Lengths count Unicode characters. Unlike the stored shapes in
:mod:`clew_events.content`, these refuse fields they do not know.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct, field

from clew_events.content import Detail, Role, StaticChunking, ToolName

MAX_PAIRS = 16
MAX_KEY = 64
MAX_VALUE = 512
MAX_TEXT = 256_000
MAX_MESSAGES_PER_CREATE = 100
MAX_FILES = 20
MAX_VECTOR_STORES = 1

Key = Annotated[str, Meta(max_length=MAX_KEY)]
Value = Annotated[str, Meta(max_length=MAX_VALUE)]
MetadataIn = Annotated[dict[Key, Value], Meta(max_length=MAX_PAIRS)]
Body = Annotated[str, Meta(max_length=MAX_TEXT)]


class Request(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The base of everything that comes from outside: unknown fields are refused, defaults may be left out."""


class NewText(Request, frozen=True, kw_only=True, tag_field="type", tag="text"):
    """A text part."""

    text: Body


class NewImageFileSource(Request, frozen=True, kw_only=True):
    """An uploaded image, by file id."""

    file_id: str
    detail: Detail = "auto"


class NewImageFile(Request, frozen=True, kw_only=True, tag_field="type", tag="image_file"):
    """An image part, by file id."""

    image_file: NewImageFileSource


class NewImageUrlSource(Request, frozen=True, kw_only=True):
    """An image somewhere else, by URL."""

    url: str
    detail: Detail = "auto"


class NewImageUrl(Request, frozen=True, kw_only=True, tag_field="type", tag="image_url"):
    """An image part, by URL."""

    image_url: NewImageUrlSource


class NewTool(Request, frozen=True, kw_only=True):
    """A tool that may use an attachment."""

    type: ToolName


class NewAttachment(Request, frozen=True, kw_only=True):
    """A file given along with a message, and the tools it is for."""

    file_id: str
    tools: tuple[NewTool, ...] = ()


class NewMessage(Request, frozen=True, kw_only=True):
    """A message to be put at the end of a thread."""

    role: Role
    content: Body | Annotated[tuple[NewText | NewImageFile | NewImageUrl, ...], Meta(min_length=1)]
    attachments: tuple[NewAttachment, ...] | None = None
    metadata: MetadataIn | None = None


class NewStaticChunking(StaticChunking, frozen=True, forbid_unknown_fields=True):
    """How large the pieces of a file are for search, in tokens; they overlap by at most half."""

    max_chunk_size_tokens: Annotated[int, Meta(ge=100, le=4096)]
    chunk_overlap_tokens: Annotated[int, Meta(ge=0, le=2048)]


class NewAutoStrategy(Request, frozen=True, kw_only=True, tag_field="type", tag="auto"):
    """Chunking as the search thinks best."""


class NewStaticStrategy(Request, frozen=True, kw_only=True, tag_field="type", tag="static"):
    """Chunking as the caller says."""

    static: NewStaticChunking


class NewVectorStore(Request, frozen=True, kw_only=True):
    """A vector store to come into being with the thread. It is recorded and given an id; Clew runs no search of it."""

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
    """At most one vector store for file search: one that exists, or one to come into being, not both."""

    vector_store_ids: Annotated[tuple[str, ...], Meta(max_length=MAX_VECTOR_STORES)] = ()
    vector_stores: Annotated[tuple[NewVectorStore, ...], Meta(max_length=MAX_VECTOR_STORES)] = ()


class ToolResourcesIn(Request, frozen=True, kw_only=True):
    """What a thread's tools may use from now on, whole."""

    code_interpreter: FilesForCode | None = None
    file_search: StoresForSearch | None = None


class NewToolResources(Request, frozen=True, kw_only=True):
    """What a new thread's tools may use."""

    code_interpreter: FilesForCode | None = None
    file_search: NewStoresForSearch | None = None


class MetadataPatch(Request, frozen=True, kw_only=True):
    """A change of some keys that leaves every other key alone, so that writers of different keys never collide."""

    set: MetadataIn = field(default_factory=dict)
    unset: tuple[Key, ...] = ()
