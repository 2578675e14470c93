"""The error texts for invalid input, and for threads that are not there: OpenAI's own, because programs match on them.

Most functions return an :class:`~clew_events.errors.Invalid` with its text, its ``code`` and, as ``param``, the path of
the field at fault: ``messages[0].content``, ``metadata.key``, or ``None`` for the body.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from clew_events import ids
from clew_events.errors import Invalid, NotFound
from clew_events.subjects import TENANT

_LONGEST_SHOWN: Final = 64
LONGEST_PARAM: Final = 1024

_KINDS: Final[dict[type, str]] = {
    type(None): "null",
    bool: "a boolean",
    int: "an integer",
    float: "a decimal number",
    str: "a string",
    list: "an array",
    dict: "an object",
}


def kind_of(value: object) -> str:
    """The kind of a decoded JSON value, with its article."""
    return _KINDS.get(type(value), "something else")


def quote_text(text: str, longest: int = _LONGEST_SHOWN) -> str:
    """A text for quotation in an error; of a long text the beginning and the end."""
    return text if len(text) <= longest else f"{text[:3]}...{text[-3:]}"


def quote_list(values: Sequence[object], word: str = "and") -> str:
    """A list of quoted values: ``'a'``, ``'a' and 'b'``, ``'a', 'b', and 'c'``."""
    quoted = [f"'{value}'" for value in values]
    if len(quoted) > 2:
        return f"{', '.join(quoted[:-1])}, {word} {quoted[-1]}"
    return f" {word} ".join(quoted)


def invalid_json(reason: str) -> Invalid:
    """The body is not JSON."""
    return Invalid(
        "Invalid body: failed to parse JSON value. Please check the value to ensure it is valid JSON. "
        f"({reason.rstrip('.')})",
        code="invalid_json",
    )


def unsupported_content_type(kind: str) -> Invalid:
    """The body is said to be of another media type than JSON."""
    shown = quote_text(kind, 256)
    return Invalid(
        f"Unsupported content type: '{shown}'. This API method only accepts 'application/json' requests, but you "
        f"specified the header 'Content-Type: {shown}'. Please try again with a supported content type.",
        code="unsupported_content_type",
    )


def missing_field(path: str) -> Invalid:
    """A required field is missing."""
    return Invalid(f"Missing required parameter: '{path}'.", code="missing_required_parameter", param=path)


def unknown(path: str) -> Invalid:
    """A field is unknown."""
    return Invalid(f"Unknown parameter: '{quote_text(path, 256)}'.", code="unknown_parameter", param=_param(path))


def wrong_type(path: str, expected: str, value: object) -> Invalid:
    """A value is of another JSON type than ``expected``, which includes its article."""
    where = f"Invalid type for '{quote_text(path, 256)}'" if path else "Invalid body"
    return Invalid(
        f"{where}: expected {expected}, but got {kind_of(value)} instead.",
        code="invalid_type",
        param=_param(path),
    )


def not_supported(path: str, value: str, supported: Sequence[object]) -> Invalid:
    """A text is none of the supported values."""
    return Invalid(
        f"Invalid value: '{quote_text(value)}'. Supported values are: {quote_list(supported)}.",
        code="invalid_value",
        param=_param(path),
    )


def string_too_long(path: str, longest: int, length: int) -> Invalid:
    """A text has too many characters."""
    return Invalid(
        f"Invalid '{quote_text(path, 256)}': string too long. Expected a string with maximum length {longest}, "
        f"but got a string with length {length} instead.",
        code="string_above_max_length",
        param=_param(path),
    )


def name_too_long(path: str, name: str, longest: int) -> Invalid:
    """A key of the object at ``path`` has too many characters."""
    return Invalid(
        f"Invalid property name in '{path}': '{quote_text(name, longest)}' is too long. Expected a string with "
        f"maximum length {longest}, but got a string with length {len(name)} instead.",
        code="property_name_above_max_length",
        param=_param(f"{path}.{name}"),
    )


def too_many_properties(path: str, most: int, count: int) -> Invalid:
    """An object has too many keys."""
    return Invalid(
        f"Invalid '{path}': too many properties. Expected an object with at most {most} properties, "
        f"but got an object with {count} properties instead.",
        code="object_above_max_properties",
        param=path,
    )


def array_too_long(path: str, longest: int, length: int) -> Invalid:
    """An array has too many items."""
    return Invalid(
        f"Invalid '{path}': array too long. Expected an array with maximum length {longest}, "
        f"but got an array with length {length} instead.",
        code="array_above_max_length",
        param=path,
    )


def empty_array(path: str, shortest: int) -> Invalid:
    """An array is empty, but must have items."""
    return Invalid(
        f"Invalid '{path}': empty array. Expected an array with minimum length {shortest}, "
        "but got an empty array instead.",
        code="empty_array",
        param=path,
    )


def below_minimum(path: str, least: int, value: int) -> Invalid:
    """A number is below the minimum."""
    return Invalid(
        f"Invalid '{path}': integer below minimum value. Expected a value >= {least}, "
        f"but got {_number(value)} instead.",
        code="integer_below_min_value",
        param=path,
    )


def above_maximum(path: str, most: int, value: int) -> Invalid:
    """A number is above the maximum."""
    return Invalid(
        f"Invalid '{path}': integer above maximum value. Expected a value <= {most}, but got {_number(value)} instead.",
        code="integer_above_max_value",
        param=path,
    )


def malformed_value(path: str, value: str, expected: str) -> Invalid:
    """A text does not have the required form, which ``expected`` names."""
    return Invalid(
        f"Invalid '{path}': '{quote_text(value)}'. Expected {expected}.", code="invalid_value", param=_param(path)
    )


def wrong_prefix(path: str, value: str, *prefixes: str) -> Invalid:
    """An id is of another kind, or none."""
    return malformed_value(path, value, f"an ID that begins with {quote_list(prefixes, 'or')}")


def no_thread(thread: str, *, erased: bool = False) -> NotFound:
    """The error for a thread that does not exist, or was deleted or ``erased``; or for a tenant without a history."""
    if thread == TENANT:
        return NotFound("The tenant has no history of its own yet: it has ordered nothing.", code="no_history")
    if ids.is_conversation_id(thread):
        return NotFound(f"Conversation with id '{thread}' not found.", code="thread_not_found", erased=erased)
    return NotFound(f"No thread found with id '{thread}'.", code="thread_not_found", erased=erased)


def name_history(thread: str, *, capital: bool = False) -> str:
    """What a message calls a thread, a conversation or a tenant's own history; ``capital`` where a sentence begins."""
    if thread == TENANT:
        return f"{'T' if capital else 't'}he tenant's own history"
    what = "conversation" if ids.is_conversation_id(thread) else "thread"
    return f"{what.capitalize() if capital else what} '{thread}'"


def _param(path: str) -> str | None:
    return quote_text(path, LONGEST_PARAM) or None


def _number(value: int) -> str:
    return str(value) if abs(value) < 10**40 else "a number with more than 40 digits"
