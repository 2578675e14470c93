"""The index for an event loop: questions are answered in threads, each with a reader of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, Self, TypeVar

from clew_events.errors import Unavailable
from clew_events.listed import ThreadList
from clew_events.listing import ListThreads
from clew_projections.index.answering import IndexReader
from clew_projections.index.opening import open_for_reading
from clew_projections.index.written import WrittenList

T = TypeVar("T")
THREADS: Final = 4
PATIENCE: Final = 5.0
"""Seconds that a question waits for the index to come to where it should be, unless it says otherwise."""
_SOON: Final = 0.002
_LATER: Final = 0.05


class Index:
    """The file at a path, which somebody else writes. A context manager, or :meth:`close` it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="index")
        self._mine = threading.local()
        self._readers: list[IndexReader] = []
        self._opening = threading.Lock()

    async def list(self, tenant: str, query: ListThreads) -> ThreadList:
        """A page of a tenant's threads, to be looked into; raises what :meth:`page` raises."""
        return (await self.page(tenant, query)).read()

    async def page(self, tenant: str, query: ListThreads) -> WrittenList:
        """A page of a tenant's threads, as the index is; see :meth:`IndexReader.page`. ``at_least`` is not waited for.

        Raises:
            Unavailable: there is no index yet, or it cannot be read for now.
        """
        return await self._ask(lambda reader: reader.page(tenant, query))

    async def marks(self) -> dict[int, int]:
        """By shard, the sequence up to which everything is in the index."""
        return await self._ask(lambda reader: reader.marks())

    async def reached(self, shard: int, seq: int, patience: float = PATIENCE) -> None:
        """Return once everything of a shard up to a sequence is in the index.

        Raises:
            Unavailable: it is not after ``patience`` seconds (``index_behind``), or there is no index.
        """
        loop = asyncio.get_running_loop()
        until, pause = loop.time() + patience, _SOON
        while (come := (await self.marks()).get(shard, 0)) < seq:
            if (left := until - loop.time()) <= 0:
                raise Unavailable(
                    f"the index has come to {shard}-{come}, and 'at_least' is {shard}-{seq}: ask again later",
                    code="index_behind",
                    param="at_least",
                )
            await asyncio.sleep(min(pause, left))
            pause = min(pause * 2, _LATER)

    def close(self) -> None:
        """Close the file once the questions that were asked are answered."""
        self._threads.shutdown()
        for reader in self._readers:
            reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def _ask(self, question: Callable[[IndexReader], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: question(self._reader()))
        except RuntimeError as fault:
            if self._threads._shutdown:  # noqa: SLF001 - it has no other way to tell
                raise Unavailable("the index is closed", code="index_not_ready") from fault
            raise

    def _reader(self) -> IndexReader:
        reader: IndexReader | None = getattr(self._mine, "reader", None)
        if reader is None:
            reader = self._mine.reader = open_for_reading(self.path)
            with self._opening:
                self._readers.append(reader)
        return reader
