"""The index for an event loop: queries run in threads, each with its own reader."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final, Self, TypeVar

from clew_events.errors import Corrupt, Unavailable
from clew_events.list_query import ListThreads
from clew_events.list_reply import ThreadList
from clew_projections.index.database import open_for_reading
from clew_projections.index.index_folder import IndexFolder, Lock, Pointer
from clew_projections.index.index_reader import IndexReader
from clew_projections.index.list_page import WrittenList
from clew_projections.index.notes import notes
from clew_projections.page_size import PAGE_BYTES

T = TypeVar("T")
BUILDING: Final = "index_building"
"""The error code while this machine has no index yet: expected at its first start, and when the index is rebuilt."""
THREADS: Final = 4
PATIENCE: Final = 5.0
"""Seconds that a query waits by default until the index has reached ``at_least``."""
_SOON: Final = 0.002
_LATER: Final = 0.05


class Index:
    """An index file, which the indexer writes. A context manager; otherwise call :meth:`close`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="index")
        self._mine = threading.local()
        self._readers: list[IndexReader] = []
        self._opening = threading.Lock()

    async def list(self, tenant: str, query: ListThreads) -> ThreadList:
        """A page of a tenant's threads, to be looked into; raises what :meth:`page` raises."""
        return (await self.page(tenant, query)).read()

    async def page(self, tenant: str, query: ListThreads, room: int = PAGE_BYTES) -> WrittenList:
        """Read a page of a tenant's threads; see :meth:`IndexReader.page`. Does not wait for ``at_least``.

        Raises:
            Unavailable: there is no index yet, or it cannot be read now.
        """
        return await self.ask(lambda reader: reader.page(tenant, query, room))

    async def ask(self, question: Callable[[IndexReader], T]) -> T:
        """Ask a reader of the file a question, in a thread, and return its answer, or raise what it raises.

        Raises:
            Unavailable: there is no index yet, or it cannot be read now.
        """
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: question(self._reader()))
        except RuntimeError as fault:
            if self._threads._shutdown:  # noqa: SLF001 - there is no public attribute
                raise Unavailable("the index is closed", code="index_not_ready") from fault
            raise

    async def marks(self) -> dict[int, int]:
        """By shard, the sequence up to which everything is in the index."""
        return await self.ask(lambda reader: reader.marks())

    async def wait_until(self, shard: int, seq: int, patience: float = PATIENCE) -> None:
        """Return once everything of a shard up to a sequence is in the index.

        Raises:
            Unavailable: it is not after ``patience`` seconds (``index_behind``), or there is no index.
        """
        loop = asyncio.get_running_loop()
        until, pause = loop.time() + patience, _SOON
        while (position := (await self.marks()).get(shard, 0)) < seq:
            if (left := until - loop.time()) <= 0:
                raise Unavailable(
                    f"the index is at {shard}-{position}, and 'at_least' is {shard}-{seq}: retry later",
                    code="index_behind",
                    param="at_least",
                )
            await asyncio.sleep(min(pause, left))
            pause = min(pause * 2, _LATER)

    def close(self) -> None:
        """Close the file after the running queries."""
        self._threads.shutdown()
        for reader in self._readers:
            reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _reader(self) -> IndexReader:
        reader: IndexReader | None = getattr(self._mine, "reader", None)
        if reader is None:
            reader = self._mine.reader = open_for_reading(self.path)
            with self._opening:
                self._readers.append(reader)
        return reader


SLICE: Final = 0.25
"""Seconds to wait for a generation before checking whether it is still current."""
LOOK: Final = 0.5
"""Seconds between two looks whether the open file is still current, so that a deleted one is closed if nobody asks."""


