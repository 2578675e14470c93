"""After an erasure no file of a machine's index has what was erased, nor has a snapshot, and the machine says so."""

from __future__ import annotations

import contextlib
import shutil
import threading
from pathlib import Path

import pytest

from clew_events.content import ToolResources
from clew_events.errors import NotFound
from clew_events.events import ErasureRequested, Event, ItemDeleted, MetadataUpdated, ThreadCreated, ThreadDeleted
from clew_events.ids import item_id
from clew_events.list_query import ListThreads
from clew_events.subjects import Address, shard_of
from clew_projections.index.clean_copy import copy_clean, is_clean
from clew_projections.index.index import CurrentIndex
from clew_projections.indexer import machines as reports
from clew_projections.indexer import purge
from clew_projections.indexer.indexer import SnapshotSchedule
from clew_projections.kv.key_names import SNAPSHOT_STREAM
from clew_services.compose import Clew
from clew_services.embedded.server import EmbeddedServer
from support.commits import added, body_of, chain, store
from support.indexes import caught_up, created, fed, listed, names, threads, threads_in, watch_switches
from support.markers import find_marker, new_marker
from support.waiting import PATIENCE, eventually

HOME = Address("default", "thread_with_marker")
SHARD = shard_of(HOME.thread, 2)
WHOLE = ErasureRequested(erasure="erasure_1", items=None, code=None)


class History:
    """A thread whose commits are put into the log one after the other."""

    def __init__(self, clew: Clew, marker: str, home: Address = HOME) -> None:
        self.clew = clew
        self.home = home
        self.marker = marker
        self.batches: list[list[Event]] = [
            [ThreadCreated(metadata={"a": marker, marker: "1"}, tool_resources=ToolResources())],
            [added(1, f"before {marker} after")],
            [added(2, "what stays")],
        ]
        self.stored = 0
        self.seq = 0

    async def go_on(self, *batches: list[Event]) -> int:
        """Store what is not stored yet, and more; the sequence of the last commit."""
        self.batches += batches
        for each in chain(*self.batches, thread=self.home.thread)[self.stored :]:
            self.seq = await store(self.clew.nc, self.home, body_of(each.commit))
            self.stored += 1
        return self.seq


async def clean_up_to(clew: Clew, seq: int) -> None:
    """All machines have reported that nothing of erasures up to a sequence is left."""

    async def reported() -> bool:
        known = await clew.machines.all()
        return bool(known) and not any(machine.may_have({SHARD: seq}) for machine in known)

    await eventually(reported)


async def test_an_erased_thread_is_in_no_file_and_the_machine_says_so(clew: Clew, tmp_path: Path) -> None:
    marker, root = new_marker(), tmp_path / "index"
    history, index = History(clew, marker), CurrentIndex(clew.index_in(root))
    await created(clew, *names(50))
    async with fed(clew, root):
        await history.go_on()
        await caught_up(clew, root)
        assert find_marker(root, marker)
        # What is deleted is not erased: it can be restored.
        await history.go_on([ThreadDeleted()])
        await caught_up(clew, root)
        assert HOME.thread not in await listed(index)
        assert find_marker(root, marker)

        await clean_up_to(clew, await history.go_on([WHOLE]))
        assert find_marker(root, marker) == []
        assert await listed(index) == set(names(50))
        await created(clew, *names(5, 50))
        await caught_up(clew, root)
        assert await listed(index) == set(names(55))
        (machine,) = await clew.machines.all()
        assert machine.folder == str(clew.index_in(root).path)
        assert machine.clean[SHARD] >= history.seq
    await index.close()


