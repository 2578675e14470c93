"""What threads and messages are made of, as stored. Field names and tags are a stored format: add, never change.

The shapes are those of OpenAI's Assistants API, version 2, in the request's spelling (a text part's ``text`` is a
string); what an API answers is rendered from them.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Role = Literal["user", "assistant"]
Detail = Literal["auto", "low", "high"]
ToolName = Literal["code_interpreter", "file_search"]
Metadata = dict[str, str]


class Text(Struct, frozen=True, tag_field="type", tag="text"):
    """A text part of a message."""

    text: str


class ImageFileSource(Struct, frozen=True):
    """An uploaded image, by file id."""

    file_id: str
    detail: Detail = "auto"


class ImageFile(Struct, frozen=True, tag_field="type", tag="image_file"):
    """An image part of a message, by file id."""

    image_file: ImageFileSource


class ImageUrlSource(Struct, frozen=True):
    """An image somewhere else, by URL."""

    url: str
    detail: Detail = "auto"


class ImageUrl(Struct, frozen=True, tag_field="type", tag="image_url"):
    """An image part of a message, by URL."""

    image_url: ImageUrlSource


Part = Text | ImageFile | ImageUrl


class Tool(Struct, frozen=True):
    """A tool that may use an attachment."""

    type: ToolName


class Attachment(Struct, frozen=True):
    """A file given along with a message, and the tools it is for."""

    file_id: str
    tools: tuple[Tool, ...] = ()


class Message(Struct, frozen=True, kw_only=True):
    """A message as recorded: everything but its thread and time, which its commit carries."""

    id: str
    ordinal: int
    role: Role
    content: tuple[Part, ...]
    attachments: tuple[Attachment, ...] = ()
    metadata: Metadata


class CodeInterpreter(Struct, frozen=True):
    """Files the code interpreter may use."""

    file_ids: tuple[str, ...] = ()


class StaticChunking(Struct, frozen=True):
    """How large the pieces of a file are for search, in tokens."""

    max_chunk_size_tokens: int
    chunk_overlap_tokens: int


class AutoStrategy(Struct, frozen=True, tag_field="type", tag="auto"):
    """Chunking as the search thinks best."""


class StaticStrategy(Struct, frozen=True, tag_field="type", tag="static"):
    """Chunking as the caller says."""

    static: StaticChunking


class VectorStore(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A vector store that a thread asked for: kept on record, under the id the thread was given for it."""

    id: str
    file_ids: tuple[str, ...] = ()
    chunking_strategy: AutoStrategy | StaticStrategy | None = None
    metadata: Metadata | None = None


class FileSearch(Struct, frozen=True, omit_defaults=True):
    """Vector stores that file search may use; ``vector_stores`` holds those that came into being with the thread."""

    vector_store_ids: tuple[str, ...] = ()
    vector_stores: tuple[VectorStore, ...] = ()


class ToolResources(Struct, frozen=True, omit_defaults=True):
    """What a thread's tools may use."""

    code_interpreter: CodeInterpreter | None = None
    file_search: FileSearch | None = None
