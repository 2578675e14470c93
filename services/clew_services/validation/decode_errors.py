"""The explanation of a value that msgspec rejected, in OpenAI's words.

msgspec stops at the first fault in document order. Here the order is OpenAI's: a missing field is reported before an
unknown one, and that before a wrong type, an empty array or an unsupported value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Final, cast

import msgspec

from clew_events import error_texts, ids
from clew_events.errors import Invalid
from clew_services.validation.schema_check import Schema, Violation, branches, json_type, violations

_LARGEST: Final = 5_000
"""A value of more parts than this gets msgspec's own message, to bound the cost of finding the fault."""

_PREFIXES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType({
    ids.THREAD_ID_PATTERN: ("thread", "conv_"),
    ids.MESSAGE_ID_PATTERN: ("msg",),
    ids.ERASURE_ID_PATTERN: ("erasure",),
})  # fmt: skip
_TOO_MANY: Final = re.compile(r"^Expected `array` of length <= (?P<longest>[0-9]+) - at `\$\.(?P<name>\w+)`$")
_AT: Final = re.compile(r"^(?P<words>.*) - at `(?:key in )?\$\.?(?P<path>[^`]*)`$", re.DOTALL)


def explain(value: object, form: object, refused: msgspec.ValidationError) -> Invalid:
    """The error for a plainly decoded ``value`` that is not of type ``form``; ``refused`` is msgspec's own error."""
    if _has_fewer_parts(value, _LARGEST):
        for fault in violations(value, form):
            if (sentence := _SENTENCES.get(fault.keyword)) is not None:
                return sentence(path_of(fault.path), fault)
    elif (many := _TOO_MANY.match(str(refused))) is not None and isinstance(value, dict):
        return error_texts.array_too_long(many["name"], int(many["longest"]), len(value[many["name"]]))
    return _own_words(refused)


def path_of(parts: Iterable[str | int]) -> str:
    """A path in the form of error messages: ``messages[0].content``."""
    path = ""
    for part in parts:
        path = f"{path}[{part}]" if isinstance(part, int) else _join_path(path, part)
    return path


def _join_path(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _has_fewer_parts(value: object, limit: int) -> bool:
    waiting = [value]
    seen = 0
    while waiting and seen < limit:
        part = waiting.pop()
        seen += 1
        if isinstance(part, dict):
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)
    return seen < limit


def _missing(path: str, fault: Violation) -> Invalid:
    return error_texts.missing_field(_join_path(path, next(name for name in fault.limit if name not in fault.value)))


def _unknown(path: str, fault: Violation) -> Invalid:
    known = cast("Mapping[str, object]", fault.schema["properties"])
    return error_texts.unknown(_join_path(path, next(name for name in fault.value if name not in known)))


def _wrong_type(path: str, fault: Violation) -> Invalid:
    return error_texts.wrong_type(path, _expected(fault.schema), fault.value)


def _not_supported(path: str, fault: Violation) -> Invalid:
    if isinstance(fault.value, str):
        return error_texts.not_supported(path, fault.value, fault.limit)
    return error_texts.wrong_type(path, "a string", fault.value)


def _too_long(path: str, fault: Violation) -> Invalid:
    if fault.names:
        return error_texts.name_too_long(path, fault.value, fault.limit)
    return error_texts.string_too_long(path, fault.limit, len(fault.value))


def _malformed(path: str, fault: Violation) -> Invalid:
    prefixes = _PREFIXES.get(fault.limit, ())
    if prefixes and not fault.value.startswith(prefixes):
        return error_texts.wrong_prefix(path, fault.value, *prefixes)
    return error_texts.malformed_value(path, fault.value, str(fault.schema["description"]))


_SENTENCES: Final[dict[str, Callable[[str, Violation], Invalid]]] = {
    "required": _missing,
    "additionalProperties": _unknown,
    "type": _wrong_type,
    "anyOf": _wrong_type,
    "enum": _not_supported,
    "maxLength": _too_long,
    "pattern": _malformed,
    "maxProperties": lambda path, fault: error_texts.too_many_properties(path, fault.limit, len(fault.value)),
    "maxItems": lambda path, fault: error_texts.array_too_long(path, fault.limit, len(fault.value)),
    "minItems": lambda path, fault: error_texts.empty_array(path, fault.limit),
    "minimum": lambda path, fault: error_texts.below_minimum(path, fault.limit, fault.value),
    "maximum": lambda path, fault: error_texts.above_maximum(path, fault.limit, fault.value),
}


def _expected(schema: Schema) -> str:
    """The name of what a schema accepts, with its article; null is not named."""
    names = [name for name in dict.fromkeys(map(_name, branches(schema))) if name != "null"]
    if not names:
        return "null"
    article = "an" if names[0][0] in "aio" else "a"
    return f"{'one of ' if len(names) > 1 else ''}{article} {' or '.join(names)}"


def _name(schema: Schema) -> str:
    name = json_type(schema)
    if name == "array" and isinstance(items := schema.get("items"), Mapping):
        return "array of " + " or ".join(dict.fromkeys(f"{_name(branch)}s" for branch in branches(items)))
    return name


def _own_words(refused: msgspec.ValidationError) -> Invalid:
    match = _AT.match(str(refused))
    text, path = (match["words"], match["path"].removesuffix("[...]")) if match else (str(refused), "")
    where = f"'{error_texts.quote_text(path, 256)}'" if path else "body"
    message = text[: error_texts.LONGEST_PARAM].replace("`", "'")
    return Invalid(f"Invalid {where}: {message}.", param=path[: error_texts.LONGEST_PARAM] or None)
