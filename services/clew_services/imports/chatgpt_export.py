"""ChatGPT: the conversations of a data export, ``conversations.json``. A conversation is a tree of messages.

The way from the root to ``current_node`` is the conversation; each other leaf is a branch of it, which begins where it
leaves what was there before. Messages stay what they are, under their ids; what a model thought is reasoning, and what
it asked of a tool, and got, are the call of a custom tool and its output.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from msgspec import Raw, Struct

from clew_services.imports.source_thread import (
    Branch,
    Fields,
    Part,
    SourceItem,
    SourceObject,
    SourceThread,
    conversation_id,
    encode,
    is_text,
    keep_metadata,
    need_text,
    read_list,
    read_nested,
    read_object,
    read_text,
    read_time,
    unusable,
)

name: Final = "chatgpt"

_TEXTS: Final = {
    "code": ("text",),
    "execution_output": ("text",),
    "citable_code_output": ("output_str",),
    "tether_quote": ("title", "url", "text"),
    "tether_browsing_display": ("summary", "result"),
    "sonic_webpage": ("title", "url", "text"),
    "system_error": ("name", "text"),
    "user_editable_context": ("user_profile", "user_instructions"),
    "model_editable_context": ("model_set_context",),
}
"""The kinds of contents that are texts under keys of their own."""
_FILES: Final = "files that people sent or models made are not in the export's conversations: their ids are kept"


class _Node(Struct):
    """A node of the tree: its parent and, where it has one, its message."""

    id: str
    place: str
    parent: str | None
    message: Fields

    @property
    def time(self) -> float:
        """When its message was written, in Unix seconds; 0 if that is not known."""
        at = read_time(self.message, "create_time", self.place)
        return at.timestamp() if at is not None else 0.0


def split(objects: Iterable[SourceObject]) -> Iterator[Part]:
    """Yield the conversations of a file.

    Raises:
        Invalid: an object is none of an export.
    """
    for placed in objects:
        fields = read_object(placed.body, placed.place)
        if "mapping" not in fields:
            why = "it has no 'mapping', so it is no conversation of a ChatGPT export"
            hint = ": objects of OpenAI's APIs are imported with --from openai" if "object" in fields else ""
            raise unusable(placed.place, why + hint)
        own = read_text(fields, "conversation_id", placed.place) or need_text(fields, "id", placed.place)
        yield Part(own, "conversation", placed.place, placed.body, placed.fault)


def join(thread: str, parts: Sequence[Part]) -> Sequence[SourceThread]:
    """Return a conversation, and its branches behind it.

    Raises:
        Invalid: it cannot be imported; the message names the place.
    """
    part = parts[0]
    place = f"{part.place}, conversation {thread}"
    if len(parts) > 1:
        raise unusable(place, f"it is there again, at {parts[1].place}")
    fields = read_object(part.body, part.place)
    nodes = _read_nodes(fields, place)
    children = _check_tree(nodes, place)
    current = read_text(fields, "current_node", place)
    if current is None:
        current = max(nodes, key=lambda node: (nodes[node].time, node not in children))
    elif current not in nodes:
        raise unusable(place, f"its 'current_node' {current} is not in the tree")
    title = read_text(fields, "title", place)
    pairs = [("source_id", thread), *([("title", title)] if title else [])]
    metadata, left_out = keep_metadata(pairs)
    model = read_text(fields, "default_model_slug", place)
    # For each node that is in a thread: that thread's id, and how many items it has up to there.
    where: dict[str, tuple[str, int]] = {}
    calls: dict[str | None, str | None] = {None: None}
    threads: list[SourceThread] = []
    for path in _paths(nodes, children, current):
        before = path[0].parent
        parent = where[before] if before is not None else ("", 0)
        own = conversation_id(name, thread) if not threads else conversation_id(name, f"{thread}/{path[0].id}")
        items, notes = list[SourceItem](), list(left_out)
        for node in path:
            items += _items(node, calls[node.parent], model, notes)
            calls[node.id] = _find_call(node, calls[node.parent])
            where[node.id] = (own, parent[1] + len(items)) if items else parent
        if threads and not items:
            where |= {node.id: parent for node in path}
            continue
        first = read_time(fields, "create_time", place) if not threads else None
        threads.append(
            SourceThread(
                source=name,
                source_id=thread,
                id=own,
                created_at=first or next((item.created_at for item in items if item.created_at is not None), None),
                metadata=metadata,
                items=tuple(items),
                branch=Branch(*parent) if parent[1] else None,
                notes=tuple(dict.fromkeys(notes)),
            )
        )
    return threads


def _read_nodes(fields: Fields, place: str) -> dict[str, _Node]:
    nodes: dict[str, _Node] = {}
    for key, raw in read_nested(fields, "mapping", place).items():
        at = f"{place}, node {key[:64]}"
        node = read_object(raw, at)
        nodes[key] = _Node(key, at, read_text(node, "parent", at), read_nested(node, "message", at))
    return nodes


def _check_tree(nodes: dict[str, _Node], place: str) -> dict[str, list[str]]:
    """The children of each node that has some, the oldest first; each node is reached from one without a parent."""
    if not nodes:
        raise unusable(place, "its 'mapping' is empty")
    children: dict[str, list[str]] = defaultdict(list)
    reached: list[str] = []
    for node in nodes.values():
        if node.parent is None:
            reached.append(node.id)
        elif node.parent not in nodes:
            raise unusable(node.place, f"its parent {node.parent[:64]} is not in the tree")
        else:
            children[node.parent].append(node.id)
    for each in reached:
        children[each].sort(key=lambda child: nodes[child].time)
        reached += children[each]
    if len(reached) < len(nodes):
        found = set(reached)
        lost = next(node for node in nodes.values() if node.id not in found)
        raise unusable(lost.place, "its parents lead round in a circle")
    return children


def _paths(nodes: dict[str, _Node], children: dict[str, list[str]], current: str) -> Iterator[list[_Node]]:
    """Yield the way to the current node, and then each branch: from where it begins, along the oldest, to its end.

    So a branch begins where it does whatever is added later. Each node is on one path, behind its parent's.
    """
    main: list[str] = []
    at: str | None = current
    while at is not None:
        main.append(at)
        at = nodes[at].parent
    paths, taken = [main[::-1]], set(main)
    starts = [node.id for node in nodes.values() if node.parent is None]
    for path in paths:
        yield [nodes[node] for node in path]
        starts += [child for node in path for child in children[node]]
        for start in starts:
            if start not in taken:
                branch = [start]
                while children[branch[-1]]:
                    branch.append(children[branch[-1]][0])
                taken.update(branch)
                paths.append(branch)
        starts.clear()


def _find_call(node: _Node, before: str | None) -> str | None:
    """The id of the last call of a tool up to a node, in the turn that it belongs to; ``before`` is its parent's."""
    if not node.message:
        return None
    if read_text(read_nested(node.message, "author", node.place), "role", node.place) == "user":
        return None
    return before if _recipient(node) == "all" else read_text(node.message, "id", node.place)


