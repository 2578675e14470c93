"""What was erased is taken out of older backups, and comes back with none, whatever was killed meanwhile."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from msgspec.structs import replace

from clew_events.commands import EraseMessage, EraseThread, PlaceHold, ReleaseHold
from clew_events.errors import AlreadyErased, ClewError, Corrupt, Invalid, NotFound, Unavailable
from clew_events.queries import GetThread, ListMessages
from clew_events.subjects import ERASED_STREAM, INBOX_STREAM, event_stream, inbox_subject
from clew_projections.index.index_folder import Lock
from clew_projections.nats.stream_messages import MSG_ID
from clew_services import compose
from clew_services.backup import manifest, restore_backup, take_backup
from clew_services.backup.backup_folder import Folder
from clew_services.backup.erase_backup import ErasedBackup, erase_backup
from clew_services.backup.restore_backup import RestoreResult, restore
from clew_services.backup.take_backup import Progress, take
from clew_services.cli import main
from clew_services.compose import Clew
from clew_services.embedded.server import EmbeddedServer
from clew_services.erasure import erasure_file
from clew_services.erasure.erasure_file import KnownErasures
from support.deployments import FAST, deployed
from support.erasure_worker import complete_all, known_to
from support.markers import find_marker, new_marker
from support.parts import verifier_of
from support.small_disk import mounted
from support.writers import Writer, message_id

KEPT = "a text that stays where it is"


def silent(_: Progress) -> None:
    """Nobody listens."""


class Past:
    """A deployment with a backup from before erasures, and the erasures."""

    def __init__(self, clew: Clew, folder: Path, known: KnownErasures, markers: dict[str, str]) -> None:
        self.clew = clew
        self.folder = folder
        self.known = known
        self.markers = markers

    def found(self, below: Path) -> dict[str, list[str]]:
        return {what: files for what, marker in self.markers.items() if (files := find_marker(below, marker))}

    async def erase(self, known: KnownErasures | None = None) -> ErasedBackup:
        return await erase_backup(Folder(self.folder), known or self.known, "0", silent)


async def back_up(url: str, out: Path) -> Path:
    async with compose.connection(url, name="operator") as made:
        await take(made, Folder(out), "0", silent)
    return out


async def bring_back(url: str, folder: Path, known: KnownErasures | None = None) -> RestoreResult:
    async with compose.connection(url, name="operator") as made:
        return await restore(made, Folder(folder), None, silent, known=known)


@pytest.fixture
async def past(clew: Clew, deployment: EmbeddedServer, tmp_path: Path) -> Past:
    """A backup with a thread, a message and a waiting command that were erased since, and texts that were not."""
    markers = {what: new_marker() for what in ("key", "text", "reason", "message", "waiting")}
    writer = Writer(clew.handler)
    await writer.create("thread_gone", metadata={markers["key"]: "x"}, id="make-gone")
    await writer.add("thread_gone", markers["text"], reason=markers["reason"])
    await clew.handler.handle("default", PlaceHold(thread_id="thread_gone", hold="case-7"))
    await writer.create("thread_half")
    gone = message_id(await writer.add("thread_half", markers["message"]))
    await writer.add("thread_half", KEPT)
    said = {"thread_id": "thread_gone", "message": {"role": "user", "content": markers["waiting"]}}
    await clew.js.publish(inbox_subject("default", "add_message"), json.dumps(said).encode(), {MSG_ID: "waits"})
    folder = await back_up(deployment.url, tmp_path / "backup")

    await clew.handler.handle("default", ReleaseHold(thread_id="thread_gone", hold="case-7"))
    await writer.create("thread_later")
    for command in (
        EraseThread(thread_id="thread_gone", reason="asked"),
        EraseMessage(thread_id="thread_half", message_id=gone),
        EraseThread(thread_id="thread_later"),
    ):
        await clew.handler.handle("default", command, actor="dpo", by="test")
    await clew.js.api(f"STREAM.PURGE.{INBOX_STREAM}")
    await complete_all(clew)
    return Past(clew, folder, await known_to(clew), markers)


@pytest.fixture
async def empty(tmp_path: Path) -> AsyncIterator[EmbeddedServer]:
    """A server where nothing is yet."""
    async with EmbeddedServer(tmp_path / "empty", sync=FAST) as server:
        yield server


async def check_erased(past: Past, url: str) -> None:
    """Nobody reads what was erased, all the rest is there, and it is certified once the worker runs."""
    async with compose.connect(url, name="restored") as again:
        assert (await verifier_of(again).all()).findings == ()
        for _ in range(2):
            with pytest.raises(NotFound):
                await again.reader.thread("default", GetThread(thread_id="thread_gone"))
            listed = await again.reader.messages("default", ListMessages(thread_id="thread_half"))
            assert [part.text.value for each in listed.messages.data for part in each.content] == [KEPT]
            assert await again.js.from_leader(INBOX_STREAM, {"seq": 1}) is None
            await complete_all(again)
        records = {each.erasure.id: each.erasure for each in await again.erasure_records.all()}
        assert {each.erasure.id for each in past.known.erasures if each.erasure.thread_id != "thread_later"} == set(
            records
        )
        assert {(each.status, each.actor, each.by) for each in records.values()} == {("completed", "dpo", "test")}
        found = await verifier_of(again).all()
        assert (found.threads, found.findings) == (2, ())
        with pytest.raises(AlreadyErased):
            await Writer(again.handler).create("thread_gone", id="make-gone")


async def test_what_was_erased_since_is_taken_out_of_a_backup_and_is_in_no_file(
    past: Past, empty: EmbeddedServer, tmp_path: Path
) -> None:
    before = {file.name for file in past.folder.iterdir()}
    assert past.found(past.folder).keys() == past.markers.keys()  # they are where they can be found
    done = await past.erase()
    assert (done.changed, done.erased.erasures, len(done.erased.threads), done.erased.others) == (True, 2, 2, ())
    assert past.found(past.folder) == {}
    assert not {file.name for file in past.folder.iterdir()} & before - {manifest.NAME}
    whole = manifest.read(past.folder)
    assert (whole.name, whole.manifest.identity) == (done.name, past.clew.deployment.identity)
    assert whole.manifest.erased_at is not None

    # Twice is once, and an erasure from after that is taken out too.
    assert (await past.erase()) == replace(
        done, changed=False, erased=replace(done.erased, erasures=0, threads=(), commits=0)
    )
    assert manifest.read(past.folder) == whole

    restored = await bring_back(empty.url, past.folder)
    assert restored.erased.erasures == 0
    await check_erased(past, empty.url)
    assert past.found(tmp_path / "empty") == {}


async def test_a_restore_takes_out_what_a_file_names_before_anything_is_served(
    past: Past, empty: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    apply = restore_backup.Reapplication.apply

    async def breaks(self: restore_backup.Reapplication, *given: object) -> object:
        done = await apply(self, *given)  # type: ignore[arg-type]
        seen.append("applied")
        if len(seen) == 1:
            raise Unavailable("the power went")
        return done

    monkeypatch.setattr(restore_backup.Reapplication, "apply", breaks)
    with pytest.raises(Unavailable, match="power"):
        await bring_back(empty.url, past.folder, past.known)
    restored = await bring_back(empty.url, past.folder, past.known)
    assert (restored.erased.erasures, set(restored.erased.threads)) == (2, {"thread_gone", "thread_half"})
    await check_erased(past, empty.url)
    assert past.found(tmp_path / "empty") == {}


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from clew_services.backup import erase_backup as erasing
from clew_services.backup.backup_folder import Folder
from clew_services.erasure import erasure_file

folder, file, stage = sys.argv[1:]
seen = []

def tell(done):
    if not seen or seen[-1] != done.stage:
        seen.append(done.stage)
    if "/".join(seen) == stage and done.done:
        os.kill(os.getpid(), signal.SIGKILL)

def overwrite(path):
    if stage == "replaced" and path.name.count(".") == 2:  # a file of the old edition
        os.kill(os.getpid(), signal.SIGKILL)
    overwriting(path)

overwriting, erasing.overwrite = erasing.overwrite, overwrite
asyncio.run(erasing.erase_backup(Folder(Path(folder)), erasure_file.read(Path(file)), "0", tell))
"""
STAGES = (
    "checking/restoring/applying",
    "checking/restoring/applying/backing up/checking/restoring",
    "replaced",
)
"""What it does when it is killed, one run after the other."""


