"""LangGraph: threads and their states, as its server answers them and its checkpointers keep them, as JSON.

Known are a thread with its ``values``, a state (of ``/state`` or ``/history``), and a checkpoint beside its ``config``.
A thread's messages are those of its newest state. Each is of the time of the first state that has it, as messages
themselves have no times. Ids of threads may be names of people, so those that are no UUIDs are hashed with a secret.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

from msgspec import Raw, Struct

from clew_services.imports.source_thread import (
    NULL,
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

_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_ROLES: Final[Mapping[str, str]] = {
    "human": "user",
    "user": "user",
    "ai": "assistant",
    "assistant": "assistant",
    "system": "system",
    "developer": "developer",
    "tool": "tool",
    "function": "tool",
}
"""The roles of messages by their types, which are also the beginnings of the names of LangChain's classes."""
_CLASS: Final = re.compile(r"(\w+?)Message(Chunk)?")
_CALLS: Final = frozenset({"tool_use", "tool_call", "function_call", "tool_call_chunk", "input_json_delta"})
"""The types of blocks that say again what stands in ``tool_calls``."""


class LangGraphStates(Struct, frozen=True):
    """The source; ``secret`` is what the ids of threads that are no UUIDs are hashed with."""

    secret: bytes | None = None

    @property
    def name(self) -> str:
        """The name that provenance tells."""
        return "langgraph"

    def split(self, objects: Iterable[SourceObject]) -> Iterator[Part]:
        """Yield the threads and states in the objects of a file.

        Raises:
            Invalid: an object is neither.
        """
        for placed in objects:
            fields = read_object(placed.body, placed.place)
            config = fields.read_nested("config").read_nested("configurable")
            checkpoint = fields.read_nested("checkpoint")
            names = [config, checkpoint, fields]
            thread = next((id_ for each in names if (id_ := each.read_text("thread_id"))), None)
            if thread is None or not {"values", "checkpoint", "channel_values", "status"} & fields.keys():
                hint = ""
                if "mapping" in fields:
                    hint = ": it is a conversation of a ChatGPT export: import it with --from chatgpt"
                elif "object" in fields:
                    hint = ": it is an object of OpenAI's APIs: import it with --from openai"
                raise unusable(placed.place, f"it is no thread, state or checkpoint that names its 'thread_id'{hint}")
            graph = next((ns for each in names if (ns := each.read_text("checkpoint_ns"))), "")
            yield Part(thread, "subgraph" if graph else "state", placed.place, placed.body, placed.fault)

    def join(self, thread: str, parts: Sequence[Part]) -> Sequence[SourceThread]:
        """Return the thread that some states are of.

        Raises:
            Invalid: it cannot be imported; the message names the place.
        """
        states = sorted((_read_state(part) for part in parts if part.kind == "state"), key=lambda state: state.order)
        if not states:
            raise unusable(parts[0].place, f"thread {thread} has states of subgraphs alone")
        newest = next((state for state in reversed(states) if state.messages is not None), None)
        if newest is None or newest.messages is None:
            raise unusable(states[-1].place, f"the state of thread {thread} has no 'messages'")
        times: dict[str, datetime | None] = {}
        for state in states:
            for raw in state.messages or ():
                if (own := _unwrap(raw, state.place)[1].read_text("id")) is not None:
                    times.setdefault(own, state.at)
        kept = {key: value for state in states for key, value in state.metadata.items() if key != "source_id"}
        metadata, notes = keep_metadata((("source_id", thread), *kept.items()))
        items: list[SourceItem] = []
        there = set[str]()
        for index, raw in enumerate(newest.messages):
            place = f"{newest.place}, thread {thread}, 'messages[{index}]'"
            own = _unwrap(raw, place)[1].read_text("id") or ""
            there.add(own)
            items += [SourceItem(body, place, times.get(own) or newest.at) for body in _bodies(raw, place)]
        if len(parts) > sum(part.kind == "state" for part in parts):
            notes = (*notes, "states of subgraphs are left out")
        if times.keys() - there:
            notes = (*notes, "messages that the newest state of a thread does not have any more are left out")
        return (
            SourceThread(
                source=self.name,
                source_id=thread,
                id=conversation_id(self.name, self._pseudonym(thread, newest.place)),
                created_at=min((state.created for state in states if state.created is not None), default=None),
                metadata=metadata,
                items=tuple(items),
                notes=notes,
            ),
        )

    def _pseudonym(self, thread: str, place: str) -> str:
        if _UUID.fullmatch(thread):
            return thread.lower()
        if self.secret is None:
            why = f"the id of thread {thread[:64]!r} is no UUID, and may be personal"
            raise unusable(place, f"{why}: name a file with a secret to hash such ids with, by --id-key")
        return hmac.digest(self.secret, thread.encode(), hashlib.sha256).hex()


class _State(Struct):
    """A state of a thread, or the thread itself, whose times are of its newest state."""

    place: str
    is_thread: bool
    created: datetime | None
    at: datetime | None
    id: str
    messages: list[Raw] | None
    metadata: dict[str, str]

    @property
    def order(self) -> tuple[float, str]:
        """What orders states: times, and where these are equal ids, which grow."""
        return self.at.timestamp() if self.at is not None else 0.0, self.id


