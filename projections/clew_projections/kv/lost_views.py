"""Views of messages that a server may have lost, although the view of their thread includes them.

The projector writes the messages of a commit before the thread's view. But the buckets are not fsynced, and a server
that dies loses the latest writes of each bucket independently: a thread's view may exist without its messages. The
position in the bucket of messages is lost together with them, so everything up to it is there. What came after it, up
to the end of the log when this process connected, is in doubt until the position has passed it.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from clew_events.subjects import event_stream
from clew_projections.kv.bucket import Bucket
from clew_projections.kv.position import read_position
from clew_projections.nats.jetstream import JetStream, stream_state


class Doubt(Struct, frozen=True):
    """Messages of commits after one sequence of a shard, up to another, may be missing or old."""

    after: int
    until: int

    def covers(self, seq: int) -> bool:
        """Whether any messages of a thread whose view stands at ``seq`` are in doubt.

        A view beyond ``until`` says nothing of what stands before: it may be written by somebody who believes that the
        messages of earlier commits are there, because they were before the server died.
        """
        return self.after < min(seq, self.until)


class Doubts:
    """What is in doubt, shard by shard, on the connection as it is now."""

    def __init__(self, js: JetStream, buckets: tuple[Bucket, ...], connection: Callable[[], int]) -> None:
        """``buckets`` are those written before a thread's view; ``connection`` counts how often it was made."""
        self._js = js
        self._buckets = buckets
        self._connection = connection
        self._asked_on = connection()
        self._doubts: dict[int, Doubt] = {}

    def forget(self) -> None:
        """Ask again what is in doubt."""
        self._doubts = {}

    async def sure(self, shard: int, seq: int) -> int:
        """Up to which sequence the messages of a thread whose view stands at ``seq`` are in the bucket for certain.

        Costs nothing unless the answer is in doubt.

        Raises:
            Unavailable: JetStream does not answer.
        """
        if self._asked_on != (connection := self._connection()):
            self._asked_on = connection
            self._doubts = {}
        doubt = self._doubts.get(shard)
        if doubt is None or doubt.covers(seq):
            until = doubt.until if doubt is not None else (await stream_state(self._js, event_stream(shard))).last_seq
            doubt = Doubt(await read_position(self._buckets, shard), until)
            if self._asked_on == connection:
                self._doubts[shard] = doubt
        return doubt.after if doubt.covers(seq) else seq
