"""Queries on a pack without a server, answered by the same code as those of a deployment."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from typing import Final

from clew_events.subjects import event_stream
from clew_projections.history.histories import Histories
from clew_projections.history.stretch import HistoryReader
from clew_projections.history.tenant_histories import TenantHistories
from clew_projections.nats.stream_messages import StoredMessage
from clew_projections.nats.stream_reads import PAGE
from clew_projections.packs.pack import Pack, Segment
from clew_projections.state.current import CurrentState, StateFromLog
from clew_services.queries.history_pages import HistoryPages
from clew_services.queries.lists import Lists
from clew_services.queries.past import Past
from clew_services.queries.reader import Reader
from clew_services.threads.cache import Memory


class Offline:
    """The reader and the histories of a pack."""

    def __init__(self, pack: Pack) -> None:
        streams = PackedStreams(pack)
        self.histories = Histories(streams, pack.opening.shards, replicated=False)
        from_log = StateFromLog(self.histories)
        current, memory = CurrentState(from_log, from_log), Memory()
        trail = HistoryReader(streams, self.histories)
        self.reader = Reader(
            current,
            self.histories,
            memory,
            pages=HistoryPages(trail, current, memory),
            past=Past(trail, current, memory),
            feeds=None,
            checkpoints=None,
            erasures=None,
            lists=Lists(pack.opening.shards, TenantHistories(streams, self.histories)),
        )


_KEPT: Final = 4
"""Histories cached at once; readers of a pack read one thread at a time."""


class PackedStreams:
    """The streams in a pack, for :class:`clew_projections.history.log_reads.LogSource`.

    Supports only subjects of single threads, with ``*`` for the tenant if it is not known. Every method raises
    ``Corrupt`` where the pack differs from its manifest.
    """

    def __init__(self, pack: Pack) -> None:
        self._pack = pack
        self.shards = pack.opening.shards
        self._shards = {event_stream(shard): shard for shard in range(pack.opening.shards)}
        self._histories: dict[str, list[StoredMessage]] = {}

    async def after(self, stream: str, subject: str, seq: int, limit: int = PAGE) -> tuple[list[StoredMessage], bool]:
        """Messages on a subject from a sequence on, at most ``limit``, and whether there are more."""
        history = self.messages(stream, subject)
        start = bisect_left(history, seq, key=_seq)
        return history[start : start + limit], len(history) > start + limit

    async def at(
        self,
        stream: str,
        seqs: Sequence[int],
        *,
        small: bool = False,  # noqa: ARG002 - required by Reads
        first_on: str | None = None,  # noqa: ARG002 - required by Reads
    ) -> list[StoredMessage | None]:
        """The messages at some sequences, each ``None`` if there is none."""
        return [self._at(stream, seq) for seq in seqs]

    async def newest(self, stream: str, subject: str, after: int) -> StoredMessage | None:
        """The last message on a subject if it stands after a sequence."""
        history = self.messages(stream, subject)
        return history[-1] if history and history[-1].seq > after else None

    async def newest_at_leader(self, stream: str, subject: str, after: int) -> StoredMessage | None:
        """Return :meth:`newest`: a pack has no replicas."""
        return await self.newest(stream, subject, after)

    async def newest_until(self, stream: str, subject: str, seq: int) -> StoredMessage | None:
        """The last message on a subject that stands at a sequence or before it."""
        history = self.messages(stream, subject)
        end = bisect_right(history, seq, key=_seq)
        return history[end - 1] if end else None

    async def refresh(self) -> None:
        """Return: nothing changes in a pack."""

    def may_be_erased(self, subject: str) -> bool:
        """Return false: a pack has no views."""
        del subject
        return False

    async def from_leader(self, stream: str, request: Mapping[str, object]) -> StoredMessage | None:
        """Return ``None``: a pack has no leader with more messages."""
        del stream, request
        return None

    def _at(self, stream: str, seq: int) -> StoredMessage | None:
        for history in self._histories.values():
            place = bisect_left(history, seq, key=_seq)
            if history[place : place + 1] and history[place].seq == seq and self._is_in(stream, history[place]):
                return history[place]
        segments = self._pack.segments[self._shards[stream]]
        place = bisect_left(segments, seq, key=_last)
        if place == len(segments):
            return None
        return next((each for each in self._pack.stored(segments[place]) if each.seq == seq), None)

    def _is_in(self, stream: str, found: StoredMessage) -> bool:
        return found.subject.startswith(f"clew.evt.{self._shards[stream]:02d}.")

    def messages(self, stream: str, subject: str) -> list[StoredMessage]:
        """All messages on a subject, in the order of the log."""
        if (known := self._histories.get(subject)) is not None:
            return known
        _, any_tenant, thread = subject.partition("*")
        needle = f'{thread}"'.encode() if any_tenant else f'"{subject}"'.encode()
        found: list[StoredMessage] = []
        for segment in self._pack.segments[self._shards[stream]]:
            # An index is much smaller than its bodies, which are unpacked only where it names the subject.
            if needle in self._pack.content(segment.index.name):
                found += [
                    each
                    for each in self._pack.stored(segment)
                    if each.subject == subject or (any_tenant and each.subject.endswith(thread))
                ]
        while len(self._histories) >= _KEPT:
            del self._histories[next(iter(self._histories))]
        self._histories[subject] = found
        return found


def _seq(stored: StoredMessage) -> int:
    return stored.seq


def _last(segment: Segment) -> int:
    return segment.last