def _recipient(node: _Node) -> str:
    return read_text(node.message, "recipient", node.place) or "all"


def _items(node: _Node, call: str | None, model: str | None, notes: list[str]) -> Iterator[SourceItem]:
    """The item of a node, if it has one; ``call`` is the tool's call before it."""
    message, place = node.message, node.place
    if not message:
        return
    author, content = read_nested(message, "author", place), read_nested(message, "content", place)
    role, meta = need_text(author, "role", place), read_nested(message, "metadata", place)
    kind = need_text(content, "content_type", place)
    own = need_text(message, "id", place)
    parts = list(_parts(content, kind, place, role))
    if read_list(meta, "attachments", place) or any("file_id" in part for part in parts):
        notes.append(_FILES)
    if not parts:
        return
    body: dict[str, object]
    text = "\n".join(str(part["text"]) for part in parts if "text" in part)
    if kind in {"thoughts", "reasoning_recap"}:
        body = {"id": own, "type": "reasoning", "summary": [{"type": "summary_text", "text": text}]}
    elif role == "assistant" and _recipient(node) != "all":
        body = {"id": own, "type": "custom_tool_call", "call_id": own, "name": _recipient(node), "input": text}
    elif role == "tool":
        output = text if all("text" in part for part in parts) else parts
        body = {
            "id": own,
            "type": "custom_tool_call_output",
            "call_id": call or own,
            "name": read_text(author, "name", place) or "tool",
            "output": output,
        }
    elif role in {"user", "assistant", "system"}:
        body = {"id": own, "type": "message", "role": role, "content": parts}
    else:
        raise unusable(place, f"its author's role {role!r} is unknown: known are user, assistant, system and tool")
    if role == "assistant" and (used := read_text(meta, "model_slug", place) or model) is not None:
        body["model"] = used
    if "attachments" in meta:
        body["files"] = meta["attachments"]
    yield SourceItem(Raw(encode(body)), place, read_time(message, "create_time", place))


def _parts(content: Fields, kind: str, place: str, role: str) -> Iterator[dict[str, object]]:
    """The parts of a message, less texts that are empty."""
    said = "output_text" if role == "assistant" else "input_text"
    if kind in {"text", "multimodal_text"}:
        for index, raw in enumerate(read_list(content, "parts", place)):
            part = _part(raw, f"{place}, 'parts[{index}]'", said)
            if part.get("text") != "":
                yield part
    elif kind == "thoughts":
        for index, raw in enumerate(read_list(content, "thoughts", place)):
            at = f"{place}, 'thoughts[{index}]'"
            thought = read_object(raw, at)
            texts = [text for key in ("summary", "content") if (text := read_text(thought, key, at))]
            yield {"type": said, "text": "\n".join(texts)}
    elif kind == "reasoning_recap":
        yield {"type": said, "text": need_text(content, "content", place)}
    elif kind in _TEXTS:
        texts = [text for key in _TEXTS[kind] if (text := read_text(content, key, place))]
        if texts:
            yield {"type": said, "text": "\n".join(texts)}
    else:
        raise unusable(place, f"its content is of the unknown type {kind!r}")


def _part(raw: Raw, place: str, said: str) -> dict[str, object]:
    if is_text(raw):
        return {"type": said, "text": need_text({"text": raw}, "text", place)}
    fields = read_object(raw, place)
    match kind := need_text(fields, "content_type", place):
        case "image_asset_pointer":
            return {"type": "input_image", "file_id": _file(fields, place), "detail": "auto"}
        case "audio_asset_pointer" | "video_container_asset_pointer":
            return {"type": "input_file", "file_id": _file(fields, place)}
        case "real_time_user_audio_video_asset_pointer":
            return {"type": "input_file", "file_id": _file(read_nested(fields, "audio_asset_pointer", place), place)}
        case "audio_transcription":
            return {"type": said, "text": need_text(fields, "text", place)}
        case _:
            raise unusable(place, f"it is of the unknown type {kind!r}")


def _file(fields: Fields, place: str) -> str:
    """The id of a file, of a pointer such as ``file-service://file-abc``."""
    return need_text(fields, "asset_pointer", place).rpartition("://")[2]
