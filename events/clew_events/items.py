"""Items: JSON objects with a type and an id, kept as they were given, key for key and digit for digit. Pure.

An item is stored as its text without white space between values, so that a number such as ``1.10`` or ``1e400`` is
never read into a type that cannot hold it. What Clew has to know of one is read from that text here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Raw, Struct

from clew_events import error_texts, ids
from clew_events.content import (
    Attachment,
    Detail,
    ImageFile,
    ImageFileSource,
    ImageUrl,
    ImageUrlSource,
    Message,
    Metadata,
    Part,
    Role,
    Text,
)
from clew_events.errors import Invalid

MAX_ITEMS: Final = 1_000
"""The most items of one command. A process that reads them does nothing else meanwhile, some 60 ms for so many."""
Item = Annotated[
    Raw,
    Meta(
        description="An item: a JSON object with a type and an id, as it was given.",
        extra_json_schema={"type": "object"},
    ),
]
Items = Annotated[tuple[Item, ...], Meta(max_length=MAX_ITEMS)]
MAX_TYPE: Final = 64
MAX_DEPTH: Final = 128
"""The most objects and arrays of an item that are within each other."""
LONGEST_SEARCHED: Final = 32 * 1024
"""Bytes of the longest text of an item that is searched."""
UNSEARCHED: Final = frozenset({"data", "result", "encrypted_content", "image_url", "file_data"})
"""Keys of an item under which nothing is searched: what is there is for machines, and long."""

_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_FIELDS: Final = msgspec.json.Decoder(dict[str, Raw])
_TEXT: Final = msgspec.json.Decoder(str)
_METADATA: Final = msgspec.json.Decoder(dict[str, str])
_ENCODE: Final = msgspec.json.Encoder().encode
_ROLES: Final = ("assistant", "system", "developer", "user")


class NewItem(Struct, frozen=True):
    """An item to store: its type, the id that the caller chose, if any, and its text without white space."""

    type: str
    id: str | None
    body: Raw


def read_item(raw: Raw, path: str) -> NewItem:
    """Check an item that a caller sent; ``path`` is its place in the request.

    An object that has a ``role`` or ``content`` and no ``type`` is a message.

    Raises:
        Invalid: it is not an object with a type, or one that cannot be kept: with a key twice, or
            nested deeper than :data:`MAX_DEPTH`; or its id or type is not valid, or it is a message without role.
    """
    body = read_object(raw, path)
    fields = _FIELDS.decode(body)
    kind = _text_at(fields, path, "type")
    if kind is None and fields.keys() & {"role", "content"}:
        kind = "message"
    if kind is None:
        raise error_texts.missing_field(f"{path}.type")
    if not 1 <= len(kind) <= MAX_TYPE:
        raise error_texts.malformed_value(f"{path}.type", kind, f"a type of 1 to {MAX_TYPE} characters")
    own = _text_at(fields, path, "id")
    if own is not None and not ids.is_item_id(own):
        raise error_texts.malformed_value(f"{path}.id", own, ids.ITEM_ID_FORM)
    if kind == "message":
        if "content" not in fields:
            raise error_texts.missing_field(f"{path}.content")
        if (role := _text_at(fields, path, "role")) not in _ROLES:
            raise error_texts.not_supported(path, role or "", _ROLES)
    return NewItem(kind, own, body)


def read_object(raw: Raw, path: str) -> Raw:
    """Check that a text is one JSON object that can be kept, and return it without white space.

    Raises:
        Invalid: it is not JSON, or more than one value, or no object; or an object in it has a key twice, or it is
            nested deeper than :data:`MAX_DEPTH`.
    """
    try:
        text = bytes(raw).decode()
        value = _PARSE(text)
    except _DuplicateKey as twice:
        key = error_texts.quote_text(twice.key)
        raise Invalid(f"Invalid '{path}': the key '{key}' is there twice.", param=path) from None
    except UnicodeDecodeError as fault:
        raise Invalid(f"Invalid '{path}': it is not UTF-8 at byte {fault.start}.", param=path) from None
    except RecursionError:
        raise _too_deep(path) from None
    except ValueError as fault:
        raise Invalid(f"Invalid '{path}': {fault}.", param=path) from None
    if not isinstance(value, dict):
        raise error_texts.wrong_type(path, "an object", value)
    if _depth(value) > MAX_DEPTH:
        raise _too_deep(path)
    try:
        return Raw(msgspec.json.format(text.encode(), indent=-1))
    except msgspec.DecodeError:  # the one thing that the other parser lets pass
        raise Invalid(f"Invalid '{path}': it has a lone surrogate, which is no character.", param=path) from None


class _DuplicateKey(Exception):
    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    unique = dict(pairs)
    if len(unique) < len(pairs):
        seen: set[str] = set()
        raise _DuplicateKey(next(key for key, _ in pairs if key in seen or seen.add(key)))  # type: ignore[func-returns-value]
    return unique


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


_PARSE: Final = json.JSONDecoder(object_pairs_hook=_unique, parse_int=len, parse_constant=_refuse).decode


def _depth(value: object) -> int:
    level, depth = [value], 0
    while level := [each for each in level if isinstance(each, dict | list)]:
        depth += 1
        level = [inner for each in level for inner in (each.values() if isinstance(each, dict) else each)]
    return depth


def _too_deep(path: str) -> Invalid:
    return Invalid(f"Invalid '{path}': nested too deeply. An item may be at most {MAX_DEPTH} deep.", param=path)


def _text_at(fields: Mapping[str, Raw], path: str, name: str) -> str | None:
    """The text under a key; ``None`` if it is missing or null."""
    if name not in fields or fields[name] == Raw(b"null"):
        return None
    try:
        return _TEXT.decode(fields[name])
    except _UNREADABLE:
        raise wrong_kind(f"{path}.{name}", "a string", fields[name]) from None


def wrong_kind(path: str, expected: str, value: Raw) -> Invalid:
    """The error for a value in an item that is of another JSON type than ``expected``."""
    return error_texts.wrong_type(path, expected, _PARSE(bytes(value).decode()))


def own_ids(raw: Iterable[Raw]) -> Iterator[str]:
    """Yield the ids that callers chose for items, checked or not."""
    for each in raw:
        try:
            own = read_text(_FIELDS.decode(each), "id")
        except _UNREADABLE:
            continue
        if own is not None:
            yield own


def type_of(body: Raw) -> str:
    """Return the type of a stored item."""
    return read_text(_FIELDS.decode(body), "type") or "message"


def read_text(fields: Mapping[str, Raw], name: str) -> str | None:
    """Return the text under a key of a stored item; ``None`` if there is none."""
    try:
        return _TEXT.decode(fields[name])
    except (KeyError, *_UNREADABLE):
        return None


def read_fields(body: Raw) -> dict[str, Raw]:
    """Return the keys of a stored item in their order, each with the text of its value."""
    return _FIELDS.decode(body)


def metadata_of(body: Raw) -> Metadata:
    """Return the metadata in a stored item: empty unless it is an object of strings."""
    try:
        return _METADATA.decode(_FIELDS.decode(body)["metadata"])
    except (KeyError, *_UNREADABLE):
        return {}


def with_field(body: Raw, name: str, value: object) -> Raw:
    """Return a stored item with another value under a key, which keeps its place; a new one comes first."""
    fields = _FIELDS.decode(body)
    if name not in fields:
        fields = {name: Raw(b""), **fields}
    fields[name] = Raw(_ENCODE(value))
    return Raw(_ENCODE(fields))


def searched_texts(body: Raw) -> Iterator[tuple[str, str]]:
    """Yield the texts of a stored item that are searched, each after its key, in their order.

    Its metadata is not searched: as that of a message.
    """
    fields = json.loads(bytes(body), parse_int=_no_text, parse_float=_no_text, parse_constant=_no_text)
    fields.pop("metadata", None)
    waiting: list[tuple[str, object]] = [("", fields)]
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, str):
            if len(value) <= LONGEST_SEARCHED and len(value.encode()) <= LONGEST_SEARCHED:
                yield name, value
        elif isinstance(value, list):
            waiting.extend((name, inner) for inner in reversed(value))
        elif isinstance(value, dict):
            waiting.extend(reversed([(key, inner) for key, inner in value.items() if key not in UNSEARCHED]))


def _no_text(_: str) -> None:
    return None


class _Text(Struct, frozen=True, tag_field="type", tag="text"):
    text: str


class _InputText(Struct, frozen=True, tag_field="type", tag="input_text"):
    text: str


class _OutputText(Struct, frozen=True, tag_field="type", tag="output_text"):
    text: str


class _InputImage(Struct, frozen=True, tag_field="type", tag="input_image"):
    image_url: str | None = None
    file_id: str | None = None
    detail: Detail = "auto"


_ShownPart = _Text | _InputText | _OutputText | _InputImage | ImageFile | ImageUrl


class _Shown(Struct, frozen=True):
    role: Role
    content: str | tuple[_ShownPart, ...]
    type: str = "message"
    attachments: tuple[Attachment, ...] | None = None
    metadata: Metadata | None = None


_SHOWN: Final = msgspec.json.Decoder(_Shown)


def message_in(body: Raw) -> Message | None:
    """Return a stored item as a message of the Threads API; ``None`` if that API cannot show it.

    It can show a message by the user or the assistant whose parts are texts and images.
    """
    try:
        shown = _SHOWN.decode(body)
    except _UNREADABLE:
        return None
    parts = (Text(shown.content),) if isinstance(shown.content, str) else tuple(map(_part, shown.content))
    content = tuple(part for part in parts if part is not None)
    if shown.type != "message" or len(content) < len(parts):
        return None
    return Message(role=shown.role, content=content, attachments=shown.attachments or (), metadata=shown.metadata or {})


def _part(part: _ShownPart) -> Part | None:
    match part:
        case ImageFile() | ImageUrl():
            return part
        case _InputImage(file_id=str(file_id)):
            return ImageFile(ImageFileSource(file_id, part.detail))
        case _InputImage(image_url=str(url)):
            return ImageUrl(ImageUrlSource(url, part.detail))
        case _InputImage():
            return None
        case _Text() | _InputText() | _OutputText():
            return Text(part.text)