class CurrentIndex:
    """Queries the current generation of a machine's index. :mod:`clew_projections.indexer` writes it.

    A file that is not current any more is closed after the running queries, within :data:`LOOK` seconds.
    """

    def __init__(self, folder: IndexFolder) -> None:
        self.folder = folder
        self._index: Index | None = None
        self._file: tuple[int, int] | None = None
        self._reading: Lock | None = None
        self._look: asyncio.TimerHandle | None = None
        self._closing: set[asyncio.Task[None]] = set()

    async def list(self, tenant: str, query: ListThreads) -> ThreadList:
        """A page of a tenant's threads, to be looked into; raises what :meth:`page` raises."""
        return (await self.page(tenant, query)).read()

    async def page(self, tenant: str, query: ListThreads, room: int = PAGE_BYTES) -> WrittenList:
        """Read a page of a tenant's threads; see :meth:`Index.page`. Does not wait for ``at_least``.

        Raises:
            Invalid: the query is invalid or takes too long.
            Unavailable: the index is missing or being built: retry later. The message has the progress.
        """
        return await self._ask(lambda index: index.page(tenant, query, room))

    async def ask(self, question: Callable[[IndexReader], T]) -> T:
        """Ask a reader of the current generation a question; raises what the reader raises, and as :meth:`page`."""
        return await self._ask(lambda index: index.ask(question))

    async def marks(self) -> dict[int, int]:
        """By shard, the sequence up to which everything is in the index.

        Raises:
            Unavailable: as :meth:`list` does.
        """
        return await self._ask(lambda index: index.marks())

    async def wait_until(self, shard: int, seq: int, patience: float = PATIENCE) -> None:
        """Return once everything of a shard up to a sequence is in the index.

        Raises:
            Unavailable: it is not after ``patience`` seconds (``index_behind``); or as :meth:`list` does.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + patience
        while True:
            waiting = max(0.0, min(until - loop.time(), SLICE))
            try:
                return await self._ask(partial(Index.wait_until, shard=shard, seq=seq, patience=waiting))
            except Unavailable as fault:
                if fault.code != "index_behind" or loop.time() >= until:
                    raise

    async def close(self) -> None:
        """Close the index after the running queries."""
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
            # The indexer builds another generation.
            self.folder.suspect(pointer.generation)
            raise _describe_build(None) from fault
        index, _ = self._asked()
        return await question(index)

    def _asked(self) -> tuple[Index, Pointer]:
        pointer = self.folder.pointer()
        if pointer is None:
            raise _describe_build(None)
        path = self.folder.file(pointer.generation)
        try:
            found = path.stat()
        except FileNotFoundError:
            raise _describe_build(0.0) from None
        if not pointer.ready:
            raise _describe_build(_progress(path, pointer))
        file = (found.st_dev, found.st_ino)
        if self._index is None or file != self._file:
            self._leave()
            reading = self.folder.reading(pointer.generation)
            if not _take(reading):
                raise _describe_build(None)  # it is being deleted
            self._index, self._file, self._reading = Index(path), file, reading
            self._look_later()
        return self._index, pointer

    def _look_later(self) -> None:
        self._look = asyncio.get_running_loop().call_later(LOOK, self._leave_if_replaced)

    def _leave_if_replaced(self) -> None:
        pointer = self.folder.pointer()
        try:
            found = self.folder.file(pointer.generation).stat() if pointer is not None else None
        except OSError:
            found = None
        if found is None or (found.st_dev, found.st_ino) != self._file:
            self._leave()
        else:
            self._look_later()

    def _leave(self) -> None:
        index, self._index = self._index, None
        if index is not None and self._reading is not None and self._look is not None:
            self._look.cancel()
            closing = asyncio.create_task(asyncio.to_thread(_close, index, self._reading))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)


def _take(reading: Lock) -> bool:
    try:
        return reading.take(shared=True)
    except OSError as fault:
        raise Unavailable(f"the index cannot be read: {fault}", code="index_unavailable") from fault


def _close(index: Index, reading: Lock) -> None:
    index.close()
    reading.give_back()


def _progress(path: Path, pointer: Pointer) -> float:
    reached = {str(place.shard): place.seq for place in notes(path).places}
    whole = sum(pointer.goal.values())
    return sum(min(reached.get(shard, 0), seq) for shard, seq in pointer.goal.items()) / max(whole, 1)


def _describe_build(progress: float | None) -> Unavailable:
    how_far = "" if progress is None else f", {progress:.0%} so far"
    return Unavailable(f"the index of threads is being built on this machine{how_far}: retry later", code=BUILDING)