async def test_no_list_goes_back_when_a_clean_copy_goes_live_and_nothing_erased_comes_into_it(
    clew: Clew, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, folder = tmp_path / "index", clew.index_in(tmp_path / "index")
    copied, go_on = threading.Event(), threading.Event()

    def copy_and_wait(source: Path, target: Path, stop: threading.Event) -> None:
        copy_clean(source, target, stop)
        copied.set()
        assert go_on.wait(PATIENCE)

    lacking: list[set[str]] = []
    monkeypatch.setattr(purge, "copy_clean", copy_and_wait)
    watch_switches(monkeypatch, lambda live, new: lacking.append(threads_in(live).keys() - threads_in(new).keys()))
    home = next(each for each in names(9) if shard_of(each, 2) == SHARD)
    first, second = History(clew, new_marker()), History(clew, new_marker(), Address("default", home))
    async with fed(clew, root):
        await first.go_on()
        await caught_up(clew, root)
        seq = await first.go_on([ThreadDeleted(), WHOLE])
        await eventually(copied.is_set)
        await created(clew, *names(30, 10))
        later = await second.go_on([ThreadDeleted(), WHOLE])
        await caught_up(clew, root)
        clean: list[tuple[bool, bool]] = []
        watch_switches(
            monkeypatch, lambda _, new: clean.append((is_clean(new, {SHARD: seq}), is_clean(new, {SHARD: later})))
        )
        go_on.set()
        await clean_up_to(clew, later)
        assert find_marker(root, second.marker) == find_marker(root, first.marker) == []
        assert set(names(30, 10)) == threads(folder).keys() - {HOME.thread, home}
    # What was erased while the first copy was made took another one.
    assert len(lacking) == 2
    assert lacking == [set(), set()]
    assert clean == [(False, False), (True, True)]


def deleted_and_open(root: Path) -> list[str]:
    """The deleted files below a folder that this process has open."""
    links: list[str] = []
    for each in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            links.append(str(each.readlink()))
    return [each for each in links if each.startswith(str(root)) and each.endswith(" (deleted)")]


async def test_a_process_that_nobody_asks_closes_a_deleted_file(clew: Clew, tmp_path: Path) -> None:
    root = tmp_path / "index"
    history, index = History(clew, new_marker()), CurrentIndex(clew.index_in(root))
    async with fed(clew, root):
        await history.go_on()
        await caught_up(clew, root)
        assert await listed(index) == {HOME.thread}
        await clean_up_to(clew, await history.go_on([ThreadDeleted(), WHOLE]))
        assert deleted_and_open(root) == []
        assert [each.name for each in clew.index_in(root).path.glob("*.reading")] == []
        assert await listed(index) == set()
    await index.close()


async def test_while_a_deleted_file_is_open_the_machine_does_not_count_as_clean(
    clew: Clew, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    root, folder = tmp_path / "index", clew.index_in(tmp_path / "index")
    history, index = History(clew, new_marker()), CurrentIndex(folder)
    monkeypatch.setattr("clew_projections.index.index.LOOK", 3600.0)
    monkeypatch.setattr(purge, "PATIENCE", 0.0)
    monkeypatch.setattr(reports, "EVERY", 0.0)
    async with fed(clew, root):
        await history.go_on()
        await caught_up(clew, root)
        assert await listed(index) == {HOME.thread}
        seq = await history.go_on([ThreadDeleted(), WHOLE])
        await eventually(lambda: "keeps a deleted file of the index open" in caplog.text)
        assert not folder.file(1).exists()
        assert deleted_and_open(root)
        (machine,) = await clew.machines.all()

        async def reported_again() -> reports.Machine | None:
            (now,) = await clew.machines.all()
            return now if now.seen_at > machine.seen_at else None

        assert (await eventually(reported_again)).may_have({SHARD: seq})
        assert await listed(index) == set()
        await clean_up_to(clew, seq)
        assert deleted_and_open(root) == []
    await index.close()


async def test_an_erased_message_is_in_no_file_and_the_others_are_found(clew: Clew, tmp_path: Path) -> None:
    marker, root = new_marker(), tmp_path / "index"
    history, index = History(clew, marker), CurrentIndex(clew.index_in(root))
    message = item_id(1, "made")
    async with fed(clew, root):
        await history.go_on([MetadataUpdated(set={"a": "2"}, unset=(marker,))])
        await caught_up(clew, root)
        request = ErasureRequested(erasure="erasure_1", items=(message,), code=None)
        await clean_up_to(clew, await history.go_on([ItemDeleted(item=message), request]))
        assert find_marker(root, marker) == []
        assert [each.id for each in (await index.list("default", ListThreads(search="stays"))).data] == [HOME.thread]
        assert (await index.list("default", ListThreads(search="before"))).data == ()
    await index.close()


async def test_generations_that_are_kept_and_unfinished_rebuilds_go_too(clew: Clew, tmp_path: Path) -> None:
    marker, root = new_marker(), tmp_path / "index"
    history, folder = History(clew, marker), clew.index_in(root)
    await history.go_on()
    async with fed(clew, root):
        await caught_up(clew, root)
        assert (await clew.index_rebuild(root, lambda _: None).run()).generation == 2
        await caught_up(clew, root)
        await clew.index_rebuild(root, lambda _: None)._fill()
        assert {each.split(":")[0].split("/")[1] for each in find_marker(root, marker)} >= {"000001.db", "rebuild.db"}
        await clean_up_to(clew, await history.go_on([ThreadDeleted(), WHOLE]))
        assert find_marker(root, marker) == []
        (live,) = folder.generations()
        # One from after the erasure is kept, and may be gone back to.
        assert (await clew.index_rebuild(root, lambda _: None).run()).live
        await caught_up(clew, root)
        await eventually(lambda: len(folder.generations()) == 2)
        assert live in folder.generations()


async def test_while_a_rebuild_runs_the_machine_does_not_count_as_clean(clew: Clew, tmp_path: Path) -> None:
    marker, root = new_marker(), tmp_path / "index"
    history, folder = History(clew, marker), clew.index_in(root)
    rebuild = folder.lock("rebuild")
    async with fed(clew, root):
        await history.go_on()
        await caught_up(clew, root)
        assert rebuild.take()
        seq = await history.go_on([ThreadDeleted(), WHOLE])
        await caught_up(clew, root)
        (machine,) = await eventually(clew.machines.all)
        assert machine.may_have({SHARD: seq})
        assert find_marker(root, marker)
        rebuild.give_back()
        await clean_up_to(clew, seq)
        assert find_marker(root, marker) == []


async def test_an_interrupted_purge_is_finished_before_the_machine_counts_as_clean(clew: Clew, tmp_path: Path) -> None:
    marker, root = new_marker(), tmp_path / "index"
    history, folder = History(clew, marker), clew.index_in(root)
    async with fed(clew, root):
        await history.go_on()
        await caught_up(clew, root)
    shutil.copy(folder.file(1), tmp_path / "old.db")
    (folder.path / "000009.db.copy.part").write_text(marker)
    async with fed(clew, root):
        await clean_up_to(clew, await history.go_on([ThreadDeleted(), WHOLE]))
    (machine,) = await clew.machines.all()
    await clew.machines.forget(machine.id)
    # As if the process had died between the switch and the removal of the old file.
    shutil.copy(tmp_path / "old.db", folder.file(1))
    assert find_marker(root, marker)
    async with fed(clew, root):
        await clean_up_to(clew, history.seq)
        assert find_marker(root, marker) == []
    assert [each.id for each in await clew.machines.all()] == [machine.id]


async def test_a_thread_that_is_left_out_of_the_index_is_purged_all_the_same(clew: Clew, tmp_path: Path) -> None:
    marker, root = new_marker(), tmp_path / "index"
    history = History(clew, marker)
    async with fed(clew, root):
        await history.go_on()
        await caught_up(clew, root)
        await store(clew.nc, HOME, b"{}")
        await caught_up(clew, root)
        assert find_marker(root, marker)
        await clean_up_to(clew, await history.go_on([ThreadDeleted(), WHOLE]))
        assert find_marker(root, marker) == []


async def test_a_machine_that_says_nothing_is_named_until_somebody_says_that_it_is_gone(
    clew: Clew, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = History(clew, new_marker())
    for folder in ("one", "two"):
        async with fed(clew, tmp_path / folder):
            await history.go_on()
            await caught_up(clew, tmp_path / folder)
            await eventually(clew.machines.all)
    async with fed(clew, tmp_path / "one"):
        seq = await history.go_on([ThreadDeleted(), WHOLE])

        async def left() -> list[reports.Machine]:
            found = [each for each in await clew.machines.all() if each.may_have({SHARD: seq})]
            return found if len(found) == 1 else []

        (silent,) = await eventually(left)
        assert silent.folder == str(clew.index_in(tmp_path / "two").path)
        (speaking,) = [each for each in await clew.machines.all() if each.id != silent.id]
        assert speaking.seen_at > silent.seen_at
        # It also says that it is still there while nothing is erased.
        monkeypatch.setattr(reports, "EVERY", 0.0)

        async def seen_again() -> bool:
            (now,) = [each for each in await clew.machines.all() if each.id == speaking.id]
            return now.seen_at > speaking.seen_at

        await eventually(seen_again)
        monkeypatch.undo()
        await clew.machines.forget(silent.id)
        await clean_up_to(clew, seq)
    with pytest.raises(NotFound, match=silent.id):
        await clew.machines.forget(silent.id)
    # A machine that was not gone is there again.
    async with fed(clew, tmp_path / "two"):
        await eventually(lambda: there(clew, silent.id))


async def there(clew: Clew, machine: str) -> bool:
    return machine in {each.id for each in await clew.machines.all()}


def in_snapshots(deployment: EmbeddedServer, marker: str) -> list[str]:
    (folder,) = deployment.data.glob(f"**/streams/{SNAPSHOT_STREAM}")
    return find_marker(folder, marker)


async def test_snapshots_are_purged_with_those_deleted_before_and_a_clean_one_is_made(
    clew: Clew, deployment: EmbeddedServer, tmp_path: Path
) -> None:
    marker, root = new_marker(), tmp_path / "index"
    history = History(clew, marker)
    await history.go_on()
    async with fed(clew, root, due=SnapshotSchedule(seconds=0, commits=3)):
        await caught_up(clew, root)
        first = (await eventually(clew.snapshots.usable))[0]
        assert in_snapshots(deployment, marker)
        await clean_up_to(clew, await history.go_on([ThreadDeleted(), WHOLE]))

        async def another() -> bool:
            return first.name not in {each.name for each in await clew.snapshots.usable()}

        # Snapshots are stored again, and replace the first: its bytes stay.
        for start in range(0, 40, 4):
            await created(clew, *names(4, start))
            await caught_up(clew, root)
        await eventually(another)
        assert in_snapshots(deployment, marker)

        await clew.snapshots.purge()
        await eventually(lambda: not in_snapshots(deployment, marker))
        (made, *_) = await eventually(clew.snapshots.usable)
        assert made.marks[str(SHARD)] >= history.seq
    made = (await clew.snapshots.usable())[0]  # now that none replaces it any more
    await clew.snapshots.load(made, tmp_path / "loaded.db")
    assert find_marker(tmp_path, marker) == []
