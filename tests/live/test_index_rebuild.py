"""The index built anew beside the one that is asked: under load, broken off, compared, switched to and back."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest

from clew_events.errors import Invalid, NotFound, Unavailable
from clew_projections.index.index import CurrentIndex
from clew_projections.indexer.index_rebuild import IndexProgress, IndexRebuild, go_back, remove
from clew_services.compose import Clew
from clew_services.embedded.server import EmbeddedServer
from support.cli import clew as run
from support.indexes import caught_up, created, fed, listed, names, threads, threads_in, watch_switches
from support.up import environment
from support.waiting import eventually


async def test_under_load_nobody_notices_and_nothing_is_missing(clew: Clew, tmp_path: Path) -> None:
    index, folder = CurrentIndex(clew.index_in(tmp_path)), clew.index_in(tmp_path)
    told: list[IndexProgress] = []
    await created(clew, *names(300))
    async with fed(clew, tmp_path) as feeder:
        await caught_up(clew, tmp_path)
        made = 300
        asked = 0

        async def load() -> None:
            nonlocal made
            while True:
                await created(clew, *names(10, made))
                made += 10

        async def ask() -> None:
            nonlocal asked
            while True:
                assert set(names(300)) <= await listed(index)
                asked += 1

        loading, asking = asyncio.create_task(load()), asyncio.create_task(ask())
        done = await clew.index_rebuild(tmp_path, told.append).run()
        before = asked
        await eventually(lambda: asked > before + 1)
        for task in (loading, asking):
            assert not task.done() or task.result()
            task.cancel()
        assert (done.generation, done.before, done.live, done.findings) == (2, 1, True, ())
        assert done.live_was_wrong == 0
        assert set(names(made)) <= set(await caught_up(clew, tmp_path))
        assert await listed(index) >= set(names(made))
        assert feeder.is_active
    assert folder.generations() == [1, 2]
    assert told[-1].done == told[-1].total
    await index.close()


async def test_a_generation_that_was_wrong_is_replaced_and_can_be_gone_back_to(clew: Clew, tmp_path: Path) -> None:
    folder = clew.index_in(tmp_path)
    await created(clew, *names(20))
    async with fed(clew, tmp_path):
        right = await caught_up(clew, tmp_path)
    with closing(sqlite3.connect(folder.file(1), isolation_level=None)) as db:
        db.execute("UPDATE thread SET hash = 'wrong' WHERE id = ?", names(1))
        db.execute("DELETE FROM thread WHERE id = ?", names(1, 1))
    done = await clew.index_rebuild(tmp_path, lambda _: None).run()
    assert (done.live, done.live_was_wrong, done.threads) == (True, 2, 20)
    assert threads(folder) == right
    with pytest.raises(Invalid, match="of the index is live"):
        remove(folder, 2)
    with pytest.raises(NotFound):
        remove(folder, 7)
    assert go_back(folder) == 1
    assert len(threads(folder)) == 19
    with pytest.raises(NotFound):
        go_back(folder)
    remove(folder, 2)
    assert folder.generations() == [1]


async def test_what_the_live_index_has_by_then_is_in_the_one_that_goes_live(
    clew: Clew, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lacking: list[set[str]] = []
    made = count()
    watch_switches(monkeypatch, lambda live, new: lacking.append(threads_in(live).keys() - threads_in(new).keys()))
    fill = IndexRebuild._fill

    async def fall_behind(rebuild: IndexRebuild) -> None:
        await fill(rebuild)
        await created(clew, *names(10, 10 * next(made)))
        await caught_up(clew, tmp_path)

    monkeypatch.setattr(IndexRebuild, "_fill", fall_behind)
    async with fed(clew, tmp_path):
        await caught_up(clew, tmp_path)
        assert (await clew.index_rebuild(tmp_path, lambda _: None).run()).live
    assert lacking == [set()]
    assert len(threads(clew.index_in(tmp_path))) == 20


async def test_no_list_goes_back_with_the_index(clew: Clew, tmp_path: Path) -> None:
    folder = clew.index_in(tmp_path)
    index = CurrentIndex(folder)
    async with fed(clew, tmp_path):
        await caught_up(clew, tmp_path)
        assert (await clew.index_rebuild(tmp_path, lambda _: None).run()).live
        await created(clew, *names(20))
        await caught_up(clew, tmp_path)
        assert await listed(index) == set(names(20))
    assert go_back(folder) == 1
    with pytest.raises(Unavailable, match="is being built"):
        await listed(index)
    async with fed(clew, tmp_path):
        await caught_up(clew, tmp_path)
        assert await listed(index) == set(names(20))
    await index.close()


async def test_a_new_generation_that_is_not_what_the_log_says_does_not_take_over(clew: Clew, tmp_path: Path) -> None:
    folder = clew.index_in(tmp_path)
    await created(clew, *names(20))
    async with fed(clew, tmp_path):
        await caught_up(clew, tmp_path)
    rebuild = clew.index_rebuild(tmp_path, lambda _: None)
    await rebuild._fill()
    with closing(sqlite3.connect(folder.path / "rebuild.db", isolation_level=None)) as db:
        db.execute("UPDATE thread SET hash = 'wrong' WHERE id = ?", names(1))
    done = await rebuild.run()
    assert (done.live, done.generation, len(done.findings)) == (False, 1, 1)
    assert names(1)[0] in done.findings[0]
    assert folder.generations() == [1]
    again = await clew.index_rebuild(tmp_path, lambda _: None).run(anew=True)
    assert (again.live, again.generation) == (True, 2)


async def test_only_one_rebuild_runs_at_a_time(clew: Clew, tmp_path: Path) -> None:
    folder = clew.index_in(tmp_path)
    folder.make()
    held = folder.lock("rebuild")
    assert held.take()
    with pytest.raises(Unavailable, match="already"):
        await clew.index_rebuild(tmp_path, lambda _: None).run()
    held.give_back()


REBUILD_IN_PART = """
import asyncio
from clew_projections.indexer.generation_file import IndexGeneration
from clew_services.cli import main

