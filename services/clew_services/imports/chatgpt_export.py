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
    Part,
    SourceFields,
    SourceItem,
    SourceObject,
    SourceThread,
    conversation_id,
    encode,
    is_text,
    keep_metadata,
    read_object,
    read_string,
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
    message: SourceFields

    @property
    def time(self) -> float:
        """When its message was written, in Unix seconds; 0 if that is not known."""
        at = self.message.read_time("create_time")
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
        own = fields.read_text("conversation_id") or fields.need_text("id")
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
    fields = read_object(part.body, place)
    nodes = _read_nodes(fields)
    children = _check_tree(nodes, place)
    current = fields.read_text("current_node")
    if current is None:
        current = max(nodes, key=lambda node: (nodes[node].time, node not in children))
    elif current not in nodes:
        raise unusable(place, f"its 'current_node' {current} is not in the tree")
    title = fields.read_text("title")
    pairs = [("source_id", thread), *([("title", title)] if title else [])]
    metadata, left_out = keep_metadata(pairs)
    model = fields.read_text("default_model_slug")
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
        first = fields.read_time("create_time") if not threads else None
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


def _read_nodes(fields: SourceFields) -> dict[str, _Node]:
    nodes: dict[str, _Node] = {}
    for key, raw in fields.read_nested("mapping").items():
        at = f"{fields.place}, node {key[:64]}"
        node = read_object(raw, at)
        nodes[key] = _Node(key, at, node.read_text("parent"), node.read_nested("message"))
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
    calls = _recipient(node) != "all"
    if not (calls or (before and node.message)) or node.message.read_nested("author").read_text("role") == "user":
        return None
    return node.message.read_text("id") if calls else before


def _recipient(node: _Node) -> str:
    return node.message.read_text("recipient") or "all"


def _items(node: _Node, call: str | None, model: str | None, notes: list[str]) -> Iterator[SourceItem]:
    """The item of a node, if it has one; ``call`` is the tool's call before it."""
    message, place = node.message, node.place
    if not message:
        return
    author, content = message.read_nested("author"), message.read_nested("content")
    role, meta = author.need_text("role"), message.read_nested("metadata")
    kind = content.need_text("content_type")
    own = message.need_text("id")
    parts = list(_parts(content, kind, role))
    if meta.read_list("attachments") or any("file_id" in part for part in parts):
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
            "name": author.read_text("name") or "tool",
            "output": output,
        }
    elif role in {"user", "assistant", "system"}:
        body = {"id": own, "type": "message", "role": role, "content": parts}
    else:
        raise unusable(place, f"its author's role {role!r} is unknown: known are user, assistant, system and tool")
    if role == "assistant" and (used := meta.read_text("model_slug") or model) is not None:
        body["model"] = used
    if "attachments" in meta:
        body["files"] = meta["attachments"]
    yield SourceItem(Raw(encode(body)), place, message.read_time("create_time"))


def _parts(content: SourceFields, kind: str, role: str) -> Iterator[dict[str, object]]:
    """The parts of a message, less texts that are empty."""
    said = "output_text" if role == "assistant" else "input_text"
    if kind in {"text", "multimodal_text"}:
        for index, raw in enumerate(content.read_list("parts")):
            part = _part(raw, f"{content.place}, 'parts[{index}]'", said)
            if part.get("text") != "":
                yield part
    elif kind == "thoughts":
        for index, raw in enumerate(content.read_list("thoughts")):
            at = f"{content.place}, 'thoughts[{index}]'"
            thought = read_object(raw, at)
            texts = [text for key in ("summary", "content") if (text := thought.read_text(key))]
            yield {"type": said, "text": "\n".join(texts)}
    elif kind == "reasoning_recap":
        yield {"type": said, "text": content.need_text("content")}
    elif kind in _TEXTS:
        texts = [text for key in _TEXTS[kind] if (text := content.read_text(key))]
        if texts:
            yield {"type": said, "text": "\n".join(texts)}
    else:
        raise unusable(content.place, f"its content is of the unknown type {kind!r}")


def _part(raw: Raw, place: str, said: str) -> dict[str, object]:
    if is_text(raw):
        return {"type": said, "text": read_string(raw, place)}
    fields = read_object(raw, place)
    match kind := fields.need_text("content_type"):
        case "image_asset_pointer":
            return {"type": "input_image", "file_id": _file(fields), "detail": "auto"}
        case "audio_asset_pointer" | "video_container_asset_pointer":
            return {"type": "input_file", "file_id": _file(fields)}
        case "real_time_user_audio_video_asset_pointer":
            return {"type": "input_file", "file_id": _file(fields.read_nested("audio_asset_pointer"))}
        case "audio_transcription":
            return {"type": said, "text": fields.need_text("text")}
        case _:
            raise unusable(place, f"it is of the unknown type {kind!r}")


def _file(fields: SourceFields) -> str:
    """The id of a file, of a pointer such as ``file-service://file-abc``."""
    return fields.need_text("asset_pointer").rpartition("://")[2]
