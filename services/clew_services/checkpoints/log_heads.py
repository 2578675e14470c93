"""Heads brought up to some sequence of each shard, in a thread beside, since hashing many of them takes its time."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from functools import partial
from typing import NamedTuple, TypeVar

from clew_events.errors import Corrupt, Unavailable
from clew_events.subjects import Address, shard_of
from clew_projections.integrity.checkpoint import Checkpoint, ShardHeads
from clew_projections.integrity.heads_file import HeadsFile
from clew_projections.integrity.inclusion import Head
from clew_projections.integrity.verify import pages
from clew_projections.nats.jetstream import JetStream
from clew_projections.nats.stream_messages import StoredMessage

T = TypeVar("T")


class Taken(NamedTuple):
    """What came of taking a page: the threads of messages that continue no chain, and the seconds of processor time."""

    misfits: list[Address]
    seconds: float


class Heads:
    """The heads of a deployment, as far as they were read: an asynchronous :class:`HeadsFile`, which it closes."""

    def __init__(self, js: JetStream, shards: int, kept: HeadsFile) -> None:
        self.kept = kept
        self.shards = shards
        self._js = js
        self._beside = ThreadPoolExecutor(1, thread_name_prefix="clew-heads")

    async def close(self) -> None:
        """Finish what is under way and let the file go."""
        await asyncio.to_thread(self._beside.shutdown)
        self.kept.close()

    async def reach(self, shard: int, seq: int) -> None:
        """Read on until a sequence of a shard, and no further.

        Raises:
            Corrupt: it was read beyond that already.
            Unavailable: the log does not answer.
        """
        reached = (await self._do(lambda: self.kept.progress(shard))).seq
        if reached > seq:
            raise Corrupt(f"shard {shard} was read up to sequence {reached} already", code="beyond")
        async with aclosing(pages(self._js, shard, reached + 1, seq)) as found:
            async for page in found:
                await self._do(partial(self.kept.take, shard, page))
        await self._do(lambda: self.kept.skip_to(shard, seq))

    async def reached(self, shard: int) -> int:
        """The sequence up to which a shard was read."""
        return (await self._do(lambda: self.kept.progress(shard))).seq

    async def take(self, shard: int, page: Sequence[StoredMessage], *, until: int | None) -> Taken:
        """Take the next messages of a shard, and that it holds nothing more ``until`` a sequence, if that is known."""

        def taken() -> Taken:
            began = time.thread_time()
            misfits = self.kept.take(shard, page)
            if until is not None:
                self.kept.skip_to(shard, until)
            return Taken(misfits, time.thread_time() - began)

        return await self._do(taken)

    async def statement(self, shard: int) -> ShardHeads:
        """What a checkpoint would say of a shard as it was read."""
        root = await self._do(lambda: self.kept.root(shard))
        reached = await self._do(lambda: self.kept.progress(shard))
        return ShardHeads(
            seq=reached.seq,
            threads=root.leaves,
            commits=reached.commits,
            misfits=reached.misfits,
            root=root.hash.hex(),
        )

    async def proof(self, address: Address) -> tuple[Head, list[str]] | None:
        """A thread's head and its way to the root of its shard, as it was read; nothing if it has no commits."""
        shard = shard_of(address.thread, self.shards)
        head = await self._do(lambda: self.kept.head(shard, address))
        if head is None:
            return None
        beside = await self._do(lambda: self.kept.path(shard, address))
        return head, [each.hex() for each in beside]

    async def agreeing_heads(self, shard: int, checkpoint: Checkpoint) -> tuple[Head, ...]:
        """Every head of a shard, read up to where a checkpoint was made.

        Raises:
            Corrupt: the log is not what the checkpoint says any more.
            Unavailable: JetStream does not answer.
        """
        await self.reach(shard, checkpoint.shards[shard].seq)
        await hold_agrees(self, shard, checkpoint)
        return await self._do(lambda: tuple(self.kept.heads(shard)))

    async def forget(self) -> None:
        """Begin anew."""
        await self._do(self.kept.forget)

    async def _do(self, work: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._beside, work)
        except sqlite3.Error as fault:
            await loop.run_in_executor(self._beside, self.kept.renew)
            raise Unavailable(f"the file of heads could not be used, and is begun anew: {fault}") from fault


async def hold_agrees(heads: Heads, shard: int, checkpoint: Checkpoint) -> None:
    """Hold that a shard, read up to where a checkpoint was made, is what the checkpoint says.

    Raises:
        Corrupt: it is not.
    """
    found, said = await heads.statement(shard), checkpoint.shards[shard]
    if found != said:
        raise Corrupt(
            f"up to sequence {said.seq}, shard {shard} of the log is not what checkpoint {checkpoint.number} says: "
            f"it has {found.threads} threads and {found.commits} commits where there were {said.threads} and "
            f"{said.commits}. The history was changed; 'clew verify --against' says more",
            code="history_changed",
        )
