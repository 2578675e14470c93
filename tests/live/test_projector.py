"""The projector on a real server: whatever is delivered, lost, doubled or bad, the buckets equal the folded log."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from functools import partial

import pytest
from msgspec.structs import replace
from nats.aio.client import Client

from clew_events import codec
from clew_events.commit import Position, Recorded, record_hash
from clew_events.errors import Corrupt, Unavailable
from clew_events.events import Event, ItemDeleted, ItemMetadataUpdated, MetadataUpdated
from clew_events.ids import item_id as make_message_id
from clew_events.ids import ordinal_of
from clew_events.queries import GetMessage, GetThread
from clew_events.replies import Found
from clew_events.requests import NewMessage
from clew_events.subjects import Address, event_stream, event_subject, shard_of
from clew_events.upcast import Json, Upcaster
from clew_projections import places
from clew_projections.apply import item_ids
from clew_projections.history import histories
from clew_projections.kv.bucket import Fault
from clew_projections.kv.command_ids import mark
from clew_projections.kv.key_names import COMMANDS, THREADS, checkpoint_key, page_key, parked_key, thread_key
from clew_projections.kv.position import read_position
from clew_projections.nats.jetstream import JetStream
from clew_projections.projector.parked_threads import ParkedThread, list_parked
from clew_projections.projector.shard_consumer import Delivery, ShardConsumer
from clew_services.compose import Clew, connect
from clew_services.embedded.server import EmbeddedServer
from clew_services.eventstore import provision
from clew_services.nats_connection import flush
from support.commits import CREATED, THREAD, added, body_of, chain, commit, store
from support.deployments import connected_client
from support.truth import (
    Truth,
    buckets_equal_the_log,
    buckets_of,
    checkpointed,
    fold_of_log,
    projecting,
    raw,
    waiting_for_acknowledgements,
)
from support.waiting import eventually
from support.writers import Writer, message_id, thread_id

HOME = Address("default", THREAD)
HELLO = NewMessage(role="user", content="hello")


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two items to a page, so that short threads have full ones."""
    monkeypatch.setattr(places, "PAGE", 2)


@pytest.fixture
async def other(deployment: EmbeddedServer) -> AsyncIterator[Clew]:
    """Another process, as far as NATS can tell."""
    async with connect(deployment.url, name="other") as composed:
        yield composed


async def busy(clew: Clew, threads: int = 4) -> list[str]:
    """Some threads with messages that were changed and deleted."""
    writer = Writer(clew.handler)

    async def live(n: int) -> str:
        thread = thread_id(await writer.create(metadata={"n": str(n)}, messages=(HELLO, HELLO)))
        first = message_id(await writer.add(thread, "one"))
        second = message_id(await writer.add(thread, "two"))
        await writer.change(thread, first, metadata={"a": "1"})
        await writer.remove(thread, second)
        await writer.set(thread, "n", "done")
        return thread

    return await asyncio.gather(*(live(n) for n in range(threads)))


async def item(clew: Clew, thread: str, ordinal: int) -> str:
    """The id of one of a thread's items."""
    history = await clew.histories.tail(Address("default", thread), 0)
    return next(each for record in history for each in item_ids(record.commit) if ordinal_of(each) == ordinal)


async def deliveries(clew: Clew, shard: int) -> list[Delivery]:
    """All of a shard's commits as its consumer delivers them."""
    pulling = ShardConsumer(clew.nc, event_stream(shard), THREADS, clew.js.pending)
    held = (await clew.nc.jetstream().stream_info(event_stream(shard))).state.messages
    found: list[Delivery] = []

    async def all_of_them() -> bool:
        found.extend(await pulling.next(500))
        return len(found) >= held

    await eventually(all_of_them)
    pulling._open.clear()
    await pulling.close()
    return sorted(found, key=lambda each: each.seq)


async def purge(clew: Clew, bucket: str, *, only: str | None = None) -> None:
    """Empty a bucket, or take one key out of it without a trace."""
    await clew.js.api(f"STREAM.PURGE.KV_{bucket}", {"filter": f"$KV.{bucket}.{only}"} if only else None)


