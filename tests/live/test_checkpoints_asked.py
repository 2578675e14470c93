"""Checkpoints and proofs over NATS, by both clients, and all checkpoints held against each other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
import pytest

from clew_events import client
from clew_events.checkpoint_messages import KeptProof
from clew_events.client.sync import connect as connect_blocking
from clew_events.errors import Invalid, NotFound
from clew_events.subjects import CHECKPOINT_STREAM, Address, checkpoint_subject
from clew_projections.integrity.checkpoint import encode
from clew_projections.integrity.heads_file import HeadsFile
from clew_services.checkpoints.chain import walk_chain
from clew_services.checkpoints.log_heads import Heads
from clew_services.checkpoints.maker import Maker
from clew_services.checkpoints.note import SigningKey
from clew_services.checkpoints.signed_checkpoint import read
from clew_services.checkpoints.thread_proofs import check
from clew_services.compose import Clew
from clew_services.compose.roles import serve_queries
from support.forging import five_commits
from support.nats_services import served

KEY = SigningKey(bytes(range(32)))
MINE = Address("acme", "thread_mine")
THEIRS = Address("globex", "thread_theirs")


def url(clew: Clew) -> str:
    assert clew.nc.connected_url is not None
    return clew.nc.connected_url.geturl()


async def signed(clew: Clew, key: SigningKey = KEY) -> None:
    heads = Heads(clew.js, clew.deployment.shards, HeadsFile())
    try:
        assert await Maker(clew.js, clew.ledger, heads, key).make() is not None
    finally:
        await heads.close()


async def test_checkpoints_and_proofs_are_asked_for_over_nats(clew: Clew) -> None:
    async with served(clew, (serve_queries,)), client.connect(url(clew), tenant="acme") as ours:
        for unanswerable in (ours.get_checkpoint(), ours.get_checkpoint(1), ours.proof(MINE.thread)):
            with pytest.raises(NotFound):
                await unanswerable
        assert (await ours.list_checkpoints()).data == ()
        await five_commits(clew, MINE)
        await signed(clew)
        await five_commits(clew, THEIRS)
        await signed(clew)

        page = await ours.list_checkpoints(limit=1)
        assert ([each.number for each in page.data], page.has_more) == ([2], True)
        assert [each.number async for each in ours.iter_checkpoints()] == [2, 1]
        first, latest = await ours.get_checkpoint(1), await ours.get_checkpoint()
        assert (latest, latest.prev, latest.keys) == (page.data[0], first.hash, (KEY.verifier.id,))
        proof = await ours.proof(MINE.thread)
        assert check(proof, KEY.verifier).note.decode() == latest.note
        assert (proof.head.head.address, proof.head.n) == (MINE, 5)
        with pytest.raises(NotFound):
            await ours.proof(THEIRS.thread)
        for wrong in (0, -1, 2_000_000_000):
            with pytest.raises(Invalid) as refused:
                await ours.get_checkpoint(wrong)
            assert refused.value.param == "number"

        def blocking() -> KeptProof:
            with connect_blocking(url(clew), tenant="acme") as asked:
                assert [each.number for each in asked.iter_checkpoints()] == [2, 1]
                assert asked.list_checkpoints(after=2).data == (first,)
                assert asked.get_checkpoint() == latest
                return asked.proof(MINE.thread)

        assert await asyncio.to_thread(blocking) == proof


Notes = list[bytes]


def _as_made(notes: Notes) -> Notes:
    return notes


def _rewritten(notes: Notes) -> Notes:
    return [notes[0], _signed_again(notes[1], reason="none"), notes[2]]


def _cut_in_front(notes: Notes) -> Notes:
    return notes[1:]


def _one_left_out(notes: Notes) -> Notes:
    return [notes[0], notes[2]]


def _altered(notes: Notes) -> Notes:
    return [notes[0], notes[1].replace(b'"misfits":0', b'"misfits":1', 1), notes[2]]


def _junk(notes: Notes) -> Notes:
    return [notes[0], b"junk", notes[2]]


def _signed_by_another(notes: Notes) -> Notes:
    *before, last = notes
    return [*before, SigningKey(bytes(32)).sign(last.partition(b"\n\n")[0] + b"\n")]


def _signed_again(note: bytes, **changed: object) -> bytes:
    return KEY.sign(encode(msgspec.structs.replace(read(note).checkpoint, **changed)))


@pytest.mark.parametrize(
    ("forge", "found", "blind"),
    [
        (_as_made, [], []),
        (_rewritten, [(3, "checkpoint_changed")], [(3, "checkpoint_changed")]),
        (_cut_in_front, [(1, "checkpoint_missing")], [(1, "checkpoint_missing")]),
        (_one_left_out, [(2, "checkpoint_missing")], [(2, "checkpoint_missing")]),
        (_altered, [(2, "altered_checkpoint")], [(3, "checkpoint_changed")]),
        (_junk, [(2, "unreadable_checkpoint")], [(2, "unreadable_checkpoint")]),
        (_signed_by_another, [(3, "unknown_key")], []),
    ],
)
async def test_every_checkpoint_is_held_against_the_one_before_it_and_the_key(
    clew: Clew,
    forge: Callable[[Notes], Notes],
    found: list[tuple[int, str]],
    blind: list[tuple[int, str]],
) -> None:
    for address in (MINE, THEIRS, Address("acme", "thread_third")):
        await five_commits(clew, address)
        await signed(clew)
    notes = [each.note for each in reversed(await clew.ledger.before(None, 10))]
    # Somebody with all rights on the server makes the stream again.
    config = (await clew.js.api(f"STREAM.INFO.{CHECKPOINT_STREAM}"))["config"]
    await clew.js.api(f"STREAM.DELETE.{CHECKPOINT_STREAM}")
    await clew.js.api(f"STREAM.CREATE.{CHECKPOINT_STREAM}", config)
    numbers = [1, 2, 3] if len(forge(notes)) == 3 else [read(note).checkpoint.number for note in forge(notes)]
    for number, note in zip(numbers, forge(notes), strict=True):
        assert (await clew.js.publish(checkpoint_subject(number), note)).error is None
    walked = await walk_chain(clew.js, {KEY.verifier.id: KEY.verifier})
    assert [(each.seq, each.code) for each in walked.findings] == found
    assert [(each.seq, each.code) for each in (await walk_chain(clew.js, {})).findings] == blind
    assert walked.checkpoints == len(numbers)


async def test_checkpoints_are_signed_with_any_of_the_keys_that_were_in_use(clew: Clew) -> None:
    other = SigningKey(bytes(32))
    for address, key in ((MINE, KEY), (THEIRS, other)):
        await five_commits(clew, address)
        await signed(clew, key)
    both = {key.verifier.id: key.verifier for key in (KEY, other)}
    walked = await walk_chain(clew.js, both)
    assert (walked.findings, set(walked.key_ids)) == ((), set(both))
    assert [each.code for each in (await walk_chain(clew.js, {KEY.verifier.id: KEY.verifier})).findings] == [
        "unknown_key"
    ]
