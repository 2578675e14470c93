"""The log folded, and the buckets read, by other means than Clew's own readers, so that they can be compared."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import nats.errors
from msgspec import Struct
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig
from nats.js.errors import ServiceUnavailableError

from clew_events.codec import decode_recorded
from clew_events.commit import Commit, Position, Recorded
from clew_events.subjects import Address, address_of, event_stream
from clew_projections.apply import advance_stored
from clew_projections.kv.key_names import page_key, thread_key
from clew_projections.kv.position import read_position
from clew_projections.places import Places
from clew_projections.views import absent_stored, encode
from clew_services.compose import Clew
from support.waiting import PATIENCE, eventually


class Truth(Struct, frozen=True):
    """What the bucket of threads must hold: values by key, byte for byte."""

    threads: dict[str, bytes]
    pages: dict[str, bytes]


async def raw(clew: Clew, stream: str) -> list[tuple[int, Msg]]:
    """Everything a stream holds, with its sequence, read by a consumer of nats-py."""
    js = clew.nc.jetstream(timeout=PATIENCE)
    state = (await js.stream_info(stream)).state
    held = state.messages
    # Not more at once than the server lets a client owe it.
    page = max(1, min(500, 8_000_000 * held // (state.bytes + 1)))
    config = ConsumerConfig(ack_policy=AckPolicy.NONE, mem_storage=True, inactive_threshold=PATIENCE)
    subscription = await js.pull_subscribe("", stream=stream, config=config)
    found: list[tuple[int, Msg]] = []
    while len(found) < held:
        messages = await _fetched(subscription, min(page, held - len(found)))
        found += [(message.metadata.sequence.stream, message) for message in messages]
    # By itself it would stay for a while, and on a cluster a server that misses one is not well.
    await js.delete_consumer(stream, (await subscription.consumer_info()).name)
    await subscription.unsubscribe()
    return found


async def _fetched(subscription: JetStreamContext.PullSubscription, most: int) -> list[Msg]:
    """The next messages. On a cluster it takes a moment until every server knows where a new consumer is."""

    async def fetched() -> list[Msg]:
        try:
            return await subscription.fetch(most, timeout=5)
        except (ServiceUnavailableError, nats.errors.TimeoutError):
            return []

    return await eventually(fetched)


async def log_of(clew: Clew) -> dict[Address, list[Recorded]]:
    """Every thread's commits in order, and the proof that each history is whole and nothing is in it twice."""
    threads: dict[Address, list[Recorded]] = {}
    for shard in range(clew.deployment.shards):
        for seq, message in await raw(clew, event_stream(shard)):
            found = decode_recorded(message.data, Position(shard, seq))
            threads.setdefault(address_of(message.subject), []).append(found)
    for address, records in threads.items():
        commits = [record.commit for record in records]
        assert [commit.n for commit in commits] == list(range(1, len(commits) + 1)), address
        assert [commit.prev for commit in commits] == [None, *(record.hash for record in records[:-1])], address
        assert [commit.at for commit in commits] == sorted(commit.at for commit in commits), address
        twice = [key for key, count in Counter(commit.id for commit in commits).items() if count > 1]
        assert not twice, address
    return threads


async def commits_of(clew: Clew, thread: str, tenant: str = "default") -> list[Commit]:
    """One thread's commits."""
    return [record.commit for record in (await log_of(clew)).get(Address(tenant, thread), [])]


async def fold_of_log(clew: Clew) -> Truth:
    """What the bucket must come to hold."""
    truth = Truth({}, {})
    for address, records in (await log_of(clew)).items():
        view, pages = absent_stored(*address), dict[int, Places]()
        for record in records:
            view, pages = advance_stored(view, pages, record)
        truth.threads[thread_key(address)] = encode(view)
        truth.pages.update({page_key(address, number): encode(page) for number, page in pages.items()})
    return truth


async def buckets_of(clew: Clew) -> Truth:
    """What the bucket holds now, without the projector's own keys."""
    bucket = clew.live.current.threads
    prefix = bucket.subject("")
    values = {message.subject.removeprefix(prefix): message.data for _, message in await raw(clew, bucket.stream)}
    held = Truth({}, {})
    for key, body in values.items():
        if body and not key.startswith("_"):
            (held.threads if key.count(".") == 1 else held.pages)[key] = body
    return held


async def buckets_equal_the_log(clew: Clew, *, within: float = PATIENCE) -> Truth:
    """Wait until they do, and give what they hold."""

    async def equal() -> Truth:
        wanted, found = await fold_of_log(clew), await buckets_of(clew)
        for ours, theirs in ((wanted.threads, found.threads), (wanted.pages, found.pages)):
            assert theirs.keys() == ours.keys()
            different = {key: (ours[key], theirs[key]) for key in ours if ours[key] != theirs[key]}
            assert not different
        return found

    return await eventually(equal, within=within)


async def checkpointed(clew: Clew) -> None:
    """Wait until the checkpoints are where the log ends."""

    async def at_the_end() -> bool:
        for shard in range(clew.deployment.shards):
            last = (await clew.nc.jetstream().stream_info(event_stream(shard))).state.last_seq
            if await read_position(clew.live.current.buckets, shard) < last:
                return False
        return True

    await eventually(at_the_end)


@asynccontextmanager
async def projecting(clew: Clew) -> AsyncIterator[asyncio.Task[None]]:
    """Projectors of every shard at work; cancelled in the middle of whatever they do at the end."""
    task = asyncio.create_task(clew.project(asyncio.Event()))
    try:
        yield task
    finally:
        if not task.done():
            task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def impatient(clew: Clew) -> None:
    """Have deliveries that a dead projector never acknowledged come again after one second instead of ten."""
    await waiting_for_acknowledgements(clew, 1.0)


async def waiting_for_acknowledgements(clew: Clew, seconds: float) -> None:
    """Have the servers wait so long for a projector's acknowledgement before they deliver again.

    To be called when everybody who verifies the deployment has done so.
    """
    for shard in range(clew.deployment.shards):
        stream, name = event_stream(shard), clew.live.current.consumer
        config = (await clew.js.api(f"CONSUMER.INFO.{stream}.{name}"))["config"]
        assert isinstance(config, dict)
        request = {"stream_name": stream, "config": {**config, "ack_wait": int(seconds * 1e9)}}
        await clew.js.api(f"CONSUMER.CREATE.{stream}.{name}", request)