take, left = IndexGeneration.take, 2

async def as_far_as_it_gets(*of):
    global left
    left -= 1
    await (take(*of) if left > 0 else asyncio.Event().wait())

IndexGeneration.take = as_far_as_it_gets
main(["rebuild", "index"])
"""


async def test_a_rebuild_that_was_killed_goes_on_where_it_was(
    clew: Clew, deployment: EmbeddedServer, tmp_path: Path
) -> None:
    folder = clew.index_in(tmp_path)
    env = {"CLEW_NATS": deployment.url, "CLEW_INDEX": str(tmp_path)}
    for start in range(0, 1500, 500):
        await created(clew, *names(500, start))
    words = [sys.executable, "-c", REBUILD_IN_PART]
    process = subprocess.Popen(words, env=environment(**env), stderr=subprocess.DEVNULL)

    async def begun() -> bool:
        try:
            with closing(sqlite3.connect(f"file:{folder.path / 'rebuild.db'}?mode=ro", uri=True)) as db:
                return db.execute("SELECT sum(seq) FROM mark").fetchone()[0] is not None
        except sqlite3.Error:
            return False

    await eventually(begun)
    process.kill()
    process.wait()
    assert folder.generations() == []
    ran = await asyncio.to_thread(run, "rebuild", "index", "--json", env=env)
    assert ran.returncode == 0, ran.stderr
    done = json.loads(ran.stdout)
    assert (done["generation"], done["live"], done["threads"]) == (1, True, 1500)
    assert done["commits"] < 1500
    shown = await asyncio.to_thread(run, "rebuild", "index", "--list", env=env)
    assert shown.stdout.split()[-4:-2] == ["use", "1500"], shown.stdout
    assert folder.file(1).exists()
