"""What was signed stays so: a log held against a checkpoint that was kept elsewhere, whatever was done to it since."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from clew_events.errors import Corrupt, NotFound, Unavailable
from clew_events.subjects import CHECKPOINT_STREAM, Address, event_stream, shard_of
from clew_projections.findings import Finding
from clew_projections.integrity.checkpoint import Checkpoint, encode
from clew_projections.integrity.heads_file import HeadsFile
from clew_projections.integrity.inclusion import Head
from clew_projections.nats.stream_messages import ApiRefusal
from clew_services.api_keys import Holder, Keys
from clew_services.api_keys.holders import digest
from clew_services.checkpoints.comparison import Comparison
from clew_services.checkpoints.key_file import create_key
from clew_services.checkpoints.ledger import Ledger, checkpoint_coverage
from clew_services.checkpoints.log_heads import Heads
from clew_services.checkpoints.maker import Maker, serve_checkpoints
from clew_services.checkpoints.note import SigningKey
from clew_services.checkpoints.signed_checkpoint import KeptProof, SignedNote, read_proof, verify_note
from clew_services.checkpoints.thread_proofs import bodies_between, check, head_proof, temporary_heads
from clew_services.compose import Clew, connect
from clew_services.embedded.server import EmbeddedServer
from clew_services.settings import Settings
from support.asgi import IN, call
from support.deployments import deployed
from support.forging import bodies, delete, five_commits, publish, rechained, remove, rewrite, stored
from support.parts import verifier_of
from support.small_disk import SmallDisk
from support.waiting import PATIENCE, eventually

VICTIM = Address("default", "thread_victim")
OTHER = Address("default", "thread_other")
BYSTANDER = Address("another", "thread_bystander")
KEY = SigningKey(bytes(range(32)))


@asynccontextmanager
async def maker(clew: Clew, kept: HeadsFile | None = None) -> AsyncIterator[Maker]:
    heads = Heads(clew.js, clew.deployment.shards, kept or HeadsFile())
    try:
        yield Maker(clew.js, clew.ledger, heads, KEY)
    finally:
        await heads.close()


async def signed(clew: Clew) -> SignedNote:
    async with maker(clew) as anew:
        found = await anew.make()
    assert found is not None
    return verify_note(found.note, KEY.verifier)


async def heads_of(clew: Clew, checkpoint: Checkpoint) -> list[tuple[Head, ...]]:
    async with temporary_heads(clew.js, clew.deployment.shards) as heads:
        return [await heads.agreeing_heads(shard, checkpoint) for shard in range(heads.shards)]


async def against(clew: Clew, kept: SignedNote, heads: list[tuple[Head, ...]] | None = None) -> list[Finding]:
    verifier = verifier_of(clew)
    comparison = Comparison(clew.js, clew.ledger, verifier, clew.deployment.shards)
    found = await comparison.compare(kept, heads, await verifier.extents(), progress=lambda _: None)
    return list(found.findings)


async def recomputed(clew: Clew) -> None:
    await rewrite(clew, VICTIM, rechained(await bodies(clew, VICTIM), b"billing", b"nobody!"))


async def shortened(clew: Clew) -> None:
    history = await stored(clew, VICTIM)
    await delete(clew, VICTIM, *(each.seq for each in history[3:]))


async def removed(clew: Clew) -> None:
    await remove(clew, VICTIM)


async def anew_from_the_middle(clew: Clew) -> None:
    history = await stored(clew, VICTIM)
    forged = rechained([each.body for each in history], b'"step":"2"', b'"step":"9"')
    await delete(clew, VICTIM, *(each.seq for each in history[3:]))
    await publish(clew, VICTIM, *forged[3:])


TAMPERINGS: dict[Callable[[Clew], Awaitable[None]], str] = {
    recomputed: "rewritten",
    shortened: "shortened",
    removed: "thread_removed",
    anew_from_the_middle: "shortened",
}


@pytest.mark.parametrize(("tamper", "code"), TAMPERINGS.items(), ids=[each.__name__ for each in TAMPERINGS])
async def test_what_no_chain_shows_is_found_by_a_checkpoint_and_named_by_its_heads(
    clew: Clew, tamper: Callable[[Clew], Awaitable[None]], code: str
) -> None:
    for address in (VICTIM, OTHER, BYSTANDER):
        await five_commits(clew, address)
    kept = await signed(clew)
    heads = await heads_of(clew, kept.checkpoint)
    assert await against(clew, kept, heads) == []
    await five_commits(clew, Address("default", "thread_later"))
    assert await against(clew, kept, heads) == []

    await tamper(clew)

    shard = shard_of(VICTIM.thread, 2)
    without = {each.code: each for each in await against(clew, kept)}
    assert without["history_changed"].shard == shard
    assert f"shard {shard} is not what checkpoint 1 says" in without["history_changed"].what
    named = [each for each in await against(clew, kept, heads) if each.thread]
    assert [(each.thread, each.code, each.shard) for each in named] == [(VICTIM.thread, code, shard)]
    async with maker(clew) as anew:
        with pytest.raises(Corrupt, match="not what checkpoint 1 says") as refused:
            await anew.make()
        assert refused.value.code == "history_changed"


async def test_a_rewritten_store_whose_sequences_are_whole_again_is_found(tmp_path: Path) -> None:
    # The thoroughest forgery: another deployment with the same streams, every chain and every sequence as it should be.
    notes: list[SignedNote] = []
    copies: list[tuple[int, str, bytes]] = []
    async with deployed(tmp_path / "true") as server, connect(server.url, name="test") as clew:
        await five_commits(clew, VICTIM)
        await five_commits(clew, OTHER)
        notes.append(await signed(clew))
        heads = await heads_of(clew, notes[0].checkpoint)
        forged = rechained(await bodies(clew, VICTIM), b"billing", b"nobody!")
        for address in (VICTIM, OTHER):
            history = await stored(clew, address)
            new = forged if address == VICTIM else [each.body for each in history]
            copies += [(each.seq, each.subject, body) for each, body in zip(history, new, strict=True)]
    async with deployed(tmp_path / "forged") as server, connect(server.url, name="test") as clew:
        for _, subject, body in sorted(copies):
            assert (await clew.js.publish(subject, body)).error is None
        assert (await verifier_of(clew).all()).findings == ()
        await clew.js.publish("clew.checkpoint.1", notes[0].note)
        found = await against(clew, notes[0], heads)
        assert [(each.code, each.thread) for each in found] == [("history_changed", ""), ("rewritten", VICTIM.thread)]
        assert "with different content" in found[0].what


async def test_a_log_that_ends_before_the_checkpoint_was_cut_off_or_is_an_older_one(clew: Clew, tmp_path: Path) -> None:
    await five_commits(clew, VICTIM)
    await five_commits(clew, OTHER)
    kept = await signed(clew)
    async with deployed(tmp_path / "elsewhere") as server, connect(server.url, name="test") as restored:
        await restored.js.publish("clew.checkpoint.1", kept.note)
        codes = [each.code for each in await against(restored, kept)]
        assert codes.count("log_cut_off") == sum(1 for each in kept.checkpoint.shards if each.seq)
        async with maker(restored) as anew:
            with pytest.raises(Corrupt, match="cut off"):
                await anew.make()


async def test_a_flipped_byte_that_took_the_end_of_the_log_with_it_is_found(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with deployed(data, sync="always") as server:
        async with connect(server.url, name="test") as clew:
            await five_commits(clew, VICTIM)
            kept = await signed(clew)
            heads = await heads_of(clew, kept.checkpoint)
            history = await bodies(clew, VICTIM)
        os.kill(server.pid, signal.SIGKILL)
        await server.wait()
        flip(data, history[2])
        await server.start()
        async with connect(server.url, name="test") as clew:
            found = {each.code: each for each in await against(clew, kept, heads)}
    assert {"log_cut_off", "history_changed", "shortened"} <= set(found)
    assert "it had 5 commits, and has 2 of them" in found["shortened"].what


def flip(data: Path, written: bytes) -> None:
    for block in data.rglob("*.blk"):
        content = bytearray(block.read_bytes())
        at = content.find(written)
        if at >= 0:
            content[at + 20] ^= 1
            block.write_bytes(content)
            return
    pytest.fail("the commit is in no block of the store")


async def test_checkpoints_are_chained_numbered_and_made_only_when_something_changed(clew: Clew) -> None:
    await five_commits(clew, VICTIM)
    first = await signed(clew)
    async with maker(clew) as same:
        assert await same.make() is None
        await five_commits(clew, OTHER)
        second = await same.make()
        assert second is not None
        assert await same.make() is None
    assert (first.checkpoint.number, first.checkpoint.prev) == (1, None)
    assert (second.checkpoint.number, second.checkpoint.prev) == (2, first.hash)
    assert second.checkpoint.log == first.checkpoint.log
    assert [sum(getattr(each, what) for each in second.checkpoint.shards) for what in ("threads", "commits")] == [2, 10]
    assert [each.checkpoint.number for each in await clew.ledger.before(None, 10)] == [2, 1]
    assert [each.checkpoint.number for each in await clew.ledger.before(2, 10)] == [1]
    with pytest.raises(NotFound):
        await clew.ledger.chosen(3)


async def test_one_that_remembers_says_what_one_that_starts_anew_says(clew: Clew, tmp_path: Path) -> None:
    kept = HeadsFile(tmp_path / "heads.sqlite")
    async with maker(clew, kept) as steady:
        for number in range(4):
            await five_commits(clew, Address("default", f"thread_{number}"))
            made_here = await steady.make()
            assert made_here is not None
            async with maker(clew) as anew:  # holds its own reading against that checkpoint
                assert await anew.make() is None
    async with maker(clew, HeadsFile(tmp_path / "heads.sqlite")) as again:
        await five_commits(clew, OTHER)
        assert await again.make() is not None


async def test_where_the_disk_is_full_checkpoints_wait_until_there_is_room(clew: Clew, disk: SmallDisk) -> None:
    await five_commits(clew, VICTIM)
    disk.fill()
    async with maker(clew, HeadsFile(disk.path / "heads.sqlite")) as waiting:
        for _ in range(2):
            with pytest.raises(Unavailable, match="the file of heads cannot be used now"):
                await waiting.make()
        disk.relieve()
        first = await waiting.make()
        assert first is not None
        await five_commits(clew, OTHER)
        disk.fill()
        with pytest.raises(Unavailable, match="the file of heads cannot be used now"):
            await waiting.make()
        assert await waiting._heads.signed() == first.hash  # what is there needs no reading again
        disk.relieve()
        assert await waiting.make() is not None


async def test_of_two_that_sign_at_once_one_finds_its_number_taken(clew: Clew) -> None:
    await five_commits(clew, VICTIM)
    async with maker(clew) as one, maker(clew) as other:
        both = await asyncio.gather(one.make(), other.make())
        assert sum(each is not None for each in both) == 1
        await five_commits(clew, OTHER)
        assert await one.make() is not None
        await five_commits(clew, BYSTANDER)
        assert await other.make() is not None


async def test_a_changed_history_is_signed_only_with_a_reason_which_stands_in_it(clew: Clew) -> None:
    await five_commits(clew, VICTIM)
    await signed(clew)
    await removed(clew)
    async with maker(clew) as anew:
        with pytest.raises(Corrupt):
            await anew.make()
        accepted = await anew.make(reason="restored from Monday's backup")
        assert accepted is not None
        assert accepted.checkpoint.reason == "restored from Monday's backup"
        await five_commits(clew, OTHER)
        assert (await anew.make()) is not None


async def test_checkpoints_cannot_be_deleted_or_purged(clew: Clew) -> None:
    await five_commits(clew, VICTIM)
    await signed(clew)
    for what, request in (("PURGE", {}), ("MSG.DELETE", {"seq": 1})):
        with pytest.raises(ApiRefusal):
            await clew.js.api(f"STREAM.{what}.{CHECKPOINT_STREAM}", request)


async def test_a_deployments_own_checkpoints_are_held_against_the_one_that_was_kept(clew: Clew, tmp_path: Path) -> None:
    await five_commits(clew, VICTIM)
    kept = await signed(clew)
    later = msgspec.structs.replace(kept.checkpoint, number=2, prev=kept.hash)
    elsewhere = msgspec.structs.replace(kept.checkpoint, log="another")
    rewritten = msgspec.structs.replace(kept.checkpoint, at=kept.checkpoint.at.replace(year=2000))
    for checkpoint, code in (
        (later, "checkpoint_changed"),
        (elsewhere, "other_deployment"),
        (rewritten, "checkpoint_changed"),
    ):
        found = await against(clew, SignedNote(checkpoint, KEY.sign(encode(checkpoint))))
        assert [each.code for each in found] == [code]
    async with deployed(tmp_path / "elsewhere", shards=1) as server, connect(server.url, name="test") as other:
        found = await against(other, kept)
        assert "they were removed" in found[0].what


async def test_a_proof_of_a_thread_holds_without_a_server_and_no_altered_one_does(clew: Clew) -> None:
    for address in (VICTIM, OTHER, BYSTANDER, *(Address("default", f"thread_{number}") for number in range(8))):
        await five_commits(clew, address)
    first = await signed(clew)
    await clew.handler.handle("default", _changed())
    second = await signed(clew)
    async with temporary_heads(clew.js, 2) as heads:
        earlier = await head_proof(clew.js, heads, first, VICTIM)
        later = await head_proof(clew.js, heads, second, VICTIM)
        with pytest.raises(NotFound):
            await head_proof(clew.js, heads, second, Address("another", VICTIM.thread))
    assert (earlier.n, later.n) == (5, 6)
    between = tuple(await bodies_between(clew.js, 2, VICTIM, 5, 6))
    whole = tuple(await bodies_between(clew.js, 2, VICTIM, 0, 6))
    assert (len(between), len(whole)) == (1, 6)
    proof = KeptProof(head=later, earlier=earlier, commits=between)
    assert check(proof, KEY.verifier) == second
    assert check(KeptProof(head=later), KEY.verifier) == second
    assert check(KeptProof(head=later, commits=whole), KEY.verifier) == second

    replace = msgspec.structs.replace
    forged = whole[3].replace("billing", "nobody!")
    wrong = [
        replace(proof, head=replace(later, n=7)),
        replace(proof, head=replace(later, hash=earlier.hash)),
        replace(proof, head=replace(later, thread=OTHER.thread)),
        replace(proof, head=replace(later, tenant="another")),
        replace(proof, head=replace(later, path=later.path[:-1])),
        replace(proof, head=replace(later, checkpoint=first.note.decode())),
        replace(proof, earlier=replace(earlier, n=4)),
        replace(proof, commits=()),
        replace(proof, commits=whole),
        KeptProof(head=later, commits=whole[:-1]),
        KeptProof(head=later, commits=(*whole[:3], forged, *whole[4:])),
    ]
    for each in wrong:
        with pytest.raises(Corrupt):
            check(each, KEY.verifier)
    with pytest.raises(Corrupt) as refused:
        check(proof, SigningKey.new().verifier)
    assert refused.value.code == "unknown_key"


async def test_no_proof_is_given_by_a_log_that_is_not_what_was_signed(clew: Clew) -> None:
    await five_commits(clew, VICTIM)
    kept = await signed(clew)
    await recomputed(clew)
    async with temporary_heads(clew.js, 2) as heads:
        with pytest.raises(Corrupt) as refused:
            await head_proof(clew.js, heads, kept, VICTIM)
    assert refused.value.code == "history_changed"


async def test_junk_on_a_threads_subject_is_counted_and_changes_no_head(clew: Clew) -> None:
    await five_commits(clew, VICTIM)
    before = await signed(clew)
    await publish(clew, VICTIM, b"nothing of ours", *(await bodies(clew, VICTIM))[:2])
    after = await signed(clew)
    shard = shard_of(VICTIM.thread, 2)
    assert after.checkpoint.shards[shard].misfits == 3
    assert after.checkpoint.shards[shard].root == before.checkpoint.shards[shard].root
    assert {each.thread for each in await against(clew, after)} == {VICTIM.thread}


async def test_a_process_signs_at_the_interval_and_another_takes_over(
    deployment: EmbeddedServer, clew: Clew, tmp_path: Path
) -> None:
    create_key(tmp_path / "signing-key")
    settings = Settings(data=str(tmp_path), checkpoints="50ms", nats=deployment.url)

    async def number() -> int:
        latest = await clew.ledger.latest()
        return latest.checkpoint.number if latest is not None else 0

    async def serving(other: Clew, stop: asyncio.Event) -> asyncio.Task[None]:
        return asyncio.create_task(serve_checkpoints(other.js, other.deployment.shards, settings, stop))

    async with connect(deployment.url, name="one") as one, connect(deployment.url, name="two") as two:
        stops = asyncio.Event(), asyncio.Event()
        tasks = [await serving(one, stops[0]), await serving(two, stops[1])]
        await five_commits(clew, VICTIM)
        await eventually(lambda: _reached(clew, 5))
        first = await number()
        stops[0].set()
        await tasks[0]
        await five_commits(clew, OTHER)
        await eventually(lambda: _reached(clew, 10))
        assert await number() > first
        stops[1].set()
        await tasks[1]
    notes = await clew.ledger.before(None, 100)
    assert [each.checkpoint.prev for each in notes] == [*(each.hash for each in notes[1:]), None]


@pytest.mark.parametrize("turns", range(4))
async def test_a_process_that_is_stopped_just_as_it_has_signed_stops(
    clew: Clew, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, turns: int
) -> None:
    # In these turns of the event loop it ends its renewals and gives its lease back.
    stop, stopping, append = asyncio.Event(), [], Ledger.append

    async def stop_soon() -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        stop.set()

    async def append_and_stop(ledger: Ledger, note: SignedNote) -> bool:
        appended = await append(ledger, note)
        stopping.append(asyncio.create_task(stop_soon()))
        return appended

    monkeypatch.setattr(Ledger, "append", append_and_stop)
    await five_commits(clew, VICTIM)
    (tmp_path / "signing-key").write_text(f"{KEY.line()}\n")
    settings = Settings(data=str(tmp_path), checkpoints="50ms")
    async with asyncio.timeout(PATIENCE):
        await serve_checkpoints(clew.js, clew.deployment.shards, settings, stop)
    assert await _reached(clew, 5)


async def test_a_clock_that_was_a_day_ahead_keeps_no_checkpoint_from_being_signed(clew: Clew, tmp_path: Path) -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    await five_commits(clew, VICTIM)
    async with temporary_heads(clew.js, 2) as heads:
        ahead = await Maker(clew.js, clew.ledger, heads, KEY, clock=lambda: tomorrow).make()
    assert ahead is not None
    await five_commits(clew, OTHER)
    (tmp_path / "signing-key").write_text(f"{KEY.line()}\n")
    settings, stop = Settings(data=str(tmp_path), checkpoints="50ms"), asyncio.Event()
    serving = asyncio.create_task(serve_checkpoints(clew.js, clew.deployment.shards, settings, stop))
    await eventually(lambda: _reached(clew, 10))
    stop.set()
    await serving
    latest = await clew.ledger.latest()
    assert latest is not None
    assert (latest.checkpoint.number, latest.checkpoint.at) == (2, ahead.checkpoint.at)
    coverage = await checkpoint_coverage(clew.js, 2, clew.ledger)
    assert coverage is not None
    assert coverage.ahead > 86_000
    assert not (await clew.record_verifier().whole(None, {KEY.verifier.id: KEY.verifier})).findings


async def _reached(clew: Clew, commits: int) -> bool:
    latest = await clew.ledger.latest()
    return latest is not None and sum(each.commits for each in latest.checkpoint.shards) == commits


def _changed() -> object:
    from clew_events.commands import UpdateThread

    return UpdateThread(thread_id=VICTIM.thread, metadata={"plan": "paid"})


async def test_a_cut_off_end_of_one_thread_leaves_the_others_provable(clew: Clew) -> None:
    await five_commits(clew, VICTIM)
    await five_commits(clew, OTHER)
    kept = await signed(clew)
    stream = event_stream(shard_of(VICTIM.thread, 2))
    last = (await stored(clew, VICTIM))[-1]
    await clew.js.api(f"STREAM.MSG.DELETE.{stream}", {"seq": last.seq})
    same = shard_of(VICTIM.thread, 2) == shard_of(OTHER.thread, 2)
    async with temporary_heads(clew.js, 2) as heads:
        if same:
            with pytest.raises(Corrupt):
                await head_proof(clew.js, heads, kept, OTHER)
        else:
            assert (await head_proof(clew.js, heads, kept, OTHER)).n == 5


async def test_checkpoints_and_proofs_are_there_over_http_for_auditors_of_the_tenant(clew: Clew) -> None:
    mine = Address("acme", "thread_mine")
    assert (await call(clew, "GET", "/v1/checkpoints/latest")).status == 404
    assert (await call(clew, "GET", f"/v1/threads/{mine.thread}/proof")).status == 404
    for address in (mine, VICTIM):
        await five_commits(clew, address)
    first = await signed(clew)
    await five_commits(clew, OTHER)
    second = await signed(clew)

    listed = json.loads((await call(clew, "GET", "/v1/checkpoints?limit=1")).body)
    assert [each["number"] for each in listed["data"]] == [2]
    assert listed["has_more"]
    older = json.loads((await call(clew, "GET", "/v1/checkpoints?after=2")).body)
    assert ([each["number"] for each in older["data"]], older["has_more"]) == ([1], False)
    one = json.loads((await call(clew, "GET", "/v1/checkpoints/1")).body)
    assert (one["note"], one["hash"]) == (first.note.decode(), first.hash)
    assert json.loads((await call(clew, "GET", "/v1/checkpoints/latest")).body)["hash"] == second.hash
    for nowhere in ("3", "0", "x", "1.5", "%20", "9" * 30):
        assert (await call(clew, "GET", f"/v1/checkpoints/{nowhere}")).status == 404

    answered = await call(clew, "GET", f"/v1/threads/{mine.thread}/proof")
    proof = read_proof(answered.body)
    assert check(proof, KEY.verifier) == second
    assert proof.head.head.address == mine
    assert (await call(clew, "GET", f"/v1/threads/{VICTIM.thread}/proof")).status == 404, "another tenant's"
    await five_commits(clew, BYSTANDER)
    third = await signed(clew)
    again = read_proof((await call(clew, "GET", f"/v1/threads/{mine.thread}/proof")).body)
    assert check(again, KEY.verifier) == third

    reader = {**IN, "Authorization": "Bearer a-reading-key"}
    keys = Keys()
    keys.admit(digest("a-reading-key"), Holder("acme", "reader", frozenset({"read"})))
    for path in ("/v1/checkpoints", "/v1/checkpoints/1", f"/v1/threads/{mine.thread}/proof"):
        assert (await call(clew, "GET", path, headers={})).status == 401
        assert (await call(clew, "GET", path, headers=reader, keys=keys)).status == 403

    await rewrite(clew, mine, rechained(await bodies(clew, mine), b"billing", b"nobody!"))
    async with maker(clew) as anew:
        accepted = await anew.make(reason="a test")
    rewritten = read_proof((await call(clew, "GET", f"/v1/threads/{mine.thread}/proof")).body)
    assert check(rewritten, KEY.verifier) == accepted
