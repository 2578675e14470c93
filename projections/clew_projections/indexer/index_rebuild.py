"""Rebuild of the index: a new generation from the beginning of the log, beside the live one.

Before it goes live it is compared with the live generation, and every thread that differs is compared with the log.
Readers and the indexer follow the pointer, so the switch needs no restart.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

from msgspec import Struct

from clew_events.errors import Invalid, NotFound, Unavailable
from clew_projections.consistency.index_generations import Difference, differences, threads
from clew_projections.history.histories import Histories
from clew_projections.index.database import Unusable, is_damage
from clew_projections.index.index_folder import IndexFolder, remove_database
from clew_projections.index.notes import check_agrees, ends, notes
from clew_projections.index.writer import NotLive
from clew_projections.indexer.generation_file import IndexGeneration
from clew_projections.indexer.log_follower import PATIENCE, OrderedShard, follow_log, switch
from clew_projections.nats.jetstream import JetStream

NAMED: Final = 100
"""The most threads that a report names."""


class IndexProgress(Struct, frozen=True):
    """The progress of a rebuild, in commits or in threads."""

    stage: Literal["filling", "comparing"]
    done: int
    total: int


class Rebuilt(Struct, frozen=True, kw_only=True):
    """The result of a rebuild. ``live_was_wrong`` counts threads in which the former generation differed from the log.

    ``findings`` are threads in which the new generation differs from the log; if there are any, it is not live.
    """

    generation: int
    before: int
    live: bool
    commits: int
    seconds: float
    threads: int
    aside: int
    live_was_wrong: int
    findings: tuple[str, ...]


class IndexRebuild:
    """A rebuild of a machine's index. One runs at a time; an interrupted rebuild is resumed."""

    def __init__(
        self,
        js: JetStream,
        histories: Histories,
        folder: IndexFolder,
        sources: Callable[[], Sequence[OrderedShard]],
        tell: Callable[[IndexProgress], None],
    ) -> None:
        self._js = js
        self._histories = histories
        self._folder = folder
        self._sources = sources
        self._tell = tell
        self._file = folder.rebuild_file
        self._commits = 0

    async def run(self, *, anew: bool = False) -> Rebuilt:
        """Build, compare and switch. ``anew`` discards an interrupted rebuild.

        Raises:
            Unavailable: JetStream does not answer, the disk is full, or another rebuild is running here.
        """
        self._folder.make()
        lock = self._folder.lock("rebuild")
        if not lock.take():
            raise Unavailable("the index is being rebuilt on this machine already", code="rebuild_running")
        try:
            if anew:
                self._discard()
            return await self._run()
        except sqlite3.Error as fault:
            raise Unavailable(f"the index cannot be rebuilt now: {fault}", code="index_unavailable") from fault
        finally:
            lock.give_back()

    async def _run(self) -> Rebuilt:
        began = time.monotonic()
        await self._fill()
        pointer = self._folder.pointer()
        before = pointer.generation if pointer is not None else 0
        wrong, findings = await self._compare(self._folder.file(before))
        generation, aside = before, 0
        if not findings:
            await self._fill()  # The comparison took a while.
            generation, aside = await self._go_live()
        asked = self._folder.file(generation)
        return Rebuilt(
            generation=generation,
            before=before,
            live=not findings,
            commits=self._commits,
            seconds=time.monotonic() - began,
            threads=await asyncio.to_thread(threads, asked) if asked.exists() else 0,
            aside=aside,
            live_was_wrong=wrong,
            findings=tuple(findings[:NAMED]),
        )

    async def _fill(self) -> None:
        book = await self._open_generation()
        try:
            goal = await ends(self._js, self._histories.shards)
            total = sum(goal.values())
            async with follow_log(self._sources(), book) as log:
                while any(book.marks.get(shard, 0) < seq for shard, seq in goal.items()):
                    if batch := await log.batch(PATIENCE):
                        await book.take(batch)
                        self._commits += len(batch)
                    self._tell(IndexProgress("filling", min(_format_marks(book.marks), total), total))
        finally:
            await book.close()

    async def _go_live(self) -> tuple[int, int]:
        """Switch to the new generation; return its number and how many threads it leaves out."""
        book = await self._open_generation()
        try:
            while True:
                pointer = self._folder.pointer()
                try:
                    before = pointer.generation if pointer is not None else 0
                    return await switch(self._folder, before, book, self._sources()), len(book.aside)
                except NotLive:
                    continue  # The indexer began another one, or somebody went back.
        finally:
            await book.close()

    async def _open_generation(self) -> IndexGeneration:
        book: IndexGeneration | None = None
        try:
            book = await IndexGeneration.open(self._file, self._histories)
            await check_agrees(self._js, self._histories.shards, book.marks, await book.places())
        except (Unusable, sqlite3.DatabaseError) as fault:
            if book is not None:
                await book.close()
            if isinstance(fault, sqlite3.DatabaseError) and not is_damage(fault):
                raise
            self._discard()
            return await IndexGeneration.open(self._file, self._histories)
        return book

    async def _compare(self, live: Path) -> tuple[int, list[str]]:
        """Return how many threads are wrong in the live generation, and what is wrong in the new one."""
        try:
            differing = await asyncio.to_thread(lambda: list(differences(self._file, live, self._histories.shards)))
        except sqlite3.DatabaseError:
            # There is no live generation, or it is unreadable, which the rebuild repairs.
            return 0, []
        findings: list[str] = []
        for done, difference in enumerate(differing, start=1):
            if (what := await self._differs_from_log(difference)) is not None:
                findings.append(what)
            self._tell(IndexProgress("comparing", done, len(differing)))
        return len(differing) - len(findings), findings

    async def _differs_from_log(self, found: Difference) -> str | None:
        latest = await self._histories.read_latest(found.address, 0)
        last = latest.recorded if latest is not None else None
        tenant, thread = found.address
        if found.fresh is None:
            return (
                None if last is None else f"thread {thread} of tenant {tenant} is in the log, and not in the new index"
            )
        if last is None:
            return f"thread {thread} of tenant {tenant} is in the new index, and not in the log"
        if last.commit.n == found.fresh.n and last.hash != found.fresh.hash:
            return f"thread {thread} of tenant {tenant} has another commit {last.commit.n} in the log"
        return None

    def _discard(self) -> None:
        remove_database(self._file)


