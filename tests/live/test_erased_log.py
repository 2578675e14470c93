"""What is erased leaves no byte in any file of the server, and everything that reads the log reads the rest."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path
from signal import SIGKILL

import msgspec
import pytest

from clew_events.checkpoint_messages import KeptProof
from clew_events.codec import redact
from clew_events.commands import AddMessage, CompleteErasure, CreateThread, EraseThread, UpdateThread
from clew_events.commit import Position, Recorded
from clew_events.erasures import Erasure, lines_to_erase
from clew_events.errors import Corrupt
from clew_events.events import ErasureRequested, is_erased
from clew_events.queries import GetFeed, GetHistory, GetStateAt
from clew_events.requests import MetadataPatch, NewMessage
from clew_events.subjects import (
    ERASED_STREAM,
    Address,
    certificate_subject,
    erased_subject,
    erased_subjects,
    erasure_subject,
    event_stream,
    event_subject,
    shard_of,
)
from clew_projections.feed.follow import follow
from clew_projections.findings import Finding
from clew_projections.history.stretch import Spot
from clew_projections.integrity.erasure_check import erasures_of
from clew_projections.integrity.erasure_extent import read_extent
from clew_projections.integrity.heads_file import HeadsFile
from clew_projections.packs.check import check as check_commits
from clew_projections.packs.layout import Scope
from clew_projections.packs.pack import Pack
from clew_projections.projector.parked_threads import list_parked
from clew_projections.views import absent
from clew_services.backup.backup_folder import Folder
from clew_services.backup.restore_backup import restore
from clew_services.backup.take_backup import take
from clew_services.checkpoints.log_heads import Heads
from clew_services.checkpoints.maker import Maker
from clew_services.checkpoints.note import SigningKey
from clew_services.checkpoints.thread_proofs import bodies_between, check, head_proof, temporary_heads
from clew_services.compose import Clew, connect, connection
from clew_services.embedded.server import EmbeddedServer
from clew_services.erasure.certificate import Knowledge, certify, read_certificate
from clew_services.erasure.eraser import BEFORE, Budget, Eraser, Loss
from clew_services.erasure.evidence import StoredEvidence
from clew_services.integrity.integrity_report import report
from clew_services.packs.check_pack import check_pack
from clew_services.packs.exporter import Exporter
from clew_services.packs.importer import Importer
from support.deployments import deployed
from support.erasing import Killed, stopped, unhurried
from support.forging import bodies
from support.indexes import caught_up, fed
from support.parts import audit_of, verifier_of
from support.truth import checkpointed, projecting

THREAD = Address("default", "thread_erased")
OTHER = Address("default", "thread_beside")
MARKER = "marker-of-what-goes"
NEIGHBOUR = "marker-of-what-stays"


async def write(clew: Clew, address: Address, word: str, *, count: int = 3) -> None:
    """A thread with a message of each commit, and a last commit that says nothing."""
    handle = clew.handler.handle
    await handle(address.tenant, CreateThread(thread_id=address.thread, metadata={"said": word}), actor="shop")
    for number in range(count):
        message = NewMessage(role="user", content=f"{word} {number}")
        await handle(address.tenant, AddMessage(thread_id=address.thread, message=message), actor="shop")
    await write_last(clew, address)


async def write_last(clew: Clew, address: Address) -> None:
    """A commit that says nothing, so that what is before it may go."""
    patch = MetadataPatch(set={"a": "b"})
    await clew.handler.handle(address.tenant, UpdateThread(thread_id=address.thread, patch=patch), actor="x")


async def history(clew: Clew, address: Address) -> list[Recorded]:
    return await clew.histories.tail(address, 0)


async def erase(clew: Clew, address: Address, eraser: Eraser | None = None) -> list[Recorded]:
    """Erase all contents of a thread but those of its last commit, of which nothing is recorded here."""
    everything = ErasureRequested(erasure="erasure_1", items=None, code=None)
    commits = (await history(clew, address))[:-1]
    losses = [Loss(each.position, lines_to_erase(each.commit, everything)) for each in commits]
    await (eraser or unhurried(clew)).erase(losses)
    return commits


def files_with(data: Path, word: str) -> list[Path]:
    return [each for each in (data / "nats").rglob("*") if each.is_file() and word.encode() in each.read_bytes()]


def blocks_with(data: Path, word: str) -> list[Path]:
    """The blocks of the log, and of what is kept of it, that have a word."""
    return [each for each in files_with(data, word) if "CLEW_EVT" in str(each) or ERASED_STREAM in str(each)]


async def test_what_is_erased_is_in_no_block_and_neighbours_and_sequences_stay(
    deployment: EmbeddedServer,
) -> None:
    async with connect(deployment.url, name="test") as clew:
        await write(clew, OTHER, NEIGHBOUR)
        await write(clew, THREAD, MARKER)
        before, beside = await history(clew, THREAD), await bodies(clew, OTHER)
        assert blocks_with(deployment.data, MARKER)
        await erase(clew, THREAD)
        assert not blocks_with(deployment.data, MARKER)
        assert blocks_with(deployment.data, NEIGHBOUR)
    os.kill(deployment.pid, SIGKILL)
    await deployment.wait()
    await deployment.start()
    assert not blocks_with(deployment.data, MARKER)
    async with connect(deployment.url, name="test") as clew:
        after = await history(clew, THREAD)
        assert [(each.position, each.hash, each.trace) for each in after] == [
            (each.position, each.hash, each.trace) for each in before
        ]
        assert all(is_erased(event) for each in after[:-1] for event in each.commit.events)
        assert {each.digest for each in after[:-1]} == {None}
        assert after[-1] == before[-1]
        assert await bodies(clew, OTHER) == beside
        shard = shard_of(THREAD.thread, 2)
        held, _ = await clew.connection.js.after(event_stream(shard), event_subject(shard, THREAD), 1)
        assert [each.seq for each in held] == [before[-1].position.seq]


async def test_a_commit_may_lose_contents_one_by_one_and_no_older_copy_stays(
    deployment: EmbeddedServer,
) -> None:
    async with connect(deployment.url, name="test") as clew:
        made = [NewMessage(role="user", content=f"{MARKER} {each}") for each in range(3)]
        await clew.handler.handle("default", CreateThread(thread_id=THREAD.thread, messages=tuple(made)), actor="shop")
        await write_last(clew, THREAD)
        first, _ = await history(clew, THREAD)
        lines = [number for number, event in enumerate(first.commit.events, start=1) if hasattr(event, "item")]
        for done, number in enumerate(lines, start=1):
            await unhurried(clew).erase([Loss(first.position, (number,))])
            left = (await history(clew, THREAD))[0]
            assert [is_erased(left.commit.events[each - 1]) for each in lines] == [
                each in lines[:done] for each in lines
            ]
            assert len(blocks_with(deployment.data, f"{MARKER} {done - 1}")) == 0
            assert len(blocks_with(deployment.data, f"{MARKER} {done}")) == (done < len(lines))
        # Once more changes nothing.
        copies = list(await clew.js.subjects(ERASED_STREAM, erased_subjects(first.position.shard)))
        last = await clew.js.last(ERASED_STREAM, copies[0])
        await unhurried(clew).erase([Loss(first.position, lines)])
        assert await clew.js.last(ERASED_STREAM, copies[0]) == last
        assert last is not None
        assert BEFORE in last.headers
        assert [each.seq for each in (await clew.js.after(ERASED_STREAM, copies[0], 1))[0]] == [last.seq]


@pytest.mark.parametrize("stop", [1, 2, 3])
async def test_whoever_takes_over_from_a_killed_eraser_leaves_no_copy_of_what_it_was_at(
    clew: Clew, deployment: EmbeddedServer, stop: int
) -> None:
    messages = tuple(NewMessage(role="user", content=f"{MARKER} {number}") for number in (2, 3, 4))
    command = CreateThread(thread_id=THREAD.thread, messages=messages)
    await clew.handler.handle("default", command, actor="shop")
    await write_last(clew, THREAD)
    first, _ = await history(clew, THREAD)
    await unhurried(clew).erase([Loss(first.position, (1,))])
    with contextlib.suppress(Killed):
        await Eraser(stopped(clew, stop), Budget()).erase([Loss(first.position, (2,))])
    await unhurried(clew).erase([Loss(first.position, (2, 3))])
    copies, _ = await clew.js.after(ERASED_STREAM, erased_subjects(first.position.shard), 1)
    (copied,) = copies
    assert copied.body == redact(first.body, {1, 2, 3})
    assert [len(blocks_with(deployment.data, f"{MARKER} {number}")) for number in (2, 3, 4)] == [0, 0, 1]


async def test_the_last_commit_of_a_thread_a_lost_one_and_a_forged_copy_are_refused(clew: Clew) -> None:
    await write(clew, THREAD, MARKER)
    commits = await history(clew, THREAD)
    eraser = unhurried(clew)
    with pytest.raises(Corrupt) as refusal:
        await eraser.erase([Loss(commits[-1].position, (0, 1))])
    assert refusal.value.code == "last_commit"
    with pytest.raises(Corrupt) as refusal:
        await eraser.erase([Loss(Position(commits[-1].position.shard, 10_000), (0, 1))])
    assert refusal.value.code == "missing_commit"
    shard, seq = commits[0].position.shard, commits[0].position.seq
    forged = erased_subject(shard, seq, THREAD, 1)
    assert (await clew.js.publish(forged, commits[1].body)).error is None
    with pytest.raises(Corrupt) as refusal:
        await eraser.erase([Loss(commits[0].position, (0, 1))])
    assert refusal.value.code == "altered"
    assert [each.body for each in await history(clew, THREAD)] == [each.body for each in commits]


async def test_deletions_are_spaced_by_stream_and_progress_is_told(clew: Clew) -> None:
    await write(clew, THREAD, MARKER)
    now, waits, told = 100.0, list[float](), list[int]()

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds
        waits.append(seconds)

    eraser = Eraser(clew.connection.js, Budget(4, clock=lambda: now, sleep=sleep))
    commits = (await history(clew, THREAD))[:-1]
    await eraser.erase([Loss(each.position, (0, 1)) for each in commits], told.append)
    assert waits == [0.25] * (len(commits) - 1)
    assert told == [*range(1, len(commits) + 1)]


async def test_whoever_reads_a_thread_that_lost_contents_reads_every_commit_of_it(clew: Clew) -> None:
    await write(clew, OTHER, NEIGHBOUR)
    await write(clew, THREAD, MARKER, count=5)
    before = await history(clew, THREAD)
    await erase(clew, THREAD)
    hint = absent(*THREAD)
    expected = [(each.commit.n, each.position, each.hash) for each in before]

    def places(commits: Sequence[Recorded]) -> list[tuple[int, Position, str]]:
        assert not any(MARKER.encode() in each.body for each in commits)
        return [(each.commit.n, each.position, each.hash) for each in commits]

    assert places([each async for each in clew.trail.forward(hint, Spot(0), 2)]) == expected
    assert places([each async for each in clew.trail.backward(hint, None, 2)]) == expected[::-1]
    third = before[2]
    assert places([each async for each in clew.trail.forward(hint, Spot(3, third.position.seq))]) == expected[3:]
    assert places([each async for each in clew.trail.backward(hint, Spot(3, third.position.seq))]) == expected[1::-1]
    assert places(await clew.trail.read_at(THREAD, [each.position.seq for each in before])) == expected
    assert places([await clew.histories.at(THREAD, third.position.seq)]) == [expected[2]]
    assert places([await clew.histories.first(THREAD)]) == [expected[0]]
    answer = await clew.reader.history("default", GetHistory(thread_id=THREAD.thread))
    assert [each.commit.n for each in answer.commits] == [each.commit.n for each in before]
    assert MARKER.encode() not in msgspec.json.encode(answer)


async def test_the_feed_shows_what_is_left_in_its_place_from_any_cursor_or_time(
    clew: Clew,
) -> None:
    for number in range(3):
        await write(clew, Address("default", f"thread_{number}"), MARKER, count=2)
    whole = (await clew.reader.feed("default", GetFeed(limit=100))).data
    for number in (0, 2):
        await erase(clew, Address("default", f"thread_{number}"))
    left = (await clew.reader.feed("default", GetFeed(limit=100))).data
    assert [(each.position, each.hash, each.id) for each in left] == [
        (each.position, each.hash, each.id) for each in whole
    ]
    for place, entry in enumerate(whole):
        onwards = (await clew.reader.feed("default", GetFeed(limit=2, after=entry.id))).data
        assert [each.hash for each in onwards] == [each.hash for each in whole[place + 1 : place + 3]]
        since = (await clew.reader.feed("default", GetFeed(limit=1, since=entry.stored_at))).data
        assert since[0].stored_at == entry.stored_at
    back = (await clew.reader.feed("default", GetFeed(limit=100, order="desc"))).data
    assert [each.hash for each in back] == [each.hash for each in whole][::-1]
    async with aclosing(follow(clew.feed, clew.tail, "default", GetFeed(limit=100), idle=5)) as batches:
        followed: list[str] = []
        while len(followed) < len(whole):
            followed += [each.fed.hash for each in await anext(batches)]
    assert followed == [each.hash for each in whole]


async def test_chains_and_checkpoints_over_a_log_that_lost_contents_are_what_they_were(clew: Clew) -> None:
    await write(clew, OTHER, NEIGHBOUR)
    await write(clew, THREAD, MARKER)
    heads = Heads(clew.js, 2, HeadsFile())
    signed = await Maker(clew.js, clew.ledger, heads, KEY).make()
    assert signed is not None
    await heads.close()
    await erase(clew, THREAD)
    again = Heads(clew.js, 2, HeadsFile())
    for shard, statement in enumerate(signed.checkpoint.shards):
        await again.reach(shard, statement.seq)
        assert await again.statement(shard) == statement
    maker = Maker(clew.js, clew.ledger, again, KEY)
    assert await maker.make() is None  # nothing is lost, and nothing new
    await write(clew, Address("default", "thread_new"), NEIGHBOUR)
    assert (await maker.make()) is not None
    await again.close()
    audit = audit_of(clew, every=1.0)
    await audit.look()
    assert await lost(clew) == ()
    # A commit that is not kept is lost, whatever else was erased.
    gone = (await history(clew, Address("default", "thread_new")))[1].position
    await clew.connection.js.api(f"STREAM.MSG.DELETE.{event_stream(gone.shard)}", {"seq": gone.seq})
    await audit.look()
    assert [each.code for each in await lost(clew)] == ["removed"]


async def lost(clew: Clew) -> Sequence[Finding]:
    known = await report(clew.js)
    assert known is not None
    return known.lost


KEY = SigningKey.new()
NOW = datetime(2026, 11, 28, tzinfo=UTC)


async def test_from_its_acknowledgement_on_an_erasure_is_refused_by_every_reader(
    deployment: EmbeddedServer,
) -> None:
    async with connect(deployment.url, name="one") as clew, connect(deployment.url, name="two") as other:
        await write(clew, THREAD, MARKER)
        await write(clew, OTHER, NEIGHBOUR)
        async with aclosing(follow(other.feed, other.tail, "default", GetFeed(limit=100), idle=5)) as batches:
            first = await anext(batches)
            assert any(MARKER.encode() in each.fed.body for each in first)
            commits = await history(clew, THREAD)
            last = commits[-1]
            record = Erasure(
                id="erasure_1",
                status="requested",
                thread_id=THREAD.thread,
                actor="x",
                by="nats",
                n=last.commit.n,
                position=last.position,
                requested_at=last.commit.at,
            )
            await request(clew, record)
            for reading in (clew, other):
                page = await reading.reader.history("default", GetHistory(thread_id=THREAD.thread))
                assert [each.hash for each in page.commits] == [each.hash for each in commits]
                feed = await reading.reader.feed("default", GetFeed(limit=100))
                then = await reading.reader.state_at("default", GetStateAt(thread_id=THREAD.thread, n=2))
                for answer in (page, feed, then):
                    assert MARKER.encode() not in msgspec.json.encode(answer)
                assert NEIGHBOUR.encode() in msgspec.json.encode(feed)
                read = await history(reading, THREAD)
                assert {each.digest for each in read[:-1]} == {None}
                assert read[-1] == last
        assert blocks_with(deployment.data, MARKER)
        await erase(clew, THREAD)
        await request(clew, msgspec.structs.replace(record, status="erased"))
        await other.js.refresh()
        assert not other.js.pending
        page = await other.reader.history("default", GetHistory(thread_id=THREAD.thread))
        assert [each.hash for each in page.commits] == [each.hash for each in commits]


async def request(clew: Clew, record: Erasure) -> None:
    ack = await clew.js.publish(erasure_subject("default", record.id), msgspec.json.encode(record))
    assert ack.error is None


async def test_views_and_index_are_made_of_what_is_left(clew: Clew, tmp_path: Path) -> None:
    await write(clew, OTHER, NEIGHBOUR)
    await write(clew, THREAD, MARKER)
    await erase(clew, THREAD)
    heads = {address.thread: (await history(clew, address))[-1] for address in (THREAD, OTHER)}
    async with projecting(clew), fed(clew, tmp_path / "index") as feeder:
        indexed = await caught_up(clew, tmp_path / "index")
        await checkpointed(clew)
    assert indexed == {thread: (last.commit.n, last.hash) for thread, last in heads.items()}
    assert feeder.taken == sum(last.commit.n for last in heads.values())
    assert not await list_parked(clew.live.current.threads)
    compared = [each async for each in clew.prover().prove()]
    assert {each.address for each in compared} == {THREAD, OTHER}
    assert [each.finding for each in compared] == [None, None]


async def test_a_restored_backup_has_lost_what_was_erased_and_nothing_else(
    clew: Clew, deployment: EmbeddedServer, durable_nats_server: EmbeddedServer, tmp_path: Path
) -> None:
    await write(clew, OTHER, NEIGHBOUR)
    await write(clew, THREAD, MARKER)
    await erase(clew, THREAD)
    async with connection(deployment.url, name="backup") as made:
        await take(made, Folder(tmp_path / "backup"), "0", lambda _: None)
    async with connection(durable_nats_server.url, name="restore") as made:
        await restore(made, Folder(tmp_path / "backup"), None, lambda _: None)
    assert not files_with(durable_nats_server.data, MARKER)
    async with connect(durable_nats_server.url, name="restored") as again:
        for address in (THREAD, OTHER):
            assert await history(again, address) == await history(clew, address)


async def check_what_leaves(clew: Clew, folder: Path) -> None:
    """Proofs, packs and imports of a thread that lost contents hold by its certificate, and without it they do not."""
    async with temporary_heads(clew.js, 2) as heads:
        checkpoint = await Maker(clew.js, clew.ledger, heads, KEY).make()
        assert checkpoint is not None
        keys = {KEY.verifier.id: KEY.verifier}
        assert (await clew.record_verifier().whole(None, keys)).findings == ()
        head = await head_proof(clew.js, heads, checkpoint, THREAD)
    evidence = StoredEvidence(clew.js, {})
    erasures = [each async for recorded in clew.histories.after(THREAD, 0) for each in erasures_of(recorded.commit)]
    packed = await evidence.read_packed(dict.fromkeys(erasures, THREAD.tenant))
    certificates = [read_certificate(each.encode(), KEY.verifier).certificate for each in packed.certificates.values()]
    proof = KeptProof(head=head, commits=tuple(await bodies_between(clew.js, 2, THREAD, 0, head.n)))
    assert check(proof, KEY.verifier, certificates) == checkpoint
    others = [msgspec.structs.replace(each, thread=OTHER.thread) for each in certificates]
    for some in ([], others):
        with pytest.raises(Corrupt) as missing:
            check(proof, KEY.verifier, some)
        assert missing.value.code == "missing_content"

    exporter = Exporter(clew.js, clew.ledger, clew.deployment, key=KEY.verifier)
    export = exporter.start_export(await exporter.make_header(Scope()))
    file = folder / "pack.clew"
    file.write_bytes(b"".join([chunk async for chunk in export.chunks()]))
    pack = Pack(file)
    assert check_pack(pack, key=KEY.verifier, progress=lambda _: None).verified.findings == ()
    assert {each.code for each in check_commits(pack).findings} == {"missing_certificate"}
    async with deployed(folder / "target", shards=3) as server, connect(server.url, name="target") as target:
        importer = Importer(target.connection, target.histories)
        plan = await importer.plan(pack, key=KEY.verifier, checking=lambda _: None, comparing=lambda _: None)
        for _ in range(2):
            await importer.carry_out(pack, plan, lambda _: None)
            plan = await importer.plan(pack, key=KEY.verifier, checking=lambda _: None, comparing=lambda _: None)
        assert (await target.record_verifier().whole(None, {})).findings == ()
        assert [each.body for each in await history(target, THREAD)] == [
            each.body for each in await history(clew, THREAD)
        ]


async def test_what_is_gone_is_in_order_by_a_certificate_alone_and_forgeries_are_named(
    clew: Clew, tmp_path: Path
) -> None:
    await write(clew, OTHER, NEIGHBOUR)
    await write(clew, THREAD, MARKER)
    await clew.handler.handle("default", EraseThread(thread_id=THREAD.thread), actor="officer")
    requested = (await history(clew, THREAD))[-1]
    (erasure,) = erasures_of(requested.commit)
    record = Erasure(
        id=erasure,
        status="requested",
        thread_id=THREAD.thread,
        actor="officer",
        by="nats",
        n=requested.commit.n,
        position=requested.position,
        requested_at=requested.commit.at,
    )

    async def codes() -> set[str]:
        verified = await verifier_of(clew).all()
        own = (await verifier_of(clew).thread(THREAD)).findings
        assert [each for each in verified.findings if each.thread == THREAD.thread] == list(own)
        return {each.code for each in verified.findings}

    assert await codes() == set()  # it is on record
    await request(clew, msgspec.structs.replace(record, status="failed"))
    assert await codes() == {"missing_certificate"}  # nobody carries it out
    await request(clew, record)
    assert await codes() == set()
    extent = await read_extent(clew.histories.after(THREAD, 0), record)
    assert extent is not None
    await unhurried(clew).erase([Loss(*each) for each in extent.contents.items()])
    assert await codes() == set()
    note = certify(extent, Knowledge(), erased_at=NOW, completed_at=NOW, key=KEY)
    assert (await clew.js.publish(certificate_subject(erasure), note.note)).error is None
    assert await codes() == set()
    await request(clew, msgspec.structs.replace(record, status="completed"))
    assert await codes() == {"missing_certificate"}  # the chain does not name it
    command = CompleteErasure(thread_id=THREAD.thread, erasure=erasure, certificate=note.hash)
    await clew.handler.handle("default", command, actor="erasure")
    assert await codes() == set()
    await check_what_leaves(clew, tmp_path)
    # Another content is taken out in the same way, of a thread that has no such certificate.
    taken = (await history(clew, OTHER))[1]
    await unhurried(clew).erase([Loss(taken.position, (1,))])
    assert await codes() == {"missing_content"}
    # A certificate is changed.
    forged = note.note.replace(b'"done":["contents', b'"done":["nothing')
    assert (await clew.js.publish(certificate_subject(erasure), forged)).error is None
    found = await verifier_of(clew).thread(THREAD)
    assert [each.code for each in found.findings] == ["wrong_certificate"]
