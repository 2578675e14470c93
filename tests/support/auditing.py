"""The plainest audit there can be, to hold others against: every thread of the log in memory, folded link by link."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from msgspec import Struct

from clew_events.errors import Corrupt
from clew_events.subjects import Address, address_of, event_stream, event_subject, shard_of, shard_subjects
from clew_projections.apply import advance
from clew_projections.findings import Finding
from clew_projections.history.histories import read
from clew_projections.nats.jetstream import JetStream
from clew_projections.nats.replica_reads import until
from clew_projections.nats.stream_messages import StoredMessage
from clew_projections.views import ItemView, ThreadView, absent
from clew_services.compose import Clew
from support.commits import advance_named


class Folded(Struct, kw_only=True):
    """A thread as the log has it: its view and messages up to the first bad commit, which ``finding`` names."""

    view: ThreadView
    messages: dict[str, ItemView]
    finding: Finding | None = None


class Audit:
    """Reads the log of a deployment from end to end."""

    def __init__(self, js: JetStream, shards: int, *, replicated: bool = True) -> None:
        self._js = js
        self._shards = shards
        self._replicated = replicated

    async def verify(self, address: Address | None = None) -> AsyncIterator[tuple[Address, Folded]]:
        """Every thread, or one, folded from the log with its chain checked, shard by shard.

        Raises:
            Unavailable: the log does not answer.
        """
        for shard in self.shards_of(address):
            for item in (await self.fold(shard, address)).items():
                yield item

    async def fold(self, shard: int, address: Address | None = None) -> dict[Address, Folded]:
        """The threads of a shard, or one of them; all are held in memory at once."""
        threads: dict[Address, Folded] = {}
        async for stored in self._stored(shard, address):
            owner = address_of(stored.subject)
            thread = threads.get(owner)
            if thread is None:
                threads[owner] = thread = Folded(view=absent(*owner), messages={})
            if thread.finding is None:
                thread.finding = _continue(thread, stored, shard)
        return threads

    def shards_of(self, address: Address | None) -> Sequence[int]:
        """The shards to look at: all, or the one that holds a thread."""
        return range(self._shards) if address is None else (shard_of(address.thread, self._shards),)

    async def _stored(self, shard: int, address: Address | None) -> AsyncIterator[StoredMessage]:
        subject = shard_subjects(shard) if address is None else event_subject(shard, address)
        if self._replicated:
            # A replica that is behind would end too early, and what it lacks would count as checked.
            last = await self._js.newest_at_leader(event_stream(shard), subject, 0)
            if last is not None:
                async for stored in until(self._js, event_stream(shard), subject, 1, last.seq):
                    yield stored
            return
        seq, more = 1, True
        while more:
            page, more = await self._js.after(event_stream(shard), subject, seq)
            for stored in page:
                yield stored
            seq = page[-1].seq + 1 if page else seq


def _continue(thread: Folded, stored: StoredMessage, shard: int) -> Finding | None:
    """Fold one more commit into a thread, or say why it cannot be."""
    try:
        recorded = read(stored, shard)
        view = advance(thread.view, recorded)
        thread.messages = advance_named(thread.messages, recorded.commit)
    except Corrupt as fault:
        return Finding(
            tenant=thread.view.tenant,
            thread=thread.view.id,
            code=fault.code,
            what=fault.message,
            shard=shard,
            seq=stored.seq,
        )
    thread.view = view
    return None


def audit(clew: Clew) -> Audit:
    """An audit of a composed deployment."""
    return Audit(clew.js, clew.deployment.shards, replicated=clew.deployment.replicas > 1)
