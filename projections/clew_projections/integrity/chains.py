"""All chains of a shard followed at once: the end of each, and which are broken. Takes some 400 bytes for a thread."""

from __future__ import annotations

from collections.abc import Iterator

from clew_events.events import ForkedFrom
from clew_events.subjects import address_of, is_thread, shard_of
from clew_projections.integrity.erasure_check import concerns_erasures
from clew_projections.integrity.inclusion import Head
from clew_projections.integrity.links import NOTHING, Tip, follow, read_next
from clew_projections.nats.stream_messages import StoredMessage


class Chains:
    """The chains of a shard up to some sequence, of threads and of tenants' own histories.

    ``tips`` has the end of each chain, skipping messages that do not continue it; ``misfits`` counts these. ``broken``
    has the first sequence of each thread that does not fit, ``misplaced`` the threads that belong in another shard, and
    ``erasures`` those that lost contents or are about to, and ``forks`` what threads were forked from and where that
    stands. ``threads``, ``commits`` and these four are of a ``tenant`` alone, if one is given.
    """

    def __init__(self, shard: int, shards: int, tenant: str | None = None) -> None:
        self.tips: dict[str, Tip] = {}
        self.broken: dict[str, int] = {}
        self.misplaced: dict[str, int] = {}
        self.erasures: dict[str, None] = {}
        self.forks: dict[str, tuple[ForkedFrom, int]] = {}
        self.threads = 0
        self.commits = 0
        self.misfits = 0
        self.seq = 0
        self.removed = 0
        self.first_removed: int | None = None
        self._shard = shard
        self._shards = shards
        self._tenant = tenant

    def take(self, stored: StoredMessage) -> None:
        """Add the next message of the shard, of any tenant."""
        self._count_removed(stored.seq)
        subject = stored.subject
        owner = address_of(subject)
        ours = self._tenant is None or owner.tenant == self._tenant
        self.commits += ours
        tip = self.tips.get(subject)
        if tip is None:
            self.tips[subject] = tip = NOTHING
            self.threads += ours and is_thread(owner)
            if ours and shard_of(owner.thread, self._shards) != self._shard:
                self.misplaced[subject] = stored.seq
        # Other tenants' commits count only for the ends of their chains.
        continued = read_next(tip, owner, stored.body) if ours else None
        if continued is not None:
            commit, followed = continued
            if commit.n == 1 and (forked := commit.forked_from) is not None:
                self.forks[subject] = forked, stored.seq
            if concerns_erasures(commit):
                self.erasures[subject] = None
        else:
            if ours:
                self.broken.setdefault(subject, stored.seq)
            misfit = follow(tip, owner, stored.body)
            if misfit is None:
                self.misfits += 1
                return
            followed = misfit
        self.tips[subject] = followed

    def end(self, last: int) -> None:
        """Note that the shard's stream ends at sequence ``last``."""
        self._count_removed(last + 1)

    def heads(self) -> Iterator[Head]:
        """Yield the head of every thread that has a valid commit."""
        for subject, tip in self.tips.items():
            if tip.hash is not None:
                yield Head(*address_of(subject), tip.n, tip.hash)

    def _count_removed(self, seq: int) -> None:
        gap = seq - self.seq - 1
        if gap > 0:
            self.first_removed = self.first_removed or self.seq + 1
            self.removed += gap
        self.seq = seq
