"""Items as OpenAI's Conversations API takes and shows them. Pure.

An item is stored as it was given. What the API fills in, such as a status, and what it leaves out unless it is asked
for, is a matter of showing it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Final

import msgspec
from msgspec import Raw

from clew_events import error_texts
from clew_events.errors import Invalid
from clew_events.http_forms import Include
from clew_events.items import read_fields, read_item, read_text, wrong_kind

Fields = dict[str, Raw]

_PREFIXES: Final[Mapping[str, str]] = MappingProxyType(
    {"message": "msg", "reasoning": "rs", "function_call": "fc", "function_call_output": "fc"}
)
"""What the caller's own ids of these types begin with."""
_REQUEST_ONLY: Final[Mapping[str, str]] = MappingProxyType({
    "item_reference": "Send the item itself.",
    "compaction_trigger": "No model runs here: send the compaction.",
})  # fmt: skip
"""The types that stand for something else in a request to a model, and are no items."""
_COMPLETED: Final = frozenset({
    "message", "function_call", "function_call_output", "computer_call_output", "tool_search_call",
    "tool_search_output", "shell_call", "shell_call_output",
})  # fmt: skip
"""The types that are shown with a status, and may be given without one."""

_EMPTY: Final = Raw(b"[]")
_NULL: Final = Raw(b"null")
_AUTO: Final = Raw(b'"auto"')
_PARTS: Final = msgspec.json.Decoder(tuple[Raw, ...])
_ENCODE: Final = msgspec.json.Encoder().encode


def check_items(items: Sequence[Raw]) -> None:
    """Check what the API asks of new items beyond what is asked of every item.

    Raises:
        Invalid: an item cannot be kept, as :func:`~clew_events.items.read_item` says; or it only stands for another,
            the content of a message is no text or list of parts, or an id does not begin as those of its type do.
    """
    for index, item in enumerate(items):
        path = f"items[{index}]"
        new = read_item(item, path)
        if new.type in _REQUEST_ONLY:
            why = f"Invalid '{path}.type': '{new.type}' is not kept. {_REQUEST_ONLY[new.type]}"
            raise Invalid(why, param=f"{path}.type")
        prefix = _PREFIXES.get(new.type)
        if new.id is not None and prefix is not None and not new.id.startswith(prefix):
            raise error_texts.wrong_prefix(f"{path}.id", new.id, prefix)
        if new.type == "message":
            _check_content(read_fields(new.body)["content"], f"{path}.content")


def _check_content(content: Raw, path: str) -> None:
    if _is_text(content):
        return
    if not bytes(content).startswith(b"["):
        raise wrong_kind(path, "one of a string or array of objects", content)
    for index, part in enumerate(_PARTS.decode(content)):
        if (fields := _fields(part)) is None:
            raise wrong_kind(f"{path}[{index}]", "an object", part)
        if read_text(fields, "type") is None:
            raise error_texts.missing_field(f"{path}[{index}].type")


def shown_item(item: Raw, include: Collection[Include]) -> Raw:
    """Return an item as the API shows it. ``include`` has what of it is shown that is left out by default.

    What was given stays as it was, key for key in its order; what is filled in stands after the id. An item that was
    erased is shown as it is.
    """
    fields = read_fields(item)
    kind = read_text(fields, "type") or ("message" if "role" in fields else None)
    if kind is None:
        return item
    added = {"type": Raw(_ENCODE(kind))}
    if kind in _COMPLETED:
        added["status"] = Raw(b'"completed"')
    whole = _filled(fields, added)
    if kind == "message":
        whole["content"] = _shown_content(whole, include)
    for name, (path, instead) in _HIDDEN.items():
        if path[0] == kind and name not in include:
            _hide(whole, path[1:], instead)
    return Raw(_ENCODE(whole))


def _filled(fields: Fields, added: Fields) -> Fields:
    """Fields with others where they are missing, or null; these come first, but after the id or the type."""
    missing = {name: value for name, value in added.items() if fields.get(name, _NULL) == _NULL}
    if not missing:
        return fields
    first = {name: fields[name] for name in list(fields)[:1] if name in {"id", "type"}}
    return {**first, **missing, **{name: value for name, value in fields.items() if name not in missing}}


def _shown_content(fields: Fields, include: Collection[Include]) -> Raw:
    content = fields.get("content", _EMPTY)
    if _is_text(content):
        assistant = read_text(fields, "role") == "assistant"
        parts: tuple[Raw, ...] = (
            Raw(_ENCODE({"type": "output_text" if assistant else "input_text", "text": content})),
        )
    elif bytes(content).startswith(b"["):
        parts = _PARTS.decode(content)
    else:
        return content
    return Raw(_ENCODE(tuple(_shown_part(part, include) for part in parts)))


def _shown_part(part: Raw, include: Collection[Include]) -> Raw:
    if (fields := _fields(part)) is None:
        return part
    match read_text(fields, "type"):
        case "output_text":
            whole = _filled(fields, {"annotations": _EMPTY, "logprobs": _EMPTY})
            if "message.output_text.logprobs" not in include:
                whole["logprobs"] = _EMPTY
        case "input_image" | "computer_screenshot" as kind:
            whole = _filled(fields, {"detail": _AUTO})
            if kind == "input_image" and "message.input_image.image_url" not in include:
                whole.pop("image_url", None)
        case _:
            return part
    return Raw(_ENCODE(whole))


_HIDDEN: Final[Mapping[Include, tuple[tuple[str, ...], Raw | None]]] = MappingProxyType({
    "file_search_call.results": (("file_search_call", "results"), _NULL),
    "web_search_call.results": (("web_search_call", "results"), None),
    "web_search_call.action.sources": (("web_search_call", "action", "sources"), None),
    "computer_call_output.output.image_url": (("computer_call_output", "output", "image_url"), None),
    "code_interpreter_call.outputs": (("code_interpreter_call", "outputs"), _NULL),
    "reasoning.encrypted_content": (("reasoning", "encrypted_content"), None),
})  # fmt: skip
"""Where the parts are that are left out by default, and what is shown instead, if anything is."""


def _hide(fields: Fields, path: Sequence[str], instead: Raw | None) -> None:
    name, *deeper = path
    if name not in fields:
        return
    if deeper:
        if (inner := _fields(fields[name])) is not None:
            _hide(inner, deeper, instead)
            fields[name] = Raw(_ENCODE(inner))
    elif instead is None:
        del fields[name]
    else:
        fields[name] = instead


def _fields(raw: Raw) -> Fields | None:
    """The fields of an object; ``None`` of any other value."""
    return read_fields(raw) if bytes(raw).startswith(b"{") else None


def _is_text(raw: Raw) -> bool:
    return bytes(raw).startswith(b'"')
