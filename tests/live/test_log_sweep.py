"""Sweeps: many erasures at once leave no text in any file, and everything else is read as before."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from clew_events.commands import CreateThread, EraseThread, UpdateThread
from clew_events.commit import record_hash
from clew_events.errors import NotFound, Unavailable
from clew_events.queries import GetFeed, GetHistory, GetThread, ListMessagesAt
from clew_events.replies import FeedEntry
from clew_events.requests import MetadataPatch, NewMessage
from clew_events.subjects import ERASED_STREAM, Address, address_of, erased_subjects, event_stream
from clew_projections.history.erased_commits import ErasedCommits, Swept, original_of
from clew_projections.integrity.links import place_of
from clew_projections.nats.jetstream import stream_state
from clew_projections.nats.stream_messages import StoredMessage
from clew_projections.packs.layout import Scope
from clew_projections.packs.pack import Pack
from clew_services.backup.backup_folder import Folder
from clew_services.backup.restore_backup import restore
from clew_services.backup.take_backup import take
from clew_services.compose import Clew, connect, connection
from clew_services.embedded.server import EmbeddedServer
from clew_services.erasure import worker as worker_module
from clew_services.erasure.log_sweep import LogSweep, SweepRule
from clew_services.erasure.worker import Worker
from clew_services.packs.check_pack import check_pack
from clew_services.packs.exporter import Exporter
from support.deployments import deployed
from support.erasing import EVERY, unhurried
from support.erasure_worker import KEY, Killed, complete_all, worker
from support.indexes import caught_up, fed
from support.markers import find_marker, new_marker
from support.truth import checkpointed, projecting

EARLY = SweepRule(least=1)
"""A sweep pays if it saves five deletions; what the server may leave of a block counts as ever."""
LARGE = "a large text, " * 10_000
ERASED = 75


@pytest.fixture
async def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[EmbeddedServer]:
    monkeypatch.setattr(worker_module, "MANY", 5)
    async with deployed(tmp_path / "data", shards=1, sync="always") as running:
        yield running


def name(number: int) -> str:
    return f"thread_swept_{number:03d}"


async def step_until_killed(worker: Worker) -> None:
    while await worker.step():
        pass


async def write(clew: Clew, thread: str, text: str) -> None:
    message = NewMessage(role="user", content=text)
    await clew.handler.handle("default", CreateThread(thread_id=thread, messages=(message,), reason=text[-40:]))


async def erase(clew: Clew, *threads: str) -> None:
    for thread in threads:
        await clew.handler.handle("default", EraseThread(thread_id=thread))


async def check(clew: Clew, stay: dict[str, str], gone: set[str]) -> None:
    """Read, verify and compare everything."""
    await checkpointed(clew)
    verified = await clew.record_verifier().whole(None, {})
    assert verified.findings == ()
    assert [each.finding async for each in clew.prover().prove() if each.finding is not None] == []
    for thread, text in stay.items():
        then = await clew.reader.past.messages("default", ListMessagesAt(thread_id=thread, as_of=1))
        assert text in str(then.messages)
        history = await clew.reader.history("default", GetHistory(thread_id=thread))
        assert [each.commit.n for each in history.commits] == [1, 2]
        assert text in str(history.commits[0].commit)
        assert not history.missing
    for thread in gone:
        with pytest.raises(NotFound):
            await clew.reader.thread("default", GetThread(thread_id=thread))
        history = await clew.reader.history("default", GetHistory(thread_id=thread))
        assert history.commits[0].commit.n == 1
        assert not history.missing


async def check_from_the_beginning(clew: Clew, folder: Path) -> None:
    """Read the log from its first commit on, by all that do so: the feed in both orders, an index, a pack."""
    seqs = list(range(1, (await clew.js.extent(0)).last_seq + 1))
    forward = await read_feed(clew)
    assert [each.position.seq for each in forward] == seqs
    assert [each.position.seq for each in await read_feed(clew, order="desc")] == seqs[::-1]
    for place in (0, len(forward) // 3, len(forward) - 1):
        since = (await clew.reader.feed("default", GetFeed(limit=1, since=forward[place].stored_at))).data
        assert [each.id for each in since] == [forward[place].id]
    async with fed(clew, folder / "index"):
        indexed = await caught_up(clew, folder / "index")
    tips = {address_of(each.subject).thread: each for each in await lasts(clew)}
    assert indexed == {thread: (place_of(each.body), record_hash(each.body)) for thread, each in tips.items()}
    exporter = Exporter(clew.js, clew.ledger, clew.deployment, key=KEY.verifier)
    export = exporter.start_export(await exporter.make_header(Scope()))
    file = folder / "pack.clew"
    file.write_bytes(b"".join([chunk async for chunk in export.chunks()]))
    verified = check_pack(Pack(file), key=KEY.verifier, progress=lambda _: None).verified
    assert {each.code for each in verified.findings} == {"no_checkpoint"}  # none is signed with this key


async def lasts(clew: Clew) -> list[StoredMessage]:
    js, stream = clew.connection.js, event_stream(0)
    return list((await js.lasts(stream, list(await js.subjects(stream, ">")))).values())


async def read_feed(clew: Clew, **query: Any) -> list[FeedEntry]:
    entries: list[FeedEntry] = []
    while True:
        after = entries[-1].id if entries else None
        page = await clew.reader.feed("default", GetFeed(limit=50, after=after, **query))
        entries += page.data
        if not page.has_more:
            return entries


@pytest.mark.timeout(240)
async def test_what_is_swept_is_in_no_file_and_what_stays_is_read_as_before(
    server: EmbeddedServer, durable_nats_server: EmbeddedServer, tmp_path: Path
) -> None:
    marker, staying = new_marker(), new_marker()
    gone, stay = (
        {name(number) for number in range(ERASED)},
        {f"thread_stays_{n}": f"{LARGE}{staying}{n}" for n in range(4)},
    )
    async with connect(server.url, name="clew") as clew, projecting(clew):
        for number, thread in enumerate(sorted(gone)):
            await write(clew, thread, f"{LARGE}{marker}")
            if number % 20 == 10:
                await write(clew, *list(stay.items())[number // 20])
        for thread in stay:
            await clew.handler.handle("default", UpdateThread(thread_id=thread, patch=MetadataPatch(set={"a": "b"})))
        await erase(clew, *sorted(gone))
        for number in range(25):  # so that more than half of the block in which the log begins afterwards is alive
            await write(clew, f"thread_later_{number}", LARGE)
        await complete_all(clew, rule=EARLY)
        state = await stream_state(clew.connection.js, event_stream(0))
        assert state.first_seq > ERASED
        assert (await clew.js.extent(0)).messages == state.last_seq
        assert find_marker(tmp_path / "data", marker) == []
        await check(clew, stay, gone)

    async with connection(server.url, name="backup") as made:
        await take(made, Folder(tmp_path / "backup"), "0", lambda _: None)
    async with connection(durable_nats_server.url, name="restore") as made:
        await restore(made, Folder(tmp_path / "backup"), None, lambda _: None)
    async with connect(durable_nats_server.url, name="restored") as again, projecting(again):
        assert (await stream_state(again.connection.js, event_stream(0))).first_seq == state.first_seq
        await check(again, stay, gone)

    # What stayed is erased at last: its copies, and no bytes of it are left where it was swept.
    async with connect(server.url, name="later") as clew, projecting(clew):
        await erase(clew, *stay)
        await complete_all(clew, rule=EARLY)
        await check(clew, {}, gone | stay.keys())
    assert find_marker(tmp_path / "data", staying) == []


async def test_a_worker_killed_before_any_of_its_calls_goes_on_with_the_sweep_and_certifies_each_erasure_once(
    server: EmbeddedServer, tmp_path: Path
) -> None:
    async with connect(server.url, name="first") as clew, projecting(clew):
        await write(clew, "thread_beside", "a text")
        threads: list[str] = []
        for stop in range(5, 75, 5):
            threads += [f"thread_{stop}_{number}" for number in range(5)]
            for thread in threads[-5:]:
                await write(clew, thread, "to be erased")
            await write(clew, f"thread_beside_{stop}", "a text")
            patch = MetadataPatch(set={"stop": str(stop)})
            await clew.handler.handle("default", UpdateThread(thread_id="thread_beside", patch=patch))
            await erase(clew, *threads[-5:])
            with contextlib.suppress(Killed):
                await step_until_killed(worker(clew, stop=stop, rule=EVERY))
    async with connect(server.url, name="last") as clew, projecting(clew):
        await complete_all(clew, rule=EVERY)
        assert (await stream_state(clew.connection.js, event_stream(0))).first_seq > 1
        found = [each async for each in clew.erasure_records.iterate("default")]
        assert {each.thread_id for each in found} == {*threads}
        assert {each.status for each in found} == {"completed"}
        for thread in threads:
            commands = [each.commit.command async for each in clew.histories.after(Address("default", thread), 0)]
            assert commands == ["CreateThread", "EraseThread", "CompleteErasure"]
        await check(clew, {}, {*threads})
        await check_from_the_beginning(clew, tmp_path)


async def test_where_a_thread_was_not_changed_for_long_contents_are_deleted_singly_and_the_log_says_so(
    server: EmbeddedServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "clew.erasure")
    async with connect(server.url, name="clew") as clew, projecting(clew):
        await write(clew, "thread_old", "a text")
        for number in range(6):
            await write(clew, name(number), "to be erased")
        await erase(clew, *(name(number) for number in range(6)))
        await complete_all(clew, rule=EARLY)
        state = await stream_state(clew.connection.js, event_stream(0))
        assert (state.first_seq, state.last_seq - state.messages) == (1, 6)
        await check(clew, {}, {name(number) for number in range(6)})
    assert (
        "shard 0 is not swept, and contents go one by one: sequence 1 of CLEW_EVT_00 is the last of its" in caplog.text
    )


async def test_a_sweep_that_another_process_overtook_records_nothing(server: EmbeddedServer) -> None:
    async with connect(server.url, name="clew") as clew, projecting(clew):
        for number in range(6):
            await write(clew, name(number), "to be erased")
        await erase(clew, *(name(number) for number in range(6)))

        def sweep(most: int) -> LogSweep:
            rule = replace(EVERY, most=most)
            return LogSweep(clew.connection.js, unhurried(clew), 0, {}, replicated=False, rule=rule)

        overtaken = sweep(3).run()
        await anext(overtaken)
        async for _ in sweep(5).run():
            pass
        swept = ErasedCommits(clew.connection.js, replicated=False)
        assert await swept.read_swept(0) == Swept(1, 6)
        with pytest.raises(Unavailable, match="another process sweeps"):
            async for _ in overtaken:
                pass
        assert await swept.read_swept(0) == Swept(1, 6)


async def test_a_swept_commit_without_its_copy_is_damage_and_named(server: EmbeddedServer) -> None:
    async with connect(server.url, name="clew") as clew, projecting(clew):
        for number in range(6):
            await write(clew, name(number), "to be erased")
        await erase(clew, *(name(number) for number in range(6)))
        await complete_all(clew, rule=EVERY)
        (copied,) = (await clew.connection.js.lasts(ERASED_STREAM, [erased_subjects(0, 3)])).values()
        await clew.js.api(f"STREAM.MSG.DELETE.{ERASED_STREAM}", {"seq": copied.seq})
        found = (await clew.record_verifier().whole(None, {})).findings
        assert {(each.code, each.seq) for each in found if not each.thread} == {("removed", 3)}
        assert {each.thread for each in found} == {"", address_of(original_of(copied).subject).thread}
