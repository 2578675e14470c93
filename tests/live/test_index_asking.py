"""Asking the index that this machine keeps, whatever becomes of its files meanwhile."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from clew_events.errors import Unavailable
from clew_events.list_query import ListThreads
from clew_projections.index.index import CurrentIndex
from clew_projections.indexer.freshness import freshness
from clew_services.compose import Clew
from clew_services.embedded.server import EmbeddedServer
from support.indexes import caught_up, created, fed, listed, names
from support.up import SOURCES
from support.waiting import eventually

FEEDER = """
import asyncio, sys
from pathlib import Path
from clew_services import compose

async def main():
    async with compose.connect(sys.argv[1], name="feeder") as clew:
        feeder = clew.indexer(Path(sys.argv[2]), dedicated=True)
        running = asyncio.create_task(feeder.run(asyncio.Event()))
        while not feeder.is_active:
            await asyncio.sleep(0.01)
        print("feeding", flush=True)
        await running

asyncio.run(main())
"""


async def lists(index: CurrentIndex, wanted: list[str]) -> bool:
    try:
        return await listed(index) == set(wanted)
    except Unavailable:
        return False


async def test_who_asks_before_there_is_an_index_is_told_to_ask_again(clew: Clew, tmp_path: Path) -> None:
    index = CurrentIndex(clew.index_in(tmp_path))
    with pytest.raises(Unavailable, match="is being built") as refusal:
        await index.list("default", ListThreads())
    assert refusal.value.code == "index_building"
    await created(clew, *names(3))
    async with fed(clew, tmp_path):
        await eventually(lambda: lists(index, names(3)))
    await index.close()


async def test_damage_that_only_who_asks_can_see_is_made_good_and_they_follow(clew: Clew, tmp_path: Path) -> None:
    folder = clew.index_in(tmp_path)
    await created(clew, *names(300))
    async with fed(clew, tmp_path):
        await caught_up(clew, tmp_path)
    with closing(sqlite3.connect(folder.file(1))) as db:
        (root,) = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'thread_created'").fetchone()
        (size,) = db.execute("PRAGMA page_size").fetchone()
    with folder.file(1).open("r+b") as raw:
        raw.seek((root - 1) * size)
        raw.write(os.urandom(size))
    index = CurrentIndex(folder)
    async with fed(clew, tmp_path):
        await eventually(lambda: lists(index, names(300)))
        assert folder.generations() == [2]
    await index.close()


async def test_who_waits_for_a_position_gets_there(clew: Clew, tmp_path: Path) -> None:
    index = CurrentIndex(clew.index_in(tmp_path))
    async with fed(clew, tmp_path):
        await caught_up(clew, tmp_path)
        await created(clew, *names(20))
        found = await freshness(clew.js, 2, clew.index_in(tmp_path))
        for shard, name in enumerate(("CLEW_EVT_00", "CLEW_EVT_01")):
            last = (await clew.js.api(f"STREAM.INFO.{name}"))["state"]["last_seq"]
            await index.wait_until(shard, last)
        assert await listed(index) == set(names(20))
        with pytest.raises(Unavailable, match="retry later") as late:
            await index.wait_until(0, 10_000, 0.1)
        assert late.value.code == "index_behind"
    assert (found.generation, found.ready, found.aside) == (1, True, 0)
    await index.close()


async def test_freshness_says_how_far_behind_the_index_is(clew: Clew, tmp_path: Path) -> None:
    folder = clew.index_in(tmp_path)
    await created(clew, *names(4))
    before = await freshness(clew.js, 2, folder)
    assert (before.generation, before.ready, before.behind) == (0, False, 4)
    assert before.seconds > 0
    async with fed(clew, tmp_path):
        await caught_up(clew, tmp_path)
    after = await freshness(clew.js, 2, folder)
    assert (after.generation, after.ready, after.behind, after.seconds) == (1, True, 0, 0.0)
    assert after.bytes > 0


async def test_a_feeder_that_is_killed_is_followed_by_another_that_loses_nothing(
    clew: Clew, deployment: EmbeddedServer, tmp_path: Path
) -> None:
    environment = {**os.environ, "PYTHONPATH": SOURCES}
    command = (sys.executable, "-c", FEEDER, deployment.url, str(tmp_path / "index"))
    writing = asyncio.create_task(created(clew, *names(600)))
    process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"feeding\n"
    async with fed(clew, tmp_path / "index") as heir:
        assert not heir.is_active
        process.kill()
        await process.wait()
        await writing
        assert set(await caught_up(clew, tmp_path / "index")) == set(names(600))
        assert heir.is_active
        assert clew.index_in(tmp_path / "index").generations() == [1]


async def test_a_disk_that_is_full_stops_the_index_alone_and_it_heals(
    clew: Clew, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    index = CurrentIndex(clew.index_in(tmp_path))
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        async with fed(clew, tmp_path) as feeder:
            await created(clew, *names(50))
            await eventually(lambda: lists(index, names(50)))
            resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, limits[1]))
            await created(clew, *names(600, 50))
            await eventually(lambda: "is not updated for now" in caplog.text)
            await created(clew, *names(10, 650))
            assert set(names(50)) <= await listed(index)
            assert not feeder.is_active or feeder.taken < 660
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            await eventually(lambda: lists(index, names(660)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
        await index.close()
    assert "is updated again" in caplog.text