async def put(clew: Clew, bucket: str, key: str, body: bytes, headers: dict[str, str] | None = None) -> None:
    await clew.nc.jetstream().publish(f"$KV.{bucket}.{key}", body, headers=headers)


async def snapshot(clew: Clew) -> dict[str, dict[str, bytes]]:
    """Everything in the buckets, the projector's own keys as well."""
    return {
        bucket: {
            message.subject.removeprefix(f"$KV.{bucket}."): message.data
            for _, message in await raw(clew, f"KV_{bucket}")
        }
        for bucket in (THREADS, COMMANDS)
    }


async def restore(clew: Clew, earlier: dict[str, dict[str, bytes]], *buckets: str) -> None:
    """Buckets as they were, as after a crash that lost what was not synced."""
    for bucket in buckets:
        await purge(clew, bucket)
        for key, body in earlier[bucket].items():
            await put(clew, bucket, key, body)


async def project_all(clew: Clew) -> Truth:
    async with projecting(clew):
        return await buckets_equal_the_log(clew)


async def parked_threads(clew: Clew) -> dict[str, ParkedThread]:
    return {each.thread: each for each in await list_parked(clew.live.current.threads)}


# In good order, and in none.


async def test_the_buckets_come_to_equal_the_fold_of_the_log(clew: Clew) -> None:
    threads = await busy(clew)
    truth = await project_all(clew)
    assert len(truth.threads) == len(threads)
    assert len(truth.pages) == 2 * len(threads)


async def test_any_nats_client_can_read_a_view(clew: Clew) -> None:
    (thread,) = await busy(clew, 1)
    await project_all(clew)
    bucket = await clew.nc.jetstream().key_value(THREADS)
    view = json.loads((await bucket.get(f"default.{thread}")).value or b"")
    assert (view["id"], view["status"], view["n"], view["metadata"]) == (thread, "open", 6, {"n": "done"})
    page = json.loads((await bucket.get(f"default.{thread}.1")).value or b"")
    assert (page["first"], list(page["changed"]), list(page["deleted"])) == (3, ["3"], ["4"])
    stored = await clew.nc.jetstream().get_msg(event_stream(shard_of(thread, 2)), seq=page["added"][0])
    assert b'"text":"one"' in (stored.data or b"")


async def test_a_gap_is_filled_from_the_log(clew: Clew) -> None:
    (thread,) = await busy(clew, 1)
    shard = shard_of(thread, 2)
    delivered = await deliveries(clew, shard)
    for missing in (slice(0, 4), slice(5, 5)):
        await clew.projector(shard).project(delivered[missing.stop :][:1])
        views, wanted = await buckets_of(clew), await fold_of_log(clew)
        assert views == wanted


