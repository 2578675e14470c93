"""Validation: decodes and checks input, or raises an error that names the fault and its field."""

from __future__ import annotations

import functools
import re
from typing import Final, TypeVar, cast, get_args

import msgspec

from clew_events import error_texts
from clew_events.commands import Command
from clew_events.errors import Invalid
from clew_events.list_query import ListThreads
from clew_events.queries import GetStateAt
from clew_services.validation import decode_errors, rules

T = TypeVar("T")

_COMMANDS: Final = frozenset(get_args(Command))


def decode(raw: bytes, form: type[T]) -> T:
    """Decode a JSON text as type ``form``, and check the rules that its type cannot express.

    Raises:
        Invalid: the text is not UTF-8, not JSON, nested too deeply, not of that type, or breaks a rule. Message, code
            and ``param`` are those of OpenAI's API for the same fault.
    """
    try:
        value = cast("T", _decoder(form).decode(raw))  # type: ignore[arg-type]
    except (msgspec.MsgspecError, ValueError, RecursionError) as fault:
        raise _refusal(raw, form, fault) from None
    _check(value)
    return value


def convert(plain: object, form: type[T]) -> T:
    """Convert plain values (such as those of a query string) to type ``form``, with the checks of :func:`decode`.

    Raises:
        Invalid: it is not of that type, or breaks a rule.
    """
    try:
        value = msgspec.convert(plain, form)
    except msgspec.ValidationError as fault:
        raise decode_errors.explain(plain, form, fault) from None
    _check(value)
    return value


def _check(value: object) -> None:
    """Check the rules that types cannot express; other values than commands and queries have none.

    Raises:
        Invalid: a rule is broken.
    """
    form = type(value)
    if form in _COMMANDS:
        rules.check_command(value)  # type: ignore[arg-type]
    elif isinstance(value, ListThreads) and value.where is not None:
        rules.check_conditions(value.where)
    elif isinstance(value, GetStateAt):
        rules.check_moment(value)


@functools.cache
def _decoder(form: type) -> msgspec.json.Decoder[object]:
    return msgspec.json.Decoder(form)


def json_fault(raw: bytes) -> str | None:
    """Why a text is not JSON; ``None`` if it is."""
    try:
        raw.decode()
        msgspec.json.decode(raw)
    except RecursionError:
        return "it is nested too deeply"
    except UnicodeDecodeError as wrong:
        return f"it is not UTF-8 at byte {wrong.start}"
    except (msgspec.MsgspecError, ValueError) as wrong:
        return _lone_surrogate(raw) or str(wrong).partition(" - at ")[0].rstrip(".")
    return None


_ESCAPE: Final = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<lone>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
"""An escape in a string: a pair of surrogates, a lone surrogate, or any other."""


def _lone_surrogate(raw: bytes) -> str | None:
    """Where a text that is JSON otherwise has a lone surrogate, which msgspec calls truncated or malformed."""
    lone = next((escape for escape in _ESCAPE.finditer(raw) if escape["lone"]), None)
    if lone is None:
        return None
    try:
        msgspec.json.decode(_ESCAPE.sub(lambda escape: rb"\ufffd" if escape["lone"] else escape[0], raw))
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    return f"it has a lone surrogate at byte {lone.start()}, which is no character: {lone[0].decode()}"


def _refusal(raw: bytes, form: type, fault: Exception) -> Invalid:
    reason = json_fault(raw)
    if reason is not None:
        return error_texts.invalid_json(reason)
    if isinstance(fault, msgspec.ValidationError):
        return decode_errors.explain(msgspec.json.decode(raw), form, fault)
    return error_texts.invalid_json(str(fault))
