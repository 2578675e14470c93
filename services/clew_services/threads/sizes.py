"""The size of a commit, and of every view it changes, against the NATS server's limit of one message. Pure.

A commit is stored as one NATS message, and so is each view; a thread's message is answered as one. A command that would
exceed the limit with any of these is rejected before anything is stored.
"""

from __future__ import annotations

from typing import Final

import msgspec

from clew_events.commit import Commit
from clew_events.errors import TooLarge
from clew_events.events import MessageDeleted, ThreadDeleted
from clew_projections.api_objects import message_object
from clew_projections.apply import advance_message, message_ids
from clew_projections.fold import evolve
from clew_projections.views import MessageView, ThreadView, encode

AROUND: Final = 4096
"""Bytes reserved for what surrounds a commit or a message: headers, ids, times, a reply's envelope."""
GROWTH: Final = 3
"""The size of a message in its view or in an answer is at most this multiple of its size in the commit."""
LATER: Final = 32 * 1024
"""Bytes of a thread's view reserved for the ids of later commands, so that deleting is never rejected."""
PLAIN: Final = 192 * 1024
"""An upper bound, in bytes, of a thread's view without tool resources: 16 pairs of metadata and 100 command ids."""
_ENCODE: Final = msgspec.json.Encoder().encode


def check_sizes(commit: Commit, thread: ThreadView, message: MessageView | None, limit: int) -> None:
    """Check that a commit, and each view after it, fits into ``limit`` bytes, reserved bytes included.

    ``thread`` and ``message`` are the views before the commit. A commit that only deletes is always accepted.

    Raises:
        TooLarge: one of them does not fit.
    """
    if all(isinstance(event, MessageDeleted | ThreadDeleted) for event in commit.events):
        return
    _check("commit", (size := len(_ENCODE(commit.events))), limit, AROUND)
    if message is not None or size * GROWTH + AROUND > limit:
        for message_id in message_ids(commit):
            after = advance_message(message, message_id, commit)
            _check("message", len(encode(after)), limit, AROUND)
            _check("message", len(_ENCODE(message_object(after))), limit, AROUND)
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
