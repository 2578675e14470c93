"""An index file that is of no use is made again, beside, and nobody is told anything but that it is being built."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from nats.js import JetStreamContext
from nats.js.api import PubAck

from clew_events.errors import Unavailable
from clew_events.subjects import Address
from clew_projections.index.notes import notes
from clew_projections.index.tables import INDEX_FORMAT
from clew_projections.indexer.indexer import SnapshotSchedule
from clew_projections.indexer.snapshots import Snapshots
from clew_projections.kv.key_names import SNAPSHOT_STREAM
from clew_services import compose
from clew_services.compose import Clew
from support.commits import CREATED, added, body_of, chain, commit, store
from support.deployments import deployed
from support.indexes import caught_up, created, fed, names, threads
from support.waiting import eventually

AT_ONCE = SnapshotSchedule(seconds=0, commits=1)


def garble(file: Path) -> None:
    """Write nonsense over all of a file but its first page."""
    size = file.stat().st_size
    with file.open("r+b") as raw:
        raw.seek(4096)
        raw.write(os.urandom(max(0, size - 4096)))


async def built(clew: Clew, root: Path, count: int = 20) -> Path:
    """An index of some threads that nobody feeds any more; the file."""
    await created(clew, *names(count))
    async with fed(clew, root):
        await caught_up(clew, root)
    folder = clew.index_in(root)
    return folder.file(folder.generations()[-1])


@pytest.mark.parametrize("harm", ["garbled", "text", "empty", "gone", "format", "pointer"])
async def test_a_file_of_no_use_is_made_anew(clew: Clew, tmp_path: Path, harm: str) -> None:
    root = tmp_path / "index"
    file = await built(clew, root)
    match harm:
        case "garbled":
            garble(file)
        case "text":
            file.write_text("not a database\n" * 1000)
        case "empty":
            file.write_bytes(b"")
        case "gone":
            file.unlink()
        case "format":
            with closing(sqlite3.connect(file)) as db:
                db.execute(f"PRAGMA user_version = {INDEX_FORMAT + 1}")
        case "pointer":
            (file.parent / "current").write_text("{nonsense")
    await created(clew, *names(5, 20))
    async with fed(clew, root):
        assert set(await caught_up(clew, root)) == set(names(25))
    assert len(clew.index_in(root).generations()) == 1


async def test_a_whole_folder_that_is_deleted_under_a_living_feeder_is_made_anew(clew: Clew, tmp_path: Path) -> None:
    root = tmp_path / "index"
    await created(clew, *names(10))
    async with fed(clew, root):
        await caught_up(clew, root)
        shutil.rmtree(root)
        await created(clew, *names(10, 10))
        assert set(await caught_up(clew, root)) == set(names(20))


async def test_an_index_of_another_log_is_not_taken_for_ours(clew: Clew, tmp_path: Path) -> None:
    root = tmp_path / "index"
    async with deployed(tmp_path / "other") as server, compose.connect(server.url, name="other") as other:
        foreign = await built(other, root, 12)
    await created(clew, *names(15, 100))
    ours = clew.index_in(root)
    ours.make()
    shutil.copy(foreign, ours.file(1))
    ours.point(1)
    async with fed(clew, root):
        assert set(await caught_up(clew, root)) == set(names(15, 100))


async def test_a_log_that_was_brought_back_from_before_is_noticed(tmp_path: Path) -> None:
    root, kept = tmp_path / "index", tmp_path / "kept"
    async with deployed(tmp_path / "data") as server:
        async with compose.connect(server.url, name="before") as clew:
            await created(clew, *names(10))
        await server.stop()
        shutil.copytree(tmp_path / "data", kept)
        await server.start()
        async with compose.connect(server.url, name="after") as clew:
            await created(clew, *names(20, 10))
            async with fed(clew, root):
                await caught_up(clew, root)
        await server.stop()
        shutil.rmtree(tmp_path / "data")
        shutil.copytree(kept, tmp_path / "data")
        await server.start()
        async with compose.connect(server.url, name="again") as clew:
            # As many commits as there were, so that nothing but their hashes tells them apart.
            await created(clew, *names(40, 500))
            async with fed(clew, root):
                assert set(await caught_up(clew, root)) == {*names(10), *names(40, 500)}


async def test_a_thread_that_cannot_be_folded_is_left_out_and_the_others_go_on(
    clew: Clew, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "index"
    first, _, third = chain([CREATED], [added(1)], [added(2)])
    home = Address("default", first.commit.thread)
    async with fed(clew, root):
        await store(clew.nc, home, body_of(first.commit))
        await created(clew, *names(10))
        assert home.thread in await caught_up(clew, root)
        await store(clew.nc, home, body_of(commit(2, added(1), prev="0" * 64)))
        await created(clew, *names(10, 10))
        await store(clew.nc, Address("default", "thread_unreadable"), b"{}")
        await created(clew, *names(10, 20))
        await store(clew.nc, home, body_of(third.commit))
        assert set(await caught_up(clew, root)) == set(names(30))

        async def said() -> bool:
            return caplog.text.count("is left out of the index") == 2

        await eventually(said)
        folder = clew.index_in(root)
        assert [each.thread for each in notes(folder.file(1)).aside] == [home.thread, "thread_unreadable"]
    # It stays out when feeding begins again, since its history is what it was.
    async with fed(clew, root):
        await created(clew, *names(1, 30))
        assert set(await caught_up(clew, root)) == set(names(31))


async def test_a_machine_without_an_index_begins_with_a_snapshot(clew: Clew, tmp_path: Path) -> None:
    await created(clew, *names(40))
    async with fed(clew, tmp_path / "one", due=AT_ONCE):
        await caught_up(clew, tmp_path / "one")
        await created(clew, *names(1, 40))
        await eventually(lambda: snapshots(clew))
    async with fed(clew, tmp_path / "two") as feeder:
        assert set(await caught_up(clew, tmp_path / "two")) == set(names(41))
    assert feeder.taken < 41


async def snapshots(clew: Clew) -> list[str]:
    found = await Snapshots(clew.nc, clew.js, clew.deployment.identity).usable()
    return [each.name for each in found if sum(each.marks.values()) >= 40]


async def test_old_snapshots_are_removed_with_their_bytes(clew: Clew, tmp_path: Path) -> None:
    file = await built(clew, tmp_path / "index")
    kept = Snapshots(clew.nc, clew.js, clew.deployment.identity)
    made = [await kept.store(file, {0: 1}) for _ in range(4)]
    assert [each.name for each in await kept.all()] == [made[3].name, made[2].name]
    subjects = await clew.js.subjects(SNAPSHOT_STREAM, ">")
    assert len(subjects) == 4, subjects


async def test_a_snapshot_whose_bytes_are_purged_before_its_record_is_stored_is_none(
    clew: Clew, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = await built(clew, tmp_path / "index")
    kept = Snapshots(clew.nc, clew.js, clew.deployment.identity)
    await kept.store(file, {0: 1})
    publish = JetStreamContext.publish

    async def purge_before_the_record(js: JetStreamContext, subject: str, *args: Any, **options: Any) -> PubAck:
        if subject.startswith("$O.clew_index.M."):
            monkeypatch.undo()
            await kept.purge()
        return await publish(js, subject, *args, **options)

    monkeypatch.setattr(JetStreamContext, "publish", purge_before_the_record)
    with pytest.raises(Unavailable, match="purged while it was stored"):
        await kept.store(file, {0: 1})
    # No record without bytes stays, and an indexer takes it for none.
    assert await kept.all() == []
    assert [await kept.store(file, {0: 1})] == await kept.usable()


@pytest.mark.parametrize("harm", ["truncated", "lost", "altered", "format", "foreign", "headers"])
async def test_a_snapshot_that_cannot_be_used_is_passed_over(clew: Clew, tmp_path: Path, harm: str) -> None:
    file = await built(clew, tmp_path / "one", 300)
    kept = Snapshots(clew.nc, clew.js, clew.deployment.identity)
    older = await kept.store(file, {0: 1, 1: 1})
    newer = await kept.store(file, {0: 1, 1: 1})
    chunks = f"$O.clew_index.C.{newer.nuid}"
    stored, _ = await clew.js.after(SNAPSHOT_STREAM, chunks, 1)
    match harm:
        case "truncated":
            await clew.js.api(f"STREAM.MSG.DELETE.{SNAPSHOT_STREAM}", {"seq": stored[-1].seq})
        case "lost":
            await clew.js.api(f"STREAM.PURGE.{SNAPSHOT_STREAM}", {"filter": chunks})
        case "altered":
            await clew.js.api(f"STREAM.PURGE.{SNAPSHOT_STREAM}", {"filter": chunks})
            await clew.js.publish(chunks, b"x" * len(stored[0].body))
        case _:
            for record in await clew.js.subjects(SNAPSHOT_STREAM, "$O.clew_index.M.*"):
                last = await clew.js.last(SNAPSHOT_STREAM, record)
                assert last is not None
                if newer.name.encode() not in last.body:
                    continue
                body = {
                    "format": last.body.replace(b'"Clew-Index-Format": ["', b'"Clew-Index-Format": ["9'),
                    "foreign": last.body.replace(b'"Clew-Deployment": ["', b'"Clew-Deployment": ["9'),
                    "headers": b"{}",
                }[harm]
                assert body != last.body
                await clew.js.publish(record, body)
    async with fed(clew, tmp_path / "two") as feeder:
        assert set(await caught_up(clew, tmp_path / "two")) == set(names(300))
    assert feeder.taken == 0
    await clew.js.api(f"STREAM.PURGE.{SNAPSHOT_STREAM}", {"filter": f"$O.clew_index.C.{older.nuid}"})
    await clew.js.api(f"STREAM.PURGE.{SNAPSHOT_STREAM}", {"filter": chunks})
    async with fed(clew, tmp_path / "three") as feeder:
        assert set(await caught_up(clew, tmp_path / "three")) == set(names(300))
    assert feeder.taken == 300
    assert set(threads(clew.index_in(tmp_path / "three"))) == set(names(300))


CUT_OFF = """
import sqlite3
import sys
from pathlib import Path
from clew_projections.index import open_for_reading

file = Path(sys.argv[1])
reading = open_for_reading(file)._connection
reading.execute("BEGIN")
reading.execute("SELECT count(*) FROM tenant").fetchone()
with file.open("r+b") as raw:
    raw.truncate(8192)
try:
    reading.execute("SELECT max(hash) FROM thread NOT INDEXED").fetchone()
except sqlite3.DatabaseError as fault:
    print(type(fault).__name__)
"""


async def test_a_file_that_is_cut_off_under_a_reader_is_an_error_and_not_the_end_of_its_process(
    clew: Clew, tmp_path: Path
) -> None:
    file = await built(clew, tmp_path / "index", count=300)
    with closing(sqlite3.connect(file)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    asked = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", CUT_OFF, str(file)], capture_output=True, text=True, timeout=60
    )
    assert (asked.returncode, asked.stdout.strip()) == (0, "DatabaseError"), asked.stderr
