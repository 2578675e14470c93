"""The limits of threads and messages, checked by every decision. Pure.

The operator chooses these; the limits of the contract are in :mod:`clew_events.requests`.

A commit is stored as one message, and so is a thread's view; a message is answered as one. A command whose commit, view
or answer would be larger than the server accepts is rejected before anything is stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Struct

from clew_events import error_texts
from clew_events.codec import EncodedCommit
from clew_events.errors import Invalid, TooLarge
from clew_events.requests import MAX_MESSAGES_PER_CREATE, NewMessage, NewText
from clew_projections.api_objects import item_object, shown_message
from clew_projections.apply import advance_items
from clew_projections.fold import evolve
from clew_projections.views import ItemView, ThreadView, encode

_WIDEST: Final = 4
"""Most bytes of a character in UTF-8."""


class Limits(Struct, frozen=True, kw_only=True):
    """The limits.

    ``message`` is the text of one message, in bytes of UTF-8 over all its parts: by default one text of the contract's
    greatest length in any script. ``messages`` is the number of items in a thread, messages and others. ``create`` is
    the number of messages in a command that creates a thread.
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
    """Check a message that is to be added to a thread of ``existing`` items.

    Raises:
        Invalid: the thread is full.
        TooLarge: the message is too long.
    """
    _check_length(limits, message, "content")
    check_room(limits, thread, existing, 1)


def check_room(limits: Limits, thread: str, existing: int, new: int) -> None:
    """Check that a thread of ``existing`` items has room for ``new`` ones.

    Raises:
        Invalid: it has not.
    """
    if existing + new > limits.messages:
        more = f" {new} more would be too many." if new > 1 else ""
        name = error_texts.name_history(thread, capital=True)
        raise Invalid(
            f"{name} has {existing} messages, and cannot have more than {limits.messages}.{more}",
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
    return [part.value for part in message.content if isinstance(part, NewText)]


AROUND: Final = 4096
"""Bytes that are kept free for what stands around a commit or a message: headers, ids, times, a reply's envelope."""
GROWTH: Final = 3
"""How many times as large as in its commit a message is in an answer, at most."""
LATER: Final = 64 * 1024
"""Bytes of a thread's view that are kept free for the ids of its next commands and the places of its items.

So deleting is never refused.
"""
PLAIN: Final = 192 * 1024
"""Bytes that no view of a thread without tool resources has: 16 pairs of metadata, 100 command ids, and places."""
_ENCODE: Final = msgspec.json.Encoder().encode


def check_sizes(encoded: EncodedCommit, thread: ThreadView, items: Sequence[ItemView], limit: int) -> None:
    """Validate that a commit, and the views and answers after it, have at most ``limit`` bytes each.

    ``thread`` and ``items`` are the views that the commit changes, as they are before it. What only deletes is never
    refused.

    Raises:
        TooLarge: one of them has more.
    """
    commit, size, tools = encoded.commit, len(encoded.body), thread.tool_resources
    has_tools = tools.code_interpreter is not None or tools.file_search is not None
    if not items and not has_tools and size * GROWTH + PLAIN + LATER <= limit:
        return  # The view has no more than a plain one and all that the commit says.
    if all(event.effect == "deletes" for event in commit.events):
        return
    _check("commit", size, limit, AROUND)
    if items or size * GROWTH + AROUND > limit:
        for view in advance_items({item.ordinal: item for item in items}, commit).values():
            shown, item = shown_message(view), item_object(view)
            _check("message", max(len(item), len(_ENCODE(shown))), limit, AROUND)
    state = thread
    for event in commit.events:
        state = evolve(state, event)
    tools = state.tool_resources
    if limit < PLAIN or tools.code_interpreter is not None or tools.file_search is not None:
        _check("thread", len(encode(state)), limit, LATER)


def _check(what: str, size: int, limit: int, reserve: int) -> None:
    if size > limit - reserve:
        raise TooLarge(
            f"The {what} would have {size} bytes, and can have at most {limit - reserve}: a message of the NATS server "
            f"has at most {limit} (max_payload), of which {reserve} are kept free."
        )