def go_back(folder: IndexFolder, generation: int | None = None) -> int:
    """Make an older generation live, by default the one before; the indexer brings it up to date.

    Until it has what the live one has, lists are unavailable rather than older than before.

    Raises:
        NotFound: there is no such generation.
    """
    pointer = folder.pointer()
    current = pointer.generation if pointer is not None else 0
    older = [number for number in folder.generations() if number < current]
    wanted = generation if generation is not None else (older[-1] if older else None)
    if wanted is None or wanted not in folder.generations():
        raise NotFound("there is no such generation of the index: see 'clew rebuild index --list'", code="not_found")
    known = {place.shard: place.seq for place in notes(folder.file(wanted)).places}
    places = notes(folder.file(current)).places
    folder.point(wanted, {place.shard: place.seq for place in places if known.get(place.shard, 0) < place.seq})
    return wanted


def remove(folder: IndexFolder, generation: int) -> None:
    """Delete a generation that is not live.

    Raises:
        NotFound: there is no such generation.
        Invalid: it is live.
    """
    pointer = folder.pointer()
    if generation not in folder.generations():
        raise NotFound(f"there is no generation {generation} of the index", code="not_found")
    if pointer is not None and pointer.generation == generation:
        raise Invalid(f"generation {generation} of the index is live", code="generation_live")
    folder.remove(generation)


def _format_marks(marks: Mapping[int, int]) -> int:
    return sum(marks.values())
