"""What settled commands leave in the files of the inbox, and when that is gone.

A command that was settled is no message of the stream any more, and its bytes stay in their block: nothing overwrites
them, and nothing reads them either. A block is removed with its last message. No answer of the server names blocks, so
two observations tell that a block is gone: the inbox was empty, or so many commands came later that they cannot lie in
the same block.
"""

from __future__ import annotations

from typing import Final, Literal

from clew_events.subjects import INBOX_STREAM
from clew_projections.nats.jetstream import JetStream, stream_state

_BLOCK: Final = 8 * 1024 * 1024
"""The largest block in bytes that a server makes; for a work queue it makes smaller ones."""
_LEAST: Final = 44
"""The fewest bytes that a command takes in a block: 30 besides its subject, and that is no shorter than 14."""
APART: Final = _BLOCK // _LEAST + 2
"""Two commands so many sequences apart are not in the same block. One may begin at the end of a block and exceed it."""

Remains = Literal["unsettled", "settled", "gone"]
"""The commands up to a sequence: some wait, or all are settled, or nothing is left of them on the server's disk."""


async def last_sequence(js: JetStream) -> int:
    """The sequence of the last command that was ever put into the inbox; 0 if there was none.

    Raises:
        Unavailable: the inbox does not answer.
    """
    return (await stream_state(js, INBOX_STREAM)).last_seq


async def remains_of(js: JetStream, seq: int) -> Remains:
    """What is left of all commands up to a sequence, here on the leader's disk; ask again while it is not ``gone``.

    The other servers of a cluster follow at once, but for their Raft logs, which keep what was published some minutes.

    Raises:
        Unavailable: the inbox does not answer.
    """
    state = await stream_state(js, INBOX_STREAM)
    if not state.messages or state.first_seq > seq + APART:
        return "gone"
    return "settled" if state.first_seq > seq else "unsettled"
