"""All chains of a shard followed at once: the end of each, and which of them broke. Some 400 bytes for each thread."""

from __future__ import annotations

from collections.abc import Iterator

from clew_events.subjects import Address, address_of, shard_of
from clew_projections.jetstream import Stored
from clew_projections.proof.links import NOTHING, Tip, follow


class Chains:
    """The chains of a shard, or a tenant's in it, as far as they were followed.

    A chain that breaks stays where it was: ``tips`` has its last good end, and ``broken`` the first sequence that does
    not fit.
    """

    def __init__(self, shard: int, shards: int, tenant: str | None = None) -> None:
        self.tips: dict[str, Tip] = {}
        self.broken: dict[str, int] = {}
        self.misplaced: dict[str, int] = {}
        self.commits = 0
        self.seq = 0
        self.removed = 0
        self.first_removed: int | None = None
        self._shard = shard
        self._shards = shards
        self._tenant = tenant

    def take(self, stored: Stored) -> None:
        """The next message of the shard, whosever it is."""
        self._count_removed(stored.seq)
        subject = stored.subject
        owner = address_of(subject)
        if self._tenant is not None and owner.tenant != self._tenant:
            return
        self.commits += 1
        tip = self.tips.get(subject)
        if tip is None:
            self.tips[subject] = tip = NOTHING
            if shard_of(owner.thread, self._shards) != self._shard:
                self.misplaced[subject] = stored.seq
        if subject in self.broken:
            return
        followed = follow(tip, owner, stored.body)
        if followed is None:
            self.broken[subject] = stored.seq
        else:
            self.tips[subject] = followed

    def end(self, last: int) -> None:
        """The shard's stream says that it reaches up to ``last``."""
        self._count_removed(last + 1)

    def heads(self) -> Iterator[tuple[Address, Tip]]:
        """Every thread that has a good commit, with the end of its chain."""
        for subject, tip in self.tips.items():
            if tip.hash is not None:
                yield address_of(subject), tip

    def _count_removed(self, seq: int) -> None:
        gap = seq - self.seq - 1
        if gap > 0:
            self.first_removed = self.first_removed or self.seq + 1
            self.removed += gap
        self.seq = seq
