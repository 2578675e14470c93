"""Whether what a commit leads to fits into single messages of the NATS server: the commit, and every view it changes.

A commit is stored as one message, and so is each view; a message is answered as one. Where any of these could not be,
the command is refused before anything is stored. Pure.
"""

from __future__ import annotations

from typing import Final

import msgspec

from clew_events.commit import Commit
from clew_events.errors import TooLarge
from clew_projections.api_objects import message_object
from clew_projections.apply import advance_message, message_ids
from clew_projections.fold import evolve
from clew_projections.views import MessageView, ThreadView, encode

AROUND: Final = 4096
"""Bytes that are kept free for what stands around a commit or a message: headers, ids, times, a reply's envelope."""
GROWTH: Final = 3
"""How many times as large as in its commit a message is in its view or in an answer, at most."""
LATER: Final = 32 * 1024
"""Bytes of a thread's view that are kept free for the ids of its next commands, so that deleting is never refused."""
PLAIN: Final = 192 * 1024
"""Bytes that no view of a thread without tool resources has: 16 pairs of metadata, and 100 command ids."""
_ENCODE: Final = msgspec.json.Encoder().encode


def check_sizes(commit: Commit, thread: ThreadView, message: MessageView | None, limit: int) -> None:
    """Validate that a commit, and the views after it, have at most ``limit`` bytes each, with what stands around them.

    ``thread`` and ``message`` are the views that the commit changes, as they are before it. What only deletes is never
    refused.

    Raises:
        TooLarge: one of them has more.
    """
    if all(event.effect == "deletes" for event in commit.events):
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
