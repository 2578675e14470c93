"""The heads of a log, read up to a sequence of each shard, and hashed in a thread, because hashing many is slow."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from functools import partial
from typing import NamedTuple, TypeVar

from clew_events.errors import Corrupt, Unavailable
from clew_events.subjects import Address, shard_of
from clew_projections.history.log_reads import LogReads
from clew_projections.index.database import is_busy, is_no_room
from clew_projections.integrity.checkpoint import Checkpoint, ShardHeads
from clew_projections.integrity.heads_file import HeadsFile
from clew_projections.integrity.inclusion import Head
from clew_projections.integrity.verify import pages
from clew_projections.nats.stream_messages import StoredMessage

T = TypeVar("T")


class PageResult(NamedTuple):
    """What came of taking a page: the threads of messages that continue no chain, and the seconds of processor time."""

    misfits: list[Address]
    seconds: float


class Heads:
    """The heads of a deployment, as far as they were read: an asynchronous :class:`HeadsFile`, which it closes.

    Every method may raise ``Unavailable``: the file cannot be used, as where the disk is full; or it is of no use, and
    is created again.
    """

    def __init__(self, js: LogReads, shards: int, kept: HeadsFile) -> None:
        self._kept = kept
        self.shards = shards
        self._js = js
        self._beside = ThreadPoolExecutor(1, thread_name_prefix="clew-heads")

    async def close(self) -> None:
        """Finish the operation in progress, and close the file."""
        await asyncio.to_thread(self._beside.shutdown)
        self._kept.close()

    async def reach(self, shard: int, seq: int) -> None:
        """Read a shard up to a sequence.

        Raises:
            Corrupt: it was read beyond that already.
            Unavailable: the log does not answer.
        """
        reached = (await self._do(lambda: self._kept.progress(shard))).seq
        if reached > seq:
            raise Corrupt(f"shard {shard} was read up to sequence {reached} already", code="beyond")
        async with aclosing(pages(self._js, shard, reached + 1, seq)) as found_pages:
            async for page in found_pages:
                await self._do(partial(self._kept.take, shard, page))
        await self._do(lambda: self._kept.skip_to(shard, seq))

    async def reached(self, shard: int) -> int:
        """The sequence up to which a shard was read."""
        return (await self._do(lambda: self._kept.progress(shard))).seq

    async def take(self, shard: int, page: Sequence[StoredMessage], *, until: int | None) -> PageResult:
        """Take the next messages of a shard, and that it holds nothing more ``until`` a sequence, if that is known."""

        def take_page() -> PageResult:
            began = time.thread_time()
            misfits = self._kept.take(shard, page)
            if until is not None:
                self._kept.skip_to(shard, until)
            return PageResult(misfits, time.thread_time() - began)

        return await self._do(take_page)

    async def statement(self, shard: int) -> ShardHeads:
        """A checkpoint's entry for a shard, as far as it was read."""
        root = await self._do(lambda: self._kept.root(shard))
        reached = await self._do(lambda: self._kept.progress(shard))
        return ShardHeads(
            seq=reached.seq,
            threads=root.leaves,
            commits=reached.commits,
            misfits=reached.misfits,
            root=root.hash.hex(),
        )

    async def proof(self, address: Address) -> tuple[Head, list[str]] | None:
        """A thread's head and its path to the root of its shard, as far as read; ``None`` if it has no commits."""
        shard = shard_of(address.thread, self.shards)
        head = await self._do(lambda: self._kept.head(shard, address))
        if head is None:
            return None
        path = await self._do(lambda: self._kept.path(shard, address))
        return head, [sibling.hex() for sibling in path]

    async def agreeing_heads(self, shard: int, checkpoint: Checkpoint) -> tuple[Head, ...]:
        """All heads of a shard as of a checkpoint.

        Raises:
            Corrupt: the log differs from the checkpoint.
            Unavailable: JetStream does not answer.
        """
        await self.reach(shard, checkpoint.shards[shard].seq)
        await check_agrees(self, shard, checkpoint)
        return await self._do(lambda: tuple(self._kept.heads(shard)))

    async def forget(self) -> None:
        """Discard all heads, to read the log from its beginning."""
        await self._do(self._kept.forget)

    async def signed(self) -> str | None:
        """What was last noted with :meth:`note_signed`."""
        return await self._do(lambda: self._kept.signed)

    async def note_signed(self, checkpoint: str) -> None:
        """Note the hash of a checkpoint that is known to agree with these heads."""
        await self._do(partial(setattr, self._kept, "signed", checkpoint))

    async def _do(self, work: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._beside, work)
        except (sqlite3.Error, OSError) as fault:
            if isinstance(fault, OSError) or is_no_room(fault) or is_busy(fault):
                raise Unavailable(f"the file of heads cannot be used now: {fault}") from fault
            with contextlib.suppress(OSError):  # then it is tried again
                await loop.run_in_executor(self._beside, self._kept.renew)
            raise Unavailable(f"the file of heads could not be used, and is created again: {fault}") from fault


async def check_agrees(heads: Heads, shard: int, checkpoint: Checkpoint) -> None:
    """Check that a shard, read up to a checkpoint's position, matches the checkpoint.

    Raises:
        Corrupt: it does not.
    """
    actual, signed = await heads.statement(shard), checkpoint.shards[shard]
    if actual != signed:
        raise Corrupt(
            f"up to sequence {signed.seq}, shard {shard} of the log is not what checkpoint {checkpoint.number} says: "
            f"it has {actual.threads} threads and {actual.commits} commits where there were {signed.threads} and "
            f"{signed.commits}. The history was changed; 'clew verify --against' says more",
            code="history_changed",
        )
