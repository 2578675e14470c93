"""The contents of threads and messages, as stored. Field names and tags are a stored format: add, never change.

The types follow the requests of OpenAI's Assistants API, version 2 (a text part's ``text`` is a string). The objects
that the API returns are rendered from them.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct

Role = Literal["user", "assistant"]
Detail = Literal["auto", "low", "high"]
ToolName = Literal["code_interpreter", "file_search"]
ExpiryAnchor = Literal["created_at", "last_active_at"]
Metadata = dict[str, str]
Instant = Annotated[datetime, Meta(tz=True)]
"""A time with its offset."""
Anchor = Literal["created", "changed", "original"]
"""From when a policy of retention counts its days: a thread's first commit, its latest use, or ``created_at``.

The first and the last differ for threads that were imported alone.
"""
Disposal = Literal["delete", "erase"]
"""What becomes of a thread when its time is over."""


class Text(Struct, frozen=True, gc=False, tag_field="type", tag="text"):
    """A text part of a message."""

    text: str


class ImageFileSource(Struct, frozen=True, gc=False):
    """An uploaded image, by file id."""

    file_id: str
    detail: Detail = "auto"


class ImageFile(Struct, frozen=True, gc=False, tag_field="type", tag="image_file"):
    """An image part of a message, by file id."""

    image_file: ImageFileSource


class ImageUrlSource(Struct, frozen=True, gc=False):
    """An external image, by URL."""

    url: str
    detail: Detail = "auto"


class ImageUrl(Struct, frozen=True, gc=False, tag_field="type", tag="image_url"):
    """An image part of a message, by URL."""

    image_url: ImageUrlSource


Part = Text | ImageFile | ImageUrl


class Tool(Struct, frozen=True, gc=False):
    """A tool that may use an attachment."""

    type: ToolName


class Attachment(Struct, frozen=True, gc=False):
    """A file attached to a message, and the tools that may use it."""

    file_id: str
    tools: tuple[Tool, ...] = ()


class Message(Struct, frozen=True, gc=False, kw_only=True):
    """A message as stored: its id and ordinal are in its event, its thread and time in the commit."""

    role: Role
    content: tuple[Part, ...]
    attachments: tuple[Attachment, ...] = ()
    metadata: Metadata


class CodeInterpreter(Struct, frozen=True, gc=False):
    """Files that the code interpreter may use."""

    file_ids: tuple[str, ...] = ()


class StaticChunking(Struct, frozen=True, gc=False):
    """The size and overlap of a file's chunks for search, in tokens."""

    max_chunk_size_tokens: int
    chunk_overlap_tokens: int


class AutoStrategy(Struct, frozen=True, gc=False, tag_field="type", tag="auto"):
    """Chunking that the search chooses."""


class StaticStrategy(Struct, frozen=True, gc=False, tag_field="type", tag="static"):
    """Chunking that the caller chooses."""

    static: StaticChunking


class VectorStore(Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """A vector store that was requested with a thread: stored in its history, under an id of its own."""

    id: str
    file_ids: tuple[str, ...] = ()
    chunking_strategy: AutoStrategy | StaticStrategy | None = None
    metadata: Metadata | None = None


class FileSearch(Struct, frozen=True, gc=False, omit_defaults=True):
    """Vector stores that file search may use; ``vector_stores`` are those that were created with the thread."""

    vector_store_ids: tuple[str, ...] = ()
    vector_stores: tuple[VectorStore, ...] = ()


class ToolResources(Struct, frozen=True, gc=False, omit_defaults=True):
    """What a thread's tools may use."""

    code_interpreter: CodeInterpreter | None = None
    file_search: FileSearch | None = None


class ExpiresAfter(Struct, frozen=True, gc=False):
    """When a thread expires: so many days after it was created, or was last active."""

    anchor: ExpiryAnchor
    days: int


class Provenance(Struct, frozen=True, omit_defaults=True):
    """Where a thread was before it was imported.

    ``source`` is the kind of the source, ``id`` the thread's id there, ``file`` the SHA-256 of the file that it came
    in, and ``created_at`` when it was created there, if that is known.
    """

    source: str
    id: str
    file: str
    created_at: Instant | None = None
