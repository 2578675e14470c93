"""The operator's limits of threads and messages. Pure.

They are part of deciding, so they hold for commands over HTTP, NATS and the inbox alike. The fixed limits of the
contract are in :mod:`clew_events.requests`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from clew_events.errors import Invalid, TooLarge
from clew_events.requests import MAX_MESSAGES_PER_CREATE, NewMessage, NewText
from clew_services.validation import error_texts

_WIDEST: Final = 4
"""Most bytes of a character in UTF-8."""


class Limits(Struct, frozen=True, kw_only=True):
    """The limits.

    ``message`` is the text of one message, in bytes of UTF-8 over all its parts: by default one text of the contract's
    greatest length in any script. ``messages`` is the number of messages in a thread. ``create`` is the number of
    messages in a command that creates a thread.
    """

    message: int = 1024 * 1024
    messages: int = 100_000
    create: int = MAX_MESSAGES_PER_CREATE


DEFAULT: Final = Limits()


def check_create(limits: Limits, messages: Sequence[NewMessage]) -> None:
    """Check the messages of a command that creates a thread.

    Raises:
        Invalid: there are too many.
        TooLarge: one of them is too long.
    """
    if len(messages) > limits.create:
        raise error_texts.array_too_long("messages", limits.create, len(messages))
    for index, message in enumerate(messages):
        _check_length(limits, message, f"messages[{index}].content")


def check_add(limits: Limits, thread: str, existing: int, message: NewMessage) -> None:
    """Check a message that is to be added to a thread of ``there`` messages.

    Raises:
        Invalid: the thread is full.
        TooLarge: the message is too long.
    """
    _check_length(limits, message, "content")
    if existing >= limits.messages:
        raise Invalid(
            f"Thread '{thread}' has {existing} messages, and cannot have more than {limits.messages}.",
            code="thread_full",
        )


def _check_length(limits: Limits, message: NewMessage, path: str) -> None:
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
