"""Limits that keep one thread, or one message, from growing beyond what the service can carry. Pure.

They hold on every way in, for they are part of deciding. Those of the contract itself are in
:mod:`clew_events.requests`; these an operator may choose.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from clew_events import error_texts
from clew_events.errors import Invalid, TooLarge
from clew_events.requests import MAX_MESSAGES_PER_CREATE, NewMessage, NewText

_WIDEST: Final = 4
"""Bytes that a character takes at most."""


class Limits(Struct, frozen=True, kw_only=True):
    """What is taken at most.

    ``message`` is the text of one message, in bytes of UTF-8 over all its parts: by default one text of the greatest
    length, whatever it is written in. ``messages`` is what a thread may hold at a time. ``create`` is how many
    messages a thread may be created with.
    """

    message: int = 1024 * 1024
    messages: int = 100_000
    create: int = MAX_MESSAGES_PER_CREATE


DEFAULT: Final = Limits()


def hold_create(limits: Limits, messages: Sequence[NewMessage]) -> None:
    """Hold the messages that a thread is to be created with within limits.

    Raises:
        Invalid: there are too many.
        TooLarge: one of them is too long.
    """
    if len(messages) > limits.create:
        raise error_texts.array_too_long("messages", limits.create, len(messages))
    for index, message in enumerate(messages):
        _hold_length(limits, message, f"messages[{index}].content")


def hold_add(limits: Limits, thread: str, there: int, message: NewMessage) -> None:
    """Hold a thread that has ``there`` messages, and is to have one more, within limits.

    Raises:
        Invalid: the thread is full.
        TooLarge: the message is too long.
    """
    _hold_length(limits, message, "content")
    if there >= limits.messages:
        raise Invalid(
            f"Thread '{thread}' has {there} messages, and cannot have more than {limits.messages}.",
            code="thread_full",
        )


def _hold_length(limits: Limits, message: NewMessage, path: str) -> None:
    texts = _texts(message)
    if _WIDEST * sum(map(len, texts)) <= limits.message:
        return
    length = sum(len(text.encode()) for text in texts)
    if length > limits.message:
        raise TooLarge(
            f"Invalid '{path}': message too long. Expected at most {limits.message} bytes of text, but got {length} "
            "instead.",
            param=path,
        )


def _texts(message: NewMessage) -> list[str]:
    if isinstance(message.content, str):
        return [message.content]
    return [part.text for part in message.content if isinstance(part, NewText)]
