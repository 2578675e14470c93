"""The past of threads of a hundred commits, spread over a long log, beside a batched direct get of the same commits."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from bench.lane import Lane, in_turn
from bench.load import Measured, closed_loop
from clew_events.queries import GetHistory, GetThread
from clew_events.subjects import Address, event_stream, event_subject, shard_of
from clew_services.compose import Clew

LENGTH: Final = 100


async def past_lanes(clew: Clew, threads: Sequence[Address], seconds: float) -> list[Lane]:
    """Histories, and states as of the last commit but ten, of threads that were just read and of others.

    One at a time, over a few threads, so that the blocks they are in are at hand for both sides: what is compared is
    the work, and not the disk.
    """
    runs = _Runs(clew, threads, seconds)
    lanes: list[Lane] = []
    for remembered in (True, False):
        await runs.remember()
        for name, ours in (("history", runs.history), ("as of", runs.as_of)):
            clewed, raw = await in_turn(partial(ours, remembered=remembered), runs.raw)
            title = f"{name}, {LENGTH} commits{'' if remembered else ', not remembered'}"
            lanes.append(Lane(name=title, clew=clewed, raw_name="batched get", raw=raw, goal=1 / 3))
    return lanes


class _Runs:
    def __init__(self, clew: Clew, threads: Sequence[Address], seconds: float) -> None:
        self._clew = clew
        self._threads = threads
        self._seconds = seconds

    async def remember(self) -> None:
        for address in self._threads:
            await self._clew.reader.thread(address.tenant, GetThread(thread_id=address.thread))

    async def raw(self) -> Measured:
        async def get(number: int) -> None:
            address = self._threads[number % len(self._threads)]
            shard = shard_of(address.thread, self._clew.deployment.shards)
            page, _ = await self._clew.js.after(event_stream(shard), event_subject(shard, address), 1, LENGTH)
            _hold(len(page))

        return await closed_loop(get, workers=1, seconds=self._seconds)

    async def history(self, *, remembered: bool) -> Measured:
        async def page(number: int) -> None:
            address = self._next(number, remembered=remembered)
            query = GetHistory(thread_id=address.thread, limit=LENGTH)
            _hold(len((await self._clew.reader.history(address.tenant, query)).commits))

        return await closed_loop(page, workers=1, seconds=self._seconds)

    async def as_of(self, *, remembered: bool) -> Measured:
        async def state(number: int) -> None:
            address = self._next(number, remembered=remembered)
            await self._clew.reader.past.thread(address.tenant, address.thread, LENGTH - 10)

        return await closed_loop(state, workers=1, seconds=self._seconds)

    def _next(self, number: int, *, remembered: bool) -> Address:
        if not remembered:
            self._clew.memory.clear()
        return self._threads[number % len(self._threads)]


def _hold(found: int) -> None:
    if found != LENGTH:
        raise RuntimeError(f"{found} commits of {LENGTH}")
