"""Histories read from the log: a thread's commits from any point on, exactly as stored, each with its hash."""

from __future__ import annotations

from collections.abc import AsyncIterator, Container

from msgspec import Struct

from clew_events.codec import decode_recorded
from clew_events.commit import Position, Recorded
from clew_events.errors import Corrupt
from clew_events.ids import ordinal_of
from clew_events.subjects import Address, event_stream, event_subject, shard_of
from clew_projections.apply import advance, advance_message, message_ids
from clew_projections.nats.replica_reads import until
from clew_projections.nats.stream_messages import EXPECTED, TRACE, StoredMessage
from clew_projections.nats.stream_reads import PAGE, Reads
from clew_projections.views import MessageView, absent


class News(Struct, frozen=True):
    """A thread's latest commit; ``alone`` if its guard, which the server held, says that it is all there is to know."""

    recorded: Recorded
    alone: bool


class Histories:
    """Reads the log of a deployment.

    On a replicated log a direct read may come from a follower that lags, so there the stream's leader is asked what the
    latest commit is, and a read goes on until it has that one.
    """

    def __init__(self, js: Reads, shards: int, *, replicated: bool) -> None:
        self._js = js
        self.shards = shards
        self.replicated = replicated
        """Whether there is more than one replica of the log."""
        self.asked = 0
        """How often the log was asked for what a thread's view may lack, since the start."""

    def shard(self, address: Address) -> int:
        """The shard that holds a thread's history."""
        return shard_of(address.thread, self.shards)

    async def news(self, address: Address, seq: int) -> News | None:
        """The thread's very latest acknowledged commit, if it stands after a sequence.

        Raises:
            Corrupt: the stored body cannot be read.
            Unavailable: the log does not answer.
        """
        stored = await self.newest(address, seq)
        if stored is None:
            return None
        return News(read(stored, self.shard(address)), alone=stored.headers.get(EXPECTED) == str(seq))

    async def tail(self, address: Address, seq: int) -> list[Recorded]:
        """Every commit of a thread after a sequence (0: all of them), up to the very latest acknowledged.

        Raises:
            Corrupt: a stored body cannot be read.
            Unavailable: the log does not answer.
        """
        return [commit async for commit in self.after(address, seq)]

    async def after(self, address: Address, seq: int, ahead: int = PAGE) -> AsyncIterator[Recorded]:
        """The same, one by one, for histories too long to hold; ``ahead`` are read at once."""
        newest = await self.newest(address, seq)
        if newest is None:
            return
        shard = self.shard(address)
        stream, subject = event_stream(shard), event_subject(shard, address)
        async for stored in until(self._js, stream, subject, seq + 1, newest.seq, limit=ahead):
            yield read(stored, shard)

    async def at(self, address: Address, seq: int) -> Recorded:
        """The thread's commit at a sequence.

        Raises:
            Corrupt: there is none of this thread's, where there was one.
        """
        async for found in self.after(address, seq - 1):
            if found.position.seq == seq:
                return found
            break
        raise self._fetch_missing(address, f"at sequence {seq}")

    async def first(self, address: Address) -> Recorded:
        """The commit that created a thread known to exist.

        Raises:
            Corrupt: there is none, where there was one.
        """
        async for found in self.after(address, 0):
            return found
        raise self._fetch_missing(address, "at all")

    async def message_at(self, address: Address, message_id: str, n: int) -> MessageView | None:
        """A message as it was after the thread's commit ``n``, from the log alone."""
        return (await self.messages_at(address, {ordinal_of(message_id)}, n)).get(message_id)

    async def messages_at(self, address: Address, ordinals: Container[int], n: int) -> dict[str, MessageView]:
        """The messages at some ordinals as they were after the thread's commit ``n``, from the log alone."""
        views: dict[str, MessageView] = {}
        thread = absent(*address)
        async for found in self.after(address, 0):
            if found.commit.n > n:
                break
            thread = advance(thread, found)
            for message_id in message_ids(found.commit):
                if ordinal_of(message_id) in ordinals:
                    views[message_id] = advance_message(views.get(message_id), message_id, found.commit)
        return views

    async def newest(self, address: Address, seq: int) -> StoredMessage | None:
        """The same as it is stored."""
        self.asked += 1
        shard = self.shard(address)
        ask = self._js.newest_at_leader if self.replicated else self._js.newest
        return await ask(event_stream(shard), event_subject(shard, address), seq)

    async def hold_reaches(self, address: Address, n: int, seq: int) -> None:
        """Hold that the log still has what a view of a thread was folded from.

        Raises:
            Corrupt: its last commit stands before ``seq``, where the thread's commit ``n`` was.
            Unavailable: the log does not answer.
        """
        last = await self.news(address, 0)
        if last is None or last.recorded.position.seq < seq:
            raise Corrupt(
                f"thread {address.thread} was at commit {n}, sequence {seq} of shard {self.shard(address)}, and the "
                "log ends before it: commits were lost. Bring the log back from a backup, or accept the loss by "
                "deleting the thread's view",
                code="log_cut_off",
            )

    def _fetch_missing(self, address: Address, where: str) -> Corrupt:
        return Corrupt(
            f"thread {address.thread}: no commit {where} in shard {self.shard(address)}, where there was one",
            code="missing_commit",
        )


def read(stored: StoredMessage, shard: int) -> Recorded:
    """A stored message as a commit.

    Raises:
        Corrupt: it is none; the message names the place.
    """
    try:
        return decode_recorded(stored.body, Position(shard, stored.seq), stored.headers.get(TRACE))
    except Corrupt as fault:
        fault.message = f"sequence {stored.seq} of shard {shard}: {fault.message}"
        fault.args = (fault.message,)
        raise
