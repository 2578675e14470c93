"""Conversion of request content into stored content: messages and tool resources. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from clew_events import error_texts, ids
from clew_events.content import (
    Attachment,
    AutoStrategy,
    CodeInterpreter,
    FileSearch,
    ImageFile,
    ImageFileSource,
    ImageUrl,
    ImageUrlSource,
    Message,
    Part,
    StaticChunking,
    StaticStrategy,
    Text,
    Tool,
    ToolName,
    ToolResources,
    VectorStore,
)
from clew_events.requests import (
    MAX_FILES,
    NewAttachment,
    NewAutoStrategy,
    NewImageFile,
    NewImageUrl,
    NewMessage,
    NewStaticStrategy,
    NewStoresForSearch,
    NewText,
    NewToolResources,
    NewVectorStore,
    ToolResourcesIn,
)


def message_of(new: NewMessage) -> Message:
    """The message to store: a bare string becomes one text part, absent lists and metadata become empty."""
    return Message(
        role=new.role,
        content=parts_of(new),
        attachments=tuple(
            Attachment(attachment.file_id, tuple(Tool(tool.type) for tool in attachment.tools))
            for attachment in new.attachments or ()
        ),
        metadata=new.metadata or {},
    )


def parts_of(new: NewMessage) -> tuple[Part, ...]:
    """The parts of a message to store."""
    if isinstance(new.content, str):
        return (Text(new.content),)
    return tuple(_part(part) for part in new.content)


def _part(part: NewText | NewImageFile | NewImageUrl) -> Part:
    match part:
        case NewText():
            return Text(part.value)
        case NewImageFile():
            return ImageFile(ImageFileSource(part.image_file.file_id, part.image_file.detail))
        case NewImageUrl():
            return ImageUrl(ImageUrlSource(part.image_url.url, part.image_url.detail))


def created_resources(requested: NewToolResources | None, *seed: str) -> ToolResources:
    """The resources of a new thread; the ids of new vector stores are derived from ``seed``."""
    if requested is None:
        return ToolResources()
    files, search = requested.code_interpreter, requested.file_search
    return ToolResources(
        code_interpreter=CodeInterpreter(files.file_ids) if files is not None else None,
        file_search=_search(search, *seed) if search is not None else None,
    )


def updated_resources(current: ToolResources, requested: ToolResourcesIn | None) -> ToolResources:
    """A thread's resources after an update; ``None`` removes all of them.

    A tool that the request does not name keeps its resources. A vector store that stays in use keeps its details.
    """
    if requested is None:
        return ToolResources()
    files, search = current.code_interpreter, current.file_search
    if requested.code_interpreter is not None:
        files = CodeInterpreter(requested.code_interpreter.file_ids)
    if requested.file_search is not None:
        kept = requested.file_search.vector_store_ids
        known = search.vector_stores if search is not None else ()
        search = FileSearch(kept, tuple(store for store in known if store.id in kept))
    return ToolResources(files, search)


def with_attachments(current: ToolResources, messages: Iterable[NewMessage], *seed: str) -> ToolResources:
    """The resources after messages whose attachments are added to their tools.

    Raises:
        Invalid: the code interpreter would have more than 20 files.
    """
    attached = [attachment for message in messages if message.attachments for attachment in message.attachments]
    if not attached:
        return current
    files = _attached_files(attached, "code_interpreter")
    searched = _attached_files(attached, "file_search")
    if files:
        previous = current.code_interpreter.file_ids if current.code_interpreter is not None else ()
        current = replace(current, code_interpreter=CodeInterpreter(_within_limit(_union(previous, files))))
    if searched:
        current = replace(current, file_search=_with_files(current.file_search, searched, *seed))
    return current


def _attached_files(attached: Iterable[NewAttachment], tool: ToolName) -> tuple[str, ...]:
    return tuple(
        attachment.file_id for attachment in attached if any(wanted.type == tool for wanted in attachment.tools)
    )


def _within_limit(file_ids: tuple[str, ...]) -> tuple[str, ...]:
    if len(file_ids) > MAX_FILES:
        raise error_texts.array_too_long("tool_resources.code_interpreter.file_ids", MAX_FILES, len(file_ids))
    return file_ids


def _search(requested: NewStoresForSearch, *seed: str) -> FileSearch:
    stores = tuple(_store(new, *seed, str(place)) for place, new in enumerate(requested.vector_stores))
    return FileSearch((*requested.vector_store_ids, *(store.id for store in stores)), stores)


def _store(new: NewVectorStore, *seed: str) -> VectorStore:
    return VectorStore(
        id=ids.derive_id("vs_", *seed),
        file_ids=new.file_ids,
        chunking_strategy=_strategy(new.chunking_strategy),
        metadata=new.metadata,
    )


def _strategy(new: NewAutoStrategy | NewStaticStrategy | None) -> AutoStrategy | StaticStrategy | None:
    match new:
        case None:
            return None
        case NewAutoStrategy():
            return AutoStrategy()
        case NewStaticStrategy():
            sizes = new.static
            return StaticStrategy(StaticChunking(sizes.max_chunk_size_tokens, sizes.chunk_overlap_tokens))


def _with_files(search: FileSearch | None, file_ids: tuple[str, ...], *seed: str) -> FileSearch:
    used = search.vector_store_ids if search is not None else ()
    known = search.vector_stores if search is not None else ()
    target = used[0] if used else ids.derive_id("vs_", *seed, "attachments")
    store = next((store for store in known if store.id == target), VectorStore(id=target))
    others = tuple(other for other in known if other.id != target)
    return FileSearch(_union(used, (target,)), (*others, replace(store, file_ids=_union(store.file_ids, file_ids))))


def _union(first: tuple[str, ...], second: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*first, *second)))