def _read_state(part: Part) -> _State:
    fields, place = read_object(part.body, part.place), part.place
    checkpoint = fields.read_nested("checkpoint")
    is_thread = not checkpoint and not fields.keys() & {"config", "checkpoint_id"}
    values = (
        fields.read_nested("values") or checkpoint.read_nested("channel_values") or fields.read_nested("channel_values")
    )
    created = fields.read_time("created_at") or checkpoint.read_time("ts")
    stored = fields.read_nested("metadata") if is_thread else SourceFields(place, {})
    return _State(
        place=place,
        is_thread=is_thread,
        created=created,
        at=(fields.read_time("updated_at") if is_thread else None) or created,
        id=checkpoint.read_text("checkpoint_id") or checkpoint.read_text("id") or "",
        messages=values.read_list("messages") if "messages" in values else None,
        metadata={key: _as_text(value, key, stored) for key, value in stored.items() if value != NULL},
    )


def _as_text(value: Raw, key: str, stored: SourceFields) -> str:
    """A value of metadata: a string as it is, all else as JSON."""
    if is_text(value):
        return stored.need_text(key)
    return bytes(value).decode()


def _unwrap(raw: Raw, place: str) -> tuple[str, SourceFields]:
    """The type of a message and its fields, out of the forms that LangChain gives it."""
    fields = read_object(raw, place)
    if "lc" in fields:
        path = fields.read_list("id")
        last = read_string(path[-1], place) if path else ""
        kind = found[1].lower() if (found := _CLASS.fullmatch(last)) else last
        return kind, fields.read_nested("kwargs")
    kind = fields.read_text("type") or fields.need_text("role")
    fields = fields.read_nested("data") if "data" in fields and "content" not in fields else fields
    return (found[1].lower() if (found := _CLASS.fullmatch(kind)) else kind), fields


def _bodies(raw: Raw, place: str) -> Iterator[Raw]:
    """The items that a message becomes: what it thinks, says, and calls."""
    kind, fields = _unwrap(raw, place)
    if kind == "chat":
        kind = fields.need_text("role")
    role = _ROLES.get(kind)
    if role is None:
        raise unusable(place, f"its type {kind[:64]!r} is unknown: known are {', '.join(_ROLES)}")
    own = fields.read_text("id")
    named: dict[str, object] = {"id": own} if own is not None else {}
    if role == "tool":
        output = fields.get("content", Raw(b'""'))
        call = fields.read_text("tool_call_id") or fields.read_text("name") or own
        if call is None:
            raise unusable(place, "it has no 'tool_call_id'")
        body = named | {"type": "function_call_output", "call_id": call, "output": output}
        yield Raw(encode(body | {key: fields[key] for key in ("name", "status") if fields.get(key, NULL) != NULL}))
        return
    parts = list(_parts(fields, role))
    for part in parts:
        if part["type"] == "reasoning":
            yield Raw(encode(part))
    said = [part for part in parts if part["type"] != "reasoning"]
    calls = fields.read_list("tool_calls")
    if said or not calls:
        body = named | {"type": "message", "role": role, "content": said}
        meta = fields.read_nested("response_metadata")
        model = meta.read_text("model_name") or meta.read_text("model")
        body |= {"name": fields["name"]} if fields.get("name", NULL) != NULL else {}
        yield Raw(encode(body | ({"model": model} if model is not None else {})))
    for index, raw_call in enumerate(calls):
        yield _call(read_object(raw_call, f"{place}, 'tool_calls[{index}]'"))


def _call(call: SourceFields) -> Raw:
    """A call, in LangChain's form or OpenAI's."""
    own = call.need_text("id")
    if "function" in call:
        call = call.read_nested("function")
        arguments = call.get("arguments", Raw(b'""'))
    else:
        arguments = Raw(encode(bytes(call.get("args", Raw(b"{}"))).decode()))
    made = {"type": "function_call", "call_id": own, "name": call.need_text("name"), "arguments": arguments}
    return Raw(encode(made))


def _parts(fields: SourceFields, role: str) -> Iterator[dict[str, object]]:
    said = "output_text" if role == "assistant" else "input_text"
    content = fields.get("content", NULL)
    if is_text(content):
        text = fields.need_text("content")
        if text or role != "assistant":
            yield {"type": said, "text": text}
        return
    for index, raw in enumerate(fields.read_list("content")):
        at = f"{fields.place}, 'content[{index}]'"
        if is_text(raw):
            yield {"type": said, "text": read_string(raw, at)}
            continue
        part = read_object(raw, at)
        match kind := part.need_text("type"):
            case "text" | "input_text" | "output_text":
                yield {"type": said, "text": part.need_text("text")}
            case "thinking" | "reasoning":
                text = part.read_text(kind) or ""
                yield {"type": "reasoning", "summary": [{"type": "summary_text", "text": text}]}
            case "image_url":
                flat = is_text(part.get("image_url", NULL))
                url = part["image_url"] if flat else part.read_nested("image_url").get("url", NULL)
                yield {"type": "input_image", "image_url": url}
            case "image" | "audio" | "file" | "video" | "input_audio" | "refusal" | "document":
                yield dict(part)
            case _ if kind in _CALLS:
                pass
            case _:
                raise unusable(at, f"it is of the unknown type {kind[:64]!r}")