async def test_whoever_is_killed_on_the_way_leaves_a_whole_backup_and_the_next_one_finishes(
    past: Past, tmp_path: Path
) -> None:
    file = tmp_path / "erasures.jsonl"
    erasure_file.write(past.known, file)
    before = manifest.read(past.folder)
    for stage in STAGES:
        killed = await asyncio.create_subprocess_exec(sys.executable, "-c", KILLED, str(past.folder), str(file), stage)
        assert await killed.wait() == -signal.SIGKILL, stage
        found = manifest.read(past.folder)
        assert (found == before) == (stage != "replaced"), stage
        for entry in found.manifest.streams:
            Folder(past.folder).check(entry, lambda _: None)
    assert past.found(past.folder) != {}  # the old files are there, and no backup any more
    done = await past.erase()
    assert (done.changed, done.name) == (False, found.name)
    assert past.found(past.folder) == {}
    assert {each.name for each in past.folder.iterdir()} == {
        manifest.NAME,
        *(entry.file for entry in found.manifest.streams),
    }


async def test_a_backup_that_was_made_during_an_erasure_does_not_bring_back_what_it_took(
    clew: Clew, deployment: EmbeddedServer, empty: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    markers = {thread: new_marker() for thread in ("thread_before", "thread_within")}
    for thread, marker in markers.items():
        await Writer(clew.handler).create(thread, metadata={"a": marker})
    await clew.handler.handle("default", EraseThread(thread_id="thread_before"), actor="dpo", by="test")
    stream = take_backup._stream

    async def erases(connection: compose.Connection, folder: Folder, name: str, tell: take_backup.Tell) -> object:
        if name == ERASED_STREAM:  # which comes after the log
            await clew.handler.handle("default", EraseThread(thread_id="thread_within"), actor="dpo", by="test")
            await complete_all(clew)
        return await stream(connection, folder, name, tell)

    monkeypatch.setattr(take_backup, "_stream", erases)
    past = Past(clew, await back_up(deployment.url, tmp_path / "backup"), await known_to(clew), markers)
    assert past.found(past.folder).keys() == markers.keys()
    assert {each.erasure.status for each in past.known.erasures} == {"completed"}
    restored = await bring_back(empty.url, past.folder)
    assert (restored.erased.erasures, restored.erased.commits) == (2, 2)
    assert past.found(tmp_path / "empty") == {}
    async with compose.connect(empty.url, name="restored") as again:
        await complete_all(again)
        for thread in markers:
            with pytest.raises(NotFound):
                await again.reader.thread("default", GetThread(thread_id=thread))
        found = await verifier_of(again).all()
        assert (found.threads, found.findings) == (2, ())
        assert {each.erasure.status for each in await again.erasure_records.all()} == {"completed"}


def _cut(folder: Path) -> None:
    file = folder / f"{event_stream(1)}.tar.s2"
    file.write_bytes(file.read_bytes()[:-1])


def _edit(**changes: object) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        file = folder / manifest.NAME
        file.write_text(json.dumps({**json.loads(file.read_bytes()), **changes}))

    return edit


async def test_damaged_and_foreign_backups_are_refused_and_stay_as_they_are(
    past: Past, empty: EmbeddedServer, tmp_path: Path
) -> None:
    header = replace(past.known.header, deployment="another")
    foreign = KnownErasures(header, tuple(replace(each, began="0" * 64) for each in past.known.erasures))
    cases: tuple[tuple[Callable[[Path], object], KnownErasures, type[ClewError], str], ...] = (
        (lambda folder: (folder / manifest.NAME).unlink(), past.known, Invalid, "no_backup"),
        (_edit(format=2), past.known, Invalid, "backup_format"),
        (_edit(edition=1), past.known, Corrupt, "backup_damaged"),
        (_cut, past.known, Corrupt, "backup_damaged"),
        (lambda _: None, foreign, Invalid, "other_deployment"),
        (lambda _: None, KnownErasures(header, ()), Invalid, "other_deployment"),
    )
    for number, (damage, known, error, code) in enumerate(cases):
        folder = tmp_path / f"case-{number}"
        shutil.copytree(past.folder, folder)
        damage(folder)
        before = {each.name: each.read_bytes() for each in folder.iterdir()}
        with pytest.raises(error) as refusal:
            await erase_backup(Folder(folder), known, "0", silent)
        assert refusal.value.code == code
        assert {each.name: each.read_bytes() for each in folder.iterdir()} == before
    with pytest.raises(Invalid, match="none of them is of a thread in it"):
        await bring_back(empty.url, past.folder, foreign)
    async with compose.connection(empty.url, name="operator") as made:
        assert await made.js.streams() == []
    lock = Lock(past.folder / "lock")
    assert lock.take()
    with pytest.raises(Invalid, match="another process"):
        await past.erase()
    lock.give_back()

    # Of a deployment that was restored since, whose identity is another, they are those of its threads.
    later = KnownErasures(header, (*past.known.erasures[:1], *foreign.erasures[1:]))
    done = await past.erase(later)
    assert (done.erased.erasures, done.erased.others) == (1, ("thread_half",))


async def test_where_there_is_no_room_the_backup_stays_and_is_erased_once_there_is(past: Past, tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", 48) as disk:
        folder = disk.path / "backup"
        shutil.copytree(past.folder, folder)
        before = manifest.read(folder)
        disk.fill()
        with pytest.raises(Unavailable, match="Run this again; it needs room"):
            await erase_backup(Folder(folder), past.known, "0", silent)
        assert manifest.read(folder) == before
        disk.relieve()
        assert (await erase_backup(Folder(folder), past.known, "0", silent)).changed
        assert past.found(folder) == {}


def test_the_commands_take_erasures_from_a_file_or_from_a_deployment(tmp_path: Path) -> None:
    def run(*words: str, code: int = 0) -> Result:
        result = CliRunner().invoke(main, words)
        assert result.exit_code == code, result.output
        return result

    url = ""

    async def in_a_deployment() -> None:
        nonlocal url
        async with deployed(tmp_path / "data") as server, compose.connect(server.url, name="writer") as clew:
            await Writer(clew.handler).create("thread_gone", metadata={"a": "x"})
            await back_up(server.url, tmp_path / "one")
            shutil.copytree(tmp_path / "one", tmp_path / "two")
            await clew.handler.handle("default", EraseThread(thread_id="thread_gone"), actor="dpo", by="test")
            erasure_file.write(await known_to(clew), tmp_path / "erasures.jsonl")
            url = server.url
            # The server of a child process: none is started here, outside of the main thread.
            erase = "backup", "erase", str(tmp_path / "two"), "--nats", url, "--json"
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "clew_services.cli", *erase, stdout=asyncio.subprocess.PIPE
            )
            said, _ = await process.communicate()
            assert process.returncode == 0
            assert json.loads(said)["erased"] == {"erasures": 1, "threads": ["thread_gone"], "commits": 1, "others": []}

    asyncio.run(in_a_deployment())
    one, two, file = str(tmp_path / "one"), str(tmp_path / "two"), str(tmp_path / "erasures.jsonl")
    restored = run("restore", one, "--erasures", file, "--into", str(tmp_path / "new"))
    assert "erased since the backup, and taken out of it: 1 erasure, 1 thread, 1 commit" in restored.stdout
    erase = "backup", "erase", one, "--erasures", file
    assert "is a complete backup again: 1 erasure, 1 thread, 1 commit" in run(*erase).stdout
    assert "nothing that was erased since" in run("backup", "erase", two, "--erasures", file).stdout
    assert "--out" in run("backup", code=2).stderr
    assert "alone" in run("backup", "--out", "x", *erase[1:], code=2).stderr
    assert "--key goes with" in run("backup", "erase", one, "--key", "k", code=2).stderr
    assert "--key goes with" in run("restore", one, "--key", "k", code=2).stderr
    Path(file).write_text("{}")
    assert "not_erasures" in run(*erase, code=1).stderr
