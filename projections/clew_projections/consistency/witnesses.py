"""Witnesses: comparison of the log with the views, the index and the positions of readers that derive from it.

None of them can be ahead of the log: if one is, the log has lost or changed commits. They prove nothing to someone who
does not trust the operator; a checkpoint does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Final

from msgspec import Struct

from clew_events.errors import Corrupt
from clew_events.subjects import Address
from clew_projections.consistency.index_check import IndexProof
from clew_projections.findings import Finding
from clew_projections.integrity.links import Link
from clew_projections.kv.bucket import Bucket
from clew_projections.kv.key_names import thread_key
from clew_projections.kv.position import read_position
from clew_projections.views import decode_thread

VIEW: Final = "its view"
INDEX: Final = "the index of this machine"
PROJECTION: Final = "the views"


class Witness(Struct, frozen=True):
    """A witness ``by`` that a thread had commit ``n``, with its hash if known."""

    by: str
    n: int
    hash: str | None = None


class ReaderPosition(Struct, frozen=True):
    """The position of a reader in a shard."""

    by: str
    shard: int
    seq: int


class Witnesses:
    """Reads the witnesses: the views of one generation and, where this machine has one, the index."""

    def __init__(self, threads: Bucket, shards: int, index: IndexProof | None = None) -> None:
        self._threads = threads
        self._shards = shards
        self._index = index

    async def find(self, address: Address) -> tuple[Witness, ...]:
        """Return what the witnesses have of a thread; empty if nothing.

        Raises:
            Unavailable: a bucket or the index does not answer.
        """
        known: list[Witness] = []
        value = await self._threads.latest(thread_key(address))
        if value is not None and value.body:
            try:
                view = decode_thread(value.body)
                known.append(Witness(VIEW, view.n, view.hash))
            except Corrupt:
                known.append(Witness(VIEW, 1))
        if self._index is not None and (head := await self._index.head(address)) is not None:
            known.append(Witness(INDEX, *head))
        return tuple(known)

    async def positions(self) -> tuple[ReaderPosition, ...]:
        """Return the positions of the readers. Call this before reading the end of the log.

        Raises:
            Unavailable: a bucket or the index does not answer.
        """
        indexed = await self._index.marks() if self._index is not None else {}
        return (
            *[
                ReaderPosition(PROJECTION, shard, await read_position((self._threads,), shard))
                for shard in range(self._shards)
            ],
            *(ReaderPosition(INDEX, shard, seq) for shard, seq in indexed.items()),
        )


def check_known(address: Address, shard: int, known: Iterable[Witness], links: Sequence[Link]) -> Finding | None:
    """Return the first contradiction between witnesses of a thread and its links in the log; ``None`` if none."""
    last = max((link.n for link in links), default=0)
    for each in known:
        if not links:
            code, what = "thread_removed", f"{each.by} has {each.n} commits of it, and the log has none"
        elif each.n > last:
            code, what = "shortened", f"{each.by} has {each.n} commits of it, and the log ends with commit {last}"
        elif each.hash is not None and each.hash not in {link.hash for link in links if link.n == each.n}:
            code, what = (
                "rewritten",
                f"{each.by} derives from a commit {each.n} with the hash {each.hash}, which is not in the log",
            )
        else:
            continue
        return Finding(tenant=address.tenant, thread=address.thread, code=code, what=what, shard=shard)
    return None


def check_positions(positions: Iterable[ReaderPosition], ends: Sequence[int]) -> Iterator[Finding]:
    """Yield a finding for every shard that ends before the position of a reader, once a shard."""
    ahead = sorted(positions, key=lambda each: (each.shard, -each.seq))
    for shard, readers in groupby(ahead, key=lambda each: each.shard):
        each = next(readers)
        if shard < len(ends) and each.seq > ends[shard]:
            what = (
                f"shard {shard} ends at sequence {ends[shard]}, and {each.by} follow from it up to {each.seq}: the log "
                "was cut off, created again, or restored from an older copy"
            )
            yield Finding(tenant="", thread="", code="log_cut_off", what=what, shard=shard, seq=ends[shard])