@pytest.mark.parametrize("seed", range(4))
async def test_deliveries_may_come_in_any_order_any_number_of_times_and_in_any_portions(
    clew: Clew, other: Clew, seed: int
) -> None:
    await busy(clew)
    chance = random.Random(seed)
    for shard in range(2):
        delivered = await deliveries(clew, shard)
        muddle = delivered + chance.sample(delivered, len(delivered) // 2)
        chance.shuffle(muddle)
        projectors = [clew.projector(shard), other.projector(shard), clew.projector(shard)]
        while muddle:
            portions = []
            for projector in projectors:
                size = chance.randint(1, 5)
                portions.append(projector.project(muddle[:size]))
                muddle = muddle[size:]
            await asyncio.gather(*portions)
    assert await buckets_of(clew) == await fold_of_log(clew)


async def test_commits_are_acknowledged_only_when_their_views_are_written(clew: Clew) -> None:
    (thread,) = await busy(clew, 1)
    shard = shard_of(thread, 2)
    delivered = await deliveries(clew, shard)
    config = (await clew.js.api(f"STREAM.INFO.KV_{THREADS}"))["config"]
    assert isinstance(config, dict)
    await clew.js.api(f"STREAM.UPDATE.KV_{THREADS}", {**config, "max_bytes": 1})
    with pytest.raises(Unavailable):
        await clew.projector(shard).project(delivered)
    state = await clew.generations.position(shard).state()
    assert (state.ack_floor.stream_seq, state.num_ack_pending) == (0, len(delivered))
    await clew.js.api(f"STREAM.UPDATE.KV_{THREADS}", config)
    await clew.projector(shard).project(delivered)
    assert await buckets_of(clew) == await fold_of_log(clew)


async def test_two_projectors_share_the_work_without_spoiling_it(clew: Clew, other: Clew) -> None:
    async with projecting(clew), projecting(other):
        writing = [asyncio.create_task(busy(there, 20)) for there in (clew, other)]
        await asyncio.gather(*writing)
        truth = await buckets_equal_the_log(clew)
    assert len(truth.threads) == 40


async def test_what_a_stopped_projector_did_not_finish_is_given_to_the_next_at_once(clew: Clew) -> None:
    await waiting_for_acknowledgements(clew, 600)
    for _ in range(8):
        await Writer(clew.handler).create()
    for shard in range(2):
        pulling = ShardConsumer(clew.nc, event_stream(shard), THREADS, clew.js.pending)
        await pulling.next(500)
        assert (await clew.generations.position(shard).state()).num_pending == 0
        await pulling.close()
    async with projecting(clew):
        truth = await buckets_equal_the_log(clew)
    assert len(truth.threads) == 8


async def test_what_the_server_has_sent_to_a_consumer_that_closes_is_given_to_the_next_at_once(
    clew: Clew, deployment: EmbeddedServer
) -> None:
    await waiting_for_acknowledgements(clew, 600)
    shard = shard_of(THREAD, 2)
    stream = event_stream(shard)
    closing, following = (ShardConsumer(clew.nc, stream, THREADS, clew.js.pending) for _ in range(2))
    created, changed = chain([CREATED], [added(1, "one")])
    await store(clew.nc, HOME, body_of(created.commit))
    closing.ack(await closing.next(1))  # a full batch, which leaves a pull request in flight
    await closing.flush_acks()

    async def deliver() -> None:
        async with connected_client(deployment.url) as beside:
            await store(beside, HOME, body_of(changed.commit))
            await eventually(lambda: is_delivered(beside))

    async def is_delivered(beside: Client) -> bool:
        return (await beside.jetstream().consumer_info(stream, THREADS)).num_ack_pending == 1

    with ThreadPoolExecutor() as pool:  # this connection reads nothing meanwhile
        pool.submit(asyncio.run, deliver()).result()
    await closing.close()
    assert [each.seq for each in await following.next(500)] == [2]
    await following.close()


async def test_all_that_is_pending_comes_in_one_batch_and_nothing_more_until_it_is_asked_for(clew: Clew) -> None:
    shard = shard_of(THREAD, 2)
    *first, last = chain([CREATED], *([added(n, "one")] for n in range(1, 6)))
    for record in first:
        await store(clew.nc, HOME, body_of(record.commit))
    consumer = ShardConsumer(clew.nc, event_stream(shard), THREADS, clew.js.pending)
    assert [each.seq for each in await consumer.next(500)] == [1, 2, 3, 4, 5]
    await store(clew.nc, HOME, body_of(last.commit))
    state = await clew.generations.position(shard).state()
    assert (state.num_pending, state.num_ack_pending, state.num_waiting) == (1, 5, 0)
    assert [each.seq for each in await consumer.next(500)] == [6]
    await consumer.close()


async def test_a_backlog_of_large_commits_does_not_cost_the_connection(clew: Clew) -> None:
    texts = ["x" * 6_000_000] * 16
    for record in chain([CREATED], *([added(n, text)] for n, text in enumerate(texts, start=1))):
        await store(clew.nc, HOME, body_of(record.commit))
    made = clew.connection.made
    async with projecting(clew):
        await eventually(lambda: projected(clew, THREAD, 17))
    assert clew.connection.made == made


async def test_a_page_of_large_values_comes_whole(clew: Clew) -> None:
    keys = [f"default.{THREAD}.{n}" for n in range(12)]
    for key in keys:
        await clew.live.current.threads.put(key, b"x" * 1_000_000, 0)
    found = await clew.live.current.threads.get_many([*keys, "default.nobody.1"])
    assert found.keys() == set(keys)
    assert {len(value.body) for value in found.values()} == {1_000_000}


async def test_a_projector_stops_when_told_and_has_finished_what_it_held(clew: Clew) -> None:
    await busy(clew)
    stop = asyncio.Event()
    running = asyncio.create_task(clew.project(stop))
    await buckets_equal_the_log(clew)
    stop.set()
    await asyncio.wait_for(running, 60)
    for shard in range(2):
        assert (await clew.generations.position(shard).state()).num_ack_pending == 0


async def test_the_checkpoint_follows_to_the_end_of_the_log(clew: Clew) -> None:
    async with projecting(clew):
        await busy(clew)
        await checkpointed(clew)


async def test_a_projector_outlasts_a_consumer_that_is_gone_for_a_while(clew: Clew) -> None:
    async with projecting(clew):
        await busy(clew, 1)
        await buckets_equal_the_log(clew)
        for shard in range(2):
            await clew.js.api(f"CONSUMER.DELETE.{event_stream(shard)}.{THREADS}")
        await busy(clew, 2)
        await provision.init(clew.js, shards=2, max_msg_size=clew.nc.max_payload)
        await buckets_equal_the_log(clew)


# Bad commits.

FIRST = chain([CREATED, added(1)])[0]


def second(**other: object) -> bytes:
    """A second commit after the first one here, wrong in some way."""
    event = MetadataUpdated(set={"a": "1"}, unset=())
    return body_of(replace(commit(2, event, prev=FIRST.hash), **other))


def about(event: object) -> bytes:
    return body_of(commit(2, event, prev=FIRST.hash))  # type: ignore[arg-type]


UNKNOWN_EVENT = second().replace(b'"MetadataUpdated"', b'"ThreadForked"')
BAD = {
    "unknown event": (UNKNOWN_EVENT, "unknown_event"),
    "unknown format": (second(v=3), "unknown_format"),
    "garbage": (b"\x00garbage\xff", "unreadable_commit"),
    "not utf-8": (second().replace(b"test", b"te\xfft"), "unreadable_commit"),
    "nothing": (b"", "unreadable_commit"),
    "endless nesting": (b'{"v":2,"events":' + b"[" * 50_000, "unreadable_commit"),
    "a gap": (second(n=3), "broken_chain"),
    "the same number": (second(n=1), "broken_chain"),
    "another chain": (second(prev="0" * 64), "broken_chain"),
    "no chain": (second(prev=None), "broken_chain"),
    "another tenant": (second(tenant="other"), "broken_chain"),
    "another thread": (second(thread="thread_other"), "broken_chain"),
    "a malformed message id": (about(ItemDeleted(item="m")), "unknown_message"),
    "a message not there yet": (
        about(ItemMetadataUpdated(item=make_message_id(2), set={}, unset=())),
        "unknown_message",
    ),
    "a message out of order": (about(added(3)), "unknown_message"),
    "a message under a wrong id": (
        about(replace(added(2), item="msg ")),
        "unknown_message",
    ),
}


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("when", ["all at once", "one by one"])
async def test_a_bad_commit_parks_its_thread_and_no_other(
    clew: Clew, other: Clew, caplog: pytest.LogCaptureFixture, bad: str, when: str
) -> None:
    body, code = BAD[bad]
    async with AsyncExitStack() as stack:
        await store(clew.nc, HOME, body_of(FIRST.commit))
        if when == "one by one":
            await stack.enter_async_context(projecting(clew))
            await buckets_equal_the_log(clew)
        seq = await store(clew.nc, HOME, body)
        good = await Writer(clew.handler).create(metadata={"good": "yes"})
        if when == "all at once":
            await stack.enter_async_context(projecting(clew))
        found = await eventually(lambda: parked_threads(clew))
        reason = found[THREAD]
        assert (reason.tenant, reason.code) == ("default", code)
        assert not bad.startswith(("un", "garb")) or f"sequence {seq}" in reason.reason
        await store(clew.nc, HOME, second())
        await Writer(clew.handler).set(thread_id(good), "good", "still")
        await eventually(lambda: projected(clew, thread_id(good), 2))
        shard = shard_of(THREAD, 2)

        async def acknowledged() -> bool:
            state = await clew.generations.position(shard).state()
            return (state.num_pending, state.num_ack_pending) == (0, 0)

        await eventually(acknowledged)
    # The view stands right before the fault, whatever came in one delivery with it.
    assert (await clew.current.cached_view(HOME)).hash == FIRST.hash
    for there in (clew, other):
        with pytest.raises(Corrupt):
            await there.reader.answer("default", GetThread(thread_id=THREAD))
    alerts = [each for each in caplog.records if each.levelname == "ERROR" and "is parked" in each.message]
    assert len(alerts) == 1
    assert THREAD in alerts[0].message
    assert list(await parked_threads(clew)) == [THREAD]


async def projected(clew: Clew, thread: str, n: int) -> bool:
    return (await clew.current.cached_view(Address("default", thread))).n >= n


async def test_a_parked_thread_is_taken_up_by_the_first_version_that_can_read_it(
    clew: Clew, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store(clew.nc, HOME, body_of(FIRST.commit))
    await store(clew.nc, HOME, UNKNOWN_EVENT)
    async with projecting(clew):
        await eventually(lambda: parked_threads(clew))
    async with projecting(clew):
        await busy(clew, 1)
        await checkpointed(clew)
    assert list(await parked_threads(clew)) == [THREAD]

    def forked(_: Json) -> list[Json]:
        return [{"type": "MetadataUpdated"}]

    def says(_: Json) -> list[Json | None]:
        return [{"set": {"forked": "yes"}, "unset": []}]

    def read(body: bytes, position: Position, trace: str | None, _: str | None) -> Recorded:
        return Recorded(
            codec.decode(body, {"ThreadForked": Upcaster(forked, says)}), position, record_hash(body), trace
        )

    monkeypatch.setattr(histories, "decode_recorded", read)
    async with projecting(clew):

        async def none() -> bool:
            return not await parked_threads(clew)

        await eventually(none)
        assert (await clew.current.cached_view(HOME)).metadata == {"forked": "yes"}
        await Writer(clew.handler).set(THREAD, "forked", "again")
        await eventually(lambda: projected(clew, THREAD, 3))
    answer = await clew.reader.answer("default", GetThread(thread_id=THREAD))
    assert isinstance(answer, Found)
    assert answer.thread is not None
    assert answer.thread.metadata == {"forked": "again"}


async def test_a_parked_thread_goes_on_when_its_bad_commit_is_taken_out(clew: Clew) -> None:
    await store(clew.nc, HOME, body_of(FIRST.commit))
    seq = await store(clew.nc, HOME, b"garbage")
    async with projecting(clew):
        await eventually(lambda: parked_threads(clew))
    await clew.js.api(f"STREAM.MSG.DELETE.{event_stream(shard_of(THREAD, 2))}", {"seq": seq})
    await store(clew.nc, HOME, second())
    async with projecting(clew):
        await buckets_equal_the_log(clew)

        async def none() -> bool:
            return not await parked_threads(clew)

        await eventually(none)


async def test_an_unreadable_note_of_a_parked_thread_keeps_nobody_from_starting(clew: Clew) -> None:
    (thread,) = await busy(clew, 1)
    await put(clew, THREADS, parked_key(Address("default", thread)), b"\xffgarbage")
    assert [(each.tenant, each.thread) for each in await list_parked(clew.live.current.threads)] == [
        ("default", thread)
    ]
    async with projecting(clew):
        await buckets_equal_the_log(clew)

        async def none() -> bool:
            return not await parked_threads(clew)

        await eventually(none)


async def test_more_than_a_thousand_parked_threads_keep_nobody_from_starting(clew: Clew) -> None:
    count = 1100
    for n in range(count):
        address = Address("default", f"thread_{n}")
        await clew.nc.publish(event_subject(shard_of(address.thread, 2), address), b"garbage")
    await flush(clew.nc)
    async with projecting(clew):

        async def all_of_them() -> bool:
            return len(await list_parked(clew.live.current.threads)) == count

        await eventually(all_of_them)
    async with projecting(clew):
        thread = thread_id(await Writer(clew.handler).create())
        await eventually(lambda: projected(clew, thread, 1))


async def test_a_view_too_large_to_keep_parks_its_thread_and_leaves_its_answers_right(clew: Clew) -> None:
    writer = Writer(clew.handler)
    thread = thread_id(await writer.create())
    half = "v" * (clew.nc.max_payload // 2)
    # Past the rules, which refuse these.
    for key in ("a", "b"):
        await store_event(clew, thread, MetadataUpdated(set={key: half}, unset=()))
    async with projecting(clew):
        found = await eventually(lambda: parked_threads(clew))
        assert found[thread].code == "view_too_large"
        good = thread_id(await writer.create())
        await eventually(lambda: projected(clew, good, 1))
    assert (await clew.current.cached_view(Address("default", thread))).n == 2
    answer = await clew.reader.answer("default", GetThread(thread_id=thread))
    assert isinstance(answer, Found)
    assert answer.thread is not None
    assert answer.thread.metadata == {"a": half, "b": half}


async def store_event(clew: Clew, thread: str, event: Event) -> None:
    """Append a commit of one event, past every rule."""
    view = await clew.current.catch_up(await clew.current.cached_view(Address("default", thread)))
    await store(clew.nc, Address("default", thread), body_of(commit(view.n + 1, event, prev=view.hash, thread=thread)))


# Views that somebody took away or spoilt.


@pytest.mark.parametrize("damage", ["deleted", "purged", "garbage"])
@pytest.mark.parametrize("running", [True, False])
@pytest.mark.parametrize("view", [True, False], ids=["view and pages", "pages"])
async def test_a_damaged_view_is_made_again_with_the_next_commit(
    clew: Clew, other: Clew, damage: str, *, running: bool, view: bool
) -> None:
    (thread,) = await busy(clew, 1)
    address = Address("default", thread)
    async with AsyncExitStack() as stack:
        if running:
            await stack.enter_async_context(projecting(clew))
            await buckets_equal_the_log(clew)
        else:
            await project_all(clew)
        for key in (thread_key(address), page_key(address, 0), page_key(address, 1))[0 if view else 1 :]:
            if damage == "purged":
                await purge(clew, THREADS, only=key)
            else:
                marker = {"KV-Operation": "DEL"} if damage == "deleted" else None
                await put(clew, THREADS, key, b"" if damage == "deleted" else b"\xffgarbage", marker)
        if not running:
            await stack.enter_async_context(projecting(clew))
        for changed in (3, 1):
            await Writer(other.handler).change(thread, await item(clew, thread, changed), metadata={"b": "2"})
        await buckets_equal_the_log(clew)


@pytest.mark.parametrize("emptied", [(THREADS,), (THREADS, COMMANDS)])
async def test_emptied_buckets_are_whole_again_after_a_start(clew: Clew, emptied: Sequence[str]) -> None:
    await busy(clew)
    await project_all(clew)
    for bucket in emptied:
        await purge(clew, bucket)
    assert await buckets_of(clew) != await fold_of_log(clew)
    await project_all(clew)


async def test_an_unreadable_checkpoint_costs_a_new_projection_and_nothing_else(clew: Clew) -> None:
    async with projecting(clew):
        await busy(clew)
        await checkpointed(clew)
    await purge(clew, THREADS)
    for shard in range(2):
        for bucket in (THREADS, COMMANDS):
            await put(clew, bucket, checkpoint_key(shard), b"\xffgarbage")
    async with projecting(clew):
        await buckets_equal_the_log(clew)
        await busy(clew)
        await checkpointed(clew)


LOST = [(THREADS,), (COMMANDS,), (THREADS, COMMANDS)]


@pytest.mark.parametrize("lost", LOST, ids=["threads", "commands", "both"])
@pytest.mark.parametrize("many", [1, 2], ids=["one projector", "two projectors"])
async def test_views_that_a_dying_server_lost_are_written_again_up_to_the_log(
    deployment: EmbeddedServer, clew: Clew, lost: Sequence[str], many: int
) -> None:
    async with projecting(clew):
        threads = await busy(clew)
        await checkpointed(clew)
        earlier = await snapshot(clew)
    writer = Writer(clew.handler)
    messages = {}
    for thread in threads:
        messages[thread] = message_id(await writer.add(thread, "later", id=f"later-{thread}"))
        await writer.change(thread, messages[thread], metadata={"a": "1", "b": "2"})
    async with projecting(clew):
        await checkpointed(clew)
    await restore(clew, earlier, *lost)
    async with AsyncExitStack() as stack:
        fresh = [await stack.enter_async_context(connect(deployment.url, name=f"fresh {n}")) for n in range(many)]
        for each in fresh:
            await stack.enter_async_context(projecting(each))
        for thread in threads:
            # A change on top of what was lost must not hide that it was.
            await writer.change(thread, messages[thread], metadata={"a": "2", "b": "2"})
            await writer.add(thread, "latest")
        await buckets_equal_the_log(clew)
        for thread in threads:
            assert await clew.live.current.spent.marks(Address("default", thread)) == {mark(f"later-{thread}")}


async def test_a_second_projector_heals_what_the_first_took_back_but_did_not_live_to_write(
    deployment: EmbeddedServer, clew: Clew
) -> None:
    async with projecting(clew):
        threads = await busy(clew)
        await checkpointed(clew)
        earlier = await snapshot(clew)
        for thread in threads:
            await Writer(clew.handler).add(thread, "later")
        await checkpointed(clew)
    await restore(clew, earlier, THREADS, COMMANDS)
    async with connect(deployment.url, name="first") as first, connect(deployment.url, name="second") as later:
        for shard in range(2):
            await first.generations.position(shard).rewind()
        async with projecting(later):
            await buckets_equal_the_log(clew)


async def test_a_mark_written_while_the_connection_was_lost_is_not_believed(clew: Clew) -> None:
    (thread,) = await busy(clew, 1)
    shard = shard_of(thread, 2)
    checkpoint = clew.generations.position(shard)
    await checkpoint.rewind()
    delivered = await deliveries(clew, shard)
    await clew.projector(shard).project(delivered)
    await purge(clew, THREADS)

    class Breaking(JetStream):
        """Loses the connection while the consumer is asked how far it is."""

        async def api(self, call: str, request: object = None) -> dict[str, object]:
            answer = await clew.js.api(call, request)
            clew.connection.made += 1
            return answer

    checkpoint._js = Breaking(clew.connection.exchange)
    checkpoint.note(delivered[0].seq, delivered[-1].seq)

    async def written() -> bool:
        await checkpoint.advance(0.0)
        return await read_position(clew.live.current.buckets, shard) == delivered[-1].seq

    await eventually(written)
    checkpoint._js = clew.js
    await checkpoint.rewind()
    assert await read_position(clew.live.current.buckets, shard) == 0
    assert (await checkpoint.state()).ack_floor.stream_seq == 0
    await clew.projector(shard).project(await deliveries(clew, shard))
    assert await buckets_of(clew) == await fold_of_log(clew)


async def test_views_that_were_lost_are_written_again_also_above_the_ack_floor(clew: Clew) -> None:
    (thread,) = await busy(clew, 1)
    shard = shard_of(thread, 2)
    consumer = ShardConsumer(clew.nc, event_stream(shard), THREADS, clew.js.pending)
    _, *others = await deliveries(clew, shard)
    consumer.ack(others)
    await consumer.flush_acks()
    state = await clew.generations.position(shard).state()
    assert (state.ack_floor.stream_seq, state.num_ack_pending) == (0, 1)
    await project_all(clew)


async def test_flushed_acknowledgements_do_not_count_for_what_a_reset_has_delivered_again(clew: Clew) -> None:
    writer = Writer(clew.handler)
    thread = thread_id(await writer.create())
    await writer.set(thread, "a", "b")
    stream, name = event_stream(shard_of(thread, 2)), clew.live.current.consumer
    consumer = ShardConsumer(clew.nc, stream, name, clew.js.pending)
    batch = [*await consumer.next(1), *await consumer.next(1)]
    for _ in range(5):
        consumer.ack(batch * 10_000)  # the server takes a while over them
        await consumer.flush_acks()
        await clew.js.api(f"CONSUMER.RESET.{stream}.{name}", {"seq": 1})
        batch = [*await consumer.next(1), *await consumer.next(1)]
        assert [each.seq for each in batch] == [1, 2]
        assert (await clew.generations.position(shard_of(thread, 2)).state()).num_ack_pending == 2


async def test_a_reset_is_repeated_until_the_ack_floor_is_right(clew: Clew) -> None:
    shard = shard_of(thread_id(await Writer(clew.handler).create()), 2)
    await deliveries(clew, shard)
    resets: list[object] = []

    class Racing(JetStream):
        """Answers the first reset as a server does that delivered meanwhile."""

        async def api(self, call: str, request: object = None) -> dict[str, object]:
            answer = await clew.js.api(call, request)
            if call.startswith("CONSUMER.RESET."):
                resets.append(request)
                return {**answer, "ack_floor": {"consumer_seq": 1, "stream_seq": 1}} if len(resets) == 1 else answer
            return answer

    position = clew.generations.position(shard)
    position._js = Racing(clew.connection.exchange)
    await position.rewind()
    assert resets == [{"seq": 1}] * 2


async def test_nothing_is_acknowledged_over_another_connection_than_it_was_projected_on(clew: Clew) -> None:
    (thread,) = await busy(clew, 1)
    shard = shard_of(thread, 2)
    projector = clew.projector(shard)
    apply = projector._apply

    async def lose_the_connection(batch: Mapping[Address, Sequence[Delivery]]) -> dict[Address, Fault]:
        faults = await apply(batch)
        clew.connection.made += 1
        return faults

    projector._apply = lose_the_connection
    with pytest.raises(Unavailable, match="connection"):
        await projector.project(await deliveries(clew, shard))
    assert (await clew.generations.position(shard).state()).ack_floor.stream_seq == 0


# Pages of places.


@pytest.mark.parametrize("event", [ItemDeleted, partial(ItemMetadataUpdated, set={}, unset=())])
async def test_a_change_of_an_item_under_another_id_is_told_by_whoever_reads_the_item(
    clew: Clew, event: Callable[..., Event]
) -> None:
    await store(clew.nc, HOME, body_of(FIRST.commit))
    await store(clew.nc, HOME, about(event(item=make_message_id(1, "elsewhere"))))
    await project_all(clew)
    with pytest.raises(Corrupt) as fault:
        await clew.reader.answer("default", GetMessage(thread_id=THREAD, message_id=added(1).item))
    assert fault.value.code == "unknown_message"
    (compared,) = [each async for each in clew.prover().prove(HOME)]
    assert compared.finding is not None
    assert "which was never added" in compared.finding.what


async def test_a_page_that_a_projector_left_without_its_view_is_taken_as_it_is(clew: Clew, other: Clew) -> None:
    (thread,) = await busy(clew, 1)
    shard, address = shard_of(thread, 2), Address("default", thread)
    delivered = await deliveries(clew, shard)
    await clew.projector(shard).project(delivered)
    whole = await buckets_of(clew)
    for written in range(1, len(delivered)):
        # The view is older than the pages, by one commit or by many.
        await purge(clew, THREADS, only=thread_key(address))
        await clew.projector(shard).project(delivered[:written])
        await other.projector(shard).project(delivered[written:])
        assert await buckets_of(clew) == whole == await fold_of_log(clew)


async def test_an_item_with_too_many_changes_to_list_is_still_projected_as_the_log_says(
    clew: Clew, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "MOST_CHANGES", 3)
    (thread,) = await busy(clew, 1)
    first = await item(clew, thread, 1)
    async with projecting(clew):
        for step in range(6):
            await Writer(clew.handler).change(thread, first, metadata={"step": str(step)})
        truth = await buckets_equal_the_log(clew)
    page = json.loads(truth.pages[page_key(Address("default", thread), 0)])
    assert (page["scattered"], page.get("changed")) == ([1], None)
    answer = await clew.reader.answer("default", GetMessage(thread_id=thread, message_id=first))
    assert isinstance(answer, Found)
    assert answer.message is not None
    assert answer.message.metadata == {"step": "5"}
