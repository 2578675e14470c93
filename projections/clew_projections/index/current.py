"""The index that is asked, whichever generation that is: everybody who asks follows a switch by themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from clew_events.errors import Corrupt, Unavailable
from clew_events.listed import ThreadList
from clew_events.listing import ListThreads
from clew_projections.index.asking import PATIENCE, Index
from clew_projections.index.folder import Folder, Pointer
from clew_projections.index.ledger import notes
from clew_projections.index.written import WrittenList

T = TypeVar("T")
SLICE: Final = 0.25
"""Seconds to wait for a generation to get somewhere before looking whether it is still the one."""


class CurrentIndex:
    """Asks the current generation of a machine's index. Somebody else feeds it: see :mod:`.feeding`."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._index: Index | None = None
        self._file: tuple[int, int] | None = None
        self._closing: set[asyncio.Task[None]] = set()

    async def list(self, tenant: str, query: ListThreads) -> ThreadList:
        """A page of a tenant's threads, to be looked into; raises what :meth:`page` raises."""
        return (await self.page(tenant, query)).read()

    async def page(self, tenant: str, query: ListThreads) -> WrittenList:
        """A page of a tenant's threads; see :meth:`Index.page`. ``at_least`` is not waited for.

        Raises:
            Invalid: the question is none, or takes too long.
            Unavailable: the index is not there, or being built: ask again later. The message says how far it is.
        """
        return await self._ask(lambda index: index.page(tenant, query))

    async def marks(self) -> dict[int, int]:
        """By shard, the sequence up to which everything is in the index.

        Raises:
            Unavailable: as :meth:`list` does.
        """
        return await self._ask(lambda index: index.marks())

    async def reached(self, shard: int, seq: int, patience: float = PATIENCE) -> None:
        """Return once everything of a shard up to a sequence is in the index.

        Raises:
            Unavailable: it is not after ``patience`` seconds (``index_behind``); or as :meth:`list` does.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + patience
        while True:
            waiting = max(0.0, min(until - loop.time(), SLICE))
            try:
                return await self._ask(partial(Index.reached, shard=shard, seq=seq, patience=waiting))
            except Unavailable as fault:
                if fault.code != "index_behind" or loop.time() >= until:
                    raise

    async def close(self) -> None:
        """Close what is open, after the questions that were asked are answered."""
        self._leave()
        await asyncio.gather(*self._closing)

    async def _ask(self, question: Callable[[Index], Awaitable[T]]) -> T:
        index, pointer = self._asked()
        try:
            return await question(index)
        except Unavailable:
            if self._index is index:
                raise
        except Corrupt as fault:
            # Not for whoever asks to worry about: its feeder makes another.
            self._folder.suspect(pointer.generation)
            raise _built(None) from fault
        index, _ = self._asked()
        return await question(index)

    def _asked(self) -> tuple[Index, Pointer]:
        pointer = self._folder.pointer()
        if pointer is None:
            raise _built(None)
        path = self._folder.file(pointer.generation)
        try:
            found = path.stat()
        except FileNotFoundError:
            raise _built(0.0) from None
        if not pointer.ready:
            raise _built(_progress(path, pointer))
        file = (found.st_dev, found.st_ino)
        if self._index is None or file != self._file:
            self._leave()
            self._index, self._file = Index(path), file
        return self._index, pointer

    def _leave(self) -> None:
        index, self._index = self._index, None
        if index is not None:
            closing = asyncio.create_task(asyncio.to_thread(index.close))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)


def _progress(path: Path, pointer: Pointer) -> float:
    reached = {str(place.shard): place.seq for place in notes(path).places}
    whole = sum(pointer.goal.values())
    return sum(min(reached.get(shard, 0), seq) for shard, seq in pointer.goal.items()) / max(whole, 1)


def _built(progress: float | None) -> Unavailable:
    how_far = "" if progress is None else f", {progress:.0%} so far"
    return Unavailable(
        f"the index of threads is being built on this machine{how_far}: ask again later", code="index_building"
    )
