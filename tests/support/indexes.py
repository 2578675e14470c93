"""The index of a deployment fed in this process, and looked into."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import closing
from pathlib import Path

import pytest

from clew_events.commands import CreateThread
from clew_events.errors import Unavailable
from clew_events.list_query import ListThreads
from clew_projections.index.index import CurrentIndex
from clew_projections.index.index_folder import IndexFolder
from clew_projections.index.notes import ends
from clew_projections.indexer.indexer import Indexer, SnapshotSchedule
from clew_services.compose import Clew
from support.waiting import eventually


@contextlib.asynccontextmanager
async def fed(
    clew: Clew, root: Path, *, dedicated: bool = True, due: SnapshotSchedule | None = None
) -> AsyncIterator[Indexer]:
    """The index in a folder, fed for as long as the block lasts."""
    stop = asyncio.Event()
    feeder = clew.indexer(root, dedicated=dedicated, due=due)
    running = asyncio.create_task(feeder.run(stop))
    try:
        yield feeder
    finally:
        stop.set()
        await running


def threads(folder: IndexFolder) -> dict[str, tuple[int, str]]:
    """What the index has, looked at past all code: the number and the hash of each thread's last commit."""
    pointer = folder.pointer()
    assert pointer is not None
    assert pointer.ready
    return threads_in(folder.file(pointer.generation))


def threads_in(file: Path) -> dict[str, tuple[int, str]]:
    """What an index file has: the number and the hash of each thread's last commit."""
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as db:
        return {thread: (n, head) for thread, n, head in db.execute("SELECT id, n, hash FROM thread")}


def watch_switches(monkeypatch: pytest.MonkeyPatch, look: Callable[[Path, Path], None]) -> None:
    """Call ``look`` with the live file and the one that goes live in its place, whenever one does."""
    point = IndexFolder.point

    def switch(folder: IndexFolder, generation: int, goal: Mapping[int, int] | None = None) -> None:
        pointer = folder.pointer()
        if pointer is not None and pointer.generation != generation:
            look(folder.file(pointer.generation), folder.file(generation))
        point(folder, generation, goal)

    monkeypatch.setattr(IndexFolder, "point", switch)


async def log_ends(clew: Clew) -> dict[int, int]:
    """The last sequence of every shard, once each has a leader that says it."""

    async def said() -> dict[int, int] | None:
        with contextlib.suppress(Unavailable):
            return await ends(clew.js, clew.deployment.shards)
        return None

    return await eventually(said)


async def caught_up(clew: Clew, root: Path) -> dict[str, tuple[int, str]]:
    """What the index has once it has all that is in the log by now."""
    goal = {shard: seq for shard, seq in (await log_ends(clew)).items() if seq}
    folder = clew.index_in(root)

    async def there() -> bool:
        pointer = folder.pointer()
        if pointer is None or not pointer.ready:
            return False
        try:
            with closing(sqlite3.connect(f"file:{folder.file(pointer.generation)}?mode=ro", uri=True)) as db:
                marks = dict(db.execute("SELECT shard, seq FROM mark"))
        except sqlite3.DatabaseError:  # one of no use, which nobody has looked at yet
            return False
        return all(marks.get(shard, 0) >= seq for shard, seq in goal.items())

    await eventually(there)
    return threads(folder)


def newest_file(clew: Clew, root: Path) -> Path:
    """The file of the newest index in a folder."""
    folder = clew.index_in(root)
    return folder.file(folder.generations()[-1])


async def findings(clew: Clew, file: Path) -> list[str]:
    """What is wrong with an index, by its comparison with the log."""
    prover = clew.prover(index=file)
    found = [each.index.what async for each in prover.prove() if each.index is not None]
    return found + [each.what async for each in prover.rest()]


async def drift(clew: Clew, root: Path) -> list[str]:
    """What is wrong with the newest index in a folder."""
    return await findings(clew, newest_file(clew, root))


async def created(clew: Clew, *ids: str, tenant: str = "default") -> None:
    """Threads with these ids."""
    await asyncio.gather(*(clew.handler.handle(tenant, CreateThread(thread_id=each)) for each in ids))


def names(count: int, start: int = 0) -> list[str]:
    """Ids of threads."""
    return [f"thread_{number:08}" for number in range(start, start + count)]


async def listed(index: CurrentIndex, tenant: str = "default") -> set[str]:
    """All threads of a tenant, page by page."""
    found: set[str] = set()
    after = None
    while True:
        page = await index.list(tenant, ListThreads(limit=100, after=after))
        found |= {each.id for each in page.data}
        if not page.has_more:
            return found
        after = page.next
