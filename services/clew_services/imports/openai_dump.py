"""OpenAI: objects as the Threads and Conversations APIs answer them, one or several pages of them in a file.

Known are threads, their messages, runs and steps of runs, conversations, and pages (``"object": "list"``) of these and
of a conversation's items. Items do not say whose they are, so they follow their conversation; all else is in any order.
Ids stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from msgspec import Raw

from clew_events import ids
from clew_services.imports.source_thread import (
    NULL,
    Part,
    SourceItem,
    SourceObject,
    SourceThread,
    encode,
    keep_metadata,
    read_object,
    unusable,
)

name: Final = "openai"

_OWNER: Final = {
    "thread": "id",
    "conversation": "id",
    "thread.message": "thread_id",
    "thread.run": "thread_id",
    "thread.run.step": "thread_id",
}
"""The kinds of objects, and where each names its thread."""
_LEFT: Final = frozenset({"id", "object", "created_at", "thread_id", "role", "content", "type"})
"""What of a message stands elsewhere, or is said anew."""
_EMPTY: Final = (NULL, Raw(b"[]"), Raw(b"{}"))
_PAGE: Final = "page of"
_START: Final = datetime(1970, 1, 1, tzinfo=UTC)


def split(objects: Iterable[SourceObject]) -> Iterator[Part]:
    """Yield the pieces of threads in the objects of a file.

    Raises:
        Invalid: an object is none of these APIs.
    """
    conversation: str | None = None
    for placed in objects:
        fields = read_object(placed.body, placed.place)
        if fields.read_text("object") != "list":
            members = [placed]
        else:
            data = fields.read_list("data")
            members = [
                SourceObject(f"{placed.place}, 'data[{index}]'", each, placed.fault) for index, each in enumerate(data)
            ]
        part: Part | None = None
        for member in members:
            part = _part(member, conversation)
            conversation = part.thread if part.kind == "conversation" else conversation
            yield part
        if members != [placed] and (owner := part.thread if part is not None else conversation) is not None:
            more = fields.get("has_more") == Raw(b"true")
            yield Part(owner, _page_of(part), placed.place, Raw(b"true" if more else b"false"))


def _page_of(last: Part | None) -> str:
    """What kind of piece a page is, by the last object on it: the last page of each kind must be the last there is."""
    if last is None:
        return f"{_PAGE} item"
    run = read_object(last.body, last.place).read_text("run_id") if last.kind.endswith("step") else None
    return f"{_PAGE} {last.kind} {run or ''}"


def _part(member: SourceObject, conversation: str | None) -> Part:
    fields = read_object(member.body, member.place)
    kind = fields.read_text("object")
    if kind in _OWNER:
        return Part(fields.need_text(_OWNER[kind]), kind, member.place, member.body, member.fault)
    if kind is None and "type" in fields:
        if conversation is None:
            raise unusable(member.place, "an item comes before any conversation: put each behind its conversation")
        return Part(conversation, "item", member.place, member.body, member.fault)
    if "mapping" in fields:
        raise unusable(member.place, "it is a conversation of a ChatGPT export: import it with --from chatgpt")
    if {"checkpoint", "values", "channel_values"} & fields.keys():
        raise unusable(member.place, "it is a state of LangGraph: import it with --from langgraph")
    known = ", ".join(_OWNER)
    raise unusable(member.place, f"its 'object' is {kind!r}. Known are {known}, list, and items, which have a 'type'")


def join(thread: str, parts: Sequence[Part]) -> Sequence[SourceThread]:
    """Return the thread that some pieces are of.

    Raises:
        Invalid: it cannot be imported; the message names the place.
    """
    heads = [part for part in parts if part.kind in {"thread", "conversation"}]
    if len(heads) != 1:
        there = " and ".join(part.place for part in heads)
        raise unusable(
            parts[0].place, f"{thread} is there twice, at {there}" if heads else f"nothing tells of {thread} itself"
        )
    head = heads[0]
    if not ids.is_thread_id(thread):
        raise unusable(head.place, f"{thread[:140]!r} cannot be the id of a thread")
    pages = {part.kind.rstrip(): part for part in parts if part.kind.startswith(_PAGE)}
    for page in pages.values():
        if page.body == Raw(b"true"):
            raise unusable(page.place, f"'has_more' is true, and no page follows: {thread} is not whole")
    fields = read_object(head.body, head.place)
    stored = fields.read_nested("metadata")
    metadata, notes = keep_metadata((key, stored.need_text(key)) for key in stored)
    if fields.get("tool_resources", NULL) not in _EMPTY:
        notes = (*notes, "the tool resources of threads are left out: their files are not here")
    return (
        SourceThread(
            source=name,
            source_id=thread,
            id=thread,
            created_at=fields.read_time("created_at"),
            metadata=metadata,
            items=tuple(_items(parts)),
            notes=notes,
        ),
    )


def _items(parts: Sequence[Part]) -> list[SourceItem]:
    """The items in their order: of a conversation as they come, of a thread by their times."""
    models = {}
    for part in parts:
        if part.kind == "thread.run":
            run = read_object(part.body, part.place)
            models[run.need_text("id")] = run.get("model", NULL)
    items = [SourceItem(part.body, part.place) for part in parts if part.kind == "item"]
    messages = [_message(part, models) for part in parts if part.kind == "thread.message"]
    if messages and _time(messages[0]) > _time(messages[-1]):  # they are answered newest first unless asked otherwise
        messages.reverse()
    calls = [call for part in parts if part.kind == "thread.run.step" for call in _tool_calls(part)]
    # At one time a call comes before what is said of it, and behind what was asked.
    ranked = [(_time(item), 2 if _is_by_assistant(item) else 0, item) for item in messages]
    ranked += [(_time(item), 1, item) for item in calls]
    return items + [item for *_, item in sorted(ranked, key=lambda each: each[:2])]


def _time(item: SourceItem) -> datetime:
    return item.created_at or _START


def _is_by_assistant(item: SourceItem) -> bool:
    return read_object(item.body, item.place).read_text("role") == "assistant"


def _message(part: Part, models: Mapping[str, Raw]) -> SourceItem:
    fields = read_object(part.body, part.place)
    role = fields.need_text("role")
    body: dict[str, object] = {"id": fields.need_text("id"), "type": "message", "role": role}
    content = fields.read_list("content")
    body["content"] = [_content(each, f"{part.place}, 'content[{index}]'", role) for index, each in enumerate(content)]
    body |= {key: value for key, value in fields.items() if key not in _LEFT and value not in _EMPTY}
    model = models.get(fields.read_text("run_id") or "", NULL)
    if model != NULL:
        body["model"] = model
    return SourceItem(Raw(encode(body)), part.place, fields.read_time("created_at"))


def _content(raw: Raw, place: str, role: str) -> object:
    fields = read_object(raw, place)
    match kind := fields.need_text("type"):
        case "text":
            text = fields.read_nested("text")
            text.need_text("value")
            said = {"type": "output_text" if role == "assistant" else "input_text", "text": text["value"]}
            notes = text.get("annotations", NULL)
            return said if notes in _EMPTY else {**said, "annotations": notes}
        case "image_file" | "image_url" | "refusal":
            return raw
        case _:
            raise unusable(place, f"its type {kind!r} is unknown: known are text, image_file, image_url and refusal")


def _tool_calls(part: Part) -> Iterator[SourceItem]:
    fields = read_object(part.body, part.place)
    details = fields.read_nested("step_details")
    at = fields.read_time("created_at")
    for index, raw in enumerate(details.read_list("tool_calls")):
        place = f"{part.place}, 'tool_calls[{index}]'"
        call = read_object(raw, place)
        own, kind = call.need_text("id"), call.need_text("type")
        if kind == "function":
            function = call.read_nested("function")
            made = {"type": "function_call", "call_id": own, "name": function.need_text("name")}
            yield SourceItem(Raw(encode(made | {"arguments": function.get("arguments", Raw(b'""'))})), place, at)
            if (output := function.get("output", NULL)) != NULL:
                answer = {"type": "function_call_output", "call_id": own, "output": output}
                yield SourceItem(Raw(encode(answer)), place, at)
        elif kind in {"code_interpreter", "file_search"}:
            yield SourceItem(Raw(encode({"id": own, "type": f"{kind}_call", **call.read_nested(kind)})), place, at)
        else:
            raise unusable(place, f"its type {kind!r} is unknown: known are function, code_interpreter and file_search")
